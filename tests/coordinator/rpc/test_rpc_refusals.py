"""Bad input over the wire: each refusal with its status, its code and a cure, and the daemon works on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from tests.coordinator.support import serving
from tests.coordinator.support.serving import call, drain, hello, mint, ranges, refused

from grpcflow_coordinator import engine as engine_module
from grpcflow_coordinator.errors import STATUS_OF
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, control_service_pb2, graph_pb2, value_pb2, worker_service_pb2

Chunk = graph_pb2.GraphChunk
Mutation = Callable[[Chunk], Any]

# Messages that are given what their types forbid, or fields as plain dicts.
Run: Any = graph_pb2.NodeRun
Edge: Any = graph_pb2.Edge
Report: Any = worker_service_pb2.Report
GetResults: Any = client_service_pb2.GetResultsRequest
ClientMessage: Any = client_service_pb2.SessionRequest

LONG = "n" * (limits.NAME_LIMIT + 1)


def all_of(*mutations: Mutation) -> Mutation:
    """Return what does all of these, one after the other."""

    def mutate(chunk: Chunk) -> None:
        for one in mutations:
            one(chunk)

    return mutate


def two(chunk: Chunk, *, edge: Any = None, children: tuple[int, ...] = (1,)) -> None:
    """Make a graph of two calls out of one call's."""
    chunk.node_count = 2
    chunk.runs[0].children.extend(children)
    chunk.runs.append(Run(first=1, count=1, payloads=[b"[[],{}]"], inputs=[edge] if edge else []))


def name(index: int, chunk: Chunk) -> None:
    """Give a node an id that another one has too."""
    chunk.runs[index].id = "same"


def apart(chunk: Chunk) -> None:
    """Say of a call that it is independent of all others of its graph."""
    chunk.templates[0].apart = True


