"""Limits as they are told: which hold, what they hold back. Reads only."""

from __future__ import annotations

from itertools import islice
from typing import Final

from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.limits import Gate, Gates, Scope
from grpcflow_coordinator.core.presence import Limit
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_protos.v1 import control_service_pb2 as pb
from grpcflow_protos.v1 import limit_pb2

#: Keys that are told of at most.
KEYS_TOLD: Final = 1_000


def scope(number: int) -> Scope:
    """Return what a limit or a retention is set on."""
    if number == pb.SCOPE_TASK:
        return "task"
    if number == pb.SCOPE_QUEUE:
        return "queue"
    raise Refusal("BAD_ARGUMENTS", "it is set on a task or on a queue: say which")


def message(limit: Limit) -> limit_pb2.Limit:
    """Return a limit for the wire."""
    return limit_pb2.Limit(
        rate_count=limit.rate_count, rate_period_ms=limit.rate_period_ms, concurrency=limit.concurrency
    )


def why_shut(cluster: Cluster, queue: str, task: str) -> str:
    """Say which limit holds back a task in a queue; empty: none."""
    gates = cluster.gates
    for gate in (gates.tasks.get(task), gates.queues.get(queue)):
        if gate is not None:
            of = f"the {gate.scope} {gate.name!r}"
            if gate.limit.concurrency and (gates.uncertain or gate.running >= gate.limit.concurrency):
                return f"{gate.running} of {of} run, and {gate.limit.concurrency} may"
            if gate.limit.rate_count and gate.room(cluster.lines.now_ms) <= 0:
                return f"the rate of {of} is used up for now"
    return ""


def all_limits(engine: Engine) -> list[pb.LimitInfo]:
    """Return the limits on tasks and queues, and the keys that hold something back."""
    cluster = engine.machine.cluster
    gates, now_ms = cluster.gates, engine.now().pace_ms
    told = []
    for number, standing in ((pb.SCOPE_TASK, gates.tasks), (pb.SCOPE_QUEUE, gates.queues)):
        scope = "task" if number == pb.SCOPE_TASK else "queue"
        # One that was set to nothing keeps what the code says away, and has no gate.
        lifted = {name for kind, name in gates.was_set if kind == scope} - standing.keys()
        found = {**standing, **{name: Gate(Limit(), scope, name) for name in lifted}}
        for _, gate in sorted(found.items()):
            told.append(_info(number, gate, gates, now_ms))
            told[-1].waiting_lines = sum(
                line.queued > 0 and gate.name in (line.key.task, line.key.queue)[number - 1 : number]
                for line in cluster.lines.by_key.values()
            )
    for _, gate in islice(((name, gate) for name, gate in gates.keys.items() if gate.waiting), KEYS_TOLD):
        info = _info(pb.SCOPE_KEY, gate, gates, now_ms)
        info.limit.concurrency = max(group.per_key for group in gate.waiting)
        info.waiting_lines = sum(map(len, gate.waiting.values()))
        told.append(info)
    return told


def _info(number: int, gate: Gate, gates: Gates, now_ms: float) -> pb.LimitInfo:
    info = pb.LimitInfo(name=gate.name, limit=message(gate.limit), running=gate.running)
    info.scope = number  # type: ignore[assignment]
    info.set = (gate.scope, gate.name) in gates.was_set
    if gate.limit.rate_count:
        info.next_in_ms = max(0, int(gate.opens_at() - now_ms))
    return info
