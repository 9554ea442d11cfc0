"""Items and progress over the wire: what running tasks tell, and whoever reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, ranges, refused, serving

from grpcflow_coordinator.core.model import node_id, text_id
from grpcflow_protos.v1 import client_service_pb2 as pb
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NODE = b"\0" * 6 + b"\x70\x00\x80" + b"\0" * 7


def items(*values: bytes) -> list[value_pb2.Value]:
    return [value_pb2.Value(data=value) for value in values]


async def emit(wire: Wire, graph: bytes, token: int, first: int, *values: bytes) -> int:
    """Emit items of a graph's one node; return how many its stream holds."""
    request = pb.EmitRequest(node=node_id(graph, 0), token=token, first=first, items=items(*values))
    answer: pb.EmitResponse = await wire.client.Emit(request, timeout=BOUND)
    return answer.count


async def running(wire: Wire, **given: Any) -> tuple[graph_pb2.GraphChunk, Any, int]:
    """Return a graph of one call that a worker holds, the worker, and the attempt's token."""
    chunk = call()
    await wire.submit(chunk)
    worker = await wire.work(**given)
    [token] = await worker.have(1)
    return chunk, worker, token


def reading(wire: Wire, graph: bytes, **wanted: Any) -> Any:
    """Return a stream of a node's items."""
    return wire.client.ReadItems(pb.ReadItemsRequest(id=text_id(graph, 0), **wanted), timeout=BOUND)


async def next_items(stream: Any, count: int) -> list[bytes]:
    """Return the next items, whatever messages they come in."""
    found: list[bytes] = []
    while len(found) < count:
        found += [item.data for item in (await stream.read()).items]
    return found


@pytest.mark.parametrize(
    ("request_message", "status"),
    [
        (pb.EmitRequest(node=b"short", items=items(b"1")), (INVALID, "MALFORMED")),
        (pb.EmitRequest(node=NODE), (INVALID, "MALFORMED")),
        (pb.EmitRequest(node=NODE, items=items(b"1") * 501), (INVALID, "MALFORMED")),
        (pb.EmitRequest(node=NODE, items=[value_pb2.Value()]), (INVALID, "MALFORMED")),
        (pb.EmitRequest(node=NODE, items=items(b"1" * 10_001)), (INVALID, "PAYLOAD_TOO_LARGE")),
        (
            pb.EmitRequest(node=NODE, items=[value_pb2.Value(data=b"1", content_type="text/odd")]),
            (INVALID, "UNKNOWN_CONTENT_TYPE"),
        ),
        (pb.EmitRequest(node=NODE, token=7, items=items(b"1")), (PRECONDITION, "STALE_ATTEMPT")),
    ],
)
async def test_what_is_refused(request_message: pb.EmitRequest, status: tuple[grpc.StatusCode, str]) -> None:
    async with serving(payload_limit=10_000) as wire:
        assert await refused(wire.client.Emit(request_message, timeout=BOUND)) == status
        await wire.works()


async def test_a_reader_of_nothing_is_refused() -> None:
    async with serving() as wire:
        for text, status in (("nobody", (NOT_FOUND, "UNKNOWN_NODE")), ("x" * 256, (INVALID, "ID_TOO_LONG"))):
            stream = wire.client.ReadItems(pb.ReadItemsRequest(id=text), timeout=BOUND)
            assert await refused(stream.read()) == status


async def test_items_arrive_as_they_are_emitted_and_the_end_comes_last() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        stream = reading(wire, chunk.graph)
        assert await emit(wire, chunk.graph, token, 0, b"0", b"1") == 2
        assert await next_items(stream, 2) == [b"0", b"1"]
        assert await emit(wire, chunk.graph, token, 2, b"2") == 3
        assert await next_items(stream, 1) == [b"2"]
        await worker.run(1, b"9")
        last = await stream.read()
        assert (last.first, last.end.state, last.end.value.data) == (3, value_pb2.STATE_SUCCESS, b"9")
        assert await stream.read() is grpc.aio.EOF
        again = reading(wire, chunk.graph, first=1)
        assert await next_items(again, 2) == [b"1", b"2"]
        assert (await again.read()).HasField("end")


async def test_what_is_emitted_again_is_passed_over_and_a_gap_is_refused() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        await emit(wire, chunk.graph, token, 0, b"0", b"1")
        assert await refused(emit(wire, chunk.graph, token, 3, b"3")) == (INVALID, "ITEMS_OUT_OF_ORDER")
        worker.tokens = []
        await worker.report(reports=[worker_service_pb2.Report(token=token, lost=worker_service_pb2.Lost())])
        [again] = await worker.have(1)
        assert await refused(emit(wire, chunk.graph, token, 0, b"x")) == (PRECONDITION, "STALE_ATTEMPT")
        assert await emit(wire, chunk.graph, again, 0, b"other") == 2
        assert await emit(wire, chunk.graph, again, 1, b"1", b"2") == 3
        stream = reading(wire, chunk.graph, no_wait=True)
        assert await next_items(stream, 3) == [b"0", b"1", b"2"]
        assert await stream.read() is grpc.aio.EOF


async def test_a_task_that_emits_nothing_ends_its_stream_with_its_end() -> None:
    async with serving() as wire:
        chunk, worker, _ = await running(wire)
        stream = reading(wire, chunk.graph)
        first = asyncio.ensure_future(stream.read())
        await worker.run(1)
        message = await first
        assert (len(message.items), message.end.state) == (0, value_pb2.STATE_SUCCESS)


