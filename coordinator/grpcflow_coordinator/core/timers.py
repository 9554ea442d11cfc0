"""Timers: things that happen when the wall clock says so. They stand in the store; memory knows the next one only."""

from __future__ import annotations

from typing import Final

from grpcflow_coordinator.core import attempts, broadcast, recovery, settling, sweeping, unique
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.loaded import Timer
from grpcflow_coordinator.core.model import (
    Failure,
    Graph,
    NodeState,
    Outcome,
    Run,
    TimerKind,
    line_of,
    node_id,
    split_node,
    text_id,
)
from grpcflow_coordinator.core.running import Running, running_nodes
from grpcflow_coordinator.core.states import Trigger, transition

#: Milliseconds until the deletion of a graph is tried again whose queues are swept first.
_SWEPT_MS: Final = 1_000


def fire(step: Step) -> None:
    """Fire the timers that are due, until they have named a batch of nodes; the next step goes on."""
    cluster = step.cluster
    if cluster.next_prune is not None and cluster.next_prune <= step.now.wall_ms:
        _prune(step)
    if not are_due(step):
        return
    due = step.loaded.timers(step.now.wall_ms, cluster.limits.batch)
    running = running_nodes(step) if any(timer.kind == TimerKind.EXPIRE for timer in due) else Running({}, {})
    named = 0
    for timer in due:
        if named >= cluster.limits.batch:
            break
        named += timer.count
        graph_id, index = split_node(timer.node)
        step.loaded.drop_timer(timer.due_ms, timer.kind, timer.node)
        graph = step.graph(graph_id)
        if graph is not None and not is_of(timer, graph):
            continue
        if timer.kind == TimerKind.READY:
            cluster.lines.forget_gone(graph_id, index, timer.count)
        if graph is None:
            continue
        if timer.kind == TimerKind.READY:
            _ready(step, graph, index, timer.count)
        else:
            _expire(step, graph, index, timer.count, running)
    cluster.next_timer = step.loaded.next_timer()
    step.effects.again |= are_due(step)


def is_of(timer: Timer, graph: Graph) -> bool:
    """Return whether a timer means a graph, and not one from before that bore the same id."""
    return timer.made_ms in (0, graph.created_ms)


def are_due(step: Step) -> bool:
    """Return whether timers of nodes wait to be fired: nothing is handed out before, for it may have expired."""
    next_timer = step.cluster.next_timer
    return next_timer is not None and next_timer <= step.now.wall_ms


def _ready(step: Step, graph: Graph, index: int, count: int) -> None:
    """Queue the nodes whose time has come, each unsettled stretch as one entry."""
    settled = step.loaded.settled_in(graph.id, index, count)
    run = step.loaded.run_of(graph.id, index)
    if run is None:
        return
    template = graph.templates[run.template]
    key = line_of(template, run)
    lines = step.cluster.lines
    if graph.id in lines.retried:
        # A timer from before the retry may name nodes that are elsewhere by now.
        nodes = ((node, step.loaded.progress(graph.id, node)) for node in range(index, index + count))
        settled |= {node for node, progress in nodes if progress is None or progress.place != -1}
    start = index
    for stop in (*sorted(settled), index + count):
        if stop > start and template.broadcast:
            broadcast.spread(step, graph, run, start, stop - start)
        elif stop > start:
            transition(NodeState.SCHEDULED, Trigger.DUE)
            entry = lines.enqueue(step.loaded, key, graph.id, start, stop - start)
            for node in range(start, stop if graph.id in lines.retried else start + 1):
                _retry_is_queued(step, graph, node, entry.sequence)
        start = stop + 1


def _retry_is_queued(step: Step, graph: Graph, index: int, sequence: int) -> None:
    """Say in a retried node's progress where it stands now."""
    progress = step.loaded.progress(graph.id, index)
    if progress is not None and progress.place == -1:
        progress.place = sequence
        progress.retrying = False
        step.loaded.put_progress(graph.id, index, progress)


def _expire(step: Step, graph: Graph, index: int, count: int, running: Running) -> None:
    """Revoke the nodes that have not started; one that a worker has may still wait there, and is asked for."""
    settled = step.loaded.settled_in(graph.id, index, count)
    run = step.loaded.run_of(graph.id, index)
    if run is None:
        return
    for expired in range(index, index + count):
        if expired in settled:
            continue
        progress = step.loaded.progress(graph.id, expired)
        if progress is not None and (progress.retries or progress.replaced_by):
            continue  # it started in time; neither a retry nor a replacement expires
        attempt = running.get(node_id(graph.id, expired))
        if attempt is None and not recovery.may_run(step, graph.id, expired):
            revoke_unstarted(step, graph, run, expired, Trigger.EXPIRED)
        elif attempt is None or attempt.state is not NodeState.STARTED:
            progress = attempts.doom(step, graph.id, expired, "EXPIRED", "")
            if attempt is not None:
                attempts.ask_to_stop(step, attempt, progress)


