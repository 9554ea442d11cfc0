"""The session of a process's threads: they wait by blocking, and one more thread drives the link.

Says how a thread waits, and what a fork means; all else is in ``session``. Safe for threads and across ``os.fork()``.
Threads that wait look after the link themselves, so that no timer thread is needed.
"""

import copy
import threading
from collections.abc import Sequence
from contextlib import aclosing
from queue import Empty
from typing import TYPE_CHECKING, Final

from grpcflow import forking
from grpcflow.blocking import run_here
from grpcflow.channels import PLAIN, Door
from grpcflow.link import Link
from grpcflow.pool import Pool, Pooled
from grpcflow.retry_policy import RetryPolicy
from grpcflow.session import Session
from grpcflow.submission import Submissions
from grpcflow.waiters import Waiters
from grpcflow.waiting import Operation

if TYPE_CHECKING:
    from grpcflow.lower.model import TemplateSpec

__all__ = ["ThreadedSession"]

#: Seconds that closing waits for a thread.
_JOIN: Final = 2.0

#: Seconds that a fork waits for one: what goes on meanwhile may hold a lock that nobody in the child gives back.
_REST: Final = 10.0


class ThreadedSession(Session):
    """All that one process has open with one coordinator; parameters as for ``Session``."""

    def __init__(
        self, addresses: Sequence[str], policy: RetryPolicy, connect_timeout: float, version: str, door: Door = PLAIN
    ) -> None:
        super().__init__(addresses, policy, connect_timeout, version, door)
        forking.watch_over(self)

    def _begin(self) -> None:
        super()._begin()
        self._changed = self._condition = threading.Condition(threading.RLock())
        self._pause = _Pause()
        self._driver: threading.Thread | None = None
        self._pool = Pool(self._send_pooled)

    # --- calls that leave together ------------------------------------------------------------------------

    async def submit_call(self, template: "TemplateSpec", payload: bytes, deadline: float) -> tuple[bytes, int]:
        """Send one plain call, with those of other threads that came while others wait for their answer."""
        with self._changed:
            pooled, index = self._pool.add(template, payload, deadline)
            waiting = _Waiting()
            if pooled.done:
                waiting.finish()
            else:
                pooled.waiting.append(waiting)
        async with aclosing(self._items(waiting, pooled.deadline)) as items:
            async for _ in items:
                pass
        if not pooled.done:
            self._give_up(pooled)
        if pooled.error is not None:
            raise copy.copy(pooled.error)
        return pooled.graph, index

    def close(self) -> None:
        """End the session: whoever waits is told, and no new operation is taken. May be called again."""
        super().close()
        self._join(_JOIN)

    # --- how a thread waits -------------------------------------------------------------------------------

    def _prepare(self, operation: Operation) -> None:
        """Do nothing: operations are made for being waited for by threads."""

    def _look(self) -> float:
        return self.look_after_link()

    async def _next(self, operation: Operation, seconds: float) -> object:
        try:
            item: object = operation.wake.get(timeout=seconds)
        except Empty:
            return None
        return item

    async def _wait_for_change(self, seconds: float) -> None:
        self._condition.wait(seconds)

    def _new_link(self, address: str) -> Link:
        link = Link(address, self._connect_timeout, self._version, self._door)
        forking.channel_opened()
        return link

    def _begin_driving(self) -> None:
        self._driver = threading.Thread(target=self._drive_here, name="grpcflow-session", daemon=True)
        self._driver.start()

    def _drive_here(self) -> None:
        run_here(self._drive())

    def _join(self, seconds: float) -> None:
        """Wait for a while until the driver has ended."""
        driver = self._driver
        if driver is not None and driver is not threading.current_thread():
            driver.join(seconds)

    # --- fork ---------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Close the link and hold still, with the lock held, until one of the two below is called."""
        with self._changed:
            self._resting = True
            self._stop_link("the process forks")
        self._join(_REST)
        with self._changed:
            self._condition.wait_for(lambda: self._borrowed == 0, _REST)
        self._condition.acquire()

    def resume_in_parent(self) -> None:
        """Let waiting threads go on; what is open is asked for again."""
        self._resting = False
        try:
            if self._goes_on():
                self._ensure_link()
        finally:
            self._changed.notify_all()
            self._condition.release()

    def resume_in_child(self) -> None:
        """Start anew with what the forking thread itself waits for, if it forked inside a callback."""
        me = threading.get_ident()
        submissions = [one for one in self._submissions if one.thread == me]
        waiters = [waiter for waiter in self._waiters if waiter.thread == me]
        self._begin()
        self._submissions, self._waiters = Submissions(), Waiters()
        for submission in submissions:
            self._submissions.add(submission)
        for waiter in waiters:
            self._waiters.add(waiter)


class _Waiting(Operation):
    """A thread that waits for the end of a bundle."""

    __slots__ = ()

    def told(self, _pooled: Pooled) -> None:
        """Wake it; what came of the bundle it sees itself."""
        self.finish()


class _Pause(threading.Event):
    """What the driver waits on before it opens the next link."""

    async def rest(self, seconds: float) -> None:
        """Wait until it is ended, or the time is over."""
        self.wait(seconds)
