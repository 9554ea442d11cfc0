"""The coordinator's signs of life for the streams of workers, many at once.

What a sign of life costs is mostly wake-ups: of a timer, of the loop, of the transport's threads. So streams take their
turns in groups, and one timer serves all of them. Workers answer at once, hence their own signs of life come in groups
as well. This file decides when; what is sent is the stream's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from grpcflow_coordinator.streams import WorkerStream

#: Turns in one round. More of them make shorter pauses for others, fewer of them make fewer wake-ups.
TURNS: Final = 8

#: Streams up to which a group is filled before the next one is begun; beyond that all grow alike.
GROUP: Final = 64

#: Part of the heartbeat in which a round is over: sooner than workers, who wait for all of it, speak by themselves.
EARLY: Final = 0.96


def _later(seconds: float, then: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, then)


class Pulse:
    """Has each stream say something once in a round, where it said nothing for half of one.

    Args:
        heartbeat: seconds between two signs of life that workers are told of.
        later: calls something after so many seconds; another one than the running loop's for tests.
        now: monotonic seconds.
    """

    def __init__(
        self,
        heartbeat: float,
        *,
        later: Callable[[float, Callable[[], None]], asyncio.TimerHandle] = _later,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._round = heartbeat * EARLY
        self._later, self._now = later, now
        self._groups: list[dict[WorkerStream, None]] = [{} for _ in range(TURNS)]
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, stream: WorkerStream) -> None:
        """Give a stream its turns from now on."""
        open_groups = [group for group in self._groups if len(group) < GROUP]
        group = max(open_groups, key=len) if open_groups else min(self._groups, key=len)
        group[stream] = None
        if self._timer is None:
            self._wait()

    def remove(self, stream: WorkerStream) -> None:
        """A stream has no more turns; without one that has, nothing runs."""
        for group in self._groups:
            group.pop(stream, None)
        if self._timer is not None and not any(self._groups):
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = self._later(self._round / TURNS, self._beat)

    def _beat(self) -> None:
        self._turn = (self._turn + 1) % TURNS
        before = self._now() - self._round / 2
        for stream in self._groups[self._turn]:
            stream.beat(before)
        self._wait()
