"""What happened over the last day, in steps: counts, waits and run times as digests, depths of queues. Pure but for
locks.

Three levels are kept: seconds for ten minutes, ten seconds for six hours, minutes for a day. Each event is counted in
all of them, so a range of any length is read from few steps. It may not ask anybody.
"""

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["COUNTED", "LEVELS", "POINTS", "Digest", "History"]

#: Seconds of a step, and how many of them are kept.
LEVELS: Final = ((1, 600), (10, 2_160), (60, 1_440))
#: Points that a curve has at most.
POINTS: Final = 360
#: What is counted of each step.
COUNTED: Final = ("submitted", "finished", "failed", "retried", "revoked")
#: Queues of which a step keeps depth and age: those where most waits.
_QUEUES: Final = 50
#: Seconds below which all is one, and how much longer each class of a digest reaches than the one before it.
_SHORTEST: Final = 0.0005
_FACTOR: Final = 1.2
_CLASSES: Final = 110


class Digest:
    """Lengths of time by classes that grow by a fifth, so that a percentile is right to a tenth. Not thread safe."""

    __slots__ = ("classes", "count")

    def __init__(self) -> None:
        self.classes: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a length of time.

        Args:
            seconds: How long.
            count: How many took so long.
        """
        place = 0 if seconds <= _SHORTEST else int(math.log(seconds / _SHORTEST) / math.log(_FACTOR)) + 1
        place = min(place, _CLASSES)
        self.classes[place] = self.classes.get(place, 0) + count
        self.count += count

    def take(self, other: "Digest") -> None:
        """Take another one in."""
        for place, count in other.classes.items():
            self.classes[place] = self.classes.get(place, 0) + count
        self.count += other.count

    def at(self, part: float) -> float | None:
        """Return how long that part took at most, in seconds; None where nothing was counted.

        Args:
            part: 0.5 for the median.
        """
        wanted, seen = part * self.count, 0
        for place in sorted(self.classes):
            seen += self.classes[place]
            if seen >= wanted:
                return _SHORTEST if place == 0 else _SHORTEST * _FACTOR ** (place - 0.5)
        return None

    def told(self) -> list[float | None]:
        """Return p50, p95 and p99 in seconds."""
        return [None if (found := self.at(part)) is None else round(found, 4) for part in (0.5, 0.95, 0.99)]


@dataclass(slots=True)
class _Step:
    """One step of a level."""

    counts: dict[str, int] = field(default_factory=dict)
    wait: Digest = field(default_factory=Digest)
    run: Digest = field(default_factory=Digest)
    queues: dict[str, tuple[int, float]] = field(default_factory=dict)
    workers: tuple[int, int, int] | None = None


class History:
    """The steps. One thread may put in while others read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._levels: list[dict[int, _Step]] = [{} for _ in LEVELS]

    # --- putting in ---------------------------------------------------------------------------------------

    def count(self, moment: float, what: str, count: int = 1) -> None:
        """Count what happened.

        Args:
            moment: When, in Unix time.
            what: One of ``COUNTED``.
            count: How often.
        """
        with self._lock:
            for step in self._at(moment):
                step.counts[what] = step.counts.get(what, 0) + count

    def waited(self, moment: float, seconds: float, count: int = 1) -> None:
        """Count calls that waited so long in their queue; parameters as those of ``ran``."""
        with self._lock:
            for step in self._at(moment):
                step.wait.add(seconds, count)

    def ran(self, moment: float, seconds: float, count: int = 1) -> None:
        """Count calls that took so long from the hand-out to their end.

        Args:
            moment: When they ended, in Unix time.
            seconds: How long they took.
            count: How many.
        """
        with self._lock:
            for step in self._at(moment):
                step.run.add(seconds, count)

    def stood(self, moment: float, queues: Mapping[str, tuple[int, float]], workers: tuple[int, int, int]) -> None:
        """Note how the cluster stands; of several in one step the last one holds.

        Args:
            moment: When, in Unix time.
            queues: Of each queue how many calls wait, and for how many seconds the oldest of them.
            workers: How many are live, how many tasks run, how many could.
        """
        most = dict(sorted(queues.items(), key=lambda pair: -pair[1][0])[:_QUEUES])
        with self._lock:
            for step in self._at(moment):
                step.queues, step.workers = most, workers

    def _at(self, moment: float) -> Iterable[_Step]:
        """Return the step of each level, and forget the oldest. The lock is held."""
        for (seconds, kept), steps in zip(LEVELS, self._levels, strict=True):
            number = int(moment // seconds)
            step = steps.get(number)
            if step is None:
                step = steps[number] = _Step()
                for old in [each for each in steps if each <= number - kept]:
                    del steps[old]
            yield step

    # --- reading ------------------------------------------------------------------------------------------

    def series(self, now: float, length: float, tail: int | None = None) -> dict[str, Any]:
        """Return curves as plain data: a list of points for each, and the moments.

        Args:
            now: Where they end, in Unix time; the step that is not over is left out.
            length: Seconds that they reach back.
            tail: Points from the end; None: all.
        """
        level = next((at for at, (seconds, kept) in enumerate(LEVELS) if length <= seconds * kept), len(LEVELS) - 1)
        seconds = LEVELS[level][0]
        each = max(1, math.ceil(length / seconds / POINTS))
        width = seconds * each
        last = int(now // width)
        points = math.ceil(length / width)
        with self._lock:
            found = [
                _merged(self._levels[level].get(number) for number in range(at * each, (at + 1) * each))
                for at in range(last - min(points, tail or points), last)
            ]
        times = [(last - len(found) + at) * width for at in range(len(found))]
        return {"step": width, "times": times, **_curves(found, width)}

    def digests(self, now: float, length: float) -> dict[str, list[float | None]]:
        """Return p50, p95 and p99 of ``wait`` and ``run`` over the last so many seconds."""
        level = next((at for at, (seconds, kept) in enumerate(LEVELS) if length <= seconds * kept), len(LEVELS) - 1)
        seconds, first = LEVELS[level][0], (now - length) // LEVELS[level][0]
        with self._lock:
            whole = _merged(step for number, step in self._levels[level].items() if first < number <= now // seconds)
        return {"wait": whole.wait.told(), "run": whole.run.told()}


def _merged(steps: Iterable[_Step | None]) -> _Step:
    """Return several steps as one."""
    whole = _Step()
    for step in steps:
        if step is None:
            continue
        for what, count in step.counts.items():
            whole.counts[what] = whole.counts.get(what, 0) + count
        whole.wait.take(step.wait)
        whole.run.take(step.run)
        whole.queues = step.queues or whole.queues
        whole.workers = step.workers or whole.workers
    return whole


def _curves(steps: list[_Step], width: int) -> dict[str, Any]:
    """Return the points of each curve; counts as so many a second."""
    names = {name for step in steps for name in step.queues}
    highest = {name: max(step.queues.get(name, (0, 0.0))[0] for step in steps) for name in names}
    shown = sorted(sorted(names), key=lambda name: -highest[name])[:8]
    known = [step.workers is not None for step in steps]
    return {
        **{what: [round(step.counts.get(what, 0) / width, 3) for step in steps] for what in COUNTED},
        "wait": [step.wait.told() for step in steps],
        "run": [step.run.told() for step in steps],
        "workers": [list(step.workers) if step.workers else None for step in steps],
        "queues": {
            name: [
                list(step.queues.get(name, (0, 0.0))) if there else None
                for step, there in zip(steps, known, strict=True)
            ]
            for name in shown
        },
    }
