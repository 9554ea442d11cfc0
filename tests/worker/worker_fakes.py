"""Stand-ins for what surrounds a worker: the coordinator's service, an executor, a clock that a test moves."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from grpcflow_protos.v1 import graph_pb2, load_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.v1 import worker_service_pb2_grpc as pb_grpc
from grpcflow_worker.config import WorkerConfig, build_config
from grpcflow_worker.executor import CallRun, Ended, ExecutorError, Listener, Registered, Running, Waiting
from grpcflow_worker.identity import Identity
from grpcflow_worker.session import Session
from grpcflow_worker.stream import Timing

GRAPH = bytes(range(12))
SECRET = b"s" * 16
BOUND = 40.0
"""Seconds that a test waits for anything; what is waited for takes milliseconds."""
PAUSES = (0.06, 2.5)
"""Between these in seconds: the first pauses before a new try, and the wait for the end of a stream."""


def make_session(concurrency: int = 2) -> Session:
    return Session(Identity(name="w1", secret=SECRET, tasks=("t.add",), concurrency=concurrency), ["default"])


def make_config(*addresses: str) -> WorkerConfig:
    return build_config(app="proj", coordinator=",".join(addresses), name="w1", concurrency=2)


def welcome(**fields: Any) -> pb.WorkResponse:
    settings = {"revision": 1, "epoch": 1, "heartbeat_ms": 5000, "silence_ms": 15000, "grace_ms": 10000, **fields}
    return pb.WorkResponse(welcome=pb.WorkerWelcome(**settings))


def assignment(token: int, count: int = 1, task: str = "t.add", **fields: Any) -> pb.WorkResponse:
    """One run of `count` attempts with tokens from `token`; the node's index is the token, for easy reading."""
    template = {name: fields.pop(name) for name in ("track_started", "content_type", "priority") if name in fields}
    run = pb.AssignedRun(graph=GRAPH, first=token, token=token, payloads=[b"[[1, 2], {}]"] * count, **fields)
    return pb.WorkResponse(templates=[graph_pb2.Template(task=task, queue="default", **template)], runs=[run])


class FakeTimer:
    """A monotonic clock that stands still until a test moves it, and pauses that end when it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._pauses: asyncio.Queue[tuple[float, asyncio.Future[None]]] = asyncio.Queue()

    @property
    def timing(self) -> Timing:
        return Timing(now=lambda: self.time, sleep=self.sleep, chance=lambda: 0.5)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._numbers), future))
        if PAUSES[0] < seconds < PAUSES[1]:
            self._pauses.put_nowait((self.time + seconds, future))
        await future

    async def skip_pauses(self) -> None:
        """End each pause before a new try as soon as it begins; cancelled by the test."""
        while True:
            end, future = await self._pauses.get()
            await settle()
            if not future.done():
                await self.advance(end - self.time)

    async def advance(self, seconds: float) -> None:
        """Move the clock, ending each pause at its own time."""
        end = self.time + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self.time = end
        await settle()


@contextlib.asynccontextmanager
async def no_pauses(timer: FakeTimer) -> AsyncIterator[None]:
    """While the body waits, pauses end as they begin; longer times stand still."""
    skipping = asyncio.ensure_future(timer.skip_pauses())
    try:
        yield
    finally:
        skipping.cancel()
        await asyncio.gather(skipping, return_exceptions=True)


async def settle() -> None:
    """Let everything run that can run without I/O."""
    for _ in range(20):
        await asyncio.sleep(0)


class WorkerStream:
    """The coordinator's end of one worker's stream, in the hands of a test."""

    def __init__(self, context: grpc.aio.ServicerContext[pb.WorkRequest, pb.WorkResponse]) -> None:
        self._context = context
        self._out: asyncio.Queue[pb.WorkResponse | Callable[[], Any]] = asyncio.Queue()
        self.inbox: asyncio.Queue[pb.WorkRequest | None] = asyncio.Queue()
        self.loads: list[load_pb2.WorkerLoad] = []

    def send(self, message: pb.WorkResponse) -> None:
        self._out.put_nowait(message)

    def end(self) -> None:
        """End the stream with OK."""

        async def nothing() -> None:
            return

        self._out.put_nowait(nothing)

    def refuse(self, code: grpc.StatusCode, message: str, reason: str = "", cure: str = "") -> None:
        """End the stream with a status and its details."""

        async def abort() -> None:
            details = any_pb2.Any()
            details.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="grpcflow", metadata={"cure": cure}))
            status = status_pb2.Status(code=code.value[0], message=message, details=[details])
            metadata = (("grpc-status-details-bin", status.SerializeToString()),)
            await self._context.abort(code, message, trailing_metadata=metadata)

        self._out.put_nowait(abort)

    async def next(self) -> pb.WorkRequest:
        """The worker's next message, but for those that tell its load alone; these are kept in `loads`."""
        while True:
            message = await asyncio.wait_for(self.inbox.get(), BOUND)
            assert message is not None, "the worker ended the stream"
            if message.HasField("load"):
                self.loads.append(message.load)
            if message.sequence or message.replies:
                return message

    async def beat(self) -> pb.WorkRequest:
        """The worker's next message, which has no number: a sign of life, with its load or without it."""
        message = await asyncio.wait_for(self.inbox.get(), BOUND)
        assert message is not None, "the worker ended the stream"
        assert message in (pb.WorkRequest(), pb.WorkRequest(load=message.load))
        return message

    async def tells_load(self) -> load_pb2.WorkerLoad:
        """The load that comes next, in whatever message."""
        while not self.loads:
            message = await asyncio.wait_for(self.inbox.get(), BOUND)
            assert message is not None, "the worker ended the stream"
            if message.HasField("load"):
                self.loads.append(message.load)
        return self.loads.pop(0)

    async def until(self, wanted: Callable[[pb.WorkRequest], bool]) -> pb.WorkRequest:
        """The next message that a test waits for; others are acknowledged by nobody and dropped."""
        while True:
            message = await self.next()
            if wanted(message):
                return message

    def acknowledge(self, message: pb.WorkRequest, **fields: Any) -> None:
        self.send(pb.WorkResponse(acknowledged=message.sequence, **fields))

    async def over(self) -> None:
        """Wait until the worker has closed its side."""
        while await asyncio.wait_for(self.inbox.get(), BOUND) is not None:
            pass

    async def carry(self, requests: Any) -> AsyncIterator[pb.WorkResponse]:
        async def read() -> None:
            with contextlib.suppress(grpc.aio.UsageError, grpc.RpcError):
                async for request in requests:
                    self.inbox.put_nowait(request)
            self.inbox.put_nowait(None)

        reading = asyncio.ensure_future(read())
        try:
            while isinstance(item := await self._out.get(), pb.WorkResponse):
                yield item
            await item()
        finally:
            reading.cancel()
            self.inbox.put_nowait(None)


