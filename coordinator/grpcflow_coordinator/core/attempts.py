"""Attempts: how one ends, and what that does to its node."""

from __future__ import annotations

from grpcflow_coordinator.core import limits, settling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import StopAttempt
from grpcflow_coordinator.core.events import Ended, Progressed, Raised, Report, Retried, Value
from grpcflow_coordinator.core.model import (
    Attempt,
    Failure,
    Graph,
    NodeState,
    Outcome,
    Progress,
    TimerKind,
    line_of,
    node_id,
)
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.core.states import Trigger, transition

#: What stands for a value that nobody wants: JSON's null.
NO_VALUE = b"null"


def graph_of(step: Step, attempt: Attempt) -> Graph:
    """Return the graph of a running node; it is there as long as one of its nodes runs."""
    graph = step.graph(attempt.graph)
    if graph is None:
        raise settling.Defect(f"graph {attempt.graph.hex()} was pruned while a node of it ran")
    return graph


def close(step: Step, attempt: Attempt) -> None:
    """Take an attempt out of memory; what becomes of its node is the caller's."""
    cluster = step.cluster
    del cluster.attempts[attempt.token]
    session = cluster.sessions.get(attempt.session)
    if session is not None:
        session.attempts.discard(attempt.token)
    if attempt.gates or attempt.batch:
        _make_room(step, session, attempt)
    if cluster.recovery is not None:
        cluster.recovery.resumed.pop((attempt.graph, attempt.index), None)


def _make_room(step: Step, session: Session | None, attempt: Attempt) -> None:
    """Let go of what an attempt held beside its place: limits, and its share of a batch's place."""
    limits.leave(step, attempt)
    if attempt.batch and session is not None:
        left = session.batches.pop(attempt.batch, 1) - 1
        if left:
            session.batches[attempt.batch] = left
            session.sharing -= 1


def drop(step: Step, attempt: Attempt) -> None:
    """Forget an attempt that is no longer its worker's, and say so."""
    session = step.cluster.sessions.get(attempt.session)
    if session is not None and session.stream is not None:
        step.effects.sends.append(StopAttempt(session.stream, attempt.token, True, "SIGTERM", True))
    close(step, attempt)


def finish(step: Step, attempt: Attempt, trigger: Trigger, outcome: Outcome) -> None:
    """Settle the node of an attempt."""
    outcome.state = transition(attempt.state, trigger)
    outcome.took_ms = took_ms(step, attempt)
    close(step, attempt)
    if attempt.entry is not None:
        step.cluster.lines.depart(step.loaded, attempt.entry)
    settling.settle(step, graph_of(step, attempt), attempt.run, attempt.index, outcome)


def took_ms(step: Step, attempt: Attempt) -> int:
    """Return the milliseconds since the hand-out of an attempt; 0 where that is not known."""
    return max(0, step.now.wall_ms - attempt.handed_ms) if attempt.handed_ms else 0


def take_values(step: Step, session: Session, tokens: list[int], values: list[bytes]) -> None:
    """Settle the nodes of many attempts with plain JSON values: the hot path."""
    cluster = step.cluster
    attempts = cluster.attempts
    outcome = Outcome(NodeState.SUCCESS, step.now.wall_ms, worker=session.name)
    for token, data in zip(tokens, values, strict=True):
        attempt = attempts.pop(token)
        session.attempts.discard(token)
        if attempt.gates or attempt.batch:
            _make_room(step, session, attempt)
        transition(attempt.state, Trigger.VALUE)
        if cluster.recovery is not None:
            cluster.recovery.resumed.pop((attempt.graph, attempt.index), None)
        if attempt.entry is not None:
            cluster.lines.depart(step.loaded, attempt.entry)
        run = attempt.run
        kept = NO_VALUE if attempt.template.ignore_result else data
        outcome.data, outcome.token, outcome.retries = kept, token, attempt.retries
        outcome.took_ms = took_ms(step, attempt)
        settling.settle_values(step, graph_of(step, attempt), run, attempt.index, kept, outcome)
        if run.own_id:
            outcome = Outcome(NodeState.SUCCESS, step.now.wall_ms, worker=session.name)  # that one is told on


