"""Events over the wire: in order, filtered, followed, published; and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, encoded, refused, serving

from grpcflow_coordinator.core.model import text_id
from grpcflow_protos import limits
from grpcflow_protos.v1 import event_service_pb2 as pb
from grpcflow_protos.v1 import event_service_pb2_grpc, value_pb2, worker_service_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = "x" * 256
NAMES = {number: name.removeprefix("EVENT_KIND_").lower() for name, number in pb.EventKind.items()}


def events(wire: Wire) -> Any:
    return event_service_pb2_grpc.EventServiceStub(wire.channel)


async def read(wire: Wire, **given: Any) -> list[pb.Event]:
    """Read all that is there."""
    stream = events(wire).ReadEvents(pb.ReadEventsRequest(**given), timeout=BOUND)
    return [event async for answer in stream for event in answer.events]


def kinds(found: list[pb.Event]) -> list[str]:
    return [NAMES[event.kind] for event in found]


async def test_a_task_is_told_from_its_submission_to_its_end() -> None:
    async with serving() as wire:
        worker = await wire.work()
        chunk = call()
        await wire.submit(chunk)
        await worker.run(1)
        failing = call(task="t")
        await wire.submit(failing)
        [_, token] = await worker.have(2)
        failure = value_pb2.Failure(type_name="ValueError", message="boom")
        await worker.report(reports=[worker_service_pb2.Report(token=token, failure=failure)])
        await worker.leave()
        found = await read(wire)
        story = ["task_sent", "task_received"]
        assert kinds(found) == [
            "worker_online",
            *(*story, "task_succeeded"),
            *(*story, "task_failed"),
            "worker_offline",
        ]
        done, failed = found[3], found[6]
        assert (done.id, done.task, done.queue, done.worker) == (text_id(chunk.graph, 0), "t", "default", "w@host")
        assert failed.detail == "ValueError: boom"
        assert [event.offset - found[0].offset for event in found] == list(range(8))


async def test_filters_hold_and_an_offset_is_read_on_from() -> None:
    async with serving() as wire:
        first, second = call(task="a.b"), call(task="c")
        await wire.submit(first)
        await wire.submit(second)
        found = await read(wire)
        assert [event.task for event in await read(wire, task="a.*")] == ["a.b"]
        assert [event.task for event in await read(wire, id=text_id(second.graph, 0))] == ["c"]
        assert await read(wire, queue="elsewhere") == []
        assert await read(wire, worker="w*") == []
        assert await read(wire, kinds=[pb.EVENT_KIND_TASK_FAILED]) == []
        assert await read(wire, after=found[0].offset) == found[1:]
        assert await read(wire, since_ms=found[0].time_ms) == found
        assert await read(wire, limit=1) == found[:1]


async def test_a_follower_is_told_as_it_happens_and_from_now_on() -> None:
    async with serving() as wire:
        await wire.submit(call(task="before"))
        stream = events(wire).ReadEvents(pb.ReadEventsRequest(follow=True), timeout=BOUND)
        first = await stream.read()
        assert not first.events
        await wire.submit(call(task="after"))
        async with asyncio.timeout(BOUND):
            told = await stream.read()
        assert [event.task for event in told.events] == ["after"]
        assert told.next == told.events[-1].offset
        stream.cancel()


async def test_an_event_of_ones_own_is_told_with_what_it_says() -> None:
    async with serving() as wire:
        chunk = call()
        await wire.submit(chunk)
        given = pb.PublishEventRequest(type="cache-warm", fields=b'{"n": 1}', id=text_id(chunk.graph, 0))
        answer = await events(wire).PublishEvent(given, timeout=BOUND)
        [event] = await read(wire, kinds=[pb.EVENT_KIND_CUSTOM])
        assert (event.offset, event.type, event.fields, event.id) == (
            answer.offset,
            "cache-warm",
            b'{"n": 1}',
            text_id(chunk.graph, 0),
        )


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"type": ""}, "NAME_TOO_LONG"),
        ({"type": LONG}, "NAME_TOO_LONG"),
        ({"type": "t", "fields": b"x" * 70_000}, "PAYLOAD_TOO_LARGE"),
        ({"type": "t", "fields": b"[1]"}, "BAD_ARGUMENTS"),
        ({"type": "t", "fields": b"{"}, "BAD_ARGUMENTS"),
    ],
)
async def test_what_is_refused_of_a_published_event(given: dict[str, Any], code: str) -> None:
    async with serving() as wire:
        assert await refused(events(wire).PublishEvent(pb.PublishEventRequest(**given), timeout=BOUND)) == (
            INVALID,
            code,
        )
        await wire.works()


@pytest.mark.parametrize("field", ["task", "queue", "worker", "id"])
async def test_what_is_refused_of_a_reader(field: str) -> None:
    async with serving() as wire:
        code = "ID_TOO_LONG" if field == "id" else "NAME_TOO_LONG"
        assert await refused(read(wire, **{field: LONG})) == (INVALID, code)
        assert await refused(read(wire, id="nobody")) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_NODE")
        await wire.works()


async def test_events_that_say_much_come_in_messages_that_the_transport_takes() -> None:
    async with serving() as wire:
        count, feed = 150, wire.coordinator.home.outbox.feed
        first = feed.end + 1
        for _ in range(count):
            feed.publish("large", encoded({"text": "x" * 60_000}))
        stream = events(wire).ReadEvents(pb.ReadEventsRequest(since_ms=1), timeout=BOUND)
        messages = [message async for message in stream]
        assert [event.offset for message in messages for event in message.events] == list(range(first, first + count))
        assert all(message.next == message.events[-1].offset for message in messages if message.events)
        assert max(message.ByteSize() for message in messages) < limits.BATCH_BYTES + 70_000
        limited = events(wire).ReadEvents(pb.ReadEventsRequest(since_ms=1, limit=100), timeout=BOUND)
        messages = [message async for message in limited]
        assert sum(len(message.events) for message in messages) == 100
        assert messages[-1].next == first + 99