async def test_a_slow_reader_costs_no_memory_and_gets_all_in_messages_of_bounded_size() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        large = b'"' + b"x" * 400_000 + b'"'
        for number in range(20):
            await emit(wire, chunk.graph, token, number, large)
        await worker.run(1)
        stream = reading(wire, chunk.graph)
        sizes, count = [], 0
        while count < 20:
            message = await stream.read()
            count += len(message.items)
            sizes.append(message.ByteSize())
        assert max(sizes) < 2 << 20
        assert (await stream.read()).HasField("end")


async def test_the_items_of_a_replacement_follow_those_of_the_task_it_replaced() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        stream = reading(wire, chunk.graph)
        await emit(wire, chunk.graph, token, 0, b"0")
        assert await next_items(stream, 1) == [b"0"]
        inner = call()
        inner.attachment.kind = graph_pb2.ATTACHMENT_KIND_REPLACE
        inner.attachment.node, inner.attachment.token = node_id(chunk.graph, 0), token
        worker.tokens = []
        await wire.submit(inner)
        [other] = await worker.have(1)
        await emit(wire, inner.graph, other, 0, b"1", b"2")
        await worker.run(1)
        assert await next_items(stream, 2) == [b"1", b"2"]
        last = await stream.read()
        assert (last.first, last.HasField("end")) == (3, True)


async def test_progress_is_pushed_to_who_asks_and_a_slow_reader_hears_how_much_it_missed() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        plain, asks = await wire.session(), await wire.session()
        await plain.say(watches=[ranges(chunk.graph, 1)])
        nodes = ranges(chunk.graph, 1)
        nodes.progress = True
        await asks.say(watches=[nodes])
        for number in range(1, 4):
            meta = value_pb2.Value(data=b"%d" % number)
            progressed = worker_service_pb2.Progressed(state="PROGRESS", meta=meta)
            await worker.report(reports=[worker_service_pb2.Report(token=token, progressed=progressed)])
        told: list[Any] = []

        def newest(message: Any) -> bool:
            told.extend(message.progress)
            return bool(told) and told[-1].meta.data == b"3"

        await asks.read(newest)
        assert sum(1 + one.skipped for one in told) == 3
        assert {(one.node, one.state) for one in told} == {(node_id(chunk.graph, 0), "PROGRESS")}
        later = await wire.session()
        await later.say(watches=[nodes])
        message = await later.read(lambda message: message.progress)
        assert message.progress[0].meta.data == b"3"
        await worker.run(1)
        silent: list[Any] = []

        def ended(message: Any) -> bool:
            silent.extend(message.progress)
            return bool(message.successes)

        await plain.read(ended)
        assert not silent


async def test_progress_of_a_replacement_is_told_of_the_task_that_it_replaced() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        session = await wire.session()
        nodes = ranges(chunk.graph, 1)
        nodes.progress = True
        await session.say(watches=[nodes])
        inner = call()
        inner.attachment.kind = graph_pb2.ATTACHMENT_KIND_REPLACE
        inner.attachment.node, inner.attachment.token = node_id(chunk.graph, 0), token
        worker.tokens = []
        await wire.submit(inner)
        [other] = await worker.have(1)
        progressed = worker_service_pb2.Progressed(state="HALFWAY", meta=value_pb2.Value(data=b"5"))
        await worker.report(reports=[worker_service_pb2.Report(token=other, progressed=progressed)])
        message = await session.read(lambda message: message.progress)
        told = message.progress[0]
        assert (told.node, told.state, told.meta.data) == (node_id(chunk.graph, 0), "HALFWAY", b"5")


async def test_a_reader_is_told_to_come_back_when_the_coordinator_stops() -> None:
    async with serving() as wire:
        chunk, _, token = await running(wire)
        stream = reading(wire, chunk.graph)
        await emit(wire, chunk.graph, token, 0, b"0")
        await next_items(stream, 1)
        waiting = asyncio.ensure_future(refused(stream.read()))
        wire.coordinator.home.clients.stop()
        assert await waiting == (grpc.StatusCode.UNAVAILABLE, "STOPPING")


async def test_progress_of_a_node_that_is_not_there_yet_is_told_once_it_is() -> None:
    async with serving() as wire:
        session = await wire.session()
        await session.say(watches=[pb.NodeSet(ids=["mine"], wait_for_submit=True, progress=True)])
        worker = await wire.work()
        await wire.submit(call(id="mine"))
        [token] = await worker.have(1)
        progressed = worker_service_pb2.Progressed(state="HALFWAY", meta=value_pb2.Value(data=b"5"))
        await worker.report(reports=[worker_service_pb2.Report(token=token, progressed=progressed)])
        message = await session.read(lambda message: message.progress)
        assert message.progress[0].state == "HALFWAY"


async def test_who_begins_to_watch_twice_has_skipped_nothing() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        progressed = worker_service_pb2.Progressed(state="HALFWAY", meta=value_pb2.Value(data=b"5"))
        await worker.report(reports=[worker_service_pb2.Report(token=token, progressed=progressed)])
        nodes = ranges(chunk.graph, 1)
        nodes.progress = True
        session = await wire.session()
        await session.say(watches=[nodes, nodes])
        message = await session.read(lambda message: message.progress)
        assert [told.skipped for told in message.progress] == [0]