def take_report(step: Step, session: Session, attempt: Attempt, report: Report) -> None:
    """Act on one report of a current attempt."""
    outcome = Outcome(
        NodeState.FAILURE, step.now.wall_ms, token=attempt.token, worker=session.name, retries=attempt.retries
    )
    match report:
        case Value():
            outcome.data, outcome.content_type = report.data, report.content_type
            if attempt.template.ignore_result:
                outcome.data, outcome.content_type = NO_VALUE, ""
            finish(step, attempt, Trigger.VALUE, outcome)
        case Raised():
            outcome.failure = report.failure
            finish(step, attempt, Trigger.RAISED, outcome)
        case Retried():
            _retry(step, attempt, report)
        case Progressed():
            put_state(step, attempt.graph, attempt.index, report.state, report.meta, report.meta_type)
        case Ended():
            _ended(step, attempt, report, outcome)


def _ended(step: Step, attempt: Attempt, report: Ended, outcome: Outcome) -> None:
    outcome.failure = report.failure
    if report.how == "started":
        attempt.state = transition(attempt.state, Trigger.STARTED)
        settling.tell_moved(step, attempt.graph, attempt.index, "STARTED")
    elif report.how == "returned":
        hand_back(step, attempt)
    elif report.how == "lost":
        lose(step, attempt, report.failure.message if report.failure else "its process died", reported=True)
    elif report.how == "requeued":
        _requeue(step, attempt)
    elif report.how == "revoked":
        settle_revoked(step, attempt, doom_of(step, attempt))
    elif report.how == "ignored":
        finish(step, attempt, Trigger.IGNORED, outcome)
    else:
        finish(step, attempt, Trigger.REJECTED, outcome)


def hand_back(step: Step, attempt: Attempt) -> None:
    """Put the node of an attempt that never started into its old place, uncounted."""
    doom = doom_of(step, attempt)
    if doom:
        settle_revoked(step, attempt, doom)
        return
    transition(attempt.state, Trigger.RETURNED)
    if attempt.template.acks_early:
        progress = step.loaded.progress(attempt.graph, attempt.index)
        if progress is not None:
            progress.handed, progress.handed_to = 0, b""
            step.loaded.put_progress(attempt.graph, attempt.index, progress)
    _give_back(step, attempt, alone=False)


def lose(step: Step, attempt: Attempt, why: str, *, reported: bool = False) -> None:
    """Hand the node of a lost attempt out again, or fail it where that was once too often."""
    progress = step.loaded.progress(attempt.graph, attempt.index) or Progress()
    if progress.doom:
        settle_revoked(step, attempt, progress.doom)
        return
    progress.losses += 1
    progress.custom_state, progress.meta = "", b""
    if reported:
        progress.ended_by = attempt.token
    allowed = attempt.template.max_deliveries or step.cluster.limits.max_deliveries
    if attempt.template.acks_early or progress.losses >= allowed:
        times = (
            "it is not run twice (acks_late=False)" if attempt.template.acks_early else f"lost {progress.losses} times"
        )
        failure = Failure("WorkerLostError", f"Worker lost: {why}; {times}", "WORKER_LOST")
        outcome = Outcome(
            NodeState.FAILURE, step.now.wall_ms, failure=failure, token=attempt.token, retries=attempt.retries
        )
        session = step.cluster.sessions.get(attempt.session)
        outcome.worker = "" if session is None else session.name
        step.loaded.put_progress(attempt.graph, attempt.index, progress)  # for who asks how often it was lost
        finish(step, attempt, Trigger.GIVEN_UP, outcome)
        return
    transition(attempt.state, Trigger.LOST)
    step.loaded.put_progress(attempt.graph, attempt.index, progress)
    step.cluster.story.tell(step.now.wall_ms, "lost", attempt.graph, attempt.index, 1, why)
    _give_back(step, attempt, alone=True)


def _give_back(step: Step, attempt: Attempt, *, alone: bool) -> None:
    """Queue the node again in its old place. One whose entry is not found yet is queued when recovery ends."""
    close(step, attempt)
    lines = step.cluster.lines
    if attempt.entry is not None:
        line = lines.line(attempt.entry.line)
        line.give_back(attempt.entry, attempt.index - attempt.entry.first, alone=alone)
        lines.activate(line)


def put_state(step: Step, graph: bytes, index: int, state: str, meta: bytes, meta_type: str) -> None:
    """Write a state that a task, or somebody for it, gave itself; it holds until the attempt ends."""
    progress = step.loaded.progress(graph, index) or Progress()
    progress.custom_state, progress.meta, progress.meta_type = state, meta, meta_type
    step.loaded.put_progress(graph, index, progress)
    settling.tell_moved(step, graph, index, state)


