"""How busy the worker is, told to the coordinator now and then.

It goes along with what is said anyway, for nothing waits for it; only where it is wanted more often than signs of life
are, it is a message of its own. This file may NOT send anything or decide about work.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Iterable
from typing import Final

from grpcflow_protos.v1 import load_pb2
from grpcflow_worker.executor import Executor

#: Seconds after which it is told though nothing has changed.
LONGEST: Final = 30.0

#: By how much a load average differs that has changed.
_CHANGE: Final = 0.1

#: Part of the interval by which it may come too soon, to go along with a message.
_EARLY: Final = 0.1


class LoadTeller:
    """Says when the load is to be told.

    Args:
        measure: returns the load as it is now.
        interval: seconds between two of them; 0: never.
        now: monotonic seconds.
    """

    def __init__(self, measure: Callable[[], load_pb2.WorkerLoad], interval: float, now: Callable[[], float]) -> None:
        """Begin: the first one is due at once."""
        self._measure = measure
        #: Seconds between two loads; 0: none is told.
        self.interval = interval
        #: Seconds that it may come too soon, to go along with a message.
        self.margin = interval * _EARLY
        self._now = now
        self._looked_at = self._told_at = -math.inf
        self._told: load_pb2.WorkerLoad | None = None

    def rest(self) -> float:
        """Return the seconds until it is due; below 0 where it is, infinite where it never is."""
        return self._looked_at + self.interval - self._now() if self.interval else math.inf

    def take(self, *, soon: bool = False) -> load_pb2.WorkerLoad | None:
        """Return the load where it is due and has changed, or was not told for long; it then counts as told.

        Args:
            soon: True: also where it is almost due, since something is said anyway.
        """
        if self.rest() > (self.margin if soon else 0.0):
            return None
        now = self._looked_at = self._now()
        load = self._measure()
        if now - self._told_at < max(LONGEST, self.interval) and not _differs(load, self._told):
            return None
        load.interval_ms = round(self.interval * 1000)
        self._told_at, self._told = now, load
        return load

    def forget(self) -> None:
        """Tell it at the next chance: it is asked for, or a new stream begins."""
        self._looked_at = self._told_at = -math.inf


def _differs(load: load_pb2.WorkerLoad, told: load_pb2.WorkerLoad | None) -> bool:
    if told is None or (load.running, load.processed) != (told.running, told.processed):
        return True
    pairs = zip(load.load_average, told.load_average, strict=False)
    return any(abs(one - other) >= _CHANGE for one, other in pairs)


def measure_load(executor: Executor, version: str) -> load_pb2.WorkerLoad:
    """Return how busy the worker is.

    Args:
        executor: what runs its tasks.
        version: version of the worker.
    """
    figures = executor.stats()
    children = [each["pid"] for each in figures.get("processes", ()) if each.get("pid")]
    return load_pb2.WorkerLoad(
        load_average=_load_average(),
        running=len(executor.running()),
        processed=sum(each.get("done", 0) for each in figures.get("tasks", {}).values()),
        memory=sum(map(_resident, (os.getpid(), *children))),
        system=platform.system(),
        version=version,
    )


def _load_average() -> Iterable[float]:
    try:
        return [round(each, 2) for each in os.getloadavg()]
    except (AttributeError, OSError):  # Windows has none
        return ()


def _resident(process_id: int) -> int:
    """Return the bytes that a process has in memory; 0 where that is not known, or it has ended."""
    try:
        with open(f"/proc/{process_id}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
