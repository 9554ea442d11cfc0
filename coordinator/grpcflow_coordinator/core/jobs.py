"""Work on more nodes than one step may take: revoking by stamp, cancelling, retrying.

How far it is stands in a record, so that a restart goes on with it. May NOT know what the work is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from grpcflow_coordinator.core import cancelling, matching, retrying, stamping
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import CancelAsked, MatchRevokeAsked, PurgeAsked, RetryAsked, StampRevokeAsked
from grpcflow_coordinator.core.model import Job

#: What goes one bounded step on with each kind of work; True where that was all.
_ADVANCE: dict[str, Callable[[Step, Job], bool]] = {
    "stamp": stamping.advance,
    "cancel": cancelling.advance,
    "retry": retrying.advance,
    "match": matching.advance_match,
    "purge": matching.advance_purge,
}


Asked: TypeAlias = StampRevokeAsked | CancelAsked | RetryAsked | MatchRevokeAsked | PurgeAsked


def on_ask(step: Step, event: Asked) -> None:
    """Begin; the ticks that follow do the work, the first of them in the same commit."""
    begun: Job | Answer
    if isinstance(event, StampRevokeAsked):
        begun = Job(0, event.stamps, event.terminate, event.signal)
    elif isinstance(event, CancelAsked):
        begun = cancelling.begin(step, event)
    elif isinstance(event, RetryAsked):
        begun = retrying.begin(step, event)
    elif isinstance(event, PurgeAsked):
        begun = matching.begin_purge(step, event.queue)
    else:
        begun = matching.begin_match(event)
    if isinstance(begun, Answer):
        step.effects.sends.append(begun)
        return
    _put(step, begun, event.client)


def _put(step: Step, begun: Job, client: object) -> None:
    job = replace(begun, number=max(step.cluster.jobs, default=0) + 1)
    step.cluster.jobs[job.number] = job, client
    step.loaded.put_job(job)


def purge(step: Step, queue: str) -> None:
    """Begin to revoke what stands in a queue, for nobody who asked."""
    _put(step, matching.begin_purge(step, queue), None)


def resume(step: Step) -> None:
    """Go on, after a start, with what was under way."""
    step.cluster.jobs = {job.number: (job, None) for job in step.loaded.jobs()}
    for job, _ in step.cluster.jobs.values():
        if job.kind == "cancel":
            step.cluster.cancelling.update((job.graph, *job.graphs))


def work(step: Step) -> None:
    """Go one bounded step on with each job."""
    for job, client in list(step.cluster.jobs.values()):
        if _ADVANCE[job.kind](step, job):
            del step.cluster.jobs[job.number]
            step.loaded.drop_job(job.number)
            unknown = retrying.unknown_tasks(step, job.calls) if job.kind == "retry" else ()
            step.effects.sends.append(Answer(client, count=job.done, running=job.running, unknown=unknown))
        else:
            step.loaded.put_job(job)
            step.effects.again = True
