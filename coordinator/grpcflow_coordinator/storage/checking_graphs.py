"""Check one graph: where each of its nodes stands, what is counted of it, and what leads to it. See `checking`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

from grpcflow_coordinator.core.model import (
    AttachmentKind,
    Graph,
    NodeState,
    Outcome,
    Run,
    Tally,
    node_id,
    split_node,
    text_id,
)
from grpcflow_coordinator.core.retention import template_of_whole
from grpcflow_coordinator.core.states import FAILED
from grpcflow_coordinator.storage import keys
from grpcflow_coordinator.storage.findings import Finding, Indexes, Place
from grpcflow_coordinator.storage.keeping import stamps_of

#: Runs that are read at once.
_RUNS: Final = 500


def check_graph(found: Indexes, graph_id: bytes) -> Iterator[Finding]:
    """Tell what does not agree of one graph."""
    graph = found.records.graph(graph_id)
    if graph is None or _is_going(found, graph):
        return
    tally = Tally(graph.node_count)
    covered = 0
    last_ms = 0
    for run in _runs(found, graph_id):
        if run.first != covered:
            yield Finding("run", f"graph {graph_id.hex()} has no run for node {covered}")
        covered = run.first + run.count
        outcomes = dict(found.records.outcomes(graph_id, run.first, run.count, run.count))
        for outcome in outcomes.values():
            tally.settled(outcome.state)
            last_ms = max(last_ms, outcome.settled_ms)
        yield from _names(found, graph, run)
        for index in range(run.first, run.first + run.count):
            if index in outcomes:
                yield from _settled(found, graph, run, index, outcomes[index])
            elif graph_id not in found.in_work:
                yield from _unsettled(found, graph, run, index)
    if covered != graph.node_count:
        yield Finding("run", f"graph {graph_id.hex()} has runs for {covered} of {graph.node_count} nodes")
    yield from _counts(found, graph, tally)
    yield from _leads(found, graph)
    if tally.unsettled == 0:
        yield from _ended(found, graph, tally, last_ms)


def _is_going(found: Indexes, graph: Graph) -> bool:
    """Return whether a graph is being deleted: what is left of it need not agree."""
    due_ms = found.pruned.get(graph.id)
    if due_ms is None or due_ms > found.now_ms:
        return False
    tally = found.records.tally(graph.id)
    return graph.node_count == 1 or tally is None or tally.unsettled == 0


def _runs(found: Indexes, graph_id: bytes) -> Iterator[Run]:
    start = 0
    while page := found.records.runs(graph_id, start, _RUNS):
        yield from page
        behind = page[-1].first + page[-1].count
        if behind <= start:
            return  # a run that has no nodes: what it lacks is found by the count
        start = behind


def _names(found: Indexes, graph: Graph, run: Run) -> Iterator[Finding]:
    """The user's own id of a run leads to it, or to a newer one that has it as well."""
    if run.own_id and found.records.alias(run.own_id) is None:
        yield Finding("alias", f"the id {run.own_id!r} does not lead to {text_id(graph.id, run.first)}")


def _settled(found: Indexes, graph: Graph, run: Run, index: int, outcome: Outcome) -> Iterator[Finding]:
    name = text_id(graph.id, index, run.own_id)
    itself = not run.is_join and outcome.state in (NodeState.FAILURE, NodeState.REJECTED)
    itself &= bool(outcome.token) or (outcome.failure is not None and outcome.failure.reason == "WORKER_LOST")
    listed = found.records.has_failed(graph.id, index)
    if listed and not itself:
        yield Finding("failed task", f"{name} is listed as failed and did not fail by itself")
    elif itself and not listed:
        yield Finding("failed task", f"{name} failed and is not listed: somebody purged it, or the list lost it", False)
    waiting = found.records.waiting(graph.id, index)
    if waiting is not None and waiting >= 0 and graph.id not in found.in_work:
        yield Finding(
            "waiting count", f"{name} has settled, and {waiting} parents are counted that it waits for", False
        )


