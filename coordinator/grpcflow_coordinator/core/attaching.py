"""Attached graphs: one that runs in a task's place, or is one more member of the task's group.

An attached graph is a graph like any other; one of its nodes, the *final* one, has somebody waiting for its end in
another graph. It becomes real in the same commit in which the attempt that asked for it loses its node, so a
crash leaves either the task or its replacement, never both and never neither.
"""

from __future__ import annotations

from grpcflow_coordinator.core import attempts, recovery, settling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.model import (
    REPLACED_PLACE,
    Attachment,
    AttachmentKind,
    Attempt,
    Failure,
    Graph,
    NodeState,
    Outcome,
    Progress,
    Run,
    node_id,
    split_node,
    text_id,
)
from grpcflow_coordinator.core.states import Trigger, transition

#: What moves a node that waits for its replacement, by how that ended.
TRIGGERS = {
    NodeState.SUCCESS: Trigger.COLLECTED,
    NodeState.FAILURE: Trigger.UPSTREAM,
    NodeState.REVOKED: Trigger.REVOKED,
    NodeState.IGNORED: Trigger.IGNORED,
    NodeState.REJECTED: Trigger.REJECTED,
}


def refusal(step: Step, attachment: Attachment) -> tuple[str, str] | None:
    """Return why a graph cannot be attached, or None where it can."""
    attempt = _attempt(step, attachment)
    if attempt is None:
        return (
            "STALE_ATTEMPT",
            "the attempt that this graph belongs to is no longer the task's: it ended, or was handed out again",
        )
    if attachment.kind is AttachmentKind.MEMBER and join_of(step, attempt.graph, attempt.index) is None:
        return "NO_GROUP", "the task is not a member of a group: only a member can add another one"
    if attachment.kind is AttachmentKind.REPLACE and attempts.doom_of(step, attempt) == "REVOKED":
        attempts.settle_revoked(step, attempt, "REVOKED")
        return "STALE_ATTEMPT", "the task was revoked while it ran: nothing runs in its place"
    return None


def may_come_back(step: Step, attachment: Attachment) -> bool:
    """Return whether the attempt may be held by a worker that has not come back since the coordinator's start."""
    return _attempt(step, attachment) is None and recovery.may_run(step, *split_node(attachment.node))


def attach(step: Step, graph: Graph, attachment: Attachment) -> None:
    """Tie a graph, which `refusal` let pass in this step, to the attempt that it was submitted for."""
    attempt = _attempt(step, attachment)
    if attempt is None:
        raise settling.Defect(f"graph {graph.id.hex()} is attached to an attempt that is not there")
    if attachment.kind is AttachmentKind.REPLACE:
        _replace(step, graph, attachment, attempt)
    else:
        _add_member(step, graph, attachment, attempt)


def _attempt(step: Step, attachment: Attachment) -> Attempt | None:
    attempt = step.cluster.attempts.get(attachment.token)
    if attempt is None or node_id(attempt.graph, attempt.index) != attachment.node:
        return None
    return attempt


def _replace(step: Step, graph: Graph, attachment: Attachment, attempt: Attempt) -> None:
    """Take the node from its attempt, and let it wait for the end of the graph."""
    transition(attempt.state, Trigger.REPLACED)
    attempts.close(step, attempt)
    if attempt.entry is not None:
        step.cluster.lines.depart(step.loaded, attempt.entry)
    progress = step.loaded.progress(attempt.graph, attempt.index) or Progress()
    progress.place, progress.handed, progress.handed_to = REPLACED_PLACE, 0, b""
    progress.ended_by, progress.doom, progress.custom_state, progress.meta = attempt.token, "", "", b""
    progress.replaced_by = node_id(graph.id, attachment.final)
    step.loaded.put_progress(attempt.graph, attempt.index, progress)
    step.cluster.story.tell(step.now.wall_ms, "replaced", attempt.graph, attempt.index, 1, graph.id.hex())


def _add_member(step: Step, graph: Graph, attachment: Attachment, attempt: Attempt) -> None:
    """Let the join of the attempt's node wait for the end of the graph as well."""
    found = join_of(step, attempt.graph, attempt.index)
    if found is None:
        raise settling.Defect(f"graph {graph.id.hex()} is added to a group that is not there")
    owner, _, index = found
    step.loaded.put_extra(owner.id, index, node_id(graph.id, attachment.final))
    if step.loaded.outcome(owner.id, index) is None:
        settling.one_more(step, owner, index)  # else another member has failed it, and only a retry asks for this one


