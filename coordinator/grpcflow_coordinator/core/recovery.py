"""Recovery: what a coordinator that starts finds, and when it is sure of it.

A node below a line's hand-out mark may be running on a worker that is on its way back. It waits until
every recorded session is back or its grace is over; everything above the marks is handed out at once.
"""

from __future__ import annotations

from grpcflow_coordinator.core import attempts, limits, retention, settling, unique
from grpcflow_coordinator.core.cluster import Recovery, Step
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.core.model import Attempt, Entry, Failure, Graph, NodeState, Outcome
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.core.states import Trigger, transition


def start(step: Step) -> None:
    """Begin a new epoch: take the sessions, lines and timers that the records hold."""
    cluster, loaded = step.cluster, step.loaded
    cluster.epoch = loaded.epoch() + 1
    loaded.put_epoch(cluster.epoch)
    for facts in loaded.sessions():
        session = Session(facts, facts.queues, 0, None, step.now.monotonic, step.now.monotonic + cluster.limits.grace)
        session.serve(facts.queues, facts.weights)
        cluster.sessions[facts.id] = session
        cluster.by_name[facts.name] = facts.id
    for key in loaded.lines():
        line = cluster.lines.line(key)
        line.mark = loaded.mark(key)
        line.queued, behind, line.entries = loaded.line_count(key)
        line.below = line.mark
        line.loaded_to = line.mark - 1
        line.more = True
        cluster.lines.next_sequence = max(cluster.lines.next_sequence, behind, line.mark)
        cluster.lines.activate(line)
    limits.begin(step)
    retention.start(step)
    unique.start(step)
    for facts in loaded.sessions():
        limits.take_facts(step, facts)
    cluster.lines.retried = loaded.retried()
    cluster.paused = set(loaded.paused_queues())
    cluster.abandoned = dict.fromkeys(loaded.staged_graphs())
    cluster.next_timer, cluster.next_prune = loaded.next_timer(), loaded.next_prune()
    cluster.releasing = bool(loaded.releasing_graphs(1))
    cluster.recovery = Recovery(set(cluster.sessions))
    for line in cluster.lines.by_key.values():
        for entry in loaded.entries(line.key, -1, line.below, 1 << 62):
            if cluster.lines.is_dead(entry):
                continue
            cluster.recovery.handed.setdefault(entry.graph, []).append(entry)
    _end_if_complete(step)


def may_run(step: Step, graph: bytes, index: int) -> bool:
    """Return whether a node may be running on a worker that has not come back since the coordinator's start."""
    recovering = step.cluster.recovery
    if recovering is None:
        return False
    for entry in recovering.handed.get(graph, ()):
        if entry.first <= index < entry.first + entry.count:
            progress = step.loaded.progress(graph, index)
            if progress is None or progress.place in (0, entry.sequence):
                return True
    return False


def may_return(step: Step, session: Session) -> bool:
    """Return whether a recorded session has not come back yet: it may be leaving, and who has its name follows it."""
    return step.cluster.recovery is not None and session.id in step.cluster.recovery.missing


def came_back(step: Step, session: Session) -> None:
    """A recorded session is back and has said what it holds."""
    if step.cluster.recovery is not None:
        step.cluster.recovery.returned.add(session.id)
        step.cluster.recovery.missing.discard(session.id)
        _end_if_complete(step)


def is_gone(step: Step, session: Session) -> None:
    """A recorded session will not come back."""
    if step.cluster.recovery is not None:
        step.cluster.recovery.missing.discard(session.id)
        _end_if_complete(step)


def _end_if_complete(step: Step) -> None:
    recovering = step.cluster.recovery
    if recovering is None or recovering.missing:
        return
    for line in list(step.cluster.lines.by_key.values()):
        _read_below_mark(step, line, recovering)
    step.cluster.recovery = None
    limits.be_certain(step)
    for attempt in recovering.resumed.values():
        if attempt.entry is None:
            _give_place(step, attempt)


def _read_below_mark(step: Step, line: Line, recovering: Recovery) -> None:
    """Queue again what may have been handed out and is neither settled nor running."""
    for entry in step.loaded.entries(line.key, -1, line.below, 1 << 62):
        if step.cluster.lines.is_dead(entry):
            line.queued -= entry.count
            step.cluster.lines.drop(step.loaded, entry)
            continue
        graph = step.graph(entry.graph)
        settled = step.loaded.settled_in(entry.graph, entry.first, entry.count)
        entry.taken = entry.count
        entry.remaining = 0
        line.queued -= entry.count
        step.cluster.lines.forget_gone(entry.graph, entry.first, entry.count)
        for offset in range(entry.count):
            if graph is not None and entry.first + offset not in settled:
                _place(step, line, graph, entry, offset, recovering)
        if entry.remaining == 0:
            step.cluster.lines.drop(step.loaded, entry)
    line.below = 0
    step.cluster.lines.activate(line)


def _place(step: Step, line: Line, graph: Graph, entry: Entry, offset: int, recovering: Recovery) -> None:
    """Say where one unsettled node of an entry below the mark stands."""
    index = entry.first + offset
    progress = step.loaded.progress(graph.id, index)
    if progress is not None and progress.place not in (0, entry.sequence):
        return  # it moved to an entry or a timer of its own
    entry.remaining += 1
    attempt = recovering.resumed.get((graph.id, index))
    if attempt is not None:
        attempt.entry = entry
        return
    if progress is not None and progress.doom:
        _settle_instead(step, entry, index, Trigger.REVOKED, _revoked(progress.doom))
    elif progress is not None and progress.handed and not _was_told(step, recovering, progress.handed_to):
        _settle_instead(step, entry, index, Trigger.GIVEN_UP, _NOT_TWICE)
    else:
        if progress is not None and progress.handed:
            progress.handed, progress.handed_to = 0, b""
            step.loaded.put_progress(graph.id, index, progress)
        line.give_back(entry, offset, alone=progress is not None)


def _was_told(step: Step, recovering: Recovery, session: bytes) -> bool:
    """Return whether a session said after the start what it holds, or still may."""
    return session in recovering.returned or session in step.cluster.sessions


#: Why a node that was handed out, may have run and must not run twice has failed.
_NOT_TWICE = Failure(
    "WorkerLostError",
    "Worker lost: the coordinator and its worker went down; it is not run twice (acks_late=False)",
    "WORKER_LOST",
)


def _revoked(doom: str) -> Failure:
    return Failure("TaskRevokedError", "expired" if doom == "EXPIRED" else "revoked", doom)


def _settle_instead(step: Step, entry: Entry, index: int, trigger: Trigger, failure: Failure) -> None:
    """Settle a node of an entry below the mark that is not to be handed out again."""
    graph = step.graph(entry.graph)
    run = step.loaded.run_of(entry.graph, index)
    if graph is None or run is None:
        raise settling.Defect(f"a queued node of graph {entry.graph.hex()} has no run")
    entry.remaining -= 1
    outcome = Outcome(transition(NodeState.QUEUED, trigger), step.now.wall_ms, failure=failure)
    settling.settle(step, graph, run, index, outcome)


def _give_place(step: Step, attempt: Attempt) -> None:
    """Drop a resumed attempt whose node no entry names: its node is not to be run."""
    attempts.drop(step, attempt)
