"""Settle: put a node into a terminal state and move what depends on it, along the edges, in the same step.

Failure, revoke, expiry and success all pass through `settle`; there is no other way for a node to end.
The spread is a work list, so that a chain of 10,000 needs no stack.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from grpcflow_coordinator.core import broadcast, retention, unique
from grpcflow_coordinator.core.cluster import WAITING_CACHE, Step, Waiting
from grpcflow_coordinator.core.model import (
    AttachmentKind,
    EdgeMode,
    Failure,
    FailureMode,
    Graph,
    NodeState,
    Outcome,
    Progress,
    Run,
    Tally,
    TimerKind,
    line_of,
    node_id,
    split_node,
    text_id,
)
from grpcflow_coordinator.core.states import FAILED, Trigger, transition


class Defect(AssertionError):
    """The records contradict each other: a defect of the coordinator, never of a peer."""


def settle(step: Step, graph: Graph, run: Run, index: int, outcome: Outcome, *, fires: bool = True) -> None:
    """Settle a node and everything that follows from it.

    Args:
        step: the step it happens in.
        graph: the node's graph.
        run: the run that holds it.
        index: its index.
        outcome: how it ended.
        fires: whether its errbacks run where it failed; false for a failure that only passes through.
    """
    # First in, first out, which means something: the join of a group has an AFTER edge of its own from the step before
    # the group. That edge is queued before any member is, so behind an ignored step the join is ignored by it; would
    # a member reach the join first, that ignored member would fail it.
    work: deque[tuple[Run, int, Outcome, bool]] = deque([(run, index, outcome, fires)])
    while work:
        run, index, outcome, fires = work.popleft()
        if step.loaded.outcome(graph.id, index) is not None:
            continue  # two parents of it failed in this very step
        step.loaded.put_outcome(graph.id, index, outcome)
        own_id = run.own_id
        is_plain = not (own_id or outcome.content_type or outcome.source or run.is_join)
        if outcome.state is NodeState.SUCCESS and is_plain:
            step.effects.values.append((graph.id, index, outcome.data))
        else:
            step.effects.settled.append((graph.id, index, own_id, outcome))
            if _failed_itself(run, outcome):
                step.loaded.put_failed(graph.id, index)
            step.cluster.story.tell(step.now.wall_ms, outcome.state.name, graph.id, index)
        count_settled(step, graph, outcome.state)
        if run.unique_key:
            step.unlocked.append((graph, run, outcome))
        if graph.attachment is not None and index == graph.attachment.final:
            step.handed_up.append((graph, index, outcome))
        if graph.id in step.cluster.cancelling:
            continue
        for child in run.children:
            _parent_settled(step, graph, child, index, outcome, fires, work)


def _failed_itself(run: Run, outcome: Outcome) -> bool:
    """Return whether a node failed, or was rejected, for good and by itself: not because something else did."""
    if run.is_join or outcome.state not in (NodeState.FAILURE, NodeState.REJECTED):
        return False
    return bool(outcome.token) or (outcome.failure is not None and outcome.failure.reason == "WORKER_LOST")


def settle_values(step: Step, graph: Graph, run: Run, index: int, data: bytes, outcome: Outcome) -> None:
    """The same as `settle` for a plain value: the hot path.

    Args:
        step: the step it happens in.
        graph: the node's graph.
        run: the run that holds it.
        index: its index.
        data: its JSON value.
        outcome: how it ended; the same object may serve for many nodes, with `data` and `token` set anew.
    """
    step.loaded.put_outcome(graph.id, index, outcome)
    if run.own_id:
        step.effects.settled.append((graph.id, index, run.own_id, outcome))
    else:
        step.effects.values.append((graph.id, index, data))
    count_settled(step, graph, NodeState.SUCCESS)
    if run.unique_key:
        step.unlocked.append((graph, run, replace(outcome)))
    if graph.attachment is not None and index == graph.attachment.final:
        step.handed_up.append((graph, index, replace(outcome)))  # this object goes on to serve for others
    if run.children and graph.id not in step.cluster.cancelling:
        work: deque[tuple[Run, int, Outcome, bool]] = deque()
        for child in run.children:
            _parent_settled(step, graph, child, index, outcome, True, work)
        _drain(step, graph, work)


def _drain(step: Step, graph: Graph, work: deque[tuple[Run, int, Outcome, bool]]) -> None:
    while work:
        run, index, outcome, fires = work.popleft()
        settle(step, graph, run, index, outcome, fires=fires)


def count_settled(step: Step, graph: Graph, state: NodeState) -> None:
    """Count a node that settled; the last one of a graph sets the timer of its retention."""
    left = 0
    if graph.node_count > 1:
        tally = tally_of(step, graph)
        tally.settled(state)
        left = tally.unsettled
        if left < 0:
            raise Defect(f"graph {graph.id.hex()} settled more nodes than it has")
    if left == 0:
        step.cluster.live.pop(graph.id, None)
        step.effects.ended.append(graph.id)
        retention.on_end(step, graph, failed=retention.has_failed(step, graph, state))


def has_ended(step: Step, graph: Graph) -> bool:
    """Return whether every node of a graph has settled."""
    if graph.node_count == 1:
        return step.loaded.outcome(graph.id, 0) is not None
    tally = step.cluster.live.get(graph.id) or step.touched.get(graph.id) or step.loaded.tally(graph.id)
    return tally is not None and tally.unsettled == 0


def tally_of(step: Step, graph: Graph) -> Tally:
    """Return how the nodes of a graph of more than one stand, to be changed."""
    live = step.cluster.live
    tally = live.get(graph.id)
    if tally is None:
        tally = step.touched.get(graph.id) or step.loaded.tally(graph.id) or Tally(graph.node_count)
        live[graph.id] = tally
    step.touched[graph.id] = tally
    return tally


def _parent_settled(
    step: Step,
    graph: Graph,
    child: int,
    parent: int,
    outcome: Outcome,
    fires: bool,
    work: deque[tuple[Run, int, Outcome, bool]],
) -> None:
    """Tell a child that one of its parents settled."""
    waiting = waiting_node(step, graph, child)
    run = waiting.run
    if waiting.count < 0 or step.loaded.outcome(graph.id, child) is not None:
        return
    if run.is_errback:
        if fires and outcome.state in FAILED:
            _forget_waiting(step, graph, child, released=True)
            progress = step.loaded.progress(graph.id, child) or Progress()
            progress.fired_by = parent + 1
            step.loaded.put_progress(graph.id, child, progress)
            release(step, graph, run, child)
        elif _one_less(step, graph, child, waiting):
            transition(NodeState.WAITING, Trigger.SPARED)
            work.append((run, child, _outcome(step, NodeState.IGNORED), False))
    elif outcome.state is NodeState.SUCCESS:
        if _one_less(step, graph, child, waiting):
            if run.is_join:
                transition(NodeState.WAITING, Trigger.COLLECTED)
                work.append((run, child, _outcome(step, NodeState.SUCCESS), True))
            else:
                release(step, graph, run, child)
    else:
        _forget_waiting(step, graph, child, released=False)
        work.append(_failed_child(step, graph, run, child, parent, outcome, fires))


def _failed_child(
    step: Step, graph: Graph, run: Run, child: int, parent: int, outcome: Outcome, fires: bool
) -> tuple[Run, int, Outcome, bool]:
    """Return how a child ends because a parent did not succeed, and whether its errbacks fire.

    A failing member is loud: its join fails and the join's errbacks fire. Along an edge the failure is what
    the edge says, unless the parent itself only passed on what began before it: that stays silent to the
    end, as in Celery, where everything behind a failing step gets its error and no errback of it runs.
    """
    mode = next((edge.on_failure for edge in run.inputs if edge.parent == parent), None)
    is_member = mode is None
    if mode is None or not fires:
        mode = FailureMode.PASS
    if outcome.state is NodeState.IGNORED and not (is_member and fires):
        # Of a spared errback `fires` is false. What a task ignored stays told along its chain, for a join at its end.
        transition(NodeState.WAITING, Trigger.IGNORED)
        return run, child, _outcome(step, NodeState.IGNORED), fires
    transition(NodeState.WAITING, Trigger.UPSTREAM)
    failure = _handed_on(step, graph, parent, outcome)
    if mode is FailureMode.CHORD:
        message = f"Dependency {failure.origin} raised {_shown(failure)}"
        failure = Failure("ChordError", message, reason="CHORD", cause=failure)
    loud = is_member or mode is not FailureMode.PASS
    return run, child, _outcome(step, NodeState.FAILURE, failure), loud


def _shown(failure: Failure) -> str:
    """Return an exception as its repr would look where it has one plain argument."""
    return f"{failure.type_name}({failure.message!r})" if failure.message else f"{failure.type_name}()"


def _handed_on(step: Step, graph: Graph, parent: int, outcome: Outcome) -> Failure:
    """Return a parent's failure with the name of the node it began at."""
    failure = outcome.failure
    if failure is None:
        failure = Failure(outcome.state.name.capitalize(), "", reason=outcome.state.name)
    if failure.origin:
        return failure
    run = step.loaded.run_of(graph.id, parent)
    origin = text_id(graph.id, parent, run.own_id if run else "")
    kept_by = parent + 1 if failure.raw else failure.kept_by
    return Failure(
        failure.type_name, failure.message, failure.reason, origin, b"", failure.cause, kept_by, failure.kept_in
    )


