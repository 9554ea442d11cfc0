"""From events to history: counts, how long calls waited until they were handed out, how long they took then.

Pure: gets pages of events, asks nobody. What is remembered between two events is bounded; where more goes on at once,
some waits and run times are not measured, and none is measured wrong.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from grpcflow.dashboard.history import Digest, History
from grpcflow.event_model import Event, EventPage

__all__ = ["KINDS", "Recorder"]

_T = TypeVar("_T")

_COUNTED: Final = {
    "task-sent": ("submitted",),
    "task-succeeded": ("finished",),
    "task-failed": ("finished", "failed"),
    "task-rejected": ("finished", "failed"),
    "task-retried": ("retried",),
    "task-revoked": ("revoked",),
}
_ENDED: Final = frozenset({"task-succeeded", "task-failed", "task-rejected"})
#: Kinds of events that are looked at.
KINDS: Final = (*_COUNTED, "task-received")
#: Graphs that are remembered.
_GRAPHS: Final = 20_000
#: Hand-outs of one graph that are remembered, and tasks that are counted apart.
_HANDED: Final = 64
_TASKS: Final = 1_000


@dataclass(slots=True)
class _Task:
    """How one task did."""

    counts: dict[str, int] = field(default_factory=dict)
    run: Digest = field(default_factory=Digest)


class Recorder:
    """Puts what events tell into a history.

    Args:
        history: Where to.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        #: Graph -> when it was submitted, while none of it has ended: what runs behind that may have waited for others.
        self._sent: OrderedDict[bytes, float] = OrderedDict()
        #: Graph -> its last hand-outs: when, first and last node.
        self._handed: OrderedDict[bytes, list[tuple[float, int, int]]] = OrderedDict()
        self._tasks: dict[str, _Task] = {}

    def take(self, page: EventPage) -> None:
        """Count the events of a page."""
        for event in page.events:
            moment = event.time.timestamp()
            if event.kind == "task-received":
                self._received(event, moment)
            elif event.task or event.kind == "task-sent":  # what has no task collects a group, and nothing ran
                task = self._task(event.task)
                for what in _COUNTED.get(event.kind, ()):
                    self._history.count(moment, what, event.count)
                    if task is not None and what != "submitted":
                        task.counts[what] = task.counts.get(what, 0) + event.count
            if event.kind == "task-sent":
                _remember(self._sent, event.graph, moment)
            elif event.kind in _ENDED:
                self._ended(event, moment)

    def _received(self, event: Event, moment: float) -> None:
        sent = self._sent.get(event.graph)
        if sent is not None:
            self._history.waited(moment, max(0.0, moment - sent), event.count)
        if event.nodes:
            held = self._handed.get(event.graph) or _remember(self._handed, event.graph, [])
            held.append((moment, event.nodes[0], event.nodes[-1]))
            del held[:-_HANDED]

    def _ended(self, event: Event, moment: float) -> None:
        self._sent.pop(event.graph, None)
        if not event.task:
            return
        took = event.runtime
        if took is None and event.nodes:
            node = event.nodes[0]
            handed = reversed(self._handed.get(event.graph, ()))
            began = next((when for when, first, last in handed if first <= node <= last), None)
            took = None if began is None else max(0.0, moment - began)
        if took is not None:
            self._history.ran(moment, took, event.count)
            task = self._task(event.task)
            if task is not None:
                task.run.add(took, event.count)

    def _task(self, name: str) -> _Task | None:
        """Return how a task did so far; None: there are too many of them."""
        if name not in self._tasks and name and len(self._tasks) < _TASKS:
            self._tasks[name] = _Task()
        return self._tasks.get(name)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return of each task how often it ended in which way, and p50, p95 and p99 of its run time in seconds."""
        return {name: {**task.counts, "run": task.run.told()} for name, task in list(self._tasks.items())}


def _remember(kept: OrderedDict[bytes, _T], graph: bytes, value: _T) -> _T:
    kept[graph] = value
    if len(kept) > _GRAPHS:
        kept.popitem(last=False)
    return value
