"""Ports of this machine that stay a test's own while nobody listens there. May not know what listens on them.

A port that was only looked for may be anybody's by the time that it is used: the next process that asks for a free one
gets it, or a client whose connection needs a port at its own end, even one that tries to connect to that very port and
so reaches itself.
"""

from __future__ import annotations

import socket


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