class FakeCoordinator(pb_grpc.WorkerServiceServicer):
    """A WorkerService whose streams a test plays by hand."""

    def __init__(self) -> None:
        self.address = ""
        self._arrivals: asyncio.Queue[WorkerStream] = asyncio.Queue()
        #: Answers to the questions for inputs, in order: messages to send, or a status to end with.
        self.inputs: asyncio.Queue[list[pb.InputsResponse] | grpc.StatusCode] = asyncio.Queue()
        self.asked: list[tuple[bytes, int]] = []
        #: Questions for inputs that are open now, and the most that ever were.
        self.asking = self.most_asking = 0

    async def Inputs(self, request: pb.InputsRequest, context: Any) -> AsyncIterator[pb.InputsResponse]:
        self.asked.append((request.session, request.token))
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        try:
            answer = await self.inputs.get()
            if isinstance(answer, grpc.StatusCode):
                await context.abort(answer, "for the test")
            else:
                for message in answer:
                    yield message
        finally:
            self.asking -= 1

    async def Work(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.WorkResponse]:
        stream = WorkerStream(context)
        self._arrivals.put_nowait(stream)
        async for message in stream.carry(request_iterator):
            yield message

    async def arrival(self) -> tuple[WorkerStream, pb.WorkerHello]:
        """The next stream and its hello."""
        stream = await asyncio.wait_for(self._arrivals.get(), BOUND)
        first = await stream.next()
        assert first.HasField("hello")
        assert first.sequence == 1
        return stream, first.hello

    async def greeted(self, **fields: Any) -> tuple[WorkerStream, pb.WorkerHello]:
        """The next stream, welcomed."""
        stream, hello = await self.arrival()
        stream.send(welcome(**fields))
        return stream, hello


@contextlib.asynccontextmanager
async def coordinator() -> AsyncIterator[FakeCoordinator]:
    """A FakeCoordinator that listens on a port of its own."""
    service = FakeCoordinator()
    server = grpc.aio.server()
    pb_grpc.add_WorkerServiceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)