def doom_of(step: Step, attempt: Attempt) -> str:
    """Return "REVOKED" or "EXPIRED" where a running node was doomed, else an empty text."""
    progress = step.loaded.progress(attempt.graph, attempt.index)
    return progress.doom if progress else ""


def doom(step: Step, graph: bytes, index: int, reason: str, stop_signal: str) -> Progress:
    """Write that a node which may be running ends as revoked, unless its attempt has an end of its own.

    Args:
        step: the step it happens in.
        graph: the node's graph.
        index: the node.
        reason: "REVOKED" or "EXPIRED"; the first one stays.
        stop_signal: signal to stop it with; empty: only where it has not started.
    """
    progress = step.loaded.progress(graph, index) or Progress()
    progress.doom = progress.doom or reason
    progress.stop_signal = stop_signal or progress.stop_signal
    step.loaded.put_progress(graph, index, progress)
    return progress


def ask_to_stop(step: Step, attempt: Attempt, progress: Progress) -> None:
    """Tell the worker of a doomed attempt; one whose stream is broken is told when it is back."""
    session = step.cluster.sessions.get(attempt.session)
    if session is not None and session.stream is not None:
        terminate, stop_signal = bool(progress.stop_signal), progress.stop_signal or "SIGTERM"
        expired = progress.doom == "EXPIRED"
        step.effects.sends.append(StopAttempt(session.stream, attempt.token, terminate, stop_signal, False, expired))


def settle_revoked(step: Step, attempt: Attempt, reason: str) -> None:
    """Settle the node of an attempt as revoked; the reason is "REVOKED" or "EXPIRED"."""
    expired = reason == "EXPIRED"
    failure = Failure("TaskRevokedError", "expired" if expired else "terminated", reason or "REVOKED")
    outcome = Outcome(
        NodeState.REVOKED, step.now.wall_ms, failure=failure, token=attempt.token, retries=attempt.retries
    )
    finish(step, attempt, Trigger.REVOKED, outcome)


def _retry(step: Step, attempt: Attempt, report: Retried) -> None:
    """Set the timer of the next attempt."""
    progress = step.loaded.progress(attempt.graph, attempt.index) or Progress()
    if progress.doom == "REVOKED":
        settle_revoked(step, attempt, progress.doom)
        return
    progress.doom = ""  # it started in time
    progress.custom_state, progress.meta = "", b""
    progress.retries += 1
    progress.failure = report.failure
    if report.payload:
        progress.payload, progress.content_type = report.payload, report.content_type
    _move(step, attempt, progress, report.countdown_ms, Trigger.RETRIED)


def _requeue(step: Step, attempt: Attempt) -> None:
    """Put the node of a task that raised Reject(requeue=True) behind all others."""
    progress = step.loaded.progress(attempt.graph, attempt.index) or Progress()
    if progress.doom:
        settle_revoked(step, attempt, progress.doom)
        return
    _move(step, attempt, progress, 0, Trigger.REQUEUED)


def _move(step: Step, attempt: Attempt, progress: Progress, countdown_ms: int, trigger: Trigger) -> None:
    """Take the node out of its entry and give it a place of its own: a timer, or an entry behind all others."""
    transition(attempt.state, trigger)
    close(step, attempt)
    progress.handed, progress.handed_to, progress.ended_by = 0, b"", attempt.token
    lines = step.cluster.lines
    if attempt.entry is not None:
        lines.depart(step.loaded, attempt.entry)
    if countdown_ms > 0:
        progress.place, progress.retrying = -1, True
        due = progress.due_ms = step.now.wall_ms + countdown_ms
        graph = step.graph(attempt.graph)
        made_ms = 0 if graph is None else graph.created_ms
        step.set_timer(due, TimerKind.READY, node_id(attempt.graph, attempt.index), 1, made_ms)
    else:
        key = line_of(attempt.template, attempt.run)
        entry = lines.enqueue(step.loaded, key, attempt.graph, attempt.index, 1)
        progress.place, progress.retrying = entry.sequence, False
    step.cluster.story.tell(step.now.wall_ms, trigger.value, attempt.graph, attempt.index)
    step.loaded.put_progress(attempt.graph, attempt.index, progress)
    settling.tell_moved(step, attempt.graph, attempt.index, "RETRY" if progress.retrying else "PENDING")
