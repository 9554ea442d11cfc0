"""How many tasks end, fail and come in a second, counted from the feed of events. Pure but for the clock.

The events' own times are what counts, so that what comes late, after a break, is put where it belongs. Where the
coordinator's clock is ahead of ours or behind, that is found out from the events.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from grpcflow.cli.top.model import Rate
from grpcflow.cli.top.text import clean
from grpcflow.event_model import Event, EventPage

__all__ = ["COUNTED", "KEPT", "Rates"]

#: Seconds that are kept.
KEPT: Final = 60

#: Whole seconds that a rate is taken over.
_LATELY: Final = 5

#: Queues of one second that are counted apart; there are no more in a cluster that anybody looks at.
_QUEUES: Final = 1_000

#: Kinds of events that are counted: what comes in, what ended by itself, what failed of that, and what leaves a queue.
_SENT: Final = frozenset({"task-sent"})
_FAILED: Final = frozenset({"task-failed", "task-rejected"})
_FINISHED: Final = frozenset({"task-succeeded", *_FAILED})
_ENDED: Final = frozenset({"task-revoked", *_FINISHED})
COUNTED: Final = tuple(sorted(_SENT | _ENDED))


@dataclass(slots=True)
class _Second:
    """What happened in one second."""

    finished: int = 0
    failed: int = 0
    submitted: int = 0
    queues: dict[str, list[int]] = field(default_factory=dict)


class Rates:
    """Counts events by the second; one thread may put in while another reads.

    Args:
        now: Unix time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._seconds: dict[int, _Second] = {}
        self._ahead: float | None = None
        #: When events were last taken: what happened since then is not known yet, and is no pause.
        self._taken = now()
        self._missed_at: float | None = None

    def take(self, page: EventPage) -> None:
        """Count the events of a page; one without events says that nothing happened until now."""
        arrived = self._now()
        with self._lock:
            self._taken = arrived
            if page.missed:
                self._missed_at = arrived
            if page.events:
                # No event comes before it happened: the nearest that one came tells how far ahead that clock is.
                newest = max(event.time.timestamp() for event in page.events) - arrived
                self._ahead = newest if self._ahead is None else max(self._ahead, newest)
            for event in page.events:
                self._count(event)
            self._forget(self._moment() - KEPT - 1)

    def _count(self, event: Event) -> None:
        kind, count = event.kind, event.count
        if not event.task and kind not in _SENT:
            return  # it collects the members of a group, and nothing ran
        second = self._seconds.setdefault(int(event.time.timestamp()), _Second())
        second.finished += count if kind in _FINISHED else 0
        second.failed += count if kind in _FAILED else 0
        second.submitted += count if kind in _SENT else 0
        if not event.task:
            return  # a graph that ends in a group: which queues its calls are in is not told
        queue = clean(event.queue)
        if queue in second.queues or len(second.queues) < _QUEUES:
            second.queues.setdefault(queue, [0, 0])[kind in _ENDED] += count

    def _moment(self) -> float:
        """Return until when all is known, by the coordinator's clock as far as that is known."""
        return self._taken + (self._ahead or 0.0)

    def _forget(self, before: float) -> None:
        for second in [each for each in self._seconds if each < before]:
            del self._seconds[second]

    @property
    def missed(self) -> bool:
        """True: some events of the last minute were no longer kept when they were asked for."""
        return self._missed_at is not None and self._now() - self._missed_at < KEPT

    def rate(self, name: str) -> Rate:
        """Return how often something happened in the last whole seconds.

        Args:
            name: `finished`, `failed` or `submitted`.
        """
        with self._lock:
            last = int(self._moment())
            found = (self._seconds.get(second) for second in range(last - KEPT, last))
            history = tuple(0 if second is None else getattr(second, name) for second in found)
        return Rate(sum(history[-_LATELY:]) / _LATELY, history)

    def queues(self) -> dict[str, tuple[float, float]]:
        """Return of each queue how many calls came in and how many ended a second."""
        sums: dict[str, list[int]] = {}
        with self._lock:
            last = int(self._moment())
            for second in range(last - _LATELY, last):
                for queue, (came, ended) in self._seconds.get(second, _Second()).queues.items():
                    total = sums.setdefault(queue, [0, 0])
                    total[0] += came
                    total[1] += ended
        return {queue: (came / _LATELY, ended / _LATELY) for queue, (came, ended) in sums.items()}
