"""Tasks that take many calls at once, each as a function and as a coroutine."""

import asyncio
import os
import signal
import socket
import sys
import time
from typing import Any

from grpcflow import BatchCall, Grpcflow
from grpcflow.errors import Ignore, SoftTimeLimitExceeded

app = Grpcflow("executor_batches")


def _summed(calls: list[BatchCall]) -> list[Any]:
    return [[sum(call.args), call.kwargs, len(calls)] for call in calls]


def _mixed(calls: list[BatchCall]) -> list[Any]:
    """Ends each call as its first argument says."""
    ends: list[Any] = []
    for call in calls:
        match call.args[0]:
            case "fail":
                ends.append(ValueError(f"not {call.args[1]}"))
            case "ignore":
                ends.append(Ignore())
            case "unsendable":
                ends.append(object())
            case value:
                ends.append(value)
    return ends


def _wrong(calls: list[BatchCall]) -> Any:
    how = calls[0].args[0]
    if how == "raise":
        raise ValueError("all of them")
    if how == "exit":
        sys.exit(3)
    return {"short": [1], "none": None, "text": "no list"}[how]


@app.batch_task(size=100, within=0.5)
def summed(calls: list[BatchCall]) -> Any:
    return _summed(calls)


@app.batch_task(size=100, within=0.5)
async def summed_async(calls: list[BatchCall]) -> Any:
    await asyncio.sleep(0)
    return _summed(calls)


@app.batch_task(size=100, within=0.5)
def mixed(calls: list[BatchCall]) -> Any:
    return _mixed(calls)


@app.batch_task(size=100, within=0.5)
async def mixed_async(calls: list[BatchCall]) -> Any:
    return _mixed(calls)


@app.batch_task(size=100, within=0.5)
def wrong(calls: list[BatchCall]) -> Any:
    return _wrong(calls)


@app.batch_task(size=100, within=0.5)
async def wrong_async(calls: list[BatchCall]) -> Any:
    return _wrong(calls)


@app.batch_task(size=100, within=0.5, bind=True)
def again(self: Any, calls: list[BatchCall]) -> Any:
    if self.request.retries:
        return [call.request.retries for call in calls]
    raise self.retry(countdown=1.5, exc=ValueError("later"))


@app.batch_task(size=100, within=0.5, bind=True)
async def again_async(self: Any, calls: list[BatchCall]) -> Any:
    if self.request.retries:
        return [call.request.retries for call in calls]
    raise self.retry(countdown=1.5, exc=ValueError("later"))


@app.batch_task(size=100, within=0.5)
def requests(calls: list[BatchCall]) -> Any:
    return [[call.id, call.request.id, call.request.retries, call.request.delivery_info["priority"]] for call in calls]


@app.batch_task(size=100, within=0.5)
async def requests_async(calls: list[BatchCall]) -> Any:
    return [[call.id, call.request.id, call.request.retries, call.request.delivery_info["priority"]] for call in calls]


def _knock(port: int, name: str) -> socket.socket:
    gate = socket.create_connection(("127.0.0.1", port))
    gate.sendall(f"{name}\n".encode())
    return gate


@app.batch_task(size=100, within=0.5)
def wait_at(calls: list[BatchCall]) -> Any:
    """Waits at the test's gate, under the name that the first call gives; gives who was there."""
    with _knock(calls[0].args[0], calls[0].args[1]) as gate:
        gate.recv(100)
    return [[call.args[1] for call in calls]] * len(calls)


@app.batch_task(size=100, within=0.5)
async def wait_at_async(calls: list[BatchCall]) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", calls[0].args[0])
    try:
        writer.write(f"{calls[0].args[1]}\n".encode())
        await reader.read(100)
    finally:
        writer.close()
    return [[call.args[1] for call in calls]] * len(calls)


@app.batch_task(size=100, within=0.5)
def die(calls: list[BatchCall]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.batch_task(size=100, within=0.5)
def endless(calls: list[BatchCall]) -> Any:
    """Ends at its soft time limit, if it has one."""
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass
    except SoftTimeLimitExceeded:
        return ["softly"] * len(calls)
    return None


@app.batch_task(size=100, within=0.5)
async def endless_async(calls: list[BatchCall]) -> Any:
    try:
        await asyncio.sleep(20)  # in a task
    except SoftTimeLimitExceeded:
        return ["softly"] * len(calls)
    return None


@app.batch_task(size=100, within=0.5, bind=True)
def tell(self: Any, calls: list[BatchCall]) -> None:
    self.update_state(state="STEP", meta={"calls": len(calls)})


@app.task
def single(x: int) -> int:
    return x


@app.task
async def single_async(x: int) -> int:
    return x
