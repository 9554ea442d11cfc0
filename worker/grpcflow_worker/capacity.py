"""How many attempts a worker offers to hold: what its executor asks for, changed without haste and not too often.

The executor knows how long tasks take and says how many attempts it would like. This file turns that wish into
announcements: growing step by step, leaving small changes out, and falling back at once when nothing ends any more
while attempts wait. Pure arithmetic: it may NOT read a clock, log or know messages.
"""

from __future__ import annotations

from typing import Final

#: The largest offer, however short the tasks are: more would only wait here.
MOST: Final = 4000

#: The offer grows at most by this factor from one announcement to the next: one short task proves little.
GROWTH: Final = 8

#: Seconds of work that an executor asks for; used to read the expected duration of a task out of its wish.
AHEAD: Final = 0.1

#: Seconds without any end, beyond what a task takes, after which unstarted attempts are handed back.
PATIENCE: Final = 0.1


class Capacity:
    """The offer of one worker.

    Args:
        concurrency: how many tasks run at once; the smallest offer and the first.
    """

    __slots__ = ("_concurrency", "_progress_at", "_stalled", "_wanted", "announced")

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._wanted = concurrency
        self._stalled = False
        self._progress_at = 0.0
        #: The number the coordinator was told last.
        self.announced = concurrency

    def resize(self, concurrency: int) -> None:
        """Take in that so many tasks run at once from now on."""
        self._concurrency = concurrency
        self._wanted = max(self._wanted, concurrency)

    def want(self, wanted: int) -> None:
        """Take in how many attempts the executor would like to hold in all."""
        self._wanted = wanted

    def progress(self, now: float) -> None:
        """Take in that an attempt ended, or that work came to an idle worker, at ``now`` (monotonic seconds)."""
        self._stalled = False
        self._progress_at = now

    def target(self) -> int:
        """The offer to make now."""
        if self._stalled:
            return self._concurrency
        return max(self._concurrency, min(self._wanted, MOST, self.announced * GROWTH))

    def change(self) -> int | None:
        """The new offer to announce, or None where the old one is near enough.

        The answer counts as announced: the next call builds on it.
        """
        target = self.target()
        if target == self.announced:
            return None
        # A message more for every few per cent would cost more than it brings; the two ends are always told.
        if (
            abs(target - self.announced) * 4 < self.announced
            and self.announced >= self._concurrency
            and target not in (self._concurrency, MOST)
        ):
            return None
        self.announced = target
        return target

    def patience(self) -> float:
        """Seconds without any end after which attempts that wait are better off on another worker."""
        return PATIENCE + AHEAD * self._concurrency / max(self._wanted, self._concurrency)

    def surplus(self, held: int, now: float) -> int | None:
        """How many unstarted attempts may stay, where some should be handed back; None where all may stay.

        Args:
            held: attempts that have not ended, running ones included.
            now: monotonic seconds.
        """
        if held <= self._concurrency:
            return None
        if now - self._progress_at > self.patience():
            # Every place is taken by something long. Asking again at once would not help, hence the new start.
            self._stalled = True
            self._progress_at = now
            return 0
        if self._stalled:
            return None
        fair = self.target()
        # Tasks grew longer than those the offer was made for; twice the offer leaves room for what is on its way.
        return fair - self._concurrency if held > 2 * fair else None
