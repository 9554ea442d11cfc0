"""Workers that are streams of one process, each with a connection of its own: hundreds on a small machine.

    python -m benchmarks.simulated ADDRESS --workers 500 --queue idle --capacity 64

Each says hello, gives a sign of life as often as the coordinator asks, and answers what it is handed at once with the
sum of the two arguments. What a real worker does with frames and child processes is left out. On a small machine their
own work stands in the figures, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import time
from typing import Any

import grpc

from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.v1 import worker_service_pb2_grpc
from grpcflow_worker.stream import CHANNEL_OPTIONS

#: Workers that say hello at the same time.
_AT_ONCE = 25


class Simulated:
    """One worker.

    Args:
        name: its name.
        queue: what it serves.
        capacity: how many attempts it holds at once.
    """

    def __init__(self, name: str, queue: str, capacity: int) -> None:
        self._hello = pb.WorkerHello(
            name=name, session=os.urandom(16), tasks=["bench.add"], queues=[queue], capacity=capacity, revision=1,
            concurrency=1, executor="simulated",
        )  # fmt: skip
        self._sequence = 0
        self._said_at = 0.0
        self._heartbeat = 5.0
        self._writing = asyncio.Lock()
        self._stream: Any = None

    async def run(self, address: str, beginning: asyncio.Semaphore) -> None:
        """Work until the coordinator goes."""
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            stub: Any = worker_service_pb2_grpc.WorkerServiceStub(channel)
            async with beginning:
                self._stream = stub.Work(wait_for_ready=True)
                await self._say(hello=self._hello)
                welcome = (await self._stream.read()).welcome
            self._heartbeat = welcome.heartbeat_ms / 1000
            alive = asyncio.create_task(self._stay_alive())
            try:
                while isinstance(message := await self._stream.read(), pb.WorkResponse):
                    await self._answer(message)
            finally:
                alive.cancel()

    async def leave(self) -> None:
        """Say goodbye, so that nobody waits for it to come back."""
        if self._stream is not None:
            await self._say(goodbye=True)

    async def _say(self, **fields: Any) -> None:
        async with self._writing:  # a stream takes one message at a time
            self._said_at = time.monotonic()
            if fields and "replies" not in fields:  # replies are acknowledged by nobody
                self._sequence += 1
                fields["sequence"] = self._sequence
            await self._stream.write(pb.WorkRequest(**fields))

    async def _stay_alive(self) -> None:
        while True:
            rest = self._said_at + self._heartbeat - time.monotonic()
            if rest > 0:
                await asyncio.sleep(rest)
            else:
                await self._say()

    async def _answer(self, message: pb.WorkResponse) -> None:
        if not message.ByteSize() and time.monotonic() - self._said_at >= self._heartbeat / 2:
            await self._say()  # a sign of life is answered by one, as a real worker does
        done = pb.ReportedValues()
        for run in message.runs:
            for ahead, payload in enumerate(run.payloads):
                (x, y), _ = json.loads(payload)
                done.tokens.append(run.token + ahead)
                done.values.append(b"%d" % (x + y))
        if done.tokens:
            await self._say(values=done)
        if message.commands:
            await self._say(replies=[pb.ControlReply(id=one.id, reply=b'{"ok": "pong"}') for one in message.commands])


async def crowd(address: str, count: int, queue: str, capacity: int) -> None:
    """Be many workers until the coordinator goes, or until SIGTERM, at which all say goodbye."""
    beginning = asyncio.Semaphore(_AT_ONCE)
    workers = [Simulated(f"{queue}{number:04}", queue, capacity) for number in range(count)]
    working = asyncio.gather(*(one.run(address, beginning) for one in workers), return_exceptions=True)
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    farewell = asyncio.create_task(_leave(leaving, workers))
    unexpected = [error for error in await working if error is not None and not isinstance(error, grpc.RpcError)]
    farewell.cancel()
    if unexpected:
        raise unexpected[0]


async def _leave(leaving: asyncio.Event, workers: list[Simulated]) -> None:
    await leaving.wait()
    await asyncio.gather(*(one.leave() for one in workers), return_exceptions=True)  # a stream may have ended before


def main() -> None:
    """Be what the command line says."""
    parser = argparse.ArgumentParser(description="Be many workers at once.")
    parser.add_argument("address", help="HOST:PORT of the coordinator")
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--queue", default="default")
    parser.add_argument("--capacity", type=int, default=64)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):  # who started it ends it, and says so
        asyncio.run(crowd(options.address, options.workers, options.queue, options.capacity))


if __name__ == "__main__":
    main()
