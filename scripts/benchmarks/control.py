"""How long questions to a hundred workers take, and a burst of them.

    scripts/bench --control

The workers are a hundred streams of one process, each of which answers at once; the coordinator is a process of its
own, and so is whoever asks. On two cores the hundred workers' own work is in the figures, too.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import rich.console

from benchmarks.cluster import Cluster
from benchmarks.processes import environment
from benchmarks.tasks import app
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.v1 import worker_service_pb2_grpc

#: Simulated workers, and threads of the burst.
WORKERS, ASKING = 100, 20

#: Seconds after which a wait is given up.
LIMIT = 30.0


async def work(stub: Any, number: int) -> None:
    """Be a worker that answers each command, until the coordinator goes."""
    stream = stub.Work()
    hello = pb.WorkerHello(name=f"w{number:03}", session=os.urandom(16), tasks=["t"], queues=["q"], revision=1)
    await stream.write(pb.WorkRequest(sequence=1, hello=hello))
    sequence = 1
    while isinstance(message := await stream.read(), pb.WorkResponse):
        if message.commands:
            sequence += 1
            replies = [pb.ControlReply(id=command.id, reply=b'{"ok": "pong"}') for command in message.commands]
            await stream.write(pb.WorkRequest(sequence=sequence, replies=replies))


async def fleet(address: str) -> None:
    """Be all of them."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = worker_service_pb2_grpc.WorkerServiceStub(channel)
        await asyncio.gather(*(work(stub, number) for number in range(WORKERS)), return_exceptions=True)


def ask(command: str, count: int) -> dict[str, float]:
    """Ask all workers so often; milliseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        if len(app.control.inspect(timeout=LIMIT).ask(command)) != WORKERS:
            raise SystemExit(f"not every worker answered {command}")
        times.append((time.perf_counter() - began) * 1e3)
    times.sort()
    return {"min_ms": times[0], "p50_ms": times[count // 2], "p90_ms": times[int(count * 0.9)]}


def burst(count: int) -> float:
    """Ask one worker so many times from many threads at once; questions a second."""
    connection = app.connection

    def some() -> None:
        for _ in range(count // ASKING):
            connection.inspect("ping", {}, ["w001"], LIMIT)

    threads = [threading.Thread(target=some) for _ in range(ASKING)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began)


def measure(small: bool) -> dict[str, object]:
    """Measure, show, and return the figures."""
    count = 5 if small else 50
    with Cluster(workers=0) as cluster:
        command = [sys.executable, "-m", "benchmarks.control", cluster.address]
        there = environment(cluster.address, Path(__file__).parent.parent)
        with subprocess.Popen(command, env=there) as process:
            try:
                deadline = time.monotonic() + LIMIT
                while len(app.connection.list_workers()) < WORKERS and time.monotonic() < deadline:
                    time.sleep(0.05)
                figures = {name: ask(name, count) for name in ("ping", "active", "reserved", "scheduled")}
                rate = burst(200 if small else 10_000)
            finally:
                process.kill()
    console = rich.console.Console()
    console.print(f"{WORKERS} workers answer, milliseconds:")
    for name, found in figures.items():
        console.print(f"  {name:<10} min {found['min_ms']:.0f}, p50 {found['p50_ms']:.0f}, p90 {found['p90_ms']:.0f}")
    console.print(f"a burst from {ASKING} threads: {rate:,.0f} questions a second")
    return {"questions": figures, "burst_per_second": rate}


if __name__ == "__main__":
    asyncio.run(fleet(sys.argv[1]))
