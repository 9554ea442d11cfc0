"""The time of a cluster in a test: the machine's own, moved forward by as much as the test says.

What waits for a time (countdown, ETA, retries, expiry, the end of results) waits in the coordinator, by its wall clock;
that is what moves. The monotonic clock by which it judges whether a worker lives stays the machine's, so that a jump of
a day costs no worker.
"""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from grpcflow.testing.stillness import next_due
from grpcflow_coordinator.core.events import Tick
from grpcflow_coordinator.core.model import Now

if TYPE_CHECKING:
    from grpcflow.testing.inside import Inside

__all__ = ["Clock", "Time"]

_MS = 1000


class Clock:
    """What the coordinator asks for the time.

    Attributes:
        ahead_ms: By how many milliseconds it is ahead of the machine's clock.
    """

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> Now:
        """Return the time."""
        return Now(time.time_ns() // 1_000_000 + self.ahead_ms, time.monotonic(), self.ahead_ms / _MS)


class Time:
    """The time of one cluster: `cluster.time`.

    Args:
        inside: The cluster's inside.
    """

    def __init__(self, inside: "Inside") -> None:
        self._inside = inside
        self._clock = inside.clock

    def now(self) -> datetime:
        """Return the cluster's time, in UTC: what an ETA that the test computes is to be computed from."""
        return datetime.fromtimestamp(self._clock().wall_ms / _MS, UTC)

    def advance(self, seconds: float | timedelta, *, settle: bool = True, timeout: float | None = None) -> None:
        """Move the time forward, and return when all that became due has run.

        It stops on the way wherever something is due, and lets that run before it goes on: a task that retries every
        minute runs sixty times in an hour.

        Args:
            seconds: How far: seconds, or a timedelta; at least 0.
            settle: False: only move the time and wait for nothing. Default True.
            timeout: Real seconds that all of it may take; None: as the cluster says.

        Raises:
            ValueError: It would go back.
            TimeoutError: Something still runs when the real time is over; the message says what.
            Exception: As for ``Cluster.settle``, where the cluster was made with ``raise_errors``.
        """
        self._inside.background.run(self._moved(seconds, settle, timeout))
        self._inside.check_errors()

    async def aadvance(self, seconds: float | timedelta, *, settle: bool = True, timeout: float | None = None) -> None:
        """The same for a test that is a coroutine: the test's own event loop goes on meanwhile."""
        await asyncio.wrap_future(self._inside.background.submit(self._moved(seconds, settle, timeout)))
        self._inside.check_errors()

    def _moved(self, seconds: float | timedelta, settle: bool, timeout: float | None) -> Coroutine[Any, Any, None]:
        length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if not length >= 0:
            raise ValueError(f"time goes forward only: advance() takes at least 0 seconds, not {length}")
        limit = self._inside.timeout if timeout is None else timeout
        return self._advance(round(length * _MS), settle, limit)

    async def _advance(self, length_ms: int, settle: bool, timeout: float) -> None:
        """On the cluster's loop: go from one due time to the next until all of the way is done."""
        engine, loop = self._inside.engine, asyncio.get_running_loop()
        deadline = loop.time() + timeout
        target = self._clock().wall_ms + length_ms
        arrived = False
        while not arrived:
            now, due = self._clock().wall_ms, next_due(engine)
            arrived = not settle or due is None or due >= target
            self._clock.ahead_ms += max(0, (target if arrived or due is None else due) - now)
            engine.post(Tick())
            await engine.flushed()
            if settle:
                await self._inside.stillness.wait(deadline - loop.time())
