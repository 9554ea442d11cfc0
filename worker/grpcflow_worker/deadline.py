"""The time that a worker has to leave, after which what still runs is stopped.

It may NOT know what runs, nor how it is stopped: who made it is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from grpcflow_worker.stream import Timing

#: What the number of the time is called where a worker leaves warm, and where it leaves soft.
WARM: Final = "--drain-timeout"
SOFT: Final = "worker_soft_shutdown_timeout"

_log = logging.getLogger("grpcflow.worker")


class Deadline:
    """Counts down once it is set; set again, only the new time counts.

    Args:
        timing: the clock.
        stop: called when the time is over, with the number of the signal that began it.
    """

    def __init__(self, timing: Timing, stop: Callable[[int], None]) -> None:
        self._timing = timing
        self._stop = stop
        self._passing: list[asyncio.Task[None]] = []

    def set(self, seconds: float, number: int, called: str) -> None:
        """Count down from now.

        Args:
            seconds: how long; 0: for ever, and an earlier time still counts.
            number: number of the signal that began it.
            called: where the user has said how long, for the log.
        """
        if seconds:
            for earlier in self._passing:
                earlier.cancel()
            self._passing.append(asyncio.ensure_future(self._pass(seconds, number, called)))

    async def _pass(self, seconds: float, number: int, called: str) -> None:
        await self._timing.sleep(seconds)
        _log.warning("the %g s of %s are over: stopping at once", seconds, called)
        self._stop(number)

    async def close(self) -> None:
        """Count no longer."""
        for each in self._passing:
            each.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
