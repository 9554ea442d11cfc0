"""Who goes first in a queue: the order of the lines of one priority.

Lines of one fairness key, and all lines without one, are a *flow*. Flows take turns: the one of which the least was
handed out goes first, and one that comes anew begins where the round is, so that it neither waits for what was before
it nor catches up. Within a flow the line whose head has waited longest goes first.

Each task has its own order, so that what a worker does not know, or a shut gate holds back, is passed over whole,
however much it is. Keys in the heaps may lag behind: all parts of a key only grow while the line, or the flow, stays,
so one that is out of date is put right when it comes to the top.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from grpcflow_coordinator.core.limits import Gates
    from grpcflow_coordinator.core.lines import Line, Lines
    from grpcflow_coordinator.core.loaded import Loaded

#: Flows without work whose places in the round are kept.
_KEPT: Final = 1000

#: Tasks at the front that are passed over one by one; where there are more, a look at each costs less.
_PASSED: Final = 16

#: Larger than any sequence.
NO_LIMIT: Final = 1 << 62

_number = count()


class OutOfPatience(Exception):
    """The head of a line is not known, and this round reads no more of it."""


class Order:
    """The lines of one task, by flow."""

    __slots__ = ("count", "flows", "heap", "listed", "places", "since")

    def __init__(self, now_ms: float) -> None:
        #: By which sequence it stands among the tasks of its level; None: by none that counts.
        self.listed: int | None = None
        #: Of each flow a heap of its lines: (sequence of the head, a number that differs, the line).
        self.flows: dict[str, list[tuple[int, int, Line]]] = {}
        #: The flows: (what was handed out of it, sequence of its head, a number that differs, the flow).
        self.heap: list[tuple[int, int, int, str]] = []
        #: How many lines take part.
        self.count = 0
        #: The key that counts of each flow.
        self.places: dict[str, tuple[int, int]] = {}
        #: Monotonic milliseconds since which something is here, or since a batch of it left.
        self.since = now_ms

    def add(self, line: Line, head: int, served: int) -> None:
        """Take a line in, or let it come forward."""
        flow = line.key.fairness
        line.slot = head
        heapq.heappush(self.flows.setdefault(flow, []), (head, next(_number), line))
        place = self.places.get(flow)
        if place is None or (served, head) < place:
            self._put(flow, (served, head))

    def _put(self, flow: str, place: tuple[int, int]) -> None:
        self.places[flow] = place
        heapq.heappush(self.heap, (*place, next(_number), flow))

    def top(self, served: dict[str, int], lines: Lines, loaded: Loaded, gates: Gates) -> Line | None:
        """Return the line that goes first; None: there is none.

        Raises:
            OutOfPatience: it is not known yet.
        """
        heap = self.heap
        while heap:
            *place, _, flow = heap[0]
            known = self.places.get(flow)
            if known is None or list(known) != place:
                heapq.heappop(heap)
                continue
            line = self._first(flow, lines, loaded, gates)
            if line is None:
                heapq.heappop(heap)
                del self.places[flow], self.flows[flow]
                continue
            assert line.slot is not None
            exact = (served[flow], line.slot)
            if exact == known:
                return line
            heapq.heappop(heap)
            self._put(flow, exact)
        return None

    def _first(self, flow: str, lines: Lines, loaded: Loaded, gates: Gates) -> Line | None:
        """Return the line of a flow whose head has waited longest."""
        heap = self.flows[flow]
        while heap:
            head, _, line = heap[0]
            if line.slot != head:
                heapq.heappop(heap)
            elif line.key.key and gates.room_of_key(line.key) <= 0:
                heapq.heappop(heap)
                lines.rest(line)
                gates.hold(line)
            elif not lines.look_ahead(loaded, line):
                raise OutOfPatience
            elif line.slot is not None:  # else all that was left of it had settled, and it is gone
                exact = line.head()
                if exact == head:
                    return line
                heapq.heappop(heap)
                if exact == NO_LIMIT:
                    lines.rest(line)
                else:
                    line.slot = exact
                    heapq.heappush(heap, (exact, next(_number), line))
        return None

    def low(self, flow: str) -> int:
        """Return a sequence that no head of a flow is below."""
        heap = self.flows.get(flow)
        return heap[0][0] if heap else NO_LIMIT

    def holds(self, wanted: int) -> bool:
        """Return whether so many nodes wait here."""
        found = 0
        for heap in self.flows.values():
            for head, _, line in heap:
                if line.slot == head:
                    found += line.queued
                    if found >= wanted:
                        return True
        return False


class Level:
    """The lines of one queue and priority that may have something to hand out."""

    __slots__ = ("flows", "orders", "round", "served", "tasks")

    def __init__(self) -> None:
        #: (a sequence that no head of it is below, a number that differs, the task); what an order is not listed by
        #: does not count any more.
        self.tasks: list[tuple[int, int, str]] = []
        #: By task.
        self.orders: dict[str, Order] = {}
        #: How many lines each flow has here.
        self.flows: dict[str, int] = {}
        #: How much was handed out of each flow, as far as that is ahead of the round.
        self.served: dict[str, int] = {}
        #: Where the round is.
        self.round = 0

    def add(self, line: Line, now_ms: float) -> None:
        """Let a line take part; one that does and has come forward is moved."""
        flow, head = line.key.fairness, line.low()
        if flow not in self.flows:
            self.served[flow] = max(self.served.get(flow, 0), self.round)
        order = self.orders.get(line.key.task)
        if order is None:
            order = self.orders[line.key.task] = Order(now_ms)
        if line.slot is None:
            self.flows[flow] = self.flows.get(flow, 0) + 1
            order.count += 1
        elif line.slot <= head:
            return
        order.add(line, head, self.served[flow])
        if order.listed is None or head < order.listed:
            self._list(line.key.task, order, head)

    def _list(self, task: str, order: Order, head: int) -> None:
        """Let a task stand at this sequence among the others."""
        order.listed = head
        if len(self.tasks) > 2 * len(self.orders) + _KEPT:  # where there are several flows nobody clears up
            self.tasks = [(low, number, name) for low, number, name in self.tasks if self._is_listed(name, low)]
            heapq.heapify(self.tasks)
        heapq.heappush(self.tasks, (head, next(_number), task))

    def _is_listed(self, task: str, low: int) -> bool:
        order = self.orders.get(task)
        return order is not None and order.listed == low

    def first(self, is_open: Callable[[str], bool], lines: Lines, loaded: Loaded, gates: Gates) -> Line | None:
        """Return the line that goes first among the tasks that are open.

        Where there is one flow, tasks stand by what waits longest in each, and only those at the front are looked at.

        Args:
            is_open: says whether something of a task may be handed out now.
            lines: all lines.
            loaded: the records.
            gates: the gates.

        Raises:
            OutOfPatience: it is not known yet.
        """
        if len(self.flows) > 1:
            return self._first_of_flows(is_open, lines, loaded, gates)
        if not self.flows:
            return None
        [flow] = self.flows
        aside: list[tuple[int, int, str]] = []
        try:
            while self.tasks:
                low, number, task = self.tasks[0]
                if not self._is_listed(task, low):
                    heapq.heappop(self.tasks)
                    continue
                order = self.orders[task]
                if (lowest := order.low(flow)) > low:
                    order.listed = lowest
                    heapq.heapreplace(self.tasks, (lowest, number, task))
                elif not is_open(task):
                    aside.append(heapq.heappop(self.tasks))
                    if len(aside) >= _PASSED:
                        return self._first_of_flows(is_open, lines, loaded, gates)
                elif (line := order.top(self.served, lines, loaded, gates)) is None:
                    order.listed = None  # it has no lines any more
                elif line.slot == low:
                    return line
            return None
        finally:
            for one in aside:
                heapq.heappush(self.tasks, one)

    def _first_of_flows(
        self, is_open: Callable[[str], bool], lines: Lines, loaded: Loaded, gates: Gates
    ) -> Line | None:
        """Return the same where flows take turns: whose turn it is changes with each hand-out, for all tasks."""
        best, place = None, (NO_LIMIT, NO_LIMIT)
        for task, order in list(self.orders.items()):
            if self._is_behind(order, place) or not is_open(task):
                continue
            line = order.top(self.served, lines, loaded, gates)
            if line is not None and self._place(line) < place:
                best, place = line, self._place(line)
        return best

    def remove(self, line: Line) -> None:
        """Let a line take part no longer; what is left of it in its heap is dropped when it comes to the top."""
        if line.slot is None:
            return
        line.slot = None
        order = self.orders[line.key.task]
        order.count -= 1
        if not order.count:
            del self.orders[line.key.task]
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
        order = self.orders.get(task)
        return None if order is None else order.top(self.served, lines, loaded, gates)

    def _is_behind(self, order: Order, place: tuple[int, int]) -> bool:
        """Return whether all of a task stands behind a place for certain, as far as that is known without a look at it.

        The keys of its lines only grow; of one flow alone, then, the lowest key tells. Of a thousand tasks in a queue a
        few are looked at so.
        """
        flows = order.flows
        if len(flows) != 1:
            return False
        for flow, heap in flows.items():
            if heap:
                served = self.served.get(flow, 0)
                return served > place[0] or (served == place[0] and heap[0][0] > place[1])
        return False

    def _place(self, line: Line) -> tuple[int, int]:
        """Return how far in front a line stands that is at the top of its task: the lower the further."""
        return self.served[line.key.fairness], line.slot or 0
