"""How coroutines of one event loop wake each other: a queue, a pause and a change, all of them awaited.

Each is used on its own loop's thread only. May not know what is waited for.
"""

import asyncio
import contextvars
from queue import SimpleQueue
from typing import Any, Final

__all__ = ["ENDLESS", "Bell", "Change", "Deadlines", "Pause", "done"]

#: Waits of so many seconds and more are waits without end: somebody else sees to it that they end.
ENDLESS: Final = 3_600.0


#: Seconds to which deadlines are rounded; and those of waits that are shorter than this.
_GRAIN: Final = 0.05
_FINE: Final = 0.001
_COARSE: Final = 1.0


class Bell(SimpleQueue[Any]):
    """A queue that one coroutine waits for."""

    def __init__(self) -> None:
        super().__init__()
        self._rung: asyncio.Future[None] | None = None

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        """Add an item and wake who waits; parameters as those of a queue."""
        super().put(item)
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)

    async def next(self, seconds: float = ENDLESS) -> Any:
        """Return the next item.

        Args:
            seconds: How long to wait for it.

        Raises:
            Empty: None came in time.
        """
        if self.empty():
            self._rung = asyncio.get_running_loop().create_future()
            try:
                await _until_done(self._rung, seconds)
            finally:
                self._rung = None
        return self.get_nowait()


class Deadlines:
    """Ends futures when their time has come: those of about the same time share a timer, which none of them pays for.

    A wait of seconds may so last a twentieth of a second longer.
    """

    def __init__(self) -> None:
        self._due: dict[int, tuple[dict[asyncio.Future[Any], None], asyncio.TimerHandle]] = {}

    def add(self, future: "asyncio.Future[Any]", deadline: float, loop: asyncio.AbstractEventLoop) -> int:
        """End a future that nobody fails when its deadline comes.

        Args:
            future: Of the running loop.
            deadline: Time of the loop's clock.
            loop: The running loop.

        Returns:
            What `drop` is to be called with once the future is not waited for any more.
        """
        # A wait of less than a second is kept to the millisecond.
        grain = _GRAIN if deadline - loop.time() >= _COARSE else _FINE
        turn = int(deadline / grain) + 1
        turn = turn if grain == _GRAIN else -turn
        due = self._due.get(turn)
        if due is None:
            at = abs(turn) * grain
            due = self._due[turn] = {}, loop.call_at(at, self._come, turn, context=contextvars.Context())
        due[0][future] = None
        return turn

    def drop(self, future: "asyncio.Future[Any]", turn: int) -> None:
        """The future is not waited for any more."""
        due = self._due.get(turn)
        if due is not None and due[0].pop(future, future) is None and not due[0]:
            del self._due[turn]
            due[1].cancel()

    def _come(self, turn: int) -> None:
        for future in list(self._due.pop(turn)[0]):
            done(future)


class Pause:
    """What can be waited on until somebody ends it."""

    def __init__(self) -> None:
        self._ended = False
        self._end: asyncio.Future[None] | None = None

    def set(self) -> None:
        """End the pause, or the next one."""
        self._ended = True
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def clear(self) -> None:
        """Let the next pause last."""
        self._ended = False

    async def rest(self, seconds: float) -> None:
        """Wait until it is ended, or the time is over."""
        if not self._ended:
            self._end = asyncio.get_running_loop().create_future()
            await _until_done(self._end, seconds)


class Change:
    """Stands for a lock, which one thread does not need, and tells those who wait that something has changed."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def __enter__(self) -> None:
        """Do nothing: what runs on one loop is interrupted at an await only."""

    def __exit__(self, *_error: object) -> None:
        """Do nothing."""

    def notify_all(self) -> None:
        """Wake those who wait for a change."""
        for one in self._waiting:
            if not one.done():
                one.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait for a change, or until the time is over."""
        mine = asyncio.get_running_loop().create_future()
        self._waiting.add(mine)
        try:
            await _until_done(mine, seconds)
        finally:
            self._waiting.discard(mine)


async def _until_done(future: "asyncio.Future[None]", seconds: float) -> None:
    """Wait until a future that nobody fails is done, or the time is over.

    Args:
        future: What is waited for; of the running loop.
        seconds: How long; from ``ENDLESS`` on without end.
    """
    if seconds >= ENDLESS:
        await future
        return
    timer = asyncio.get_running_loop().call_later(seconds, done, future)
    try:
        await future
    finally:
        timer.cancel()


def done(future: "asyncio.Future[Any]") -> None:
    """End a future that nobody fails, where it has not ended."""
    if not future.done():
        future.set_result(None)
