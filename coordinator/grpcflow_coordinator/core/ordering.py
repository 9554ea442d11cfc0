"""Who goes first in a queue: the order of the lines of one priority.

Lines of one fairness key, and all lines without one, are a *flow*. Flows take turns: the one of which the least was
handed out goes first, and one that comes anew begins where the round is, so that it neither waits for what was before
it nor catches up. Within a flow the line whose head has waited longest goes first.

Each task has a heap of its own, so that what a worker does not know, or a shut gate holds back, is passed over whole,
however much it is. A heap's keys may lag behind: both parts of a key only grow while the line stays, so a key that is
out of date is put right when it comes to the top.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from grpcflow_coordinator.core.limits import Gates
    from grpcflow_coordinator.core.lines import Line, Lines
    from grpcflow_coordinator.core.loaded import Loaded

#: (what was handed out of the flow, sequence of the head, a number that differs, the line).
_Place: TypeAlias = tuple[int, int, int, "Line"]

#: Flows without work whose places in the round are kept.
_KEPT: Final = 1000

#: Larger than any sequence.
NO_LIMIT: Final = 1 << 62


class OutOfPatience(Exception):
    """The head of a line is not known, and this round reads no more of it."""


class Level:
    """The lines of one queue and priority that may have something to hand out."""

    __slots__ = ("_number", "flows", "heaps", "round", "served", "since")

    def __init__(self) -> None:
        self._number = count()
        #: By task.
        self.heaps: dict[str, list[_Place]] = {}
        #: How many lines each flow has here.
        self.flows: dict[str, int] = {}
        #: How much was handed out of each flow, as far as that is ahead of the round.
        self.served: dict[str, int] = {}
        #: Where the round is.
        self.round = 0
        #: By task: monotonic milliseconds since which something of it is here, or since a batch of it left.
        self.since: dict[str, float] = {}

    def add(self, line: Line, now_ms: float) -> None:
        """Let a line take part; one that does and has come forward is moved."""
        flow = line.key.fairness
        if flow not in self.flows:
            self.served[flow] = max(self.served.get(flow, 0), self.round)
        slot = (self.served[flow], line.low())
        if line.slot is None:
            self.flows[flow] = self.flows.get(flow, 0) + 1
        elif line.slot <= slot:
            return
        line.slot = slot
        heap = self.heaps.get(line.key.task)
        if heap is None:
            heap = self.heaps[line.key.task] = []
            self.since[line.key.task] = now_ms
        heapq.heappush(heap, (*slot, next(self._number), line))

    def remove(self, line: Line) -> None:
        """Let a line take part no longer; what is left of it in the heap is dropped when it comes to the top."""
        if line.slot is None:
            return
        line.slot = None
        flow = line.key.fairness
        self.flows[flow] -= 1
        if self.flows[flow]:
            return
        del self.flows[flow]
        if self.served[flow] <= self.round:
            del self.served[flow]
        elif len(self.served) > _KEPT + 2 * len(self.flows):
            self.served = {name: done for name, done in self.served.items() if name in self.flows or done > self.round}

    def spend(self, line: Line, handed_out: int) -> None:
        """Count what was handed out of a line that was at the top."""
        flow = line.key.fairness
        before = self.served.get(flow, self.round)
        self.round = max(self.round, before)
        if flow in self.flows:
            self.served[flow] = before + handed_out

    def top(self, task: str, lines: Lines, loaded: Loaded, gates: Gates) -> Line | None:
        """Return the line of a task that goes first.

        Raises:
            OutOfPatience: it is not known yet.
        """
        heap = self.heaps.get(task)
        while heap:
            served, head, _, line = heap[0]
            if line.slot != (served, head):
                heapq.heappop(heap)
            elif line.key.key and gates.room_of_key(line.key) <= 0:
                heapq.heappop(heap)
                lines.rest(line)
                gates.hold(line)
            elif not lines.look_ahead(loaded, line):
                raise OutOfPatience
            elif line.slot is not None:  # else all that was left of it had settled, and it is gone
                slot = (self.served[line.key.fairness], line.head())
                if slot[1] == NO_LIMIT:
                    heapq.heappop(heap)
                    lines.rest(line)
                elif slot == line.slot:
                    return line
                else:
                    line.slot = slot
                    heapq.heapreplace(heap, (*slot, next(self._number), line))
        self.heaps.pop(task, None)
        self.since.pop(task, None)
        return None

    def holds(self, task: str, wanted: int) -> bool:
        """Return whether so many nodes of a task wait here."""
        found = 0
        for served, head, _, line in self.heaps.get(task, ()):
            if line.slot == (served, head):
                found += line.queued
                if found >= wanted:
                    return True
        return False