def revoke_unstarted(step: Step, graph: Graph, run: Run, index: int, trigger: Trigger) -> None:
    """Settle a node that is queued, scheduled or waiting as revoked."""
    follows = bool(run.unique_key) and unique.leave(step, graph, index)
    waits = follows or settling.is_waiting(step, graph, run, index)
    transition(NodeState.WAITING if waits else NodeState.QUEUED, trigger)
    if follows:
        pass  # it stands in no queue, and nothing counts it
    elif waits:
        settling.forget_waiting(step, graph, index)
    else:
        sweeping.leave_behind(step, graph, run, index)
    expired = trigger is Trigger.EXPIRED
    message = f"task {text_id(graph.id, index, run.own_id)} {'expired before it started' if expired else 'was revoked'}"
    failure = Failure(
        "TaskRevokedError", "expired" if expired else "revoked", "EXPIRED" if expired else "REVOKED", cause=None
    )
    step.cluster.story.tell(step.now.wall_ms, message, graph.id, index)
    settling.settle(step, graph, run, index, Outcome(NodeState.REVOKED, step.now.wall_ms, failure=failure))


def _is_needed(step: Step, graph_id: bytes) -> bool:
    """Return whether the graph that an attached one belongs to is there: its nodes may have their values here."""
    graph = step.graph(graph_id)
    if graph is None or graph.attachment is None:
        return False
    return step.graph(split_node(graph.attachment.node)[0]) is not None


def _wait_ms(step: Step, graph: Graph | None, graph_id: bytes) -> int:
    """Return how many milliseconds an ended graph is still needed; 0: it may be deleted, or is in part."""
    if _is_needed(step, graph_id):
        return step.cluster.limits.result_expires_ms
    return 0 if graph is None or sweeping.is_clean(step, graph) else _SWEPT_MS


def _strip(step: Step, timer: Timer, limit: int) -> int:
    """Delete the arguments of a graph that ended, a batch at a time; one that was retried needs them."""
    graph = step.graph(split_node(timer.node)[0])
    if graph is None or not settling.has_ended(step, graph):
        done = 0
    else:
        done = step.loaded.strip(graph.id, limit)
    if done < limit:
        step.loaded.drop_timer(timer.due_ms, timer.kind, timer.node)
    return max(done, 1)


def _prune(step: Step) -> None:
    """Delete ended graphs whose time is over, a batch of records at a time; a timer stays until all of it is gone."""
    cluster = step.cluster
    left = cluster.limits.batch
    for timer in step.loaded.prunes(step.now.wall_ms, left):
        if left <= 0:
            break
        graph_id, _ = split_node(timer.node)
        if timer.kind == TimerKind.SAVED:
            step.loaded.expire_saved(timer.node, step.now.wall_ms)
            step.loaded.drop_timer(timer.due_ms, timer.kind, timer.node)
            continue
        if timer.kind == TimerKind.UNIQUE:
            unique.expire(step, timer.node)
            step.loaded.drop_timer(timer.due_ms, timer.kind, timer.node)
            left -= 1
            continue
        if timer.kind == TimerKind.ARGUMENTS:
            left -= _strip(step, timer, left)
            continue
        root = step.graph(graph_id)
        if root is not None and not settling.has_ended(step, root):
            step.loaded.drop_timer(timer.due_ms, timer.kind, timer.node)  # it was retried: its end sets another one
            continue
        wait_ms = _wait_ms(step, root, graph_id)
        if wait_ms:
            step.loaded.drop_timer(timer.due_ms, timer.kind, timer.node)
            step.set_timer(step.now.wall_ms + wait_ms, TimerKind.PRUNE, timer.node)
            left -= 1
            continue
        if root is not None:
            sweeping.forget(step, root)
        cluster.graphs.pop(graph_id, None)
        cluster.lines.retried.pop(graph_id, None)
        left = step.loaded.drop_graph(graph_id, left)
        if left <= 0:
            break
        step.loaded.drop_timer(timer.due_ms, timer.kind, timer.node)
    cluster.next_prune = step.loaded.next_prune()
    step.effects.again |= cluster.next_prune is not None and cluster.next_prune <= step.now.wall_ms
