"""The floor: what gRPC, protobuf and LMDB cost in Python with no task system around them.

One client, one server that commits, and two workers, each a process of its own. Every task is written and
synced before it is handed out, and every result before the client hears of it, in group commits. There are no
queues, no graphs, no attempts and no retries. A task system of these parts can come near these figures, not
pass them by much; the benchmark quotes its own as a ratio to them, measured in the same run.

This file imports nothing of grpcflow, on purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import lmdb
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmarks.processes import cpu_seconds, free_port

#: Tasks in one message of the client.
BATCH = 500

#: What glibc is told in the processes of a floor for large values: to keep what they freed, as grpcflow's daemons do.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 256 << 20, "MALLOC_TOP_PAD_": 64 << 20}

#: Of every channel and server here.
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


def messages() -> tuple[Any, Any]:
    """Return the messages `Tasks` and `Values`: the least wire that a durable cluster needs."""
    file = descriptor_pb2.FileDescriptorProto(name="bare.proto", package="bare", syntax="proto3")
    for one, many, third in (("Task", "Tasks", "name"), ("Value", "Values", None)):
        single = file.message_type.add(name=one)
        fields = [("id", 12), ("body", 12), *([(third, 9)] if third else [])]
        for number, (name, kind) in enumerate(fields, start=1):
            single.field.add(name=name, number=number, type=kind, label=1)
        several = file.message_type.add(name=many)
        several.field.add(name="items", number=1, type=11, label=3, type_name=f".bare.{one}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return message_factory.GetMessageClass(find("bare.Tasks")), message_factory.GetMessageClass(find("bare.Values"))


def _encoded(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


class _Server:
    """Takes tasks, commits, hands out; takes values, commits, passes on."""

    def __init__(self, folder: str, expected: int) -> None:
        self.expected = expected
        self.all_there = asyncio.Event()
        self.tasks, self.values = messages()
        self.environment = lmdb.open(folder, map_size=8 << 30, max_dbs=2)
        self.records, self.queue = (self.environment.open_db(name) for name in (b"records", b"queue"))
        self.waiting: list[Any] = []
        self.arrived = asyncio.Event()
        self.workers: list[asyncio.Queue[Any]] = []
        self.clients: list[asyncio.Queue[Any]] = []

    def commit(self, waiting: list[Any]) -> None:
        """Write everything that waits in one transaction."""
        with self.environment.begin(write=True) as transaction:
            for message in waiting:
                if isinstance(message, self.tasks):
                    for task in message.items:
                        transaction.put(task.id, task.body, db=self.records)
                        transaction.put(task.id, b"", db=self.queue)
                else:
                    for value in message.items:
                        transaction.delete(value.id, db=self.queue)
                        transaction.put(value.id, value.body, db=self.records)

    async def keep_committing(self) -> None:
        """Commit what has gathered, then pass it on; what arrives meanwhile is the next batch."""
        turn = 0
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            taken, self.waiting = self.waiting, []
            await asyncio.get_running_loop().run_in_executor(None, self.commit, taken)
            for message in taken:
                if not isinstance(message, self.tasks):
                    for client in self.clients:
                        client.put_nowait(message)
                elif self.expected:
                    await self.all_there.wait()
                    for number, worker in enumerate(self.workers):
                        if share := message.items[(number + turn) % len(self.workers) :: len(self.workers)]:
                            worker.put_nowait(self.tasks(items=share))
                    turn += 1
                else:
                    for client in self.clients:
                        client.put_nowait(self.values(items=[{"id": task.id} for task in message.items]))

    def stream(self, registry: list[asyncio.Queue[Any]]) -> Any:
        """Return the behaviour of one kind of stream."""

        async def behave(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
            out: asyncio.Queue[Any] = asyncio.Queue()
            registry.append(out)
            if len(self.workers) == self.expected:
                self.all_there.set()

            async def read() -> None:
                async for message in requests:
                    self.waiting.append(message)
                    self.arrived.set()

            reader = asyncio.create_task(read())
            try:
                while True:
                    yield await out.get()
            finally:
                reader.cancel()
                registry.remove(out)

        return behave

    async def serve(self, port: int) -> None:
        """Serve for ever."""
        server = grpc.aio.server(options=OPTIONS)
        handlers: dict[str, Any] = {
            name: grpc.stream_stream_rpc_method_handler(self.stream(registry), incoming.FromString, _encoded)
            for name, registry, incoming in (
                ("Submit", self.clients, self.tasks),
                ("Work", self.workers, self.values),
            )
        }

        async def nothing(_request: bytes, _context: Any) -> bytes:
            return b""

        handlers["Nothing"] = grpc.unary_unary_rpc_method_handler(nothing)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Bare", handlers),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await self.keep_committing()


def _serve(port: int, folder: str, expected: int) -> None:
    async def run() -> None:
        await _Server(folder, expected).serve(port)

    with contextlib.suppress(KeyboardInterrupt):  # who started it ends it, and says so
        asyncio.run(run())


def _call(channel: Any, name: str, incoming: Any) -> Any:
    return stream_of(channel, name, incoming)(wait_for_ready=True)


def stream_of(channel: Any, name: str, incoming: Any) -> Any:
    """Return a method of the bare service, "Submit" or "Work", which gives messages of the kind `incoming`."""
    return channel.stream_stream(f"/bare.Bare/{name}", _encoded, incoming.FromString)


def _work(port: int) -> None:
    tasks, values = messages()
    functions: dict[str, Callable[[bytes], bytes]] = {
        "add": lambda body: json.dumps(sum(json.loads(body))).encode(),
        "echo": lambda body: msgspec.json.encode(msgspec.json.decode(body)[0]),
    }

    async def run() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
            call = _call(channel, "Work", tasks)
            while (message := await call.read()) is not grpc.aio.EOF:
                answers = values()
                for task in message.items:
                    answers.items.add(id=task.id, body=functions[task.name](task.body))
                await call.write(answers)

    with contextlib.suppress(grpc.RpcError, KeyboardInterrupt):  # the server goes first at the end
        asyncio.run(run())


class Floor:
    """The bare cluster, running: a context manager.

    Args:
        workers: how many worker processes; 0: a submit is acknowledged once it is committed.
        large: True: it is for large values.
    """

    def __init__(self, workers: int = 2, *, large: bool = False) -> None:
        self._variables = {name: str(value) for name, value in _KEEP_MEMORY.items()} if large else {}
        self.port = free_port()
        self._folder = tempfile.mkdtemp(prefix="floor-")
        context = multiprocessing.get_context("spawn")
        self._processes = [context.Process(target=_serve, args=(self.port, self._folder, workers), daemon=True)]
        self._processes += [context.Process(target=_work, args=(self.port,), daemon=True) for _ in range(workers)]
        self._workers = workers
        self._next = 1

    def __enter__(self) -> Floor:
        try:
            os.environ.update(self._variables)
            for process in self._processes:
                process.start()
            for name in self._variables:
                del os.environ[name]
            self.bulk(100)  # everything is connected and warm
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.pid is not None:  # it was started
                process.kill()
                process.join(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _cpu(self) -> float:
        return cpu_seconds([os.getpid(), *[process.pid for process in self._processes if process.pid]])

    def bulk(self, count: int) -> dict[str, float]:
        """Run `count` tasks; return seconds, tasks a second, and microseconds of CPU a task in all processes."""
        return asyncio.run(self._bulk(count))

    async def _bulk(self, count: int) -> dict[str, float]:
        tasks, values = messages()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=OPTIONS) as channel:
            call = _call(channel, "Submit", values)
            first = self._next
            self._next += count
            cpu, start = self._cpu(), time.perf_counter()

            async def send() -> None:
                for begin in range(first, first + count, BATCH):
                    message = tasks()
                    for number in range(begin, min(begin + BATCH, first + count)):
                        message.items.add(
                            id=number.to_bytes(16, "big"), name="add", body=json.dumps([number, number]).encode()
                        )
                    await call.write(message)

            sender = asyncio.create_task(send())
            got: dict[bytes, Any] = {}
            while len(got) < count:
                for value in (await call.read()).items:
                    got[value.id] = json.loads(value.body) if value.body else None
            await sender
            seconds = time.perf_counter() - start
            used = self._cpu() - cpu
        if self._workers and any(value != 2 * int.from_bytes(key, "big") for key, value in got.items()):
            raise AssertionError("the floor gave wrong values")
        return {"seconds": seconds, "per_second": count / seconds, "cpu_us": used / count * 1e6}

    def payloads(self, texts: Sequence[str]) -> float:
        """Send texts, each in a message of its own, and have each back; return the seconds."""
        return asyncio.run(self._payloads(texts))

    async def _payloads(self, texts: Sequence[str]) -> float:
        tasks, values = messages()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=OPTIONS) as channel:
            call = _call(channel, "Submit", values)
            start = time.perf_counter()

            async def send() -> None:
                for number, text in enumerate(texts):
                    body = msgspec.json.encode([text])
                    await call.write(tasks(items=[{"id": number.to_bytes(16, "big"), "name": "echo", "body": body}]))

            sender = asyncio.create_task(send())
            got: dict[int, str] = {}
            while len(got) < len(texts):
                for value in (await call.read()).items:
                    got[int.from_bytes(value.id, "big")] = msgspec.json.decode(value.body)
            await sender
            seconds = time.perf_counter() - start
        if [got[number] for number in range(len(texts))] != list(texts):
            raise AssertionError("the floor gave wrong texts")
        return seconds

    def latency(self, count: int) -> dict[str, float]:
        """Send one task after another; return p50 and p99 there and back in milliseconds."""
        return asyncio.run(self._latency(count))

    async def _latency(self, count: int) -> dict[str, float]:
        tasks, values = messages()
        times = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=OPTIONS) as channel:
            call = _call(channel, "Submit", values)
            for _ in range(count):
                number = self._next
                self._next += 1
                start = time.perf_counter()
                task = {"id": number.to_bytes(16, "big"), "name": "add", "body": json.dumps([number, 1]).encode()}
                await call.write(tasks(items=[task]))
                await call.read()
                times.append(time.perf_counter() - start)
        times.sort()
        return {"p50_ms": times[count // 2] * 1e3, "p99_ms": times[int(count * 0.99)] * 1e3}
