"""Dispatch: queues x subscriptions x free capacity -> attempts.

The queues of a worker take turns, as often as they weigh; within a queue the highest priority goes first, and who goes
first among equals stands in ordering.py. A line whose task a worker did not register, or in front of a shut gate, is
invisible, so that nothing waits behind it.
"""

from __future__ import annotations

from functools import partial

from grpcflow_coordinator.core import batches, handing, limits
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.lines import SETTLED_PAGES, Line
from grpcflow_coordinator.core.ordering import Level, OutOfPatience
from grpcflow_coordinator.core.presence import Session

#: Most nodes that one turn of a session takes.
LARGEST_SLICE = 500


def dispatch(step: Step) -> None:
    """Hand out ready nodes until there are none left or no session takes more."""
    cluster = step.cluster
    cluster.gates.wake_at, cluster.gates.moved = None, step.now.moved
    if cluster.lines.loose:
        limits.wake(step)
    if not cluster.lines.ready:
        return
    cluster.lines.patience = SETTLED_PAGES
    queues = cluster.lines.ready.keys()
    serving = (session for session in cluster.sessions.values() if not queues.isdisjoint(session.ring))
    hungry = sorted((session for session in serving if _is_hungry(session)), key=_turn)
    ready = cluster.lines.ready
    while hungry and ready:
        hungry = [one for one in hungry if ready and _serve(step, one, len(hungry)) and one.free > 0]
    step.effects.again |= cluster.lines.patience <= 0 or bool(cluster.lines.loose)


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
    ring, ready = session.ring, step.cluster.lines.ready
    for ahead in range(len(ring)):
        turn = (session.turn + ahead) % len(ring)
        queue = ring[turn]
        if queue in ready and queue not in step.cluster.paused and _serve_from(step, session, queue, sharers):
            session.turn = turn + 1
            return True
    return False


def _serve_from(step: Step, session: Session, queue: str, sharers: int) -> bool:
    """Give a session its share of one queue, however many entries that takes: single calls weigh as groups do."""
    given, share = 0, 1
    try:
        while given < share and (found := _first(step, session, queue)) is not None:
            level, line = found
            if not given:
                fair = line.queued // (2 * sharers)
                share = min(session.free, LARGEST_SLICE, max(session.facts.concurrency, fair, 1))
            if line.key.task in session.batching:
                given += batches.hand_out(step, session, level, line)
                continue
            want = share - given
            if len(level.flows) > 1:
                want = min(want, max(1, share // len(level.flows)))
            given += handing.hand_out(step, session, level, line, want)
    except OutOfPatience:
        return given > 0
    return given > 0


def _first(step: Step, session: Session, queue: str) -> tuple[Level, Line] | None:
    """Return the line that goes first among those that may and whose task the worker knows.

    Raises:
        OutOfPatience: not all heads are known.
    """
    cluster = step.cluster
    gates, now_ms = cluster.gates, step.now.pace_ms
    if queue in gates.queues and not gates.room(gates.queues[queue], now_ms):
        return None
    levels = cluster.lines.ready.get(queue, {})
    for priority in sorted(levels, reverse=True):
        level = levels[priority]
        line = level.first(partial(_is_open, step, session, level), cluster.lines, step.loaded, gates)
        if line is not None:
            return level, line
    return None


def _is_open(step: Step, session: Session, level: Level, task: str) -> bool:
    """Return whether a session may be handed something of a task now."""
    if task not in session.facts.tasks:
        return False
    gate = step.cluster.gates.tasks.get(task)
    if gate is not None and not step.cluster.gates.room(gate, step.now.pace_ms):
        return False
    return task not in session.batching or batches.is_due(step, session, level, task)
