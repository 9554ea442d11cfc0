"""Logs over the wire: what workers say of their attempts, and whoever reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, hello, ranges, refused, serving

from grpcflow_coordinator.core.model import Now, text_id
from grpcflow_coordinator.engine import LOW_WATER, system_now
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2, log_pb2


async def running(wire: Wire) -> tuple[graph_pb2.GraphChunk, Any, int]:
    """Return a graph of one call that a worker holds, the worker, and the attempt's token."""
    chunk = call()
    await wire.submit(chunk)
    worker = await wire.work()
    [token] = await worker.have(1)
    return chunk, worker, token


def lines(token: int, first: int, *texts: str) -> log_pb2.LoggedLines:
    told = [log_pb2.LogLine(time_ms=5, level="INFO", logger="shop", text=text) for text in texts]
    return log_pb2.LoggedLines(token=token, first=first, lines=told)


def reading(wire: Wire, graph: bytes, **wanted: Any) -> Any:
    return wire.client.ReadLogs(log_pb2.ReadLogsRequest(id=text_id(graph, 0), **wanted), timeout=BOUND)


async def read(wire: Wire, graph: bytes, **wanted: Any) -> list[tuple[int, str]]:
    """Return the number and the text of each line."""
    messages = [message async for message in reading(wire, graph, **wanted)]
    return [(number, line.text) for one in messages for number, line in enumerate(one.lines, one.first)]


async def said(worker: Any, *pieces: log_pb2.LoggedLines) -> None:
    """Have a worker say this, and wait until it is kept."""
    await worker.say(logs=pieces)
    await worker.read(lambda message: message.acknowledged == worker.sequence)


async def test_lines_are_told_with_their_task_and_attempt() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        await said(worker, lines(token, 0, "a", "b"))
        [message] = [message async for message in reading(wire, chunk.graph)]
        assert (message.id, message.task, message.token, message.first) == (text_id(chunk.graph, 0), "t", token, 0)
        assert [(line.time_ms, line.level, line.logger, line.text) for line in message.lines] == [
            (5, "INFO", "shop", "a"),
            (5, "INFO", "shop", "b"),
        ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, "0abc 3d 9ef"),
        ({"tail": 1}, "10f"),
        ({"tail": 2}, "9ef"),
        ({"tail": 3}, "3d 9ef"),
        ({"tail": 5}, "1bc 3d 9ef"),
        ({"tail": 99}, "0abc 3d 9ef"),
        ({"whole_graph": True}, "0abc 3d 9ef"),
    ],
)
async def test_a_part_of_them(wanted: dict[str, Any], expected: str) -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        await said(worker, lines(token, 0, *"abc"), lines(token, 3, "d"), lines(token, 9, *"ef"))
        messages = [message async for message in reading(wire, chunk.graph, **wanted)]
        assert " ".join(f"{one.first}{''.join(line.text for line in one.lines)}" for one in messages) == expected


async def test_a_reader_goes_on_behind_the_last_line_that_it_has() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        await said(worker, lines(token, 0, *"abc"), lines(token, 3, "d"))
        assert await read(wire, chunk.graph, token=token, first=2) == [(2, "c"), (3, "d")]
        assert await read(wire, chunk.graph, token=token, first=4) == []
        assert await read(wire, chunk.graph, token=token + 1) == []


async def test_who_follows_gets_each_line_as_it_comes_and_ends_with_the_task() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        await said(worker, lines(token, 0, "a"))
        stream = reading(wire, chunk.graph, follow=True)
        assert [line.text for line in (await stream.read()).lines] == ["a"]
        waits = asyncio.create_task(stream.read())
        await worker.say(logs=[lines(token, 1, "b")])
        assert [line.text for line in (await waits).lines] == ["b"]
        await worker.say(logs=[lines(token, 2, "last")], values={"tokens": [token], "values": [b"1"]})
        assert [line.text for line in (await stream.read()).lines] == ["last"]
        assert await stream.read() is grpc.aio.EOF


async def test_lines_of_several_pages_come_whole() -> None:
    async with serving() as wire:
        chunk, worker, token = await running(wire)
        await said(worker, *(lines(token, number, str(number)) for number in range(100)))
        expected = [(number, str(number)) for number in range(100)]
        assert await read(wire, chunk.graph) == expected
        assert await read(wire, chunk.graph, whole_graph=True) == expected
        assert await read(wire, chunk.graph, tail=40) == expected[60:]


async def test_what_a_worker_may_not_say_ends_its_stream_and_nobody_else_is_held_up() -> None:
    async with serving() as wire:
        _, worker, token = await running(wire)
        much = [log_pb2.LogLine(text="x" * limits.LOG_LINE_BYTES)] * 20
        await worker.say(logs=[log_pb2.LoggedLines(token=token, lines=much)])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await worker.read(lambda _: False)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await wire.works()


class Shrinking(MemoryStore):
    """A store whose disk has as much room as a test says."""

    free = 2 * LOW_WATER

    def free_bytes(self) -> int:
        return self.free


async def test_a_nearly_full_disk_keeps_no_logs_and_loses_no_end() -> None:
    store, later = Shrinking(), 0.0

    def now() -> Now:
        real = system_now()
        return real._replace(monotonic=real.monotonic + later)

    async with serving(store, now=now) as wire:
        chunk, worker, token = await running(wire)
        await said(worker, lines(token, 0, "before"))
        store.free, later = LOW_WATER // 2, 2.0  # the space is looked at once a second
        wire.coordinator.home.engine.look_after_store()
        await worker.say(logs=[lines(token, 1, "dropped")], values={"tokens": [token], "values": [b"1"]})
        await worker.read(lambda message: message.acknowledged == worker.sequence)
        assert await read(wire, chunk.graph) == [(0, "before")]
        [result] = await wire.watch(ranges(chunk.graph, 1))
        assert result.value.data == b"1"


@pytest.mark.parametrize("id", ["nobody", "x" * 300])
async def test_who_asks_for_what_is_not_there_is_told(id: str) -> None:
    async with serving() as wire:
        stream = wire.client.ReadLogs(log_pb2.ReadLogsRequest(id=id), timeout=BOUND)
        code = "UNKNOWN_NODE" if id == "nobody" else "ID_TOO_LONG"
        assert (await refused(stream.read()))[1] == code
        await wire.works()


@pytest.mark.parametrize("most", [8_192, 0])
async def test_the_welcome_says_how_much_is_kept(most: int) -> None:
    async with serving(task_logs=most) as wire:
        stream = wire.workers.Work(timeout=BOUND)
        await stream.write(hello())
        assert (await stream.read()).welcome.log_limit == most
        stream.cancel()
