"""ControlService: remote control and the coordinator's own knowledge of workers and queues."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypeVar

from grpcflow_coordinator.core.effects import RevokeDone
from grpcflow_coordinator.core.events import (
    LimitAsked,
    MatchRevokeAsked,
    PauseAsked,
    PurgeAsked,
    RetentionAsked,
    RevokeAsked,
    StampRevokeAsked,
)
from grpcflow_coordinator.core.limits import in_force
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.loads import Loads
from grpcflow_coordinator.rpc import cluster_views, commands, convert, hello, limit_views, retention_views
from grpcflow_coordinator.rpc.asking import check_room, done
from grpcflow_coordinator.rpc.convert import STAMPS_LIMIT
from grpcflow_coordinator.rpc.crowd import Crowd
from grpcflow_coordinator.rpc.desk import Answer, ControlDesk
from grpcflow_coordinator.rpc.erasing import Eraser
from grpcflow_coordinator.rpc.lookup import IDS_LIMIT
from grpcflow_coordinator.rpc.questions import Questions
from grpcflow_protos.v1 import control_service_pb2, control_service_pb2_grpc

#: Lanes of which it is told for how long the oldest call waits.
AGES_TOLD: Final = 1_000

Told = TypeVar("Told", control_service_pb2.InspectResponse, control_service_pb2.ControlResponse)

_STATUS: Final = {
    "answered": control_service_pb2.REPLY_STATUS_ANSWERED,
    "no_reply": control_service_pb2.REPLY_STATUS_NO_REPLY,
    "disconnected": control_service_pb2.REPLY_STATUS_DISCONNECTED,
}


class ControlService(control_service_pb2_grpc.ControlServiceServicer):
    """Reaches one worker, some, or all."""

    def __init__(
        self,
        engine: Engine,
        desk: ControlDesk,
        loads: Loads,
        feed: Feed,
        revoked: deque[tuple[bytes, int, str]],
        crowd: Crowd,
    ) -> None:
        self._engine = engine
        self._crowd = crowd
        self._loads = loads
        self._eraser = Eraser(engine, feed, revoked)
        self._questions = Questions(engine, desk, revoked, crowd)

    async def Inspect(
        self, request: control_service_pb2.InspectRequest, context: Any
    ) -> AsyncIterator[control_service_pb2.InspectResponse]:
        """Ask a question."""
        async for answers in self._questions.ask(request, context.peer(), control=False):
            yield _told(control_service_pb2.InspectResponse, answers)

    async def Control(
        self, request: control_service_pb2.ControlRequest, context: Any
    ) -> AsyncIterator[control_service_pb2.ControlResponse]:
        """Ask for a change."""
        async for answers in self._questions.ask(request, context.peer(), control=True):
            yield _told(control_service_pb2.ControlResponse, answers)

    async def Revoke(
        self, request: control_service_pb2.RevokeRequest, context: Any
    ) -> control_service_pb2.RevokeResponse:
        """Revoke nodes wherever they are."""
        if len(request.ids) > IDS_LIMIT:
            raise Refusal("TOO_MANY_IDS", f"{len(request.ids)} ids are named; {IDS_LIMIT} are allowed at once")
        for text in request.ids:
            convert.check_name(text, "an id", code="ID_TOO_LONG")
        name = _signal(request.signal)
        check_room(self._engine)
        future: asyncio.Future[RevokeDone] = asyncio.get_running_loop().create_future()
        self._engine.post(RevokeAsked(future, tuple(request.ids), request.terminate, name))
        answer = await future
        return control_service_pb2.RevokeResponse(revoked=answer.revoked, unknown=answer.unknown)

    async def RevokeByStamp(
        self, request: control_service_pb2.RevokeByStampRequest, context: Any
    ) -> control_service_pb2.RevokeByStampResponse:
        """Revoke every node that bears one of the stamps."""
        stamps = tuple((name, value) for name, found in convert.stamps(request.stamps) for value in found)
        if not stamps:
            raise Refusal("BAD_ARGUMENTS", f"no values of stamps are named; name 1 to {STAMPS_LIMIT}")
        name = _signal(request.signal)
        check_room(self._engine)
        answer = await done(self._engine, lambda client: StampRevokeAsked(client, stamps, request.terminate, name))
        return control_service_pb2.RevokeByStampResponse(revoked=answer.count)

    async def Erase(  # noqa: N802  # the wire's name
        self, request: control_service_pb2.EraseRequest, context: Any
    ) -> control_service_pb2.EraseResponse:
        """Delete everything of some tasks, graphs and stamps."""
        if len(request.ids) > IDS_LIMIT:
            raise Refusal("TOO_MANY_IDS", f"{len(request.ids)} ids are named; {IDS_LIMIT} are allowed at once")
        ids = [convert.check_name(text, "an id", code="ID_TOO_LONG") for text in request.ids]
        stamps = [(name, value) for name, found in convert.stamps(request.stamps) for value in found]
        if not ids and not stamps:
            raise Refusal("BAD_ARGUMENTS", f"nothing is named: name ids, or 1 to {STAMPS_LIMIT} values of stamps")
        return await self._eraser.erase(ids, stamps)

    async def RevokeMatching(
        self, request: control_service_pb2.RevokeMatchingRequest, context: Any
    ) -> control_service_pb2.RevokeMatchingResponse:
        """Revoke every call of matching tasks, of a queue, or both."""
        task = convert.check_name(request.task, "a pattern of task names")
        queue = convert.check_name(request.queue, "the name of a queue")
        if not (task or queue):
            raise Refusal("BAD_ARGUMENTS", "neither a task nor a queue is named: to revoke everything say task='*'")
        name = _signal(request.signal)
        check_room(self._engine)
        answer = await done(self._engine, lambda client: MatchRevokeAsked(client, task, queue, request.terminate, name))
        return control_service_pb2.RevokeMatchingResponse(revoked=answer.count)

    async def PurgeQueue(
        self, request: control_service_pb2.PurgeQueueRequest, context: Any
    ) -> control_service_pb2.PurgeQueueResponse:
        """Revoke what stands in a queue."""
        queue = _queue(request.queue)
        check_room(self._engine)
        answer = await done(self._engine, lambda client: PurgeAsked(client, queue))
        return control_service_pb2.PurgeQueueResponse(revoked=answer.count)

    async def PauseQueue(
        self, request: control_service_pb2.PauseQueueRequest, context: Any
    ) -> control_service_pb2.PauseQueueResponse:
        """Hand out nothing of a queue any more."""
        queue = _queue(request.queue)
        check_room(self._engine)
        await done(self._engine, lambda client: PauseAsked(client, queue, True))
        return control_service_pb2.PauseQueueResponse()

    async def ResumeQueue(
        self, request: control_service_pb2.ResumeQueueRequest, context: Any
    ) -> control_service_pb2.ResumeQueueResponse:
        """Hand out again what waits in a queue."""
        queue = _queue(request.queue)
        check_room(self._engine)
        await done(self._engine, lambda client: PauseAsked(client, queue, False))
        return control_service_pb2.ResumeQueueResponse()

    async def SetLimit(
        self, request: control_service_pb2.SetLimitRequest, context: Any
    ) -> control_service_pb2.SetLimitResponse:
        """Put a limit on a task or a queue, or take it away."""
        scope = limit_views.scope(request.scope)
        name = convert.check_name(request.name, f"the name of a {scope}")
        if not name:
            raise Refusal("BAD_ARGUMENTS", f"no {scope} is named: a limit is on one")
        limit = None if request.clear else hello.limit(request.limit)
        check_room(self._engine)
        await done(self._engine, lambda client: LimitAsked(client, scope, name, limit))
        found = in_force(self._engine.machine.cluster.gates, scope, name)
        return control_service_pb2.SetLimitResponse(limit=limit_views.message(found))

    async def ListLimits(
        self, request: control_service_pb2.ListLimitsRequest, context: Any
    ) -> control_service_pb2.ListLimitsResponse:
        """Tell the limits that hold."""
        async with self._crowd.look(context.peer()):
            return control_service_pb2.ListLimitsResponse(limits=limit_views.all_limits(self._engine))

    async def SetRetention(
        self, request: control_service_pb2.SetRetentionRequest, context: Any
    ) -> control_service_pb2.SetRetentionResponse:
        """Say how long what ended is kept of a task or a queue."""
        scope = limit_views.scope(request.scope)
        name = convert.check_name(request.name, f"the name of a {scope}")
        if not name:
            raise Refusal("BAD_ARGUMENTS", f"no {scope} is named: retention is set for one")
        kept = None if request.clear else retention_views.checked(request.retention)
        check_room(self._engine)
        await done(self._engine, lambda client: RetentionAsked(client, scope, name, kept))
        return control_service_pb2.SetRetentionResponse()

    async def ListRetention(
        self, request: control_service_pb2.ListRetentionRequest, context: Any
    ) -> control_service_pb2.ListRetentionResponse:
        """Tell every retention that was set."""
        found = sorted(self._engine.machine.cluster.retention.items())
        return control_service_pb2.ListRetentionResponse(retention=[retention_views.info(*one) for one in found])

    async def ListCommands(
        self, request: control_service_pb2.ListCommandsRequest, context: Any
    ) -> control_service_pb2.ListCommandsResponse:
        """Tell which commands there are."""
        sessions = self._engine.machine.cluster.sessions.values()
        return control_service_pb2.ListCommandsResponse(commands=commands.available(sessions))

    async def ListWorkers(
        self, request: control_service_pb2.ListWorkersRequest, context: Any
    ) -> control_service_pb2.ListWorkersResponse:
        """Tell which sessions there are."""
        async with self._crowd.look(context.peer()):
            return self._workers()

    def _workers(self) -> control_service_pb2.ListWorkersResponse:
        sessions = sorted(self._engine.machine.cluster.sessions.values(), key=lambda session: session.name)
        now = self._engine.now().monotonic
        cluster, loads = self._engine.machine.cluster, self._loads
        workers = [cluster_views.worker(session, cluster, now, loads.of(session.name)) for session in sessions]
        return control_service_pb2.ListWorkersResponse(workers=workers)

    async def ListQueues(
        self, request: control_service_pb2.ListQueuesRequest, context: Any
    ) -> control_service_pb2.ListQueuesResponse:
        """Tell what waits, and why."""
        async with self._crowd.look(context.peer()):
            return self._queues()

    def _queues(self) -> control_service_pb2.ListQueuesResponse:
        cluster = self._engine.machine.cluster
        sessions = list(cluster.sessions.values())
        lanes: dict[tuple[str, str, int], list[Line]] = {}
        for line in cluster.lines.by_key.values():
            if line.queued > 0:
                lanes.setdefault(line.key[:3], []).append(line)
        records, now_ms = self._engine.committed, self._engine.now().wall_ms
        found = [cluster_views.lane(lines, cluster, sessions) for _, lines in sorted(lanes.items())]
        for info in found[:AGES_TOLD]:
            oldest = cluster_views.oldest(lanes[info.queue, info.task, info.priority], records)
            info.oldest_ms = 0 if oldest is None else max(1, now_ms - oldest)
        return control_service_pb2.ListQueuesResponse(
            lanes=found,
            paused=sorted(cluster.paused),
            scheduled=self._engine.committed.scheduled_count(),
        )


def _told(kind: type[Told], answers: Sequence[Answer]) -> Told:
    """Return the message that tells some answers: the first, and with it the others."""
    told: list[Any] = [
        kind(worker=one.worker, status=_STATUS[one.status], reply=one.reply, error=one.error) for one in answers
    ]
    first: Told = told[0]
    first.more.extend(told[1:])
    return first


def _signal(name: str) -> str:
    """Return the signal to stop with, SIGTERM where none is named."""
    name = name or "SIGTERM"
    if name not in signal.Signals.__members__:
        raise Refusal("UNKNOWN_SIGNAL", f"{name[:40]!r} is not the name of a signal, such as SIGTERM or SIGKILL")
    return name


def _queue(name: str) -> str:
    """Return the name of a queue, checked."""
    if not convert.check_name(name, "the name of a queue"):
        raise Refusal("NAME_TOO_LONG", "the name of a queue is empty: name one")
    return name