def join_of(step: Step, graph_id: bytes, index: int) -> tuple[Graph, Run, int] | None:
    """Return the join that a node is a member of, also where it runs in the place of one; None: it is of none."""
    while True:
        graph, run = step.graph(graph_id), step.loaded.run_of(graph_id, index)
        if graph is None or run is None:
            return None
        for child in run.children:
            join = step.loaded.run_of(graph_id, child)
            if join is not None and any(first <= index < first + count for first, count in join.members or ()):
                return graph, join, child
        attachment = graph.attachment
        if attachment is None or attachment.final != index:
            return None
        graph_id, index = split_node(attachment.node)
        if attachment.kind is AttachmentKind.MEMBER:
            return join_of(step, graph_id, index)


def hand_up(step: Step) -> None:
    """Tell the nodes that wait for attached graphs how those ended; what follows from it may end others."""
    while step.handed_up:
        graph, index, outcome = step.handed_up.pop()
        attachment = graph.attachment
        owner = None if attachment is None else step.graph(split_node(attachment.node)[0])
        if attachment is None or owner is None:
            continue  # the other graph ended without it, and is pruned
        if attachment.kind is AttachmentKind.REPLACE:
            _resolve(step, owner, split_node(attachment.node)[1], graph, index, outcome)
        else:
            _member_ended(step, attachment, graph, index, outcome)


def _resolve(step: Step, owner: Graph, replaced: int, graph: Graph, index: int, outcome: Outcome) -> None:
    """Settle a replaced node as its replacement settled."""
    run = step.loaded.run_of(owner.id, replaced)
    if run is None:
        raise settling.Defect(f"node {text_id(owner.id, replaced)} was replaced and has no run")
    if step.loaded.outcome(owner.id, replaced) is not None:
        return
    made = Outcome(
        transition(NodeState.WAITING, TRIGGERS[outcome.state]),
        step.now.wall_ms,
        failure=relocated(outcome.failure, graph.id, index),
        worker=outcome.worker,
        retries=outcome.retries,
    )
    if outcome.state is NodeState.SUCCESS:
        made.source = outcome.source or node_id(graph.id, index)
    settling.settle(step, owner, run, replaced, made)


def _member_ended(step: Step, attachment: Attachment, graph: Graph, index: int, outcome: Outcome) -> None:
    """Count an added member that succeeded; fail its join where it did not."""
    found = join_of(step, *split_node(attachment.node))
    if found is None:
        return
    owner, join, place = found
    if step.loaded.outcome(owner.id, place) is not None:
        return
    if outcome.state is NodeState.SUCCESS:
        if settling.one_less(step, owner, place):
            state = transition(NodeState.WAITING, Trigger.COLLECTED)
            settling.settle(step, owner, join, place, Outcome(state, step.now.wall_ms))
        return
    failure = relocated(outcome.failure, graph.id, index)
    if failure is None:
        failure = Failure(outcome.state.name.capitalize(), "", reason=outcome.state.name)
    if not failure.origin:
        run = step.loaded.run_of(graph.id, index)
        failure = _with_origin(failure, text_id(graph.id, index, run.own_id if run else ""))
    settling.forget_waiting(step, owner, place)
    state = transition(NodeState.WAITING, Trigger.UPSTREAM)
    settling.settle(step, owner, join, place, Outcome(state, step.now.wall_ms, failure=failure))


def relocated(failure: Failure | None, graph: bytes, index: int) -> Failure | None:
    """Return a failure as a node of another graph keeps it: what it holds is read where it began.

    The new node is where it began for all that follow it there, so it has no origin of its own.
    """
    if failure is None:
        return None
    kept_by = index + 1 if failure.raw else failure.kept_by
    kept_in = failure.kept_in or (graph if kept_by else b"")
    cause = None if failure.cause is None else _moved_cause(failure.cause, graph)
    return Failure(failure.type_name, failure.message, failure.reason, "", b"", cause, kept_by, kept_in)


def _moved_cause(failure: Failure, graph: bytes) -> Failure:
    """Return a cause with the graph that its references mean."""
    causes = [failure]
    while causes[-1].cause is not None:
        causes.append(causes[-1].cause)
    moved: Failure | None = None
    for one in reversed(causes):
        kept_in = one.kept_in or (graph if one.kept_by else b"")
        moved = Failure(one.type_name, one.message, one.reason, one.origin, one.raw, moved, one.kept_by, kept_in)
    assert moved is not None
    return moved


def _with_origin(failure: Failure, origin: str) -> Failure:
    return Failure(
        failure.type_name,
        failure.message,
        failure.reason,
        origin,
        failure.raw,
        failure.cause,
        failure.kept_by,
        failure.kept_in,
    )


def stand_in(step: Step, node: bytes) -> bytes:
    """Return the node that runs in the place of one, however often it was replaced; itself where none does."""
    while True:
        graph, index = split_node(node)
        progress = step.loaded.progress(graph, index)
        if progress is None or not progress.replaced_by or step.loaded.outcome(graph, index) is not None:
            return node
        node = progress.replaced_by