def many_edges(chunk: graph_pb2.GraphChunk) -> None:
    """Give two runs more edges than one piece may have."""
    chunk.node_count = limits.NODE_LIMIT
    for run in (chunk.runs[0], chunk.runs.add(first=1, count=1, payloads=[b"[[],{}]"])):
        run.children.extend(range(2, 3 + limits.CHUNK_EDGES_MOST // 2))


GRAPHS: list[tuple[str, Mutation]] = [
    ("EMPTY_GRAPH", lambda chunk: chunk.ClearField("runs")),
    ("EMPTY_GRAPH", lambda chunk: chunk.ClearField("node_count")),
    ("BAD_GRAPH_ID", lambda chunk: setattr(chunk, "graph", b"short")),
    ("BAD_GRAPH_ID", lambda chunk: setattr(chunk, "graph", bytes(12))),
    ("CHUNK_OUT_OF_ORDER", lambda chunk: setattr(chunk, "sequence", 1)),
    (
        "CHUNK_OUT_OF_ORDER",
        all_of(lambda chunk: setattr(chunk, "node_count", 2), lambda chunk: setattr(chunk.runs[0], "first", 1)),
    ),
    ("NODE_LIMIT", lambda chunk: setattr(chunk, "node_count", limits.NODE_LIMIT + 1)),
    ("CHUNK_TOO_LONG", lambda chunk: chunk.runs.extend([Run(count=1)] * limits.CHUNK_RUNS_MOST)),
    ("CHUNK_TOO_LONG", lambda chunk: chunk.templates.extend(list(chunk.templates) * limits.CHUNK_RUNS_MOST)),
    ("CHUNK_TOO_LONG", lambda chunk: many_edges(chunk)),
    ("MALFORMED", lambda chunk: chunk.runs[0].children.extend([1, 1, 1])),
    ("MALFORMED", lambda chunk: chunk.runs[0].inputs.extend([Edge(parent=0, mode=1)] * 3)),
    ("BAD_ARGUMENTS", lambda chunk: chunk.templates[0].stamps.add(name="s", values=["v"] * 1_001)),
    ("BAD_ARGUMENTS", lambda chunk: chunk.templates[0].stamps.extend([graph_pb2.Stamp(name="s")] * 1_001)),
    ("GRAPH_CYCLE", lambda chunk: chunk.runs[0].children.append(0)),
    ("GRAPH_CYCLE", lambda chunk: chunk.runs[0].inputs.append(Edge(parent=0, mode=1))),
    ("GRAPH_CYCLE", lambda chunk: two(chunk, edge=Edge(parent=1, mode=1))),
    ("GRAPH_CYCLE", lambda chunk: chunk.runs[0].CopyFrom(Run(count=1, join={"members": [{"first": 0, "count": 1}]}))),
    ("DANGLING_EDGE", lambda chunk: chunk.runs[0].children.append(5)),
    ("DANGLING_EDGE", lambda chunk: chunk.runs[0].inputs.append(Edge(parent=9, mode=1))),
    ("DANGLING_EDGE", lambda chunk: setattr(chunk, "node_count", 2)),
    ("EDGES_DISAGREE", two),
    ("EDGES_DISAGREE", lambda chunk: two(chunk, edge=Edge(parent=0, mode=1), children=())),
    ("EDGES_DISAGREE", lambda chunk: two(chunk, edge=Edge(parent=0))),
    ("EDGES_DISAGREE", lambda chunk: two(chunk, edge=Edge(parent=0, mode=77))),
    ("DUPLICATE_ID", all_of(lambda chunk: two(chunk, children=()), *(partial(name, index) for index in range(2)))),
    ("UNKNOWN_TEMPLATE", lambda chunk: setattr(chunk.runs[0], "template", 1)),
    ("UNKNOWN_CONTENT_TYPE", lambda chunk: setattr(chunk.templates[0], "content_type", "text/plain")),
    ("UNKNOWN_CONTENT_TYPE", lambda chunk: setattr(chunk.templates[0], "headers_content_type", "text/plain")),
    ("NAME_TOO_LONG", lambda chunk: setattr(chunk.templates[0], "task", LONG)),
    ("NAME_TOO_LONG", lambda chunk: setattr(chunk.templates[0], "task", "")),
    ("NAME_TOO_LONG", lambda chunk: setattr(chunk.templates[0], "queue", "ü" * 128)),
    ("ID_TOO_LONG", lambda chunk: setattr(chunk.runs[0], "id", LONG)),
    ("BAD_PRIORITY", lambda chunk: setattr(chunk.templates[0], "priority", 10)),
    ("BAD_TIME", lambda chunk: chunk.templates[0].countdown.CopyFrom(duration_pb2.Duration(seconds=1 << 60))),
    ("BAD_TIME", lambda chunk: chunk.templates[0].eta.CopyFrom(timestamp_pb2.Timestamp(seconds=1 << 60))),
    (
        "BAD_TIME",
        all_of(
            lambda chunk: chunk.templates[0].eta.GetCurrentTime(),
            lambda chunk: chunk.templates[0].countdown.FromSeconds(1),
        ),
    ),
    (
        "BAD_TIME",
        all_of(
            lambda chunk: chunk.templates[0].expires_at.GetCurrentTime(),
            lambda chunk: chunk.templates[0].expires_in.FromSeconds(1),
        ),
    ),
    ("MALFORMED", lambda chunk: chunk.runs[0].payloads.append(b"[]")),
    ("MALFORMED", lambda chunk: chunk.runs[0].join.SetInParent()),
    ("MALFORMED", lambda chunk: setattr(chunk.runs[0], "count", 0)),
    *(
        ("MALFORMED", all_of(apart, tie))
        for tie in (
            lambda chunk: two(chunk, edge=Edge(parent=0, mode=1)),
            lambda chunk: setattr(chunk.runs[0], "id", "mine"),
            lambda chunk: setattr(chunk.runs[0], "unique_key", "k"),
            lambda chunk: setattr(chunk.runs[0], "group", bytes(16)),
            lambda chunk: chunk.templates.append(graph_pb2.Template(task="u")),
            lambda chunk: setattr(chunk.templates[0], "broadcast", True),
            lambda chunk: chunk.templates[0].countdown.FromSeconds(1),
            lambda chunk: chunk.templates[0].eta.FromSeconds(1 << 33),
            lambda chunk: chunk.attachment.SetInParent(),
        )
    ),
]


@pytest.mark.parametrize(("code", "mutate"), GRAPHS, ids=[f"{code}-{n}" for n, (code, _) in enumerate(GRAPHS)])
async def test_a_graph_is_refused_by_submit_and_on_a_session_which_both_go_on(code: str, mutate: Mutation) -> None:
    async with serving.serving() as wire:
        chunk = call()
        mutate(chunk)
        assert await refused(wire.submit(chunk)) == (STATUS_OF[code], code)
        session = await wire.session()
        await session.say(submits=[chunk])
        await session.read(lambda message: message.refused)
        [refusal] = session.refused
        assert (refusal.graph, refusal.refusal.code) == (chunk.graph, code)
        assert refusal.refusal.status == STATUS_OF[code].value[0]
        assert refusal.refusal.message
        good = call()
        await session.say(submits=[good])
        await session.read(lambda message: message.accepted)
        assert session.accepted == [good.graph]
        await wire.works()


async def test_a_message_beyond_the_transport_s_limit() -> None:
    async with serving.serving(payload_limit=10_000) as wire:
        request = client_service_pb2.SubmitRequest(chunks=[call(b"x" * (limits.MESSAGE_OVERHEAD + 20_000))])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wire.client.Submit(request, timeout=serving.BOUND)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await wire.works()


@pytest.mark.parametrize(
    "method", ["ClientService/Submit", "ClientService/GetResults", "ControlService/Revoke", "ControlService/ListQueues"]
)
async def test_malformed_bytes_in_a_call(method: str) -> None:
    async with serving.serving() as wire:
        answer = serving.raw_unary(wire, f"/grpcflow.v1.{method}")(b"\xff\xff\xff", timeout=serving.BOUND)
        assert await refused(answer) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
        await wire.works()


@pytest.mark.parametrize("method", ["ClientService/Session", "WorkerService/Work"])
@pytest.mark.parametrize("first", [True, False])
async def test_malformed_bytes_on_a_stream(method: str, first: bool) -> None:
    async with serving.serving() as wire:
        stream = serving.raw_stream(wire, f"/grpcflow.v1.{method}")(timeout=serving.BOUND)
        if not first:
            good = ClientMessage(hello={"revision": 1}) if "Client" in method else hello()
            await stream.write(good.SerializeToString())
        await stream.write(b"\xff\xff\xff")
        assert await refused(drain(stream)) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
        await wire.works()


async def test_a_submit_without_an_end() -> None:
    async with serving.serving() as wire:
        chunk = call()
        chunk.last = False
        for request in ([], [chunk]):
            assert (await refused(wire.submit(*request)))[1] == "MALFORMED"
        await wire.works()


async def test_an_id_that_is_taken() -> None:
    async with serving.serving() as wire:
        await wire.submit(call(id="mine"))
        assert await refused(wire.submit(call(id="mine"))) == (grpc.StatusCode.ALREADY_EXISTS, "ID_TAKEN")
        await wire.works()


async def test_a_full_disk_refuses_submits() -> None:
    async with serving.serving(MemoryStore(capacity=engine_module.LOW_WATER // 2)) as wire:
        for attempt in (wire.submit(call()), wire.control.Revoke(control_service_pb2.RevokeRequest(ids=["x"]))):
            assert await refused(attempt) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL")
        session = await wire.session()
        await session.say(submits=[call()])
        await session.read(lambda message: message.refused)
        assert session.refused[0].refusal.code == "STORE_FULL"


# Streams


async def test_a_stream_without_a_hello_and_with_two() -> None:
    async with serving.serving() as wire:
        expected = (grpc.StatusCode.INVALID_ARGUMENT, "HELLO_EXPECTED")
        for stream, empty, good in (
            (wire.client.Session, client_service_pb2.SessionRequest(), _client_hello(1)),
            (wire.workers.Work, worker_service_pb2.WorkRequest(sequence=1), hello()),
        ):
            one = stream()
            await one.write(empty)
            assert await refused(drain(one)) == expected
            another = stream()
            await another.write(good)
            await another.write(good)
            assert await refused(drain(another)) == expected
        await wire.works()


@pytest.mark.parametrize("revision", [0, limits.REVISION + 2, 4_000_000_000])
async def test_a_hello_from_the_future(revision: int) -> None:
    async with serving.serving() as wire:
        for stream, message in (
            (wire.client.Session(), _client_hello(revision)),
            (wire.workers.Work(), hello(revision=revision)),
        ):
            await stream.write(message)
            assert await refused(drain(stream)) == (grpc.StatusCode.FAILED_PRECONDITION, "REVISION_UNKNOWN")
        await wire.works()


async def test_the_next_revision_is_answered_with_ours() -> None:
    async with serving.serving() as wire:
        stream = wire.client.Session()
        await stream.write(_client_hello(limits.REVISION + 1))
        assert (await stream.read()).welcome.revision == limits.REVISION
        stream.cancel()


def _client_hello(revision: int) -> Any:
    return ClientMessage(hello=client_service_pb2.ClientHello(revision=revision))


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("NAME_TOO_LONG", {"name": LONG}),
        ("NAME_TOO_LONG", {"name": ""}),
        ("NAME_TOO_LONG", {"queues": [LONG]}),
        ("NAME_TOO_LONG", {"tasks": [LONG]}),
        ("MALFORMED", {"session": b"short"}),
        ("MALFORMED", {"held": [worker_service_pb2.Held(node=b"x", token=1)]}),
    ],
)
async def test_a_worker_s_bad_hello(code: str, given: dict[str, Any]) -> None:
    async with serving.serving() as wire:
        stream = wire.workers.Work()
        await stream.write(hello(**given))
        assert await refused(drain(stream)) == (grpc.StatusCode.INVALID_ARGUMENT, code)
        await wire.works()


async def test_a_name_that_a_live_worker_has() -> None:
    async with serving.serving() as wire:
        holder = await wire.work()
        stream = wire.workers.Work()
        await stream.write(hello())
        await holder.read(lambda message: message.commands)
        assert holder.commands[0].command == "ping"
        await holder.say()
        assert await refused(drain(stream)) == (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN")


async def test_a_stream_that_is_replaced() -> None:
    async with serving.serving() as wire:
        session = os.urandom(16)
        old = await wire.work(session=session)
        new = await wire.work(session=session)
        assert await old.end() == (grpc.StatusCode.ABORTED, "REPLACED")
        await new.leave()


async def test_a_report_for_another_s_attempt() -> None:
    async with serving.serving() as wire:
        owner = await wire.work()
        await wire.submit(call())
        [token] = await owner.have(1)
        thief = await wire.work(name="thief@host")
        await thief.say(values={"tokens": [token], "values": [b"0"]})
        assert await thief.end() == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS")
        await owner.run(1)
        await wire.works()


@pytest.mark.parametrize(
    "said",
    [
        {"values": {"tokens": [1, 2], "values": [b"0"]}},
        {"reports": [Report(token=1)]},
        {"reports": [Report(token=1, value={"list": {}})]},
    ],
)
async def test_a_worker_s_malformed_report(said: dict[str, Any]) -> None:
    async with serving.serving() as wire:
        worker = await wire.work()
        await worker.say(**said)
        assert await worker.end() == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
        await wire.works()


async def test_a_report_of_an_unknown_content_type() -> None:
    async with serving.serving() as wire:
        worker = await wire.work()
        value = value_pb2.Value(data=b"x", content_type="text/plain")
        await worker.say(reports=[Report(token=1, value=value)])
        assert (await worker.end())[0] is grpc.StatusCode.INVALID_ARGUMENT
        await wire.works()


async def test_a_changed_set_of_queues_with_a_long_name() -> None:
    async with serving.serving() as wire:
        worker = await wire.work()
        await worker.say(subscription_changed=True, queues=[LONG])
        assert await worker.end() == (grpc.StatusCode.INVALID_ARGUMENT, "NAME_TOO_LONG")


async def test_a_coordinator_that_stops_says_so() -> None:
    async with serving.serving() as wire:
        worker = await wire.work()
        ending = asyncio.create_task(worker.end())
        await wire.coordinator.stop()
        assert await ending == (grpc.StatusCode.UNAVAILABLE, "STOPPING")


# Asking


async def test_watching_what_is_not_known() -> None:
    async with serving.serving() as wire:
        unknown = (grpc.StatusCode.NOT_FOUND, "UNKNOWN_NODE")
        chunk = call()
        await wire.submit(chunk)
        for nodes in (
            client_service_pb2.NodeSet(ids=["nobody"]),
            client_service_pb2.NodeSet(ids=["00000000-0000-7000-8000-000000000000"]),
            ranges(mint(), 1),
            ranges(chunk.graph, 2),
        ):
            assert await refused(wire.watch(nodes)) == unknown
        assert (await refused(wire.watch(client_service_pb2.NodeSet(ids=[LONG]))))[1] == "ID_TOO_LONG"
        assert (await refused(wire.watch(ranges(b"x" * 600, 1))))[1] == "MALFORMED"
        await wire.works()


async def test_asking_for_too_much() -> None:
    async with serving.serving() as wire:
        many = client_service_pb2.NodeSet(ids=["x"] * 10_001)
        for awaitable, code in (
            (wire.client.GetResults(GetResults(nodes=many)), "TOO_MANY_IDS"),
            (wire.client.GetResults(GetResults(nodes={"ids": [LONG]})), "ID_TOO_LONG"),
            (
                wire.client.GetResults(GetResults(nodes=ranges(b"x" * 600, 1))),
                "MALFORMED",
            ),
            (wire.control.Revoke(control_service_pb2.RevokeRequest(ids=["x"] * 10_001)), "TOO_MANY_IDS"),
            (wire.control.Revoke(control_service_pb2.RevokeRequest(ids=[LONG])), "ID_TOO_LONG"),
            (wire.control.Revoke(control_service_pb2.RevokeRequest(ids=["x"], signal="SIGNOT")), "UNKNOWN_SIGNAL"),
        ):
            assert await refused(awaitable) == (STATUS_OF[code], code)
        last = wire.client.GetResults(GetResults(nodes=ranges(mint(), 2, (1 << 32) - 1)))
        assert [result.known for result in (await last).results] == [False, False]
        await wire.works()


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("UNKNOWN_DESTINATION", {"command": "ping", "destination": ["nobody"]}),
        ("UNKNOWN_COMMAND", {"command": "shutdown"}),
        ("UNKNOWN_COMMAND", {"command": ""}),
        ("BAD_ARGUMENTS", {"command": "ping", "arguments": b"[1]"}),
        ("BAD_ARGUMENTS", {"command": "ping", "arguments": b"{"}),
        ("BAD_ARGUMENTS", {"command": "ping", "arguments": b"\xff"}),
        ("BAD_ARGUMENTS", {"command": "ping", "arguments": b'{"a":' + b"[" * 200_000}),
    ],
)
async def test_a_question_that_cannot_be_asked(code: str, request_: dict[str, Any]) -> None:
    async with serving.serving() as wire:
        stream = wire.control.Inspect(control_service_pb2.InspectRequest(**request_))
        assert await refused(drain(stream)) == (STATUS_OF[code], code)
        await wire.works()


async def test_a_change_that_is_a_question() -> None:
    async with serving.serving() as wire:
        stream = wire.control.Control(control_service_pb2.ControlRequest(command="ping"))
        assert await refused(drain(stream)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_COMMAND")


async def test_a_short_name_that_fits_two() -> None:
    async with serving.serving() as wire:
        await wire.work(name="w@one")
        await wire.work(name="w@two")
        stream = wire.control.Inspect(control_service_pb2.InspectRequest(command="ping", destination=["w"]))
        with pytest.raises(grpc.aio.AioRpcError, match=r"w@one, w@two") as caught:
            await drain(stream)
        assert serving.reason(caught.value)[1] == "UNKNOWN_DESTINATION"


async def test_a_method_that_is_not_there() -> None:
    async with serving.serving() as wire:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await serving.raw_unary(wire, "/grpcflow.v1.ClientService/Nothing")(b"", timeout=serving.BOUND)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await wire.works()
