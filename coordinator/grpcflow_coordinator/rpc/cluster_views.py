"""How workers and lanes look to people, and why a lane stands still. Reads only; asks nobody."""

from __future__ import annotations

from typing import Final

from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.core.model import NodeState
from grpcflow_coordinator.core.ordering import NO_LIMIT
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.rpc import limit_views
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos.v1 import control_service_pb2, load_pb2

#: Lines of a lane that are looked at for the oldest call, one for each fairness and concurrency key.
LINES_LOOKED_AT: Final = 100


def worker(
    session: Session, cluster: Cluster, now: float, load: load_pb2.WorkerLoad | None = None
) -> control_service_pb2.WorkerInfo:
    """Describe a session.

    Args:
        session: the session.
        cluster: where its attempts are.
        now: monotonic seconds.
        load: how busy it said that it is; None: it did not.
    """
    state = control_service_pb2.WORKER_STATE_LIVE
    if session.stream is None:
        state = control_service_pb2.WORKER_STATE_BROKEN
    elif session.draining:
        state = control_service_pb2.WORKER_STATE_DRAINING
    facts = session.facts
    return control_service_pb2.WorkerInfo(
        name=session.name,
        state=state,
        queues=session.queues,
        held=len(session.attempts),
        capacity=session.capacity,
        concurrency=facts.concurrency,
        executor=facts.executor,
        host=facts.host,
        process_id=facts.process_id,
        tasks=len(facts.tasks),
        labels=facts.labels,
        running=_running(session, cluster),
        silent_ms=max(0, round((now - session.last_heard) * 1000)),
        load=load,
    )


def _running(session: Session, cluster: Cluster) -> int:
    """Return how many of its attempts run, as far as that is known: few report their start."""
    places = session.facts.concurrency
    if len(session.attempts) <= places:
        return len(session.attempts)
    told = sum(
        attempt.state is NodeState.STARTED
        for token in session.attempts
        if (attempt := cluster.attempts.get(token)) is not None
    )
    return min(max(told, places), len(session.attempts))


def lane(lines: list[Line], cluster: Cluster, sessions: list[Session]) -> control_service_pb2.LaneInfo:
    """Describe what waits of one task and priority, whatever its keys."""
    key = lines[0].key
    return control_service_pb2.LaneInfo(
        queue=key.queue,
        task=key.task,
        priority=key.priority,
        waiting=sum(line.queued for line in lines),
        blocked=_why_blocked(lines, cluster, sessions),
    )


def oldest(lines: list[Line], records: Records) -> int | None:
    """Return when the oldest of what waits was submitted, as Unix time in milliseconds; None: not known.

    Of many lines the first few are looked at.
    """
    found: list[int] = []
    for line in lines[:LINES_LOOKED_AT]:
        heads = list(line.window)[:1] or records.entries(line.key, line.loaded_to, NO_LIMIT, 1)
        if line.back:
            heads.append(line.back[0][2])
        graphs = (records.graph(head.graph) for head in heads)
        found += (graph.created_ms for graph in graphs if graph is not None)
    return min(found, default=None)


def _why_blocked(lines: list[Line], cluster: Cluster, sessions: list[Session]) -> str:
    """Say why nothing of them is handed out; empty where they only wait for their turn."""
    key = lines[0].key
    live = [session for session in sessions if session.stream is not None and not session.draining]
    serving = [session for session in live if key.queue in session.ring]
    if key.queue in cluster.paused:
        return "the queue is paused"
    if all(line.below and not line.window for line in lines):
        return "waiting for workers to come back after the coordinator's restart"
    if not serving:
        return f"no connected worker serves the queue {key.queue!r}"
    if not any(key.task in session.facts.tasks for session in serving):
        return f"no connected worker that serves the queue {key.queue!r} knows the task {key.task!r}"
    if all(line.held for line in lines):
        return "as many run with the same concurrency key as may"
    return limit_views.why_shut(cluster, key.queue, key.task)
