"""How long tasks take, and what follows from it: how many go into one frame, and how many to ask for.

Pure: no clock, no I/O. Times are in seconds.
"""

from collections.abc import Callable
from typing import Any, Final

#: Expected work in one frame: waking a process costs about 33 us, so 2 ms makes that a few per cent.
FRAME_SECONDS: Final = 0.002

#: Expected work on a child's pipe above which no second frame is added: a short task never waits longer for it.
FILLED_SECONDS: Final = 0.005

#: Most frames on a child's pipe: many short ones, each of another task, are read and answered at once.
FRAMES: Final = 16

#: Expected work to hold in all for each place, so that a round trip to the coordinator never leaves it idle.
HELD_SECONDS: Final = 0.1

#: Most attempts in one frame.
FRAME_CALLS: Final = 200

#: Most attempts to ask for, for each place.
HELD_CALLS: Final = 2_000

#: Payload bytes after which a frame is cut.
FRAME_BYTES: Final = 256 * 1024

#: A measurement counts as at most this many times the mean: what is really longer says so again.
_LARGEST_STEP: Final = 4.0

#: Weight of the newest run.
_NEWEST: Final = 0.3


class _Duration:
    """Moving mean and mean deviation of one task's duration."""

    __slots__ = ("deviation", "done", "mean")

    def __init__(self, mean: float) -> None:
        self.mean = mean
        self.deviation = 0.0
        self.done = 0

    def learn(self, count: int, mean: float) -> None:
        # A process that lost the processor for a moment measures many times too much: one such frame is not the rule.
        mean = min(mean, self.mean * _LARGEST_STEP)
        # A frame of many runs says more than one of a single run, which may have been the first that its process had.
        weight = 1.0 - (1.0 - _NEWEST) ** count
        self.mean += weight * (mean - self.mean)
        self.deviation += weight * (abs(mean - self.mean) - self.deviation)
        self.done += count


class Pace:
    """What is known of the durations of all tasks of one executor.

    Args:
        ran: told what this is told; None: nobody wants to know.
    """

    __slots__ = ("_all", "_by_task", "_ran")

    def __init__(self, ran: Callable[[str, int, float], None] | None = None) -> None:
        """Start with nothing known."""
        self._ran = ran
        self._by_task: dict[str, _Duration] = {}
        self._all: _Duration | None = None

    def learn(self, task: str, count: int, seconds: float) -> None:
        """Take in that `count` runs of `task` took `seconds` together."""
        if self._ran is not None:
            self._ran(task, count, seconds)
        mean = seconds / count
        known = self._by_task.get(task)
        if known is None:
            known = self._by_task[task] = _Duration(mean)
        known.learn(count, mean)
        if self._all is None:
            self._all = _Duration(mean)
        self._all.learn(count, mean)

    def expected(self, task: str) -> float | None:
        """Seconds that one run is likely to take, on the careful side; None where it never ended yet."""
        known = self._by_task.get(task)
        return None if known is None else known.mean + known.deviation

    def frame_calls(self, task: str) -> int:
        """How many runs of `task` fit into one frame: 1 while its duration is unknown or varies."""
        expected = self.expected(task)
        if expected is None:
            return 1
        return max(1, min(FRAME_CALLS, int(FRAME_SECONDS / max(expected, 1e-7))))

    def capacity(self, places: int) -> int:
        """How many attempts to hold in all with this many places."""
        if self._all is None:
            return places
        expected = self._all.mean + self._all.deviation
        return places * max(1, min(HELD_CALLS, int(HELD_SECONDS / max(expected, 1e-7))))

    def stats(self) -> dict[str, Any]:
        """For each task: how many ended, and the mean duration in milliseconds."""
        return {
            task: {"done": known.done, "mean_ms": round(known.mean * 1000, 4)}
            for task, known in sorted(self._by_task.items())
        }
