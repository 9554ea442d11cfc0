"""How busy each worker is, as it said last. Nothing is decided by it, and nothing of it is kept on disk.

These are many and soon out of date, so they do not stand in the feed of events, where they would push out what
happened: of each connected worker the newest one is here, and a reader is given those that came since it looked last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from grpcflow_coordinator.core.model import Now
from grpcflow_protos.v1 import load_pb2

#: Longest name of a system or a version.
NAME_LIMIT: Final = 255


class Beat(NamedTuple):
    """What a worker said: the how manieth that was, when, and who."""

    number: int
    time_ms: int
    worker: str
    stream: object
    load: load_pb2.WorkerLoad


class Loads:
    """The newest load of each connected worker.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], Now]) -> None:
        self._now = now
        #: By name, the one that was told longest ago first.
        self._beats: dict[str, Beat] = {}
        #: How many were told so far.
        self.count = 0

    def hear(self, stream: object, worker: str, load: load_pb2.WorkerLoad) -> None:
        """A worker says how busy it is, on its stream."""
        self.count += 1
        kept = load_pb2.WorkerLoad()
        kept.CopyFrom(load)
        del kept.load_average[3:]
        kept.system, kept.version = load.system[:NAME_LIMIT], load.version[:NAME_LIMIT]
        self._beats.pop(worker, None)
        self._beats[worker] = Beat(self.count, self._now().wall_ms, worker, stream, kept)

    def forget(self, stream: object, worker: str) -> None:
        """A stream of a worker is gone; what its next one said stays."""
        beat = self._beats.get(worker)
        if beat is not None and beat.stream is stream:
            del self._beats[worker]

    def of(self, worker: str) -> load_pb2.WorkerLoad | None:
        """Return how busy a worker is, or None where it is not connected or has not said so."""
        beat = self._beats.get(worker)
        return None if beat is None else beat.load

    def since(self, number: int) -> Iterator[Beat]:
        """Yield what was told after so many, the oldest first."""
        fresh = []
        for beat in reversed(self._beats.values()):
            if beat.number <= number:
                break
            fresh.append(beat)
        return reversed(fresh)
