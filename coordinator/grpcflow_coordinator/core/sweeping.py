"""Sweep: entries of queues whose nodes have all settled are taken out, also where nobody serves the queue.

A node that is revoked or expires while it is queued leaves its entry where it stands, for nothing says which entry that
is; whoever takes from the queue passes over it. Where nobody takes, a sweep reads what stands there of one queue and
task. It comes when a good part of that has settled, and before the graph of such a node is deleted: an entry that
outlived its graph would mean another graph that is submitted under the same id. Sweeps are not remembered; after a
restart they are asked for again.
"""

from __future__ import annotations

from typing import Final

from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.model import Entry, Graph, LineKey, QueueAndTask, Run

#: Entries that one step looks at, and those that it reads at once; and how many nodes of one cost as much as another.
_BATCH: Final = 1_000
_PAGE: Final = 100
_NODES: Final = 50

#: Calls are swept where one in so many of those that stand there may have settled.
_SHARE: Final = 4


def leave_behind(step: Step, graph: Graph, run: Run, index: int) -> None:
    """Note that a node settles of which an entry may still stand in its queue."""
    lines, sweeps = step.cluster.lines, step.cluster.sweeps
    lines.gone.add((graph.id, index))
    step.loaded.put_stray(graph.id, lines.next_sequence)
    template = graph.templates[run.template]
    calls = template.queue, template.task
    strays = sweeps.strays[calls] = sweeps.strays.get(calls, 0) + 1
    # Counting what stands there goes over its lines; powers of two make that rare, whatever is revoked.
    if strays & (strays - 1) == 0 and strays * _SHARE >= sum(line.queued for line in lines.of(calls).values()):
        _ask(step, calls, lines.next_sequence)


def _ask(step: Step, calls: QueueAndTask, below: int) -> None:
    step.cluster.sweeps.asked[calls] = below  # the tick in the same commit begins


def is_clean(step: Step, graph: Graph) -> bool:
    """Return whether no entry names an ended graph; where one may, they are swept soon."""
    lines, sweeps, recovering = step.cluster.lines, step.cluster.sweeps, step.cluster.recovery
    if recovering is not None and graph.id in recovering.handed:
        return False  # the end of the recovery reads these entries
    # After a restart sequences may begin lower again, where nothing is queued.
    needed = min(step.loaded.stray(graph.id), lines.next_sequence)
    if not needed:
        return True
    tasks = {(template.queue, template.task) for template in graph.templates}
    unswept = [calls for calls in tasks if sweeps.swept.get(calls, 0) < needed]
    for calls in unswept:
        if calls != sweeps.calls or sweeps.below < needed:
            _ask(step, calls, lines.next_sequence)
    return not unswept


def forget(step: Step, graph: Graph) -> None:
    """Forget what settled in a graph that is being deleted: its id may come again, and no entry names it any more."""
    if step.loaded.stray(graph.id):
        step.cluster.lines.forget_gone(graph.id, 0, graph.node_count)


def work(step: Step) -> None:
    """Go one bounded step on."""
    sweeps, left = step.cluster.sweeps, _BATCH
    if step.cluster.recovery is not None:
        return  # what the entries below the marks mean is not known yet; the end of the recovery is followed by a tick
    while left > 0 and (sweeps.calls is not None or sweeps.asked):
        if sweeps.calls is None:
            _begin(step)
        while sweeps.lines and left > 0:
            left -= _sweep_page(step, sweeps.lines[-1], left)
        if not sweeps.lines and sweeps.calls is not None:
            sweeps.swept[sweeps.calls], sweeps.calls = sweeps.below, None
    step.effects.again |= sweeps.calls is not None or bool(sweeps.asked)


def _begin(step: Step) -> None:
    """Begin with what was asked for first."""
    sweeps = step.cluster.sweeps
    sweeps.calls = calls = next(iter(sweeps.asked))
    sweeps.below, sweeps.sequence = sweeps.asked.pop(calls), -1
    sweeps.lines = list(step.cluster.lines.of(calls))
    sweeps.strays.pop(calls, None)


def _sweep_page(step: Step, key: LineKey, most: int) -> int:
    """Take what is left over of one page of a line out of it, until that cost so much; return what it cost."""
    sweeps, lines = step.cluster.sweeps, step.cluster.lines
    page = step.loaded.entries(key, sweeps.sequence, sweeps.below, _PAGE) if key in lines.by_key else []
    cost = 0
    for entry in page:
        if _is_left_over(step, entry):
            lines.discard(step.loaded, entry)
        elif step.loaded.stray(entry.graph):
            # Some of it may be left behind, and some still run: a sweep that begins later is needed.
            lines.next_sequence = max(lines.next_sequence, sweeps.below + 1)
            step.loaded.put_stray(entry.graph, sweeps.below + 1)
        sweeps.sequence = entry.sequence
        cost += 1 + entry.count // _NODES
        if cost >= most:
            return cost
    if len(page) < _PAGE:
        sweeps.lines.pop()
        sweeps.sequence = -1
    return max(1, cost)


def _is_left_over(step: Step, entry: Entry) -> bool:
    if step.cluster.lines.is_dead(entry) or step.graph(entry.graph) is None:
        return True
    return len(step.loaded.settled_in(entry.graph, entry.first, entry.count)) == entry.count
