"""Dispatch: queues x subscriptions x free capacity -> attempts.

Every queue of a worker has equal weight; within a queue the highest priority goes first, and among equals
the longest waiting. A line whose task a worker did not register is invisible to that worker, so that
nothing waits behind it.
"""

from __future__ import annotations

from collections.abc import Iterable

from grpcflow_coordinator.core import cancelling
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Assign
from grpcflow_coordinator.core.lines import MARK_BLOCK, NO_LIMIT, SETTLED_PAGES, Line
from grpcflow_coordinator.core.model import (
    Attempt,
    Entry,
    LineKey,
    NodeState,
    Progress,
    Session,
    Template,
)
from grpcflow_coordinator.core.settling import Defect
from grpcflow_coordinator.core.states import Trigger, transition

#: Most nodes that one turn of a session takes.
LARGEST_SLICE = 500


def dispatch(step: Step) -> None:
    """Hand out ready nodes until there are none left or no session takes more."""
    cluster = step.cluster
    if not cluster.lines.active:
        return
    cluster.lines.patience = SETTLED_PAGES
    hungry = sorted((session for session in cluster.sessions.values() if _is_hungry(session)), key=_turn)
    while hungry:
        hungry = [session for session in hungry if _serve(step, session, len(hungry)) and session.free > 0]
    step.effects.again |= cluster.lines.patience <= 0


def _is_hungry(session: Session) -> bool:
    """Wait until an eighth of a large capacity is free: handing out what each report frees would end in runs of one.

    A place that runs nothing is filled at once.
    """
    return session.free > (session.capacity // 8 if len(session.attempts) >= session.facts.concurrency else 0)


def _turn(session: Session) -> tuple[float, int]:
    """Least loaded first; among equals the one with the fewest queues, so that the others stay free for theirs."""
    return len(session.attempts) / session.facts.concurrency, len(session.queues)


def _serve(step: Step, session: Session, sharers: int) -> bool:
    """Give one session one slice of work; False where there is nothing for it."""
    queues = session.queues
    active = step.cluster.lines.active
    for ahead in range(len(queues)):
        turn = (session.turn + ahead) % len(queues)
        lines = active.get(queues[turn])
        if queues[turn] in step.cluster.paused:
            continue
        if lines and _serve_from(step, session, lines, sharers):
            session.turn = turn + 1
            return True
    return False


def _serve_from(step: Step, session: Session, lines: dict[LineKey, Line], sharers: int) -> bool:
    """Give a session its share of one queue, however many entries that takes: single calls weigh as groups do."""
    given, share = 0, 1
    while given < share and (line := _best_line(step, session, lines.values())) is not None:
        if not given:
            fair = line.queued // (2 * sharers)
            share = min(session.free, LARGEST_SLICE, max(session.facts.concurrency, fair, 1))
        given += _hand_out(step, session, line, share - given)
    return given > 0


def _best_line(step: Step, session: Session, lines: Iterable[Line]) -> Line | None:
    """Return the line whose head goes first among those whose task the worker knows; None until all heads are known."""
    best: Line | None = None
    best_rank = (1, NO_LIMIT)
    for line in lines:
        if line.key.task not in session.facts.tasks:
            continue
        if not step.cluster.lines.look_ahead(step.loaded, line):
            return None
        rank = (-line.key.priority, line.head())
        if best is None or rank < best_rank:
            best, best_rank = line, rank
    return best


def _hand_out(step: Step, session: Session, line: Line, want: int) -> int:
    """Make attempts of the head of a line and return how many; 0 where there was none, or none within patience."""
    lines = step.cluster.lines
    taken = lines.take(step.loaded, line, want)
    if taken is None:
        if not line.more:
            lines.rest(line)
        return 0
    entry, offset, count = taken
    top = entry.sequence + offset + count
    if top > line.mark:
        line.mark = top + MARK_BLOCK
        step.loaded.put_mark(line.key, line.mark)
    graph = step.graph(entry.graph)
    if graph is None:
        # Its nodes were revoked while nobody served the queue, and their graph has expired since.
        step.loaded.drop_entry(entry)
        return count
    if entry.run is None:
        entry.run = step.loaded.run_of(entry.graph, entry.first)
        if entry.run is None:
            raise Defect(f"queued nodes of graph {entry.graph.hex()} have no run")
    if entry.graph in step.cluster.cancelling:
        cancelling.revoke_taken(step, graph, entry, offset, count)
        return count
    template = graph.templates[entry.run.template]
    transition(NodeState.QUEUED, Trigger.HANDED_OUT)
    _make_attempts(step, session, entry, offset, count, template)
    return count


def _make_attempts(step: Step, session: Session, entry: Entry, offset: int, count: int, template: Template) -> None:
    cluster = step.cluster
    run = entry.run
    assert run is not None
    first_token = (cluster.epoch << 40) | cluster.next_number
    cluster.next_number += count
    progress = _progress(step, entry, offset, count)
    retries = progress.retries if progress else 0
    losses = progress.losses if progress else 0
    first = entry.first + offset
    for ahead in range(count):
        token = first_token + ahead
        attempt = Attempt(token, entry.graph, first + ahead, run, template, session.id, entry, retries)
        attempt.handed_ms = step.now.wall_ms
        cluster.attempts[token] = attempt
        session.attempts.add(token)
        if template.acks_early:
            early = step.loaded.progress(entry.graph, first + ahead) or Progress()
            early.handed, early.handed_to = token, session.id
            step.loaded.put_progress(entry.graph, first + ahead, early)
    cluster.story.tell(step.now.wall_ms, "handed out", entry.graph, first, count, session.name)
    step.effects.sends.append(
        Assign(session.stream, entry.graph, run, template, first, count, first_token, retries, losses)
    )


def _progress(step: Step, entry: Entry, offset: int, count: int) -> Progress | None:
    """Return what a single node went through; a slice of several went straight."""
    if count > 1:
        return None
    return step.loaded.progress(entry.graph, entry.first + offset)
