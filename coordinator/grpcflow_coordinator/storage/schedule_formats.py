"""The values of the records of schedules: how they are written. Knows no key; the rules are those of formats.py."""

from __future__ import annotations

from grpcflow_coordinator.core.model import GRAPH_ID_BYTES
from grpcflow_coordinator.core.planning import PastTick, Plan, Schedule, TickOutcome
from grpcflow_coordinator.core.ticks import Times
from grpcflow_coordinator.storage import formats

#: The id of what a schedule submits, before it has one.
_NO_ID = bytes(GRAPH_ID_BYTES)


def write_plan(plan: Plan) -> bytes:
    """Write what was put of a schedule."""
    times = plan.times
    named = (times.kind, times.crontab, times.every_ms, times.aligned, times.event)
    placed = (times.latitude, times.longitude, times.once_ms, times.time_zone, times.jitter_ms)
    graph = formats.write_graph(plan.graph, [(formats.run_head(run), payloads) for run, payloads in plan.runs])
    policy = (plan.overlap, plan.catch_up_ms, plan.catch_up_all, plan.owner)
    return formats.encode((formats.VERSION, plan.name, (*named, *placed), graph, *policy, plan.wire))


def read_plan(data: bytes) -> Plan:
    """Read what was put of a schedule."""
    _, name, times, graph, overlap, catch_up_ms, catch_up_all, owner, wire = formats.read(data)[:9]
    kind, crontab, *rest = times[:10]
    root, runs = formats.read_graph(_NO_ID, graph)
    return Plan(
        name,
        Times(kind, tuple(crontab), *rest),
        root,
        tuple(runs or ()),
        overlap,
        catch_up_ms,
        catch_up_all,
        owner,
        wire,
    )


def write_schedule(schedule: Schedule) -> bytes:
    """Write how a schedule stands."""
    counted = (schedule.fired, schedule.passed, schedule.running, schedule.waiting_ms)
    times = (schedule.put_ms, schedule.last_ms, schedule.paused)
    return formats.encode((formats.VERSION, *times, *counted, schedule.history))


def read_schedule(plan: Plan, data: bytes) -> Schedule:
    """Read how a schedule stands."""
    _, put_ms, last_ms, paused, fired, passed, running, waiting_ms, history = formats.read(data)[:9]
    past = [PastTick(time_ms, TickOutcome(outcome), node) for time_ms, outcome, node in history]
    return Schedule(plan, put_ms, last_ms, paused, fired, passed, running, waiting_ms, past)
