"""A coordinator that serves on a free port, and what one needs to talk to it over the real wire."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.server import Coordinator
from grpcflow_coordinator.storage.contract import Store
from grpcflow_protos.v1 import (
    client_service_pb2,
    client_service_pb2_grpc,
    control_service_pb2_grpc,
    graph_pb2,
    graph_service_pb2_grpc,
    worker_service_pb2,
    worker_service_pb2_grpc,
)

#: Seconds after which a test that waits for the wire has failed.
BOUND = 40.0


def mint() -> bytes:
    """Return a graph id: the first 12 bytes of a UUID of version 7."""
    return int(time.time() * 1000).to_bytes(6, "big") + b"\x70\x01\x80" + os.urandom(3)


def call(payload: bytes = b"[[],{}]", *, task: str = "t", **run: Any) -> graph_pb2.GraphChunk:
    """Return a graph of one call."""
    return graph_pb2.GraphChunk(
        graph=mint(),
        last=True,
        node_count=1,
        templates=[graph_pb2.Template(task=task)],
        runs=[graph_pb2.NodeRun(count=1, payloads=[payload], **run)],
    )


def calls(count: int) -> graph_pb2.GraphChunk:
    """Return a graph of many independent calls and the join that collects them."""
    run = graph_pb2.NodeRun(count=count, payloads=[b"[[],{}]"] * count, children=[count])
    join = graph_pb2.NodeRun(first=count, count=1, join=graph_pb2.Join(members=[graph_pb2.Range(first=0, count=count)]))
    return graph_pb2.GraphChunk(
        graph=mint(), last=True, node_count=count + 1, templates=[graph_pb2.Template(task="t")], runs=[run, join]
    )


def ranges(graph: bytes, count: int, first: int = 0) -> client_service_pb2.NodeSet:
    """Return a range of a graph's nodes."""
    return client_service_pb2.NodeSet(graph=graph, ranges=[graph_pb2.Range(first=first, count=count)])


def hello(name: str = "w@host", **given: Any) -> worker_service_pb2.WorkRequest:
    """Return a worker's first message."""
    settings: dict[str, Any] = {"queues": ["default"], "tasks": ["t"], "capacity": 10, "concurrency": 1, "revision": 1}
    settings |= {"session": os.urandom(16)} | given
    return worker_service_pb2.WorkRequest(sequence=1, hello=worker_service_pb2.WorkerHello(name=name, **settings))