class FakeExecutor:
    """An executor without children: a test says when attempts start and how they end."""

    kind = "fake"

    def __init__(self, start_error: Exception | None = None) -> None:
        self.listener: Listener | None = None
        self.attempts: dict[int, CallRun] = {}
        self.running_tokens: list[int] = []
        self.stopped: list[tuple[int, str | None]] = []
        self.forgotten: list[int] = []
        self.closed: list[bool] = []
        self.wanted = 2
        #: The bounds of autoscale; None: it is off.
        self.bounds: tuple[int, int] | None = None
        #: What was asked of `restart`: reload, modules.
        self.restarts: list[tuple[bool, list[str]]] = []
        self.put_something = asyncio.Event()
        self.taken_back: list[int] = []
        self.emitted: list[tuple[str, int]] = []
        self.dumped = 0
        #: Commands of the app: name, arguments, and who is told.
        self.asked: list[tuple[str, bytes, Callable[[bytes, str], None]]] = []
        self.concurrency = 2
        #: What `task_revoked` was sent with: the attempt, the signal, and whether it had expired.
        self.revoked: list[tuple[CallRun, int, bool]] = []
        self._start_error = start_error
        self.conf: dict[str, Any] = {"task_acks_late": True}

    async def start(self, listener: Listener) -> Registered:
        if self._start_error is not None:
            raise self._start_error
        self.listener = listener
        return Registered(("t.add", "t.nap"), self.conf, ("a warning",))

    def put(self, run: CallRun) -> None:
        self.attempts.update((run.token + offset, run) for offset in range(len(run.payloads)))
        self.put_something.set()

    async def holds(self, *tokens: int) -> None:
        """Wait until the worker was handed these."""
        while not self.attempts.keys() >= set(tokens):
            self.put_something.clear()
            await asyncio.wait_for(self.put_something.wait(), BOUND)

    def begin(self, *tokens: int) -> None:
        self.running_tokens.extend(tokens)
        assert self.listener is not None
        self.listener.started([token for token in tokens if self.attempts[token].call.track_started])

    def give(self, *tokens: int, data: bytes = b"3") -> None:
        for token in tokens:
            self._drop(token)
        assert self.listener is not None
        self.listener.values(tokens, [data] * len(tokens))

    def end(self, *ends: Ended) -> None:
        for each in ends:
            self._drop(each.token)
        assert self.listener is not None
        self.listener.ended(ends)

    def _drop(self, token: int) -> None:
        self.attempts.pop(token, None)
        if token in self.running_tokens:
            self.running_tokens.remove(token)

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        self.asked.append((name, data, told))

    def capacity(self) -> int:
        return self.wanted

    def places(self) -> int:
        return self.bounds[0] if self.bounds else self.concurrency

    def resize(self, by: int) -> int:
        if self.bounds or self.concurrency + by < 1:
            raise ExecutorError("not so")
        self.concurrency += by
        self.wanted = self.concurrency
        return self.concurrency

    def restart(self, *, reload: bool = False, modules: Sequence[str] = ()) -> None:
        if "broken" in modules:
            raise ExecutorError("not now")
        self.restarts.append((reload, list(modules)))

    def autoscale(self, most: int | None = None, least: int | None = None) -> tuple[int, int]:
        if self.bounds is None:
            raise ExecutorError("autoscale is off")
        self.bounds = most or self.bounds[0], least or self.bounds[1]
        self.wanted = self.bounds[0]
        return self.bounds

    def held(self) -> int:
        return len(self.attempts)

    def idle(self) -> bool:
        return not self.attempts

    def take_back(self, tokens: Sequence[int]) -> None:
        ready = [token for token in tokens if token in self.attempts and token not in self.running_tokens]
        self.end(*(Ended(token, "returned") for token in ready))

    def take_back_waiting(self, keep: int = 0) -> None:
        self.taken_back.append(keep)
        waiting = [token for token in self.attempts if token not in self.running_tokens]
        self.take_back(waiting[keep:])

    def stop(self, token: int, signal: str | None = None) -> bool:
        if signal == "SIGNONSENSE":
            raise ValueError("there is no signal SIGNONSENSE")
        self.stopped.append((token, signal))
        return token in self.attempts

    def forget(self, token: int) -> bool:
        self.forgotten.append(token)
        return self.attempts.pop(token, None) is not None

    def running(self) -> list[Running]:
        return [
            Running(token, self.attempts[token], token - self.attempts[token].token, 1700000000.5, 77)
            for token in self.running_tokens
        ]

    def waiting(self, limit: int = 1_000) -> list[Waiting]:
        waits = [(token, run) for token, run in self.attempts.items() if token not in self.running_tokens]
        return [Waiting(token, run, token - run.token) for token, run in waits[:limit]]

    def dump_stacks(self) -> None:
        self.dumped += 1

    def stats(self) -> dict[str, Any]:
        return {"processes": [{"pid": 77}], "tasks": {"t.add": {"done": 5}}}

    def emit(self, name: str, number: int = 0, *, attempt: CallRun | None = None, expired: bool = False) -> None:
        if attempt is not None:
            self.revoked.append((attempt, number, expired))
        else:
            self.emitted.append((name, number))

    async def close(self, *, drain: bool, deadline: float) -> None:
        self.closed.append(drain)
        if self.listener is not None:
            for token in list(self.attempts):
                kind = "lost" if token in self.running_tokens else "returned"
                self.end(Ended(token, kind, message="signal 9" if kind == "lost" else ""))  # type: ignore[arg-type]
