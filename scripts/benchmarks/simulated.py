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
from typing import Any

import grpc

from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.v1 import worker_service_pb2_grpc

#: What makes each channel a connection of its own.
_APART = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20)]

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
        self._writing = asyncio.Lock()
        self._stream: Any = None

    async def run(self, address: str, beginning: asyncio.Semaphore) -> None:
        """Work until the coordinator goes."""
        async with grpc.aio.insecure_channel(address, options=_APART) as channel:
            stub: Any = worker_service_pb2_grpc.WorkerServiceStub(channel)
            async with beginning:
                self._stream = stub.Work(wait_for_ready=True)
                await self._say(hello=self._hello)
                welcome = (await self._stream.read()).welcome
            alive = asyncio.create_task(self._stay_alive(welcome.heartbeat_ms / 1000))
            try:
                while isinstance(message := await self._stream.read(), pb.WorkResponse):
                    await self._answer(message)
            finally:
                alive.cancel()

    async def _say(self, **fields: Any) -> None:
        async with self._writing:  # a stream takes one message at a time
            self._sequence += 1
            await self._stream.write(pb.WorkRequest(sequence=self._sequence, **fields))

    async def _stay_alive(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            async with self._writing:
                await self._stream.write(pb.WorkRequest())

    async def _answer(self, message: pb.WorkResponse) -> None:
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
    """Be many workers until the coordinator goes."""
    beginning = asyncio.Semaphore(_AT_ONCE)
    workers = [Simulated(f"{queue}{number:04}", queue, capacity) for number in range(count)]
    found = await asyncio.gather(*(one.run(address, beginning) for one in workers), return_exceptions=True)
    unexpected = [error for error in found if isinstance(error, BaseException) and not isinstance(error, grpc.RpcError)]
    if unexpected:
        raise unexpected[0]


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