def reason(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    """Return status and code of a refusal; each has a cure."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, f"{error.code()} came without details: {error.details()}"
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.domain == "grpcflow"
    assert info.metadata["cure"]
    return error.code(), info.reason


async def refused(awaitable: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """Return status and code with which a call fails."""
    try:
        async with asyncio.timeout(BOUND):
            await awaitable
    except grpc.aio.AioRpcError as error:
        return reason(error)
    raise AssertionError("the call was not refused")


class Wire:
    """Stubs of one channel to one coordinator."""

    def __init__(self, coordinator: Coordinator, channel: grpc.aio.Channel) -> None:
        self.coordinator = coordinator
        self.channel = channel
        self.client: Any = client_service_pb2_grpc.ClientServiceStub(channel)
        self.workers: Any = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self.control: Any = control_service_pb2_grpc.ControlServiceStub(channel)
        self.graphs: Any = graph_service_pb2_grpc.GraphServiceStub(channel)

    async def submit(self, *chunks: graph_pb2.GraphChunk) -> client_service_pb2.SubmitResponse:
        """Submit a graph by the unary call."""
        request = client_service_pb2.SubmitRequest(chunks=chunks)
        answer: client_service_pb2.SubmitResponse = await self.client.Submit(request, timeout=BOUND)
        return answer

    async def works(self) -> None:
        """See that the daemon takes a graph and runs it, whatever happened before."""
        chunk = call(task="still alive")
        await self.submit(chunk)
        worker = await self.work(name=f"{os.urandom(4).hex()}@host", tasks=["still alive"])
        await worker.run(1)
        await worker.leave()
        [result] = await self.watch(ranges(chunk.graph, 1))
        assert result.value.data == b"1"

    async def watch(self, nodes: client_service_pb2.NodeSet) -> list[Any]:
        """Wait for results."""
        stream = self.client.Watch(client_service_pb2.WatchRequest(nodes=nodes), timeout=BOUND)
        return [result async for message in stream for result in message.results]

    async def work(self, **given: Any) -> Worker:
        """Bring a worker up."""
        worker = Worker(self.workers.Work())
        await worker.call.write(hello(**given))
        answer = await worker.read(lambda message: message.HasField("welcome"))
        assert answer is not None
        return worker

    async def session(self) -> Session:
        """Open a client's stream."""
        stream = self.client.Session()
        await stream.write(client_service_pb2.SessionRequest(hello=client_service_pb2.ClientHello(revision=1)))
        session = Session(stream)
        welcome = await session.read(lambda message: message.HasField("welcome"))
        assert welcome is not None
        return session


class Worker:
    """A worker's end of a work stream."""

    def __init__(self, stream: Any) -> None:
        self.call = stream
        self.sequence = 1
        self.tokens: list[int] = []
        self.runs: list[worker_service_pb2.AssignedRun] = []
        self.commands: list[worker_service_pb2.ControlCommand] = []
        self.stops: list[worker_service_pb2.Stop] = []
        self.acknowledged = 0
        self.superseded: list[int] = []

    async def read(self, wanted: Callable[[Any], bool]) -> worker_service_pb2.WorkResponse | None:
        """Read messages until one is wanted; None where the stream ended before."""
        async with asyncio.timeout(BOUND):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                for run in message.runs:
                    self.runs.append(run)
                    self.tokens += range(run.token, run.token + len(run.payloads))
                self.commands += message.commands
                self.stops += message.stops
                self.superseded += message.superseded
                self.acknowledged = max(self.acknowledged, message.acknowledged)
                if wanted(message):
                    found: worker_service_pb2.WorkResponse = message
                    return found
        return None

    async def say(self, **said: Any) -> None:
        """Send a message."""
        self.sequence += 1
        await self.call.write(worker_service_pb2.WorkRequest(sequence=self.sequence, **said))

    async def have(self, count: int) -> list[int]:
        """Wait until it has been given so many attempts; return their tokens."""
        if len(self.tokens) < count:
            await self.read(lambda _: len(self.tokens) >= count)
        assert len(self.tokens) == count
        return self.tokens

    async def run(self, count: int, data: bytes = b"1") -> None:
        """Take so many attempts and report a value for each."""
        tokens = await self.have(count)
        values = worker_service_pb2.ReportedValues(tokens=tokens, values=[data] * count)
        await self.report(values=values)

    async def report(self, **said: Any) -> None:
        """Say something and wait until it is durable."""
        await self.say(**said)
        if self.acknowledged < self.sequence:
            await self.read(lambda _: self.acknowledged >= self.sequence)

    async def leave(self) -> None:
        """Say goodbye; the stream ends with OK."""
        await self.say(goodbye=True)
        await self.read(lambda _: False)
        assert await self.call.code() is grpc.StatusCode.OK

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """Wait until the coordinator ends the stream; return status and code."""
        return await refused(self.read(lambda _: False))


class Session:
    """A client's end of a session."""

    def __init__(self, stream: Any) -> None:
        self.call = stream
        self.values: dict[tuple[bytes, int], bytes] = {}
        self.results: list[Any] = []
        self.accepted: list[bytes] = []
        self.refused: list[Any] = []

    async def say(self, **said: Any) -> None:
        """Send a message."""
        await self.call.write(client_service_pb2.SessionRequest(**said))

    async def read(self, wanted: Callable[[Any], Any]) -> Any:
        """Read messages until one is wanted; None where the stream ended before."""
        async with asyncio.timeout(BOUND):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                self.accepted += message.accepted
                self.refused += message.refused
                self.results += message.results
                for column in message.successes:
                    for index, data in zip(column.indexes, column.values, strict=True):
                        self.values[column.graph, index] = data
                if wanted(message):
                    return message
        return None


@asynccontextmanager
async def serving(
    store: Store | None = None, *, now: Callable[[], Now] = system_now, **settings: Any
) -> AsyncIterator[Wire]:
    """Serve a coordinator with a store in memory."""
    given: dict[str, Any] = {"data": "unused", "listen": "127.0.0.1:0", "memory": True} | settings
    config = Config(**given)
    coordinator = Coordinator(config, store, now=now)
    await coordinator.start()
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    try:
        async with grpc.aio.insecure_channel(coordinator.address, options=options) as channel:
            yield Wire(coordinator, channel)
    finally:
        await coordinator.stop()


def encoded(value: object) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value).encode()


def raw_unary(wire: Wire, method: str) -> Any:
    """Return a unary call that sends bytes as they are."""
    return wire.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)


def raw_stream(wire: Wire, method: str) -> Any:
    """Return a call of two streams that sends bytes as they are."""
    return wire.channel.stream_stream(method, request_serializer=bytes, response_deserializer=bytes)


async def drain(stream: Iterable[Any]) -> None:
    """Read a stream to its end."""
    async for _ in stream:  # type: ignore[attr-defined]
        pass
