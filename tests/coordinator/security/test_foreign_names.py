"""To every rpc, what another namespace has is as if it was nowhere."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from tests.coordinator.security.token_files import caller, give, realm
from tests.coordinator.support.serving import BOUND, Wire, Worker, call, mint, ranges, reason, serving

from grpcflow_coordinator.core.model import node_id, text_id
from grpcflow_coordinator.security.token_file import Role
from grpcflow_protos.limits import TOKEN_NUMBER_BITS
from grpcflow_protos.v1 import client_service_pb2 as client_pb
from grpcflow_protos.v1 import control_service_pb2 as control_pb
from grpcflow_protos.v1 import event_service_pb2 as event_pb
from grpcflow_protos.v1 import graph_pb2, limit_pb2, log_pb2, value_pb2
from grpcflow_protos.v1 import graph_service_pb2 as graph_pb
from grpcflow_protos.v1 import schedule_service_pb2 as schedule_pb
from grpcflow_protos.v1 import worker_service_pb2 as worker_pb

METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for file in (client_pb, worker_pb, control_pb, event_pb, graph_pb, schedule_pb)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.client_streaming
}

#: Seconds after which an answer that waits for news is taken for one; longer where the machine was too busy for that.
WAITS = (0.3, 3.0, 15.0)

#: The first attempt of a coordinator.
TOKEN = (1 << TOKEN_NUMBER_BITS) + 1


def records(wire: Wire, name: str) -> dict[bytes, bytes]:
    store = realm(wire, name)._store
    return dict(store.scan(b"", b"\xff" * 16, 1 << 30))


class Named:
    """What a namespace has, with the ids and names by which it could be meant."""

    def __init__(self, letter: str) -> None:
        self.graph, self.id, self.name = mint(), f"id-{letter}", f"name-{letter}"
        self.session = letter.encode() * 16
        #: Anything that can mean its graph or its node.
        self.texts = (text_id(self.graph, 0), self.graph.hex(), self.id)

    def chunk(self) -> graph_pb2.GraphChunk:
        """Returns its graph: one call."""
        chunk = call(b'["secret"]', task=self.name, id=self.id)
        chunk.graph, chunk.templates[0].queue = self.graph, self.name
        chunk.templates[0].stamps.add(name=self.name, values=[self.name])
        return chunk

    def attached(self) -> graph_pb2.GraphChunk:
        """Returns a graph that wants to replace its node."""
        chunk = call()
        chunk.attachment.kind = graph_pb2.ATTACHMENT_KIND_REPLACE
        chunk.attachment.node, chunk.attachment.token = node_id(self.graph, 0), TOKEN
        return chunk

    def schedule(self) -> schedule_pb.Schedule:
        """Returns its schedule."""
        schedule = schedule_pb.Schedule(name=self.name, graph=call(b'["secret"]'))
        schedule.interval.every.seconds = 3_600
        return schedule

    async def settle(self, side: Wire) -> Worker:
        """Puts all of it into a namespace, and returns its worker, which has the call."""
        await side.submit(self.chunk())
        await side.client.SaveGroup(client_pb.SaveGroupRequest(id=self.id, data=b"secret"))
        await schedules(side)("PutSchedules", schedule_pb.PutSchedulesRequest(schedules=[self.schedule()]))
        worker = await side.work(
            name=self.name, queues=[self.name], tasks=[self.name], session=self.session, capacity=1
        )
        assert await worker.have(1) == [TOKEN], "the requests name this attempt"
        await worker.say(logs=[log_pb2.LoggedLines(token=TOKEN, lines=[log_pb2.LogLine(text="secret")])])
        waits = self.chunk()
        waits.graph, waits.runs[0].id = mint(), ""
        await side.submit(waits)
        return worker

    def hide(self, data: bytes) -> bytes:
        """Returns bytes in which nothing of it stands."""
        data = data.replace(node_id(self.graph, 0), b"#" * 16).replace(self.graph, b"#" * 12)
        for text in (*self.texts, self.name):
            data = data.replace(text.encode(), b"#" * 8)
        return data


def schedules(side: Wire) -> Any:
    """Returns what makes calls of the service of schedules."""
    channel: Any = side.channel

    def made(method: str, request: Message) -> Any:
        path = f"/grpcflow.v1.ScheduleService/{method}"
        return channel.unary_unary(path, request_serializer=lambda one: one.SerializeToString())(request)

    return made


def requests(of: Named, text: str) -> dict[str, Message]:
    """Returns for each rpc that takes an id or a name one that means something."""
    node, nodes = node_id(of.graph, 0), client_pb.NodeSet(ids=[text]) if text == of.id else ranges(of.graph, 1)
    kept = control_pb.Retention(results=control_pb.Keep(count=1))
    limit, task = limit_pb2.Limit(concurrency=1), control_pb.SCOPE_TASK
    stamp = [graph_pb2.Stamp(name=of.name, values=[of.name])]
    return {
        "Submit": client_pb.SubmitRequest(chunks=[of.attached()]),
        "Watch": client_pb.WatchRequest(nodes=nodes),
        "GetResults": client_pb.GetResultsRequest(nodes=nodes, details=True),
        "FetchValue": client_pb.FetchValueRequest(id=text),
        "UpdateState": client_pb.UpdateStateRequest(id=text, state="MINE"),
        "Forget": client_pb.ForgetRequest(ids=[text]),
        "SaveGroup": client_pb.SaveGroupRequest(id=text, data=b"1"),
        "RestoreGroup": client_pb.RestoreGroupRequest(id=of.id),
        "DeleteGroup": client_pb.DeleteGroupRequest(id=of.id),
        "Emit": client_pb.EmitRequest(node=node, token=TOKEN, items=[value_pb2.Value(data=b"1")]),
        "ReadItems": client_pb.ReadItemsRequest(id=text, no_wait=True),
        "ReadLogs": log_pb2.ReadLogsRequest(id=text),
        "Inputs": worker_pb.InputsRequest(session=of.session, token=TOKEN),
        "Inspect": control_pb.InspectRequest(command="ping", destination=[of.name], timeout_ms=50),
        "Control": control_pb.ControlRequest(command="shutdown", destination=[of.name], timeout_ms=50),
        "Revoke": control_pb.RevokeRequest(ids=[text], terminate=True),
        "RevokeByStamp": control_pb.RevokeByStampRequest(stamps=stamp),
        "RevokeMatching": control_pb.RevokeMatchingRequest(task=of.name, queue=of.name),
        "Erase": control_pb.EraseRequest(ids=[text], stamps=stamp),
        "PurgeQueue": control_pb.PurgeQueueRequest(queue=of.name),
        "PauseQueue": control_pb.PauseQueueRequest(queue=of.name),
        "ResumeQueue": control_pb.ResumeQueueRequest(queue=of.name),
        "SetLimit": control_pb.SetLimitRequest(scope=task, name=of.name, limit=limit),
        "SetRetention": control_pb.SetRetentionRequest(scope=task, name=of.name, retention=kept),
        "ReadEvents": event_pb.ReadEventsRequest(id=text),
        "PublishEvent": event_pb.PublishEventRequest(type="mine", id=text),
        "ListGraphs": graph_pb.ListGraphsRequest(task=of.name),
        "GetGraph": graph_pb.GetGraphRequest(id=text),
        "CancelGraph": graph_pb.CancelGraphRequest(id=text, terminate=True),
        "RetryGraph": graph_pb.RetryGraphRequest(id=text),
        "ListFailed": graph_pb.ListFailedRequest(task=of.name),
        "PurgeFailed": graph_pb.PurgeFailedRequest(ids=[text]),
        "Explain": graph_pb.ExplainRequest(id=text),
        "PutSchedules": schedule_pb.PutSchedulesRequest(schedules=[of.schedule()]),
        "ListSchedules": schedule_pb.ListSchedulesRequest(name=of.name, graphs=True),
        "PauseSchedules": schedule_pb.PauseSchedulesRequest(names=[of.name], paused=True),
        "RunSchedule": schedule_pb.RunScheduleRequest(name=of.name),
        "RemoveSchedules": schedule_pb.RemoveSchedulesRequest(names=[of.name]),
    }


#: Takes nothing that means something of somebody's, but lists: what is there must not be of others.
LISTS = {"ListLimits", "ListRetention", "ListCommands", "ListWorkers", "ListQueues"}

#: Makes what others would find from then on.
MAKES = {"SaveGroup", "PutSchedules"}

#: Answers how many there are of the own by now.
COUNTS = {"PublishEvent"}

#: Answers alike whether there is such a thing or not, by what the rpc is.
SILENT = {
    "SaveGroup",
    "DeleteGroup",
    "PauseQueue",
    "ResumeQueue",
    "SetLimit",
    "SetRetention",
    "ListFailed",
    "PurgeFailed",
    "PublishEvent",
}


async def answer(side: Wire, method: MethodDescriptor, request: Message, of: Named, wait: float = BOUND) -> Any:
    """Returns all that a call tells, but for the ids and names that were asked with."""
    assert method.containing_service is not None
    path = f"/{method.containing_service.full_name}/{method.name}"
    shape = "unary_stream" if method.server_streaming else "unary_unary"
    one = getattr(side.channel, shape)(path, request_serializer=lambda it: it.SerializeToString())(request)
    told: list[bytes] = []
    try:
        async with asyncio.timeout(wait):
            if method.server_streaming:
                while (data := await one.read()) is not grpc.aio.EOF:
                    told.append(of.hide(data))
            else:
                told.append(of.hide(await one) if method.name not in COUNTS else b"one more")
    except TimeoutError:
        told.append(b"and it waits")
    except grpc.aio.AioRpcError as error:
        return told, reason(error), of.hide((error.details() or "").encode())
    finally:
        one.cancel()
    return told


def test_each_rpc_that_takes_one_request_is_asked() -> None:
    assert set(requests(Named("x"), "x")) | LISTS == set(METHODS)


async def test_to_every_rpc_what_another_namespace_has_is_as_if_it_was_nowhere(tokens: Path) -> None:
    """Whatever is asked with the names of others tells as much as with names that nobody has, and changes nothing."""
    ours, theirs = (give(tokens, Role, namespace=name) for name in ("ours", "theirs"))
    foreign, nowhere = Named("f"), Named("n")
    async with serving(tokens=str(tokens)) as wire:
        side, owner = caller(wire, ours), caller(wire, theirs)
        worker = await foreign.settle(owner)
        before, heard = records(wire, "theirs"), realm(wire, "theirs").outbox.feed.end
        for name in sorted(METHODS, key=MAKES.__contains__):
            for pick in range(3) if name not in LISTS else ():
                got = [
                    await answer(side, METHODS[name], requests(of, of.texts[pick])[name], of)
                    for of in (foreign, nowhere)
                ]
                assert got[0] == got[1], f"{name} by {foreign.texts[pick]}"
                assert "secret" not in str(got)
        for name in LISTS:
            request = message_factory.GetMessageClass(METHODS[name].input_type)()
            assert foreign.session not in str(await answer(side, METHODS[name], request, nowhere)).encode()
        assert records(wire, "theirs") == before
        assert realm(wire, "theirs").outbox.feed.end == heard
        assert not worker.stops
        assert not worker.commands
        await worker.run(1)  # it is still the worker's


@pytest.mark.parametrize("name", sorted(set(METHODS) - LISTS - SILENT))
async def test_the_same_request_finds_what_is_of_the_own_namespace(tokens: Path, name: str) -> None:
    """So that the test above says something."""
    mine, nowhere = Named("f"), Named("n")
    ours = give(tokens, Role, namespace="ours")
    async with serving(tokens=str(tokens)) as wire:
        side = caller(wire, ours)
        await mine.settle(side)
        for wait, pick in itertools.product(WAITS, (2, 1)):
            got = [
                await answer(side, METHODS[name], requests(of, of.texts[pick])[name], of, wait)
                for of in (mine, nowhere)
            ]
            if got[0] != got[1]:
                return
        pytest.fail(f"{name} tells the same of what is there and of what is not")


async def test_a_session_is_told_nothing_of_what_another_namespace_has(tokens: Path) -> None:
    ours, theirs = (give(tokens, Role, namespace=name) for name in ("ours", "theirs"))
    foreign = Named("f")
    async with serving(tokens=str(tokens)) as wire:
        await caller(wire, theirs).submit(foreign.chunk())
        session = await caller(wire, ours).session()
        told = []
        for graph in (foreign.graph, mint()):
            await session.say(watches=[ranges(graph, 1)])
            message = await session.read(lambda one: one.results or one.refused)
            told.append(message.SerializeToString().replace(graph, b"#").replace(graph.hex().encode(), b"#"))
        assert told[0] == told[1] != b""
        session.call.cancel()
