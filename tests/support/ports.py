"""Ports of this machine: those that a test holds, and those that it left. May not know what listens on them.

A port that was only looked for may be anybody's by the time that it is used: the next process that asks for a free one
gets it, or a client whose connection needs a port at its own end, even one that tries to connect to that very port and
so reaches itself.
"""

from __future__ import annotations

import gc
import os
import socket
import weakref

import pytest


class HeldPort:
    """A port of 127.0.0.1 that the system gives to nobody who asks for any port, until `close`.

    Who names it may listen there, and again after that; until somebody does, connections are refused.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        # With it, and without listening, others that say so too may name the port, as every server does.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = int(self._socket.getsockname()[1])
        self.address = f"127.0.0.1:{self.number}"

    def close(self) -> None:
        """Hold it no longer."""
        self._socket.close()


class WatchedSockets:
    """Knows which test made each Python socket of IP, and so whom to name for one that nobody closes.

    Python only warns of those, when the process ends and no test is there any more to fail.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        made: weakref.WeakKeyDictionary[socket.socket, str] = weakref.WeakKeyDictionary()
        begin = socket.socket.__init__

        def watched(self: socket.socket, *arguments: int, **named: int) -> None:
            begin(self, *arguments, **named)
            if self.family in (socket.AF_INET, socket.AF_INET6):
                made[self] = os.environ.get("PYTEST_CURRENT_TEST", "no test")

        patch.setattr(socket.socket, "__init__", watched)
        self._made = made

    def left(self) -> list[str]:
        """Return what is open still, each with the test that made it."""
        gc.collect()  # what is in no use waits for that, and is no leak
        return [f"{one} of {test}" for one, test in list(self._made.items()) if one.fileno() != -1]
