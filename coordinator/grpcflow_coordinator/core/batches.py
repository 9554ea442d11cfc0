"""Batches: tasks that take many calls at once. When one is due, and how it is handed out.

A batch is made of what waits in one queue with one priority: when it is full, or when its first call has waited as long
as the task says. All of a batch goes to one worker and takes one place there.
"""

from __future__ import annotations

from dataclasses import replace

from grpcflow_coordinator.core import handing
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS
from grpcflow_coordinator.core.ordering import Level, OutOfPatience
from grpcflow_coordinator.core.presence import Session


def is_due(step: Step, session: Session, level: Level, task: str) -> bool:
    """Return whether a batch of a task is to be handed out now; asked again when its first call has waited."""
    facts = session.batching[task]
    order = level.orders[task]
    if order.holds(facts.batch_size):
        return True
    due = order.since + facts.batch_within_ms
    if due <= step.now.pace_ms + 1e-6:
        return True
    gates = step.cluster.gates
    gates.wake_at = due if gates.wake_at is None else min(due, gates.wake_at)
    return False


def hand_out(step: Step, session: Session, level: Level, line: Line) -> int:
    """Hand out a batch that begins at the head of a line; return how many nodes were taken."""
    task = line.key.task
    size = session.batching[task].batch_size
    batch = (step.cluster.epoch << TOKEN_NUMBER_BITS) | step.cluster.next_number
    sends, count, used = [], 0, 0
    found: Line | None = line
    while found is not None and count < size:
        taken = handing.take(step, level, found, size - count)
        if taken is None:
            break
        used += taken.count
        if taken.template is not None:
            sends.append(handing.make_attempts(step, session, taken, batch))
            count += taken.count
        try:
            found = level.top(task, step.cluster.lines, step.loaded, step.cluster.gates)
        except OutOfPatience:
            break
    if task in level.orders:
        level.orders[task].since = step.now.pace_ms
    if count:
        session.batches[batch] = count
        session.sharing += count - 1
    step.effects.sends.extend(replace(send, batch=batch) for send in sends)
    return used