def _outcome(step: Step, state: NodeState, failure: Failure | None = None) -> Outcome:
    return Outcome(state, step.now.wall_ms, failure=failure)


def waiting_node(step: Step, graph: Graph, index: int) -> Waiting:
    """Return what a waiting node waits for, from memory or from the records."""
    cache = step.cluster.waiting
    found = cache.get((graph.id, index))
    if found is None:
        run = step.loaded.run_of(graph.id, index)
        if run is None:
            raise Defect(f"node {text_id(graph.id, index)} has a parent and no run")
        stored = step.loaded.waiting(graph.id, index)
        found = Waiting(run, run.parents() if stored is None else stored)
        if found.count > 1:
            if len(cache) >= WAITING_CACHE:
                _evict(step)
            cache[graph.id, index] = found
    return found


def _evict(step: Step) -> None:
    """Drop the oldest counts that are written from memory."""
    cache = step.cluster.waiting
    for key in [key for key, waiting in cache.items() if not waiting.dirty][: WAITING_CACHE // 8]:
        del cache[key]


def _one_less(step: Step, graph: Graph, index: int, waiting: Waiting) -> bool:
    """Count one parent down; True for the last."""
    waiting.count -= 1
    if waiting.count == 0:
        _forget_waiting(step, graph, index, released=False)
        return True
    waiting.dirty = True
    step.counted.add((graph.id, index))
    return False


def _forget_waiting(step: Step, graph: Graph, index: int, *, released: bool) -> None:
    """Forget a node's count; a released errback leaves a mark for the parents that are still to settle."""
    if step.cluster.waiting.pop((graph.id, index), None) is not None:
        step.counted.discard((graph.id, index))
    if released:
        step.loaded.put_waiting(graph.id, index, -1)
    elif step.loaded.waiting(graph.id, index) is not None:
        step.loaded.put_waiting(graph.id, index, None)


def one_more(step: Step, graph: Graph, index: int) -> None:
    """Let a waiting join wait for one member more."""
    waiting = waiting_node(step, graph, index)
    waiting.count += 1
    waiting.dirty = True
    step.cluster.waiting[graph.id, index] = waiting
    step.counted.add((graph.id, index))


def one_less(step: Step, graph: Graph, index: int) -> bool:
    """Count down a member of a join that stands in another graph; True for the last."""
    return _one_less(step, graph, index, waiting_node(step, graph, index))


def forget_waiting(step: Step, graph: Graph, index: int) -> None:
    """Forget the count of a node that waits no longer."""
    _forget_waiting(step, graph, index, released=False)


def tell_moved(step: Step, graph: bytes, index: int, state: str) -> None:
    """Let it be told that an unsettled node is in another state, also of the nodes that it runs in place of."""
    step.effects.moved.append((graph, index, state))
    found = step.graph(graph)
    while found is not None and found.attachment is not None and found.attachment.final == index:
        if found.attachment.kind is not AttachmentKind.REPLACE:
            return
        owner, index = split_node(found.attachment.node)
        step.effects.moved.append((owner, index, state))
        found = step.graph(owner)


def release(step: Step, graph: Graph, run: Run, index: int, count: int = 1) -> None:
    """Queue nodes that wait for nothing any more, or set the timer of their time."""
    template = graph.templates[run.template]
    now = step.now.wall_ms
    if template.can_expire:
        expires = template.expires_at_ms or now + template.expires_in_ms
        step.set_timer(expires, TimerKind.EXPIRE, node_id(graph.id, index), count, graph.created_ms)
    if run.unique_key and unique.follows(step, graph, run):
        return
    due = max(template.eta_ms, now + template.countdown_ms if template.countdown_ms else 0)
    if due > now:
        transition(NodeState.WAITING, Trigger.DELAYED)
        if graph.id in step.cluster.lines.retried:
            for delayed in range(index, index + count):
                progress = step.loaded.progress(graph.id, delayed) or Progress()
                progress.place = -1
                step.loaded.put_progress(graph.id, delayed, progress)
        step.set_timer(due, TimerKind.READY, node_id(graph.id, index), count, graph.created_ms)
        return
    if template.broadcast:
        broadcast.spread(step, graph, run, index, count)
        return
    transition(NodeState.WAITING, Trigger.RELEASED)
    step.cluster.lines.enqueue(step.loaded, line_of(template, run), graph.id, index, count)


def is_waiting(step: Step, graph: Graph, run: Run, index: int) -> bool:
    """Return whether a node still waits for a parent."""
    if not run.inputs and not run.is_join:
        return False
    if run.is_errback:
        return waiting_node(step, graph, index).count >= 0
    if run.is_join:
        return True
    # A parent that did not succeed has settled it, unless the graph is being cancelled: then it was never released.
    parents = (step.loaded.outcome(graph.id, edge.parent) for edge in run.inputs if edge.mode < EdgeMode.ERROR)
    return any(parent is None or parent.state is not NodeState.SUCCESS for parent in parents)


def flush(step: Step) -> None:
    """Write the counts that the step changed, each once however often it changed."""
    for graph, tally in step.touched.items():
        step.loaded.put_tally(graph, tally)
    for key in step.counted:
        waiting = step.cluster.waiting.get(key)
        if waiting is not None:
            step.loaded.put_waiting(*key, waiting.count)
            waiting.dirty = False
