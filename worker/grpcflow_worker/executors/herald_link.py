"""The supervisor's side of the herald: sends it signals and commands, and has a new one made where it has died.

A new one is made when there is something for it, and not without end: one that dies of each command must not cost a
fork each time that somebody asks. It may NOT run user code or know what a signal or a command means.
"""

import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from grpcflow_worker.executors import frames
from grpcflow_worker.executors.asked import Asked
from grpcflow_worker.executors.frames import News
from grpcflow_worker.executors.outflow import Outflow

#: Most signals that wait for receivers that do not keep up; further ones are dropped, and the log says so.
_BEHIND: Final = 1_000

#: So many deaths within so many seconds, and there is none until the first of them is so long ago.
DEATHS: Final = 5
PERIOD: Final = 60.0

_log = logging.getLogger("grpcflow.worker")


class HeraldLink:
    """The way to the one herald that there is at a time.

    Args:
        hand_over: gives the herald's end of a socket to whoever makes a new one; it is closed after that.
        now: seconds that only grow.
    """

    def __init__(self, hand_over: Callable[[socket.socket], None], now: Callable[[], float] = time.monotonic) -> None:
        """Have no herald yet."""
        self._hand_over = hand_over
        self._now = now
        self._connection: socket.socket | None = None
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._dropped = 0

    def open(self) -> socket.socket:
        """Return the herald's end of a new socket, which the caller closes once the herald has it."""
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        self._outflow = Outflow(self._connection)
        self._asked = Asked(self._connection, self._outflow, self._died)
        return theirs

    def emit(self, news: News) -> None:
        """Have the app's receivers told of a late signal."""
        why = self._trouble()
        if not why and len(self._outflow) < _BEHIND:
            self._dropped = 0
            self._outflow.write(frames.large_frame(news))
            return
        if not self._dropped:
            _log.error("%s and what follows is not told: %s", news.name, why or "receivers of signals do not keep up")
        self._dropped += 1

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """Have a command of the app carried out; see `Executor.ask`."""
        if why := self._trouble():
            told(b"", why)
        else:
            self._asked.ask(name, data, told)

    async def flush(self, seconds: float) -> None:
        """Wait until all is sent, at most so long."""
        if self._connection is not None:
            await self._outflow.flush(seconds)

    def close(self) -> None:
        """Leave the herald to end; commands that are under way are answered with that."""
        if self._connection is not None:
            asked = self._asked
            self._detach()
            asked.give_up("the worker ends")

    def _trouble(self) -> str:
        """Make a herald if there is none; returns why there cannot be one, or nothing."""
        if self._connection is None:
            if len(self._deaths) == DEATHS and (wait := self._deaths[0] + PERIOD - self._now()) > 0:
                text = f"the process in which the app's commands run has ended {DEATHS} times within {PERIOD:g} s"
                return f"{text}: see the worker's log; a new one can be had in {wait:.0f} s"
            _log.warning("the process of the app's commands and receivers of signals has ended; a new one is made")
            with self.open() as theirs:
                self._hand_over(theirs)
        return ""

    def _died(self) -> None:
        self._deaths.append(self._now())
        self._detach()

    def _detach(self) -> None:
        assert self._connection is not None
        self._asked.unwatch()
        self._outflow.unwatch()
        self._connection.close()
        self._connection = None
