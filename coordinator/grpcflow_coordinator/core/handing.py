"""Handing out: nodes leave their line, as far as the gates let them through, and become attempts of a session."""

from __future__ import annotations

from dataclasses import dataclass

from grpcflow_coordinator.core import cancelling, limits
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Assign
from grpcflow_coordinator.core.lines import MARK_BLOCK, Line
from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS, Attempt, Entry, NodeState, Progress, Template
from grpcflow_coordinator.core.ordering import Level
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.core.settling import Defect
from grpcflow_coordinator.core.states import Trigger, transition


@dataclass(slots=True)
class Taken:
    """Neighbouring nodes that left their line."""

    entry: Entry
    offset: int
    count: int
    #: None: they have been dealt with, and nobody runs them.
    template: Template | None = None


def hand_out(step: Step, session: Session, level: Level, line: Line, want: int) -> int:
    """Make attempts of the head of a line and return how many; 0 where there was none, or none within patience."""
    taken = take(step, level, line, want)
    if taken is None:
        return 0
    if taken.template is not None:
        step.effects.sends.append(make_attempts(step, session, taken))
    return taken.count


def take(step: Step, level: Level, line: Line, want: int) -> Taken | None:
    """Take up to `want` nodes from the head of a line, as far as the gates let them through."""
    lines, gates = step.cluster.lines, step.cluster.gates
    if gates.tasks or gates.queues:
        for gate in (gates.tasks.get(line.key.task), gates.queues.get(line.key.queue)):
            want = min(want, gates.room(gate, step.now.pace_ms))
    if line.key.key:
        want = min(want, gates.room_of_key(line.key))
    found = lines.take(step.loaded, line, want) if want > 0 else None
    if found is not None:
        level.spend(line, found[2])
        line.woken = False
    if not (line.more or line.window or line.back):
        lines.rest(line)
    if found is None:
        return None
    entry, offset, count = found
    top = entry.sequence + offset + count
    if top > line.mark:
        line.mark = top + MARK_BLOCK
        step.loaded.put_mark(line.key, line.mark)
    graph = step.graph(entry.graph)
    if graph is None:
        # Its nodes were revoked while nobody served the queue, and their graph has expired since.
        lines.drop(step.loaded, entry)
        return Taken(entry, offset, count)
    if entry.run is None:
        entry.run = step.loaded.run_of(entry.graph, entry.first)
        if entry.run is None:
            raise Defect(f"queued nodes of graph {entry.graph.hex()} have no run")
    if entry.graph in step.cluster.cancelling:
        cancelling.revoke_taken(step, graph, entry, offset, count)
        return Taken(entry, offset, count)
    transition(NodeState.QUEUED, Trigger.HANDED_OUT)
    return Taken(entry, offset, count, graph.templates[entry.run.template])


def make_attempts(step: Step, session: Session, taken: Taken, batch: int = 0) -> Assign:
    """Make attempts of nodes that were taken; return what the worker is to be told."""
    cluster, entry, count, template = step.cluster, taken.entry, taken.count, taken.template
    run = entry.run
    assert run is not None
    assert template is not None
    first_token = (cluster.epoch << TOKEN_NUMBER_BITS) | cluster.next_number
    cluster.next_number += count
    gates = cluster.gates.before(template.queue, template.task, run.concurrency_key)
    if gates:
        limits.pass_gates(step, gates, count)
    progress = _progress(step, entry, taken.offset, count)
    first = entry.first + taken.offset
    for ahead in range(count):
        token = first_token + ahead
        attempt = Attempt(token, entry.graph, first + ahead, run, template, session.id, entry)
        attempt.retries = progress.retries if progress else 0
        attempt.handed_ms, attempt.gates, attempt.batch = step.now.wall_ms, gates, batch
        cluster.attempts[token] = attempt
        session.attempts.add(token)
        if template.acks_early:
            early = step.loaded.progress(entry.graph, first + ahead) or Progress()
            early.handed, early.handed_to = token, session.id
            step.loaded.put_progress(entry.graph, first + ahead, early)
    cluster.story.tell(step.now.wall_ms, "handed out", entry.graph, first, count, session.name)
    losses = progress.losses if progress else 0
    retries = progress.retries if progress else 0
    after = progress.ended_by if progress else 0
    return Assign(session.stream, entry.graph, run, template, first, count, first_token, retries, losses, after=after)


def _progress(step: Step, entry: Entry, offset: int, count: int) -> Progress | None:
    """Return what a single node went through; a slice of several went straight."""
    if count > 1:
        return None
    return step.loaded.progress(entry.graph, entry.first + offset)