def _unsettled(found: Indexes, graph: Graph, run: Run, index: int) -> Iterator[Finding]:
    """An unsettled node waits for something that will come, and stands in exactly one place."""
    name = text_id(graph.id, index, run.own_id)
    places = list(_places(found, graph.id, index))
    if found.records.has_failed(graph.id, index):
        yield Finding("failed task", f"{name} is listed as failed and has not settled")
    progress = found.records.progress(graph.id, index)
    if progress is not None and progress.replaced_by:
        owner, place = split_node(progress.replaced_by)
        other = found.records.graph(owner)
        if places or other is None or found.records.outcome(owner, place) is not None:
            yield Finding("progress", f"{name} was replaced, and is queued as well or waits for what has ended")
        elif other.attachment is None or other.attachment.node != node_id(graph.id, index):
            yield Finding("progress", f"{name} was replaced by {owner.hex()}, which runs for another node")
        return
    if progress is not None and progress.follows:
        if found.store.get(keys.FOLLOWER + progress.follows + node_id(graph.id, index)) is None:
            yield Finding("follower", f"{name} follows {progress.follows.hex()}, and no follower is noted there")
        return
    waits = yield from _waits(found, graph, run, index, name)
    cursor = found.records.release_cursor(graph.id)
    beyond = cursor is not None and index >= cursor and not run.inputs and not run.is_join
    kind = "timer" if any(place.sequence < 0 for place in places) else "queue entry"
    if waits and places:
        yield Finding(kind, f"{name} waits for parents and is queued as well")
    elif beyond and places:
        yield Finding("release cursor", f"{name} is queued, and the cursor of its graph has not come to it")
    elif not waits and not beyond and len(places) != 1:
        kind = "queue entry, timer or cursor" if not places else kind
        yield Finding(kind, f"{name} waits for nothing and stands in {len(places)} places of the queue and the timers")
    elif len(places) == 1:
        yield from _released(found, graph, run, index, places[0], name)


def _places(found: Indexes, graph_id: bytes, index: int) -> Iterator[Place]:
    """Where a node stands; what it says of that itself goes before what names it."""
    progress = found.records.progress(graph_id, index)
    again = graph_id in found.retried
    timed = False
    for place in found.places.get(graph_id, ()):
        if not place.holds(index):
            continue
        if place.sequence >= 0:
            if progress is None or progress.place in (0, place.sequence):
                yield place
        elif not again or (progress is not None and progress.place == -1 and not timed):
            timed = True  # of a graph that was retried a timer from before may name it as well
            yield place


def _released(found: Indexes, graph: Graph, run: Run, index: int, place: Place, name: str) -> Iterator[Finding]:
    """What belongs to a node that was released: its expiry, its unique key, the mark that says it may run."""
    template = graph.templates[run.template]
    progress = found.records.progress(graph.id, index)
    mark = found.marks.get(place.line, 0) if place.line is not None else 0
    if progress is not None and progress.handed and place.line is not None and place.sequence >= mark:
        yield Finding("hand-out mark", f"{name} was handed out, and the mark of its line says that nothing was")
    moved = progress is not None and bool(progress.retries or progress.doom)
    never_handed = place.sequence >= mark or place.sequence < 0
    earliest = template.expires_at_ms or graph.created_ms + template.expires_in_ms
    timed = not template.can_expire or any(one.holds(index) for one in found.expiries.get(graph.id, ()))
    if not timed and not moved and (never_handed or earliest > found.now_ms):
        # Of what may have started the timer may have gone already, by a clock that was ahead.
        yield Finding("timer", f"{name} is to expire, and no timer says when", never_handed)
    if run.unique_key and not template.unique_for_ms and found.records.held(run.unique_key) is None:
        yield Finding("unique key", f"{name} was released, and nobody holds its unique key")


def _waits(found: Indexes, graph: Graph, run: Run, index: int, name: str) -> Generator[Finding, None, bool]:
    """Return (by the generator's end) whether a parent is still to settle; tell where the counts say otherwise."""
    parents = [edge.parent for edge in run.inputs]
    for first, count in run.members or ():
        parents += range(first, first + count)
    if not parents and not run.is_join:
        return False
    outcomes = [found.records.outcome(graph.id, parent) for parent in parents]
    if run.is_join:
        outcomes += [found.records.outcome(*split_node(extra)) for extra in found.records.extras(graph.id, index)]
    missing = sum(outcome is None for outcome in outcomes)
    stored = found.records.waiting(graph.id, index)
    if run.is_errback:
        if stored == -1:
            return False
        if missing == 0:
            yield Finding("waiting count", f"{name} is an errback that waits though all its parents have settled")
        return True
    if any(one is not None and one.state in (*FAILED, NodeState.IGNORED) for one in outcomes) or (
        missing == 0 and run.is_join
    ):
        yield Finding("outcome", f"{name} has not settled, and what it waited for has")
    elif missing and (len(outcomes) if stored is None else stored) != missing:
        yield Finding("waiting count", f"{name} waits for {missing} parents, and {stored} are counted")
    elif not missing and stored is not None:
        yield Finding("waiting count", f"{name} waits for nothing, and {stored} parents are counted")
    return missing > 0


