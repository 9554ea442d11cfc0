"""Submission: pieces of graphs arrive; the last one makes the graph real, or nothing is.

The shape of each piece was checked at the edge; here stands what needs the state: order, ids, the sum of
the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grpcflow_coordinator.core import attaching, settling, stamping
from grpcflow_coordinator.core.cluster import Staging, Step
from grpcflow_coordinator.core.effects import Accepted, Refused
from grpcflow_coordinator.core.events import ChunkArrived, ChunkRefused
from grpcflow_coordinator.core.model import Graph, NodeState, Outcome, Run, node_id, split_node
from grpcflow_coordinator.core.states import Trigger, transition

#: Graphs whose pieces are still arriving, of one client and of all; and refused ones whose rest is dropped unanswered.
STAGED: Final = 1_000
STAGED_BY_ALL: Final = 10_000
REFUSED_KEPT: Final = 10_000

#: Bytes of the templates of one graph, which are one record and in memory whole; and of all whose pieces are arriving.
TEMPLATE_BYTES: Final = 64 * 1024 * 1024
STAGED_BYTES: Final = 256 * 1024 * 1024

#: Values of stamps of the templates of one graph: each has a record, and all are written in one commit.
STAMPS: Final = 50_000

#: A prime below 2**61, for the sums over edges.
_PRIME = (1 << 61) - 1


def on_chunk(step: Step, event: ChunkArrived) -> None:
    """A piece of a graph arrived."""
    cluster = step.cluster
    if step.graph(event.graph) is not None:
        if event.last and not (event.sequence and _was_refused(step, event)):  # that was its answer
            step.effects.sends.append(Accepted(event.client, event.graph))  # the same submission again
        if event.last or not event.sequence:
            _forget_refused(step, event.graph, event.client)
        return
    if event.sequence == 0:
        if not event.last and _is_too_much(step, event):
            _refuse(step, event, "OVERLOADED", "too many graphs are only half here: send the rest of some, then this")
            return
        staging = _begin(step, event)
    else:
        found = cluster.staging.get(event.graph)
        if found is None or found.client is not event.client:
            _refuse_headless(step, event)
            return
        staging = found
    problem = _add(step, staging, event)
    if problem is not None:
        _refuse(step, event, *problem)
    elif event.last:
        _conclude(step, staging, event)


def _conclude(step: Step, staging: Staging, event: ChunkArrived) -> None:
    """Accept or refuse a graph whose last piece is there; park one whose attempt may still come back."""
    if staging.attachment is not None and attaching.may_come_back(step, staging.attachment):
        step.cluster.parked.append((event, staging))
        return
    problem = _complete(step, staging, event)
    if problem is None:
        _accept(step, staging, event)
    else:
        _refuse(step, event, *problem)


def unpark(step: Step) -> None:
    """Look again at the graphs whose attempts were on their way back."""
    parked, step.cluster.parked = step.cluster.parked, []
    for event, staging in parked:
        if step.cluster.staging.get(event.graph) is staging:  # else its client left, or sends it anew
            _conclude(step, staging, event)


def _refuse_headless(step: Step, event: ChunkArrived) -> None:
    """Answer a piece whose graph is not being staged for its sender, unless an earlier piece was refused."""
    if not _was_refused(step, event):
        message = "the pieces before it are not there: send the graph again from its first piece"
        step.effects.sends.append(Refused(event.client, event.graph, "CHUNK_OUT_OF_ORDER", message))
    _note_refused(step, event)


def _was_refused(step: Step, event: ChunkArrived | ChunkRefused) -> bool:
    """Return whether the sender of a piece was told that its graph is refused; nobody else counts."""
    return any(client is event.client for client in step.cluster.refused.get(event.graph, ()))


def _note_refused(step: Step, event: ChunkArrived | ChunkRefused) -> None:
    """Have the pieces behind a refused one dropped unanswered, up to the last."""
    _forget_refused(step, event.graph, event.client)
    if event.last:
        return
    refused = step.cluster.refused
    refused.setdefault(event.graph, []).append(event.client)
    if len(refused) > REFUSED_KEPT:
        del refused[next(iter(refused))]  # whoever still sends pieces of it is answered once more


def _forget_refused(step: Step, graph: bytes, client: object) -> None:
    left = [one for one in step.cluster.refused.pop(graph, ()) if one is not client]
    if left:
        step.cluster.refused[graph] = left


def on_refused(step: Step, event: ChunkRefused) -> None:
    """A piece was refused at the edge: what was staged of its graph goes."""
    staging = step.cluster.staging.get(event.graph)
    if staging is not None and staging.client is event.client:
        del step.cluster.staging[event.graph]
        step.cluster.abandoned[event.graph] = None
    if not _was_refused(step, event):
        step.effects.sends.append(Refused(event.client, event.graph, event.code, event.message))
    _note_refused(step, event)


def _is_too_much(step: Step, event: ChunkArrived) -> bool:
    """Return whether a client, or all of them, have begun more graphs than may be half here."""
    staged = step.cluster.staging
    if len(staged) < STAGED or event.graph in staged:
        return False
    return len(staged) >= STAGED_BY_ALL or sum(one.client is event.client for one in staged.values()) >= STAGED


def _begin(step: Step, event: ChunkArrived) -> Staging:
    _forget_refused(step, event.graph, event.client)
    if event.graph in step.cluster.staging or event.graph in step.cluster.abandoned:
        step.loaded.drop_staged(event.graph, 1 << 30)  # none of what was sent before may stand between the new runs
        step.cluster.abandoned.pop(event.graph, None)
    graph = Graph(event.graph, event.node_count, (), step.now.wall_ms, event.attachment, event.outcome)
    staging = Staging(event.client, event.node_count, graph, 0, 0, 0, 0, [], [], attachment=event.attachment)
    step.cluster.staging[event.graph] = staging
    return staging


def _add(step: Step, staging: Staging, event: ChunkArrived) -> tuple[str, str] | None:
    """Take a piece into the staging; return what is wrong with it."""
    if event.sequence != staging.next_sequence or event.node_count != staging.node_count:
        return (
            "CHUNK_OUT_OF_ORDER",
            f"piece {staging.next_sequence} of the graph was expected: send the pieces in order",
        )
    staging.next_sequence += 1
    staging.templates.extend(event.templates)
    if (event.sequence or len(event.templates) > 1) and (problem := _too_much(step, staging, event)) is not None:
        return problem
    for run, _ in event.runs:
        if run.first != staging.next_index:
            return "CHUNK_OUT_OF_ORDER", f"a run starts at node {run.first}, not {staging.next_index}: leave no gaps"
        staging.next_index += run.count
        if not run.is_join and run.template >= len(staging.templates):
            return "UNKNOWN_TEMPLATE", f"template {run.template} is in none of the pieces so far"
        _tally(staging, run)
        if run.own_id:
            staging.own_ids.append((run.own_id, run.first))
        if run.members is not None and run.parents() == 0:
            staging.empty_joins.append(run.first)
    if not event.last or event.sequence:
        step.loaded.stage_runs(event.graph, event.runs)
    return None


def _too_much(step: Step, staging: Staging, event: ChunkArrived) -> tuple[str, str] | None:
    """Add the size of the templates of a piece; return what is too much of it. One template alone never is."""
    staging.template_bytes += sum(len(one.wire) for one in event.templates)
    staging.stamps += sum(len(values) for one in event.templates for _, values in one.stamps)
    if staging.template_bytes > TEMPLATE_BYTES:
        told = f"the calls of the graph have more than {TEMPLATE_BYTES >> 20} MiB beside their arguments"
        return "PAYLOAD_TOO_LARGE", f"{told}: shorten their headers, or split it"
    if staging.stamps > STAMPS:
        return "BAD_ARGUMENTS", f"the calls of the graph have more than {STAMPS} values of stamps: use fewer"
    if not event.last and sum(one.template_bytes for one in step.cluster.staging.values()) > STAGED_BYTES:
        return "OVERLOADED", "too much of graphs is only half here: send the rest of some, then this"
    return None


def _tally(staging: Staging, run: Run) -> None:
    """Add the edges of a run to the sums: every edge is declared by its parent and by its child."""
    for child in run.children:
        staging.declared_by_parents += _edges(run.first, run.count, child)
    for edge in run.inputs:
        staging.declared_by_children += _edges(edge.parent, 1, run.first)
    for first, count in run.members or ():
        staging.declared_by_children += _edges(first, count, run.first)


def _edges(first: int, count: int, child: int) -> int:
    """Return what the edges from `count` neighbouring parents to one child add to the sum."""
    weight = pow(child + 2, 3, _PRIME) * 0x9E3779B97F4A7C15 % _PRIME
    parents = count * first + count * (count - 1) // 2
    return (weight * parents + (weight * weight % _PRIME) * _squares(first, count) + (weight >> 7) * count) % _PRIME


def _squares(first: int, count: int) -> int:
    """Return first² + (first + 1)² + ... of `count` terms."""
    last = first + count - 1
    return last * (last + 1) * (2 * last + 1) // 6 - (first - 1) * first * (2 * first - 1) // 6


def _complete(step: Step, staging: Staging, event: ChunkArrived) -> tuple[str, str] | None:
    """Check the whole graph; return what is wrong with it."""
    if staging.next_index != staging.node_count:
        return (
            "DANGLING_EDGE",
            f"the graph has {staging.next_index} nodes and said {staging.node_count}: send all of them",
        )
    if (staging.declared_by_parents - staging.declared_by_children) % _PRIME:
        return (
            "EDGES_DISAGREE",
            "children and inputs name different edges: each edge stands with its parent and its child",
        )
    seen: set[str] = set()
    for own_id, _ in staging.own_ids:
        if own_id in seen:
            return "DUPLICATE_ID", f"two nodes of the graph have the id {own_id!r}: ids are unique"
        seen.add(own_id)
        held_by = step.loaded.alias(own_id)
        if held_by is not None:
            graph_id, index = split_node(held_by)
            unsettled = step.graph(graph_id) is not None and step.loaded.outcome(graph_id, index) is None
            if unsettled or (event.reject_id_reuse and step.graph(graph_id) is not None):
                return "ID_TAKEN", f"the id {own_id!r} belongs to another submission: wait for it, or use another id"
    return None if staging.attachment is None else attaching.refusal(step, staging.attachment)


def _accept(step: Step, staging: Staging, event: ChunkArrived) -> None:
    """Make the graph real and queue what is ready."""
    graph = staging.graph
    graph.templates = tuple(staging.templates)
    del step.cluster.staging[graph.id]
    for own_id, index in staging.own_ids:
        step.loaded.put_alias(own_id, node_id(graph.id, index))
    step.effects.sends.append(Accepted(event.client, graph.id, tuple(staging.own_ids)))
    if event.sequence == 0:
        put_whole(step, graph, event.runs)
        return
    _announce(step, graph)
    step.loaded.put_root(graph)
    step.loaded.put_release_cursor(graph.id, 0)
    step.cluster.releasing = True
    for index in staging.empty_joins:
        _settle_empty_join(step, graph, index)


def _announce(step: Step, graph: Graph) -> None:
    """Do what belongs to every graph that becomes real."""
    step.keep_graph(graph)
    step.effects.made.append(graph.id)
    step.cluster.story.tell(step.now.wall_ms, "submitted", graph.id, 0, graph.node_count)
    stamping.note(step, graph)
    if graph.attachment is not None:
        attaching.attach(step, graph, graph.attachment)


def problem_of(step: Step, graph: Graph, runs: Sequence[tuple[Run, list[bytes]]]) -> tuple[str, str] | None:
    """Return what is wrong with a graph of which all is there, or None where nothing is."""
    event = ChunkArrived(None, graph.id, 0, True, graph.node_count, graph.templates, runs)
    staging = Staging(None, graph.node_count, graph, 0, 0, 0, 0, [], [])
    return _add(step, staging, event) or _complete(step, staging, event)


def put_whole(step: Step, graph: Graph, runs: Sequence[tuple[Run, list[bytes]]]) -> None:
    """Make a graph real of which all is there, and queue what is ready."""
    _announce(step, graph)
    step.loaded.put_graph(graph, runs)
    for run, _ in runs:
        if not run.is_join and not run.inputs:
            settling.release(step, graph, run, run.first, run.count)
    for run, _ in runs:
        if run.is_join and run.parents() == 0:
            _settle_empty_join(step, graph, run.first)


def _settle_empty_join(step: Step, graph: Graph, index: int) -> None:
    run = step.loaded.run_of(graph.id, index)
    if run is None:
        raise settling.Defect("a join that was just written is not there")
    outcome = Outcome(transition(NodeState.WAITING, Trigger.COLLECTED), step.now.wall_ms)
    settling.settle(step, graph, run, index, outcome)


def _refuse(step: Step, event: ChunkArrived, code: str, message: str) -> None:
    step.cluster.staging.pop(event.graph, None)
    if event.sequence:
        step.cluster.abandoned[event.graph] = None
    _note_refused(step, event)
    step.effects.sends.append(Refused(event.client, event.graph, code, message))


def on_client_left(step: Step, client: object) -> None:
    """Drop the graphs that a client did not finish sending."""
    for graph, staging in list(step.cluster.staging.items()):
        if staging.client is client:
            del step.cluster.staging[graph]
            step.cluster.abandoned[graph] = None
    for graph in list(step.cluster.refused):
        _forget_refused(step, graph, client)


def sweep(step: Step) -> None:
    """Delete a batch of what was staged of graphs that will never be real."""
    abandoned = step.cluster.abandoned
    left = step.cluster.limits.batch
    while abandoned and left > 0:
        graph = next(iter(abandoned))
        dropped = step.loaded.drop_staged(graph, left)
        if dropped < left:
            del abandoned[graph]
        left -= max(dropped, 1)
    step.effects.again |= bool(abandoned)


def release_ready(step: Step) -> None:
    """Queue a page of the ready nodes of large graphs, from their durable cursors."""
    if not step.cluster.releasing:
        return
    budget = step.cluster.limits.batch
    for graph_id in step.loaded.releasing_graphs(16):
        graph = step.graph(graph_id)
        cursor = step.loaded.release_cursor(graph_id)
        if graph is None or cursor is None:
            step.loaded.put_release_cursor(graph_id, None)
            continue
        share = min(budget, 100)
        runs = step.loaded.runs(graph_id, cursor, share)
        for run in runs:
            if not run.is_join and not run.inputs:
                _release_unsettled(step, graph, run)
        done = len(runs) < share
        step.loaded.put_release_cursor(graph_id, None if done else runs[-1].first + runs[-1].count)
        budget -= share
        if budget <= 0:
            break
    step.cluster.releasing = bool(step.loaded.releasing_graphs(1))
    step.effects.again |= step.cluster.releasing


def _release_unsettled(step: Step, graph: Graph, run: Run) -> None:
    """Queue the nodes of a run, but for those that were revoked before the cursor came to them."""
    settled = step.loaded.settled_in(graph.id, run.first, run.count)
    step.cluster.lines.forget_gone(graph.id, run.first, run.count)
    start = run.first
    for stop in (*sorted(settled), run.first + run.count):
        if stop > start:
            settling.release(step, graph, run, start, stop - start)
        start = stop + 1
