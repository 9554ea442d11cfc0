"""The session of one event loop: coroutines wait, and an asyncio task drives the link.

Says how a coroutine waits; all else is in ``session``, the same for threads. One timer looks after the link for all who
wait. What it keeps running it starts in an empty context, so that it belongs to no task of the user's.
"""

import asyncio
import contextvars
import copy
import time
import weakref
from collections.abc import Callable
from queue import Empty
from typing import TYPE_CHECKING

from grpcflow.aio.bell import ENDLESS, Bell, Change, Deadlines, Pause
from grpcflow.aio.link import LoopLink
from grpcflow.link import Link
from grpcflow.pool import Pool, Pooled
from grpcflow.session import Session
from grpcflow.waiters import Waiters
from grpcflow.waiting import NodeWaiter, Operation

if TYPE_CHECKING:
    from grpcflow.lower.model import TemplateSpec

__all__ = ["LoopSession", "LoopWaiter"]


class _Places(list[asyncio.Future[tuple[bytes, int]]]):
    """Coroutines that wait until a bundle is durable: a plain future for each of its calls, in their order."""

    def told(self, pooled: Pooled) -> None:
        """Tell each of them the graph and the index of its node, or what went wrong."""
        for index, future in enumerate(self):
            _tell(future, pooled, index)


class LoopWaiter(NodeWaiter):
    """A coroutine that waits for one node: what wakes it is a plain future, which asyncio waits for most quickly.

    Attributes:
        turn: What its deadline is known by; None: it has none.
    """

    __slots__ = ("turn",)

    turn: int | None

    def finish(self, error: Exception | None = None) -> None:
        """End it, well or with an error, and wake its coroutine. Only the first end counts."""
        if not self.done:
            self.error, self.done = error, True
            if not self.wake.done():
                self.wake.set_result(self)


def _stand_in(graph: bytes, index: int, slot: asyncio.Future[bytes | LoopWaiter | None]) -> LoopWaiter:
    """Return the waiter that is told what becomes of a node beside its value, and tells the slot."""
    waiter = LoopWaiter(graph, index, wake=slot)
    waiter.turn = None
    return waiter


def _tell(future: asyncio.Future[tuple[bytes, int]], pooled: Pooled, index: int) -> None:
    """Tell who waits for a call of a bundle the place of its node, or what went wrong."""
    if future.done():
        return
    if pooled.error is None:
        future.set_result((pooled.graph, index))
    else:
        future.set_exception(copy.copy(pooled.error))


class LoopSession(Session):
    """All that one event loop has open with one coordinator; parameters as for ``Session``."""

    def _begin(self) -> None:
        super()._begin()
        self._changed = self._change = Change()
        self._pause = Pause()
        self._driver: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pool = Pool(self._send_pooled, self._soon)
        self._deadlines = Deadlines()
        self._home: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self._waiters = Waiters(_stand_in)

    def _loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that it belongs to: the running one. To ask for that costs a system call each time."""
        loop = None if self._home is None else self._home()
        if loop is None:
            loop = asyncio.get_running_loop()
            self._home = weakref.ref(loop)
        return loop

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

    # --- calls that leave together ------------------------------------------------------------------------

    def submit_call(
        self, template: "TemplateSpec", payload: bytes, deadline: float
    ) -> asyncio.Future[tuple[bytes, int]]:
        """Send one plain call together with those of this moment; the rest as said there."""
        pooled, index = self._pool.add(template, payload, deadline)
        mine = self._loop().create_future()
        if pooled.done:
            _tell(mine, pooled, index)
        elif not pooled.waiting:
            pooled.waiting.append(_Places([mine]))
        else:
            [places] = pooled.waiting
            assert isinstance(places, _Places)
            places.append(mine)
        return mine

    def _send_pooled(self, pooled: Pooled) -> None:
        super()._send_pooled(pooled)
        if not pooled.done:
            self._look()
            left = pooled.deadline - time.monotonic()
            late = self._loop().call_later(left, self._give_up, pooled, context=contextvars.Context())
            pooled.then.append(late.cancel)

    def _soon(self, call: Callable[[], None]) -> None:
        """Call something once the loop has run what is ready now, in a context that is none of the user's."""
        self._loop().call_soon(call, context=contextvars.Context())

    # --- how a coroutine waits ----------------------------------------------------------------------------

    def _prepare(self, operation: Operation) -> None:
        """Let a coroutine wait for it."""
        if not isinstance(operation, LoopWaiter):
            operation.wake = Bell()

    def at_hand(self, graph: bytes, index: int) -> bytes | None:
        """Return the value of a node that has come already; as said there, with no lock to take."""
        return self._ahead.take(graph, index)

    def begin_slot(
        self, graph: bytes, index: int, seconds: float | None
    ) -> tuple[asyncio.Future[bytes | LoopWaiter | None], int | None] | None:
        """Begin to wait for a node of a bundle that was asked for already: the short way, where thousands wait.

        Args:
            graph: The 12 bytes of the graph id.
            index: Index of the node.
            seconds: How long to wait; None: without end.

        Returns:
            What is to be awaited, and what its deadline is known by; `end_slot` must follow. It gets the bytes of the
            value; a waiter that knows what else became of the node; or None, when the time is over. None where the
            node is to be waited for by `begin_wait`.
        """
        link = self._link
        if self._closed or link is None or not self._ahead.is_coming(graph, index, link.number):
            return None
        loop = self._loop()
        slot: asyncio.Future[bytes | LoopWaiter | None] = loop.create_future()
        if not self._waiters.add_slot(graph, index, slot):
            return None
        self._look()
        return slot, None if seconds is None else self._deadlines.add(slot, loop.time() + seconds, loop)

    def end_slot(
        self, graph: bytes, index: int, slot: asyncio.Future[bytes | LoopWaiter | None], turn: int | None
    ) -> None:
        """Let a node be waited for no longer; whoever waited may have been cancelled."""
        if turn is not None:
            self._deadlines.drop(slot, turn)
        came = slot.result() if slot.done() and not slot.cancelled() else None
        if came is None:
            self._waiters.drop_slot(graph, index, slot)
            self._unwatch(_stand_in(graph, index, slot))
        elif isinstance(came, LoopWaiter):
            self._waiters.drop_slot(graph, index, slot)

    def begin_wait(self, graph: bytes, index: int, seconds: float | None, *, waits_for_submit: bool) -> LoopWaiter:
        """Begin to wait for a node; ``end_wait`` must follow.

        Args:
            graph: The 12 bytes of the graph id.
            index: Index of the node.
            seconds: How long to wait; None: without end.
            waits_for_submit: True: the graph need not be there yet.

        Returns:
            Who waits. Unless it is done its ``wake`` is to be awaited; it has come where it is done then.

        Raises:
            CoordinatorUnavailable: The connection is closed.
        """
        loop = self._loop()
        waiter = LoopWaiter(graph, index, waits_for_submit=waits_for_submit, wake=loop.create_future())
        waiter.turn = None
        try:
            self.begin_watch(waiter)
        except BaseException:
            self.end_wait(waiter)
            raise
        if not waiter.done:
            self._look()
            if seconds is not None:
                waiter.turn = self._deadlines.add(waiter.wake, loop.time() + seconds, loop)
        return waiter

    def end_wait(self, waiter: LoopWaiter) -> None:
        """Let a node be waited for no longer; whoever waited may have been cancelled."""
        self.end_watch(waiter)
        if waiter.turn is not None:
            self._deadlines.drop(waiter.wake, waiter.turn)

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
        return contextvars.Context().run(LoopLink, address, self._connect_timeout, self._version, self._door)

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
