"""Unique calls: of those with one unique key, one runs, and the others settle as it does.

The first node with a key that is released *holds* it; another one that is released meanwhile *follows* the holder: it
stands in no queue and settles with the holder's outcome, in the same step where there are few. A key is free again when
its holder settles (or, where it stays, not before its time is over), when its time is over, and when its holder was
revoked: its followers then start anew, the first of them as the holder.
"""

from __future__ import annotations

from grpcflow_coordinator.core import attaching, settling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.model import (
    FOLLOWING_PLACE,
    Graph,
    Held,
    NodeState,
    Outcome,
    Progress,
    Run,
    TimerKind,
    node_id,
    split_node,
)
from grpcflow_coordinator.core.states import transition

#: Milliseconds for which a key is held where its call does not say: ten years.
_LONG_MS = 10 * 365 * 86_400_000

#: Followers that one step moves.
_BATCH = 500


def follows(step: Step, graph: Graph, run: Run) -> bool:
    """Let a node that is released hold its key, or follow the one that does; True: it follows, or has settled."""
    node = node_id(graph.id, run.first)
    held = step.loaded.held(run.unique_key)
    if held is not None and held.node != node and held.until_ms > step.now.wall_ms:
        holder = step.graph(split_node(held.node)[0])
        outcome = step.loaded.outcome(*split_node(held.node))
        if holder is not None and outcome is not None and held.stays:
            settling.settle(step, graph, run, run.first, _same(step, held.node, outcome))
            return True
        if holder is not None and outcome is None and not _runs_for(step, graph, held.node):
            progress = step.loaded.progress(graph.id, run.first) or Progress()
            progress.follows, progress.place = held.node, FOLLOWING_PLACE
            step.loaded.put_progress(graph.id, run.first, progress)
            step.loaded.put_follower(held.node, node)
            return True
    template = graph.templates[run.template]
    until = step.now.wall_ms + (template.unique_for_ms or _LONG_MS)
    step.set_timer(
        until, TimerKind.UNIQUE, step.loaded.put_held(run.unique_key, Held(node, until, template.unique_stays))
    )
    return False


def _runs_for(step: Step, graph: Graph, holder: bytes) -> bool:
    """Return whether a graph runs in the place of the holder, however far below: the holder waits for it."""
    found: Graph | None = graph
    while found is not None and found.attachment is not None:
        if found.attachment.node == holder:
            return True
        found = step.graph(split_node(found.attachment.node)[0])
    return False


def leave(step: Step, graph: Graph, index: int) -> bool:
    """Take a node that is to be revoked out of those that follow; False where it follows nobody."""
    progress = step.loaded.progress(graph.id, index)
    if progress is None or not progress.follows:
        return False
    step.loaded.drop_follower(progress.follows, node_id(graph.id, index))
    return True


def hand_on(step: Step) -> None:
    """Free the keys of nodes that settled in this step, and settle those that follow them."""
    while step.unlocked:
        graph, run, outcome = step.unlocked.pop()
        node = node_id(graph.id, run.first)
        held = step.loaded.held(run.unique_key)
        if held is not None and held.node == node and (not held.stays or outcome.state is NodeState.REVOKED):
            timer = step.loaded.drop_held(run.unique_key)
            step.loaded.drop_timer(held.until_ms, TimerKind.UNIQUE, timer)
        _move(step, node, outcome)


def _move(step: Step, holder: bytes, outcome: Outcome | None) -> None:
    """Settle a batch of those that follow a node as it settled; let them start anew where it did not or was revoked."""
    nodes = step.loaded.followers(holder, _BATCH)
    for node in nodes:
        step.loaded.drop_follower(holder, node)
        graph_id, index = split_node(node)
        graph, run = step.graph(graph_id), step.loaded.run_of(graph_id, index)
        if graph is None or run is None or step.loaded.outcome(graph_id, index) is not None:
            continue
        progress = step.loaded.progress(graph_id, index) or Progress()
        progress.follows, progress.place = b"", 0
        step.loaded.put_progress(graph_id, index, progress if progress != Progress() else None)
        if outcome is None or outcome.state is NodeState.REVOKED:
            settling.release(step, graph, run, index)
        else:
            settling.settle(step, graph, run, index, _same(step, holder, outcome))
    if len(nodes) == _BATCH:
        step.cluster.followed[holder] = None
    else:
        step.cluster.followed.pop(holder, None)


def work(step: Step) -> None:
    """Go on with one node that has more followers than one step moves."""
    for holder in list(step.cluster.followed)[:1]:
        _move(step, holder, step.loaded.outcome(*split_node(holder)))
    step.effects.again |= bool(step.cluster.followed)


def expire(step: Step, timer: bytes) -> None:
    """The time of a key is over: whoever follows its holder starts anew."""
    found = step.loaded.held_by(timer)
    if found is None or found.until_ms > step.now.wall_ms:
        return
    step.loaded.drop_held_by(timer)
    _move(step, found.node, None)


def start(step: Step) -> None:
    """Find, at the start, what follows nodes that have settled."""
    for holder in step.loaded.followed():
        if step.loaded.outcome(*split_node(holder)) is not None:
            step.cluster.followed[holder] = None


def _same(step: Step, holder: bytes, outcome: Outcome) -> Outcome:
    """Return the outcome of a node that settles as the holder did."""
    graph, index = split_node(holder)
    made = Outcome(
        transition(NodeState.WAITING, attaching.TRIGGERS[outcome.state]),
        step.now.wall_ms,
        outcome.data,
        outcome.content_type,
        attaching.relocated(outcome.failure, graph, index),
        worker=outcome.worker,
        retries=outcome.retries,
    )
    if outcome.state is NodeState.SUCCESS and not outcome.data:
        made.source = outcome.source or holder
    return made
