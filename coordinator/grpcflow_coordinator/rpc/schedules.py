"""ScheduleService: decode, post an event, encode. No decision about tasks is made here."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Final

from grpcflow_coordinator.core.events import (
    ScheduleRunAsked,
    SchedulesPauseAsked,
    SchedulesPut,
    SchedulesRemoveAsked,
)
from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, Graph, split_node, text_id
from grpcflow_coordinator.core.planning import Overlap, Plan, Schedule
from grpcflow_coordinator.core.ticks import BadTimes, Times, check, fire_time, next_tick
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.admission import admitted
from grpcflow_coordinator.rpc.asking import check_room, done
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2, schedule_service_pb2_grpc
from grpcflow_protos.v1 import schedule_service_pb2 as pb

#: Most schedules of one request, and most of their next times that are told.
SCHEDULES_LIMIT: Final = 1_000
NEXT_LIMIT: Final = 100

#: Most runs and bytes of what one schedule submits: it is one record.
RUNS_LIMIT: Final = 500
BYTES_LIMIT: Final = 256 * 1024

#: Most characters of a description.
DESCRIPTION_LIMIT: Final = 4_096

_DAY_MS: Final = 86_400_000

#: In the place of the id that each graph will have.
_NO_ID: Final = bytes(6) + b"\x70\x00\x80\x00\x00\x00"

_OVERLAP: Final[dict[int, Overlap]] = {
    pb.OVERLAP_POLICY_UNSPECIFIED: "allow",
    pb.OVERLAP_POLICY_ALLOW: "allow",
    pb.OVERLAP_POLICY_SKIP: "skip",
    pb.OVERLAP_POLICY_QUEUE_ONE: "queue_one",
}


class ScheduleService(schedule_service_pb2_grpc.ScheduleServiceServicer):
    """Keeps schedules."""

    def __init__(self, engine: Engine, payload_limit: int) -> None:
        self._engine = engine
        self._payload_limit = payload_limit

    async def PutSchedules(self, request: pb.PutSchedulesRequest, context: Any) -> pb.PutSchedulesResponse:
        """Add and change schedules."""
        if len(request.schedules) > SCHEDULES_LIMIT:
            said = f"{len(request.schedules)} schedules are put at once; {SCHEDULES_LIMIT} are allowed"
            raise Refusal("BAD_ARGUMENTS", f"{said}: put fewer at a time")
        owner = convert.check_name(request.owner, "the owner of schedules")
        plans = tuple(self._plan(one, owner) for one in request.schedules)
        if len({plan.name for plan in plans}) < len(plans):
            raise Refusal("BAD_SCHEDULE", "two schedules have the same name: names are unique")
        check_room(self._engine)
        answer = await done(self._engine, lambda client: SchedulesPut(client, plans, owner))
        added, changed, removed = answer.names
        return pb.PutSchedulesResponse(added=added, changed=changed, removed=removed)

    def _plan(self, message: pb.Schedule, owner: str) -> Plan:
        if not convert.check_name(message.name, "the name of a schedule"):
            raise Refusal("NAME_TOO_LONG", "a schedule has no name: one has 1 to 255 bytes")
        if len(message.description) > DESCRIPTION_LIMIT:
            raise Refusal("BAD_SCHEDULE", f"{message.name}: the description has over {DESCRIPTION_LIMIT} characters")
        if message.overlap not in _OVERLAP:
            raise Refusal("BAD_SCHEDULE", f"{message.name}: there is no overlap policy {message.overlap}")
        try:
            check(times := _times(message))
        except BadTimes as error:
            raise Refusal("BAD_SCHEDULE", f"{message.name}: {error}") from None
        kept = pb.Schedule()
        kept.CopyFrom(message)
        kept.owner = owner or message.owner
        _normalise(kept.graph)
        catch_up = convert.duration_ms(message.catch_up, "catch_up") if message.HasField("catch_up") else _DAY_MS
        if catch_up < 0:
            raise Refusal("BAD_SCHEDULE", f"{message.name}: catch_up lies in the past: give zero or more")
        return Plan(
            message.name,
            times,
            *self._graph(message.name, kept.graph),
            _OVERLAP[message.overlap],
            catch_up,
            message.catch_up_all,
            convert.check_name(kept.owner, "the owner of a schedule"),
            kept.SerializeToString(deterministic=True),
        )

    def _graph(self, name: str, message: graph_pb2.GraphChunk) -> tuple[Graph, Any]:
        """Check what a schedule submits."""
        if message.sequence or not message.last:
            raise Refusal("BAD_SCHEDULE", f"{name}: what it submits is not one whole graph in one piece")
        if len(message.runs) > RUNS_LIMIT or message.ByteSize() > BYTES_LIMIT:
            raise Refusal(
                "BAD_SCHEDULE", f"{name}: what it submits is over {BYTES_LIMIT // 1024} KiB: let a task make it"
            )
        if message.HasField("attachment") or any(run.id for run in message.runs):
            raise Refusal("BAD_SCHEDULE", f"{name}: what it submits has a task id of its own: each tick makes new ones")
        if any(one.HasField("eta") or one.HasField("expires_at") for one in message.templates):
            raise Refusal("BAD_SCHEDULE", f"{name}: a call has a fixed time: use countdown= and expires= in seconds")
        most = admitted(message, self._payload_limit, limits.NODE_LIMIT)
        chunk = convert.chunk(None, message, *most)
        graph = Graph(chunk.graph, chunk.node_count, chunk.templates, 0, None, chunk.outcome)
        return graph, tuple(chunk.runs)

    async def ListSchedules(self, request: pb.ListSchedulesRequest, context: Any) -> pb.ListSchedulesResponse:
        """Tell all, by name."""
        convert.check_name(request.name, "a pattern of schedules' names")
        if request.next > NEXT_LIMIT:
            raise Refusal("BAD_ARGUMENTS", f"{request.next} next times are asked for; {NEXT_LIMIT} are allowed")
        answer = pb.ListSchedulesResponse()
        for name, schedule in sorted(self._engine.machine.cluster.schedules.items()):
            if not request.name or fnmatchcase(name, request.name):
                answer.schedules.append(_info(schedule, request.next or 1, graphs=request.graphs))
                await asyncio.sleep(0)  # working times out takes a while, and others have their turn
        return answer

    async def PauseSchedules(self, request: pb.PauseSchedulesRequest, context: Any) -> pb.PauseSchedulesResponse:
        """Let no tick come any more, or again."""
        names = _names(request.names)
        check_room(self._engine)
        await done(self._engine, lambda client: SchedulesPauseAsked(client, names, request.paused))
        return pb.PauseSchedulesResponse()

    async def RunSchedule(self, request: pb.RunScheduleRequest, context: Any) -> pb.RunScheduleResponse:
        """Submit what a schedule submits now."""
        [name] = _names([request.name])
        check_room(self._engine)
        answer = await done(self._engine, lambda client: ScheduleRunAsked(client, name))
        return pb.RunScheduleResponse(id=answer.names[0][0])

    async def RemoveSchedules(self, request: pb.RemoveSchedulesRequest, context: Any) -> pb.RemoveSchedulesResponse:
        """Forget schedules."""
        names = _names(request.names)
        check_room(self._engine)
        await done(self._engine, lambda client: SchedulesRemoveAsked(client, names))
        return pb.RemoveSchedulesResponse()


def _names(names: Any) -> tuple[str, ...]:
    """Check the names of schedules."""
    if not 0 < len(names) <= SCHEDULES_LIMIT:
        raise Refusal("BAD_ARGUMENTS", f"{len(names)} schedules are named; name 1 to {SCHEDULES_LIMIT}")
    return tuple(convert.check_name(name, "the name of a schedule") for name in names)


def _times(message: pb.Schedule) -> Times:
    zone = convert.check_name(message.time_zone, "the name of a time zone")
    jitter = convert.duration_ms(message.jitter, "jitter")
    which = message.WhichOneof("times")
    if which == "crontab":
        fields = message.crontab
        cron = (fields.minute, fields.hour, fields.day_of_month, fields.month_of_year, fields.day_of_week)
        for text in cron:
            convert.check_name(text, "a field of a crontab")
        minute, hour, day, month, weekday = (text or "*" for text in cron)
        return Times("crontab", (minute, hour, day, month, weekday), time_zone=zone, jitter_ms=jitter)
    if which == "interval":
        every = convert.duration_ms(message.interval.every, "the interval")
        aligned = message.interval.aligned
        return Times("interval", every_ms=every, aligned=aligned, time_zone=zone, jitter_ms=jitter)
    if which == "solar":
        sun = message.solar
        event = convert.check_name(sun.event, "an event of the sun")
        times = Times("solar", event=event, time_zone=zone, jitter_ms=jitter)
        return replace(times, latitude=sun.latitude, longitude=sun.longitude)
    if which == "once":
        moment = convert.timestamp_ms(message.once, "the moment of a schedule")
        return Times("once", once_ms=moment, time_zone=zone, jitter_ms=jitter)
    raise BadTimes("it names no times: set crontab, interval, solar or once")


def _normalise(message: graph_pb2.GraphChunk) -> None:
    """Take the id out of a graph: it is another one at each tick, and two that differ in it alone are the same."""
    message.graph = _NO_ID
    for run in message.runs:
        if len(run.group) == GRAPH_ID_BYTES + 4:
            run.group = _NO_ID + run.group[GRAPH_ID_BYTES:]


def _info(schedule: Schedule, wanted: int, *, graphs: bool) -> pb.ScheduleInfo:
    plan = schedule.plan
    told = pb.ScheduleInfo(
        schedule=pb.Schedule.FromString(plan.wire),
        paused=schedule.paused,
        fired=schedule.fired,
        passed=schedule.passed,
    )
    if not graphs:
        told.schedule.ClearField("graph")
    tick = schedule.next_ms
    for _ in range(wanted):
        if tick is None:
            break
        told.next_ms.append(fire_time(plan.times, plan.name, tick))
        tick = next_tick(plan.times, tick, schedule.put_ms)
    for past in schedule.history:
        line = told.history.add(time_ms=past.time_ms, id=text_id(*split_node(past.node)) if past.node else "")
        line.outcome = int(past.outcome)  # type: ignore[assignment]
    return told
