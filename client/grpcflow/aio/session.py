"""The session of one event loop: coroutines wait, and an asyncio task drives the link.

Says how a coroutine waits; all else is in ``session``, the same for threads. One timer looks after the link for all who
wait. What it keeps running it starts in an empty context, so that it belongs to no task of the user's.
"""

import asyncio
import contextvars
from queue import Empty

from grpcflow.aio.bell import ENDLESS, Bell, Change, Pause
from grpcflow.aio.link import LoopLink
from grpcflow.link import Link
from grpcflow.session import Session
from grpcflow.waiting import Operation

__all__ = ["LoopSession"]


class LoopSession(Session):
    """All that one event loop has open with one coordinator; parameters as for ``Session``."""

    def _begin(self) -> None:
        super()._begin()
        self._changed = self._change = Change()
        self._pause = Pause()
        self._driver: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def aclose(self) -> None:
        """End the session: whoever waits is told; returns once nothing of it is left on the loop."""
        self.close()
        driver = self._driver
        if driver is not None and driver is not asyncio.current_task():
            await asyncio.wait([driver])

    def close(self) -> None:
        """End the session: whoever waits is told, and no new operation is taken. May be called again."""
        super().close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- how a coroutine waits ----------------------------------------------------------------------------

    def _prepare(self, operation: Operation) -> None:
        """Let a coroutine wait for it."""
        operation.wake = Bell()

    def _look(self) -> float:
        if self._timer is None:
            self._look_and_again()
        return ENDLESS

    def _look_and_again(self) -> None:
        """Look after the link now, and again while anybody waits."""
        self._timer = None
        if self._goes_on():
            pause = self.look_after_link()
            self._timer = asyncio.get_running_loop().call_later(pause, self._look_and_again)

    async def _next(self, operation: Operation, seconds: float) -> object:
        assert isinstance(operation.wake, Bell)
        try:
            item: object = await operation.wake.next(seconds)
        except Empty:
            return None
        return item

    async def _wait_for_change(self, seconds: float) -> None:
        await self._change.wait(seconds)

    def _new_link(self, address: str) -> Link:
        return contextvars.Context().run(LoopLink, address, self._connect_timeout, self._version)

    def _begin_driving(self) -> None:
        create = asyncio.get_running_loop().create_task
        self._driver = contextvars.Context().run(create, self._drive_to_the_end(), name="grpcflow-session")

    async def _drive_to_the_end(self) -> None:
        """Drive; where the loop itself ends, which cancels what runs on it, leave nothing behind."""
        try:
            await self._drive()
        finally:
            self._driver = None  # a task knows its loop, which this must not keep
            if self._link is not None:
                # Cancelled, or failed in a way that nobody foresaw: nothing may wait for this session any more.
                link, self._link = self._link, None
                self.close()
                await link.close()