def _counts(found: Indexes, graph: Graph, tally: Tally) -> Iterator[Finding]:
    counted = found.records.tally(graph.id)
    if graph.node_count == 1:
        if counted is not None:
            yield Finding("tally", f"graph {graph.id.hex()} has one node and a count of them", broken=False)
    elif (counted or Tally(graph.node_count)) != tally:
        cure = "" if counted is None or counted.unsettled != tally.unsettled else "; `migrate` counts anew"
        yield Finding("tally", f"graph {graph.id.hex()} stands at {tally} and counts {counted}{cure}")
    if tally.unsettled and graph.id in found.pruned and graph.id not in found.retried:
        yield Finding("retention timer", f"graph {graph.id.hex()} has not ended, and a timer is to delete it")
    cursor = found.records.release_cursor(graph.id)
    if cursor is not None and (tally.unsettled == 0 or cursor >= graph.node_count):
        yield Finding("release cursor", f"graph {graph.id.hex()} has a cursor and nothing to release", broken=False)
    stripped = found.records.stripped_to(graph.id)
    if stripped is not None and stripped > graph.node_count:
        yield Finding("deleted arguments", f"graph {graph.id.hex()} lost the arguments of more nodes than it has")


def _leads(found: Indexes, graph: Graph) -> Iterator[Finding]:
    """What leads to a graph: its stamps, and the join that it is one more member of."""
    attachment = graph.attachment
    spread = attachment is not None and attachment.token == 0  # a broadcast: stamps stay with the node it runs for
    for stamp in () if spread else sorted(stamps_of(graph.templates)):
        if found.store.get(keys.STAMP + keys.digest(*stamp) + graph.id) is None:
            yield Finding("stamp", f"graph {graph.id.hex()} bears {stamp[0]}={stamp[1]!r}, which does not lead to it")
    if attachment is None or graph.id in found.in_work or split_node(attachment.node)[0] in found.in_work:
        return
    if found.records.outcome(graph.id, attachment.final) is None:
        member = node_id(graph.id, attachment.final)
        if attachment.kind is AttachmentKind.REPLACE:
            yield from _replaced(found, graph, attachment.node, member)
            return
        owner, join = _join_of(found, *split_node(attachment.node))
        if owner and found.records.outcome(owner, join) is None and member not in found.records.extras(owner, join):
            yield Finding("added member", f"graph {graph.id.hex()} was added to a join that does not know it")


def _replaced(found: Indexes, graph: Graph, node: bytes, member: bytes) -> Iterator[Finding]:
    """A node whose replacement has not ended knows of it, unless it was retried and runs anew."""
    owner, index = split_node(node)
    if found.records.graph(owner) is None or found.records.outcome(owner, index) is not None:
        return
    progress = found.records.progress(owner, index)
    if progress is None or progress.replaced_by != member:
        what = f"graph {graph.id.hex()} runs in place of {node.hex()}, which does not know"
        yield Finding("progress", what, owner not in found.retried)


def _join_of(found: Indexes, graph_id: bytes, index: int) -> tuple[bytes, int]:
    """Return the join that a node is a member of; an empty id: it is of none that is there."""
    while (run := found.records.run_of(graph_id, index)) is not None:
        for child in run.children:
            join = found.records.run_of(graph_id, child)
            if join is not None and any(first <= index < first + count for first, count in join.members or ()):
                return graph_id, child
        graph = found.records.graph(graph_id)
        if graph is None or graph.attachment is None or graph.attachment.final != index:
            break
        graph_id, index = split_node(graph.attachment.node)
    return b"", 0


def _ended(found: Indexes, graph: Graph, tally: Tally, last_ms: int) -> Iterator[Finding]:
    """An ended graph will be deleted, and is counted where a count is kept."""
    if graph.id not in found.pruned and graph.id not in found.in_work:
        yield Finding("retention timer", f"graph {graph.id.hex()} has ended and nothing will delete it")
    template = template_of_whole(found.records, graph)
    if template is None:
        return
    failed = bool(tally.failed or tally.revoked or tally.rejected)
    for scope, name in (("queue", template.queue), ("task", template.task)):
        for kind in ("failures" if failed else "results", "arguments"):
            graphs, first_ms = found.kept.get((scope, name, kind), (set[bytes](), 0))
            if first_ms and last_ms > first_ms and graph.id not in graphs:
                what = f"graph {graph.id.hex()} ended after others that are counted for {scope} {name!r} ({kind})"
                yield Finding("kept graph", f"{what}, and is not")
