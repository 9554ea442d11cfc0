"""Bare clients beside the floor: many threads on one stream, and one commit with one empty call.

They are to `delay().get()` from threads and to `delay()` alone what floor.py is to a bulk: the same parts, and nothing
around them. Imports nothing of grpcflow, on purpose.
"""

from __future__ import annotations

import json
import queue
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import lmdb

from benchmarks.floor import OPTIONS, Floor, messages, stream_of

#: Seconds after which a wait is given up.
LIMIT = 60.0


class _Call:
    """A task under way, and who waits for it."""

    __slots__ = ("body", "done", "id", "value")

    def __init__(self, number: int, body: bytes) -> None:
        self.id = number.to_bytes(16, "big")
        self.body = body
        self.value: Any = None
        self.done = threading.Lock()
        self.done.acquire()


class CoalescingClient:
    """One stream for all threads: what they hand in while a message is on its way leaves with the next one.

    Args:
        port: of the floor.
    """

    def __init__(self, port: int) -> None:
        self._tasks, values = messages()
        self._handed_in: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._waiting: dict[bytes, _Call] = {}
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)
        self._stream = stream_of(self._channel, "Submit", values)(self._requests(), wait_for_ready=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _requests(self) -> Iterator[Any]:
        while (first := self._handed_in.get()) is not None:
            together = [first]
            while True:
                try:
                    another = self._handed_in.get_nowait()
                except queue.Empty:
                    break
                if another is None:
                    return
                together.append(another)
            yield self._tasks(items=[{"id": call.id, "name": "add", "body": call.body} for call in together])

    def _read(self) -> None:
        try:
            for message in self._stream:
                for value in message.items:
                    call = self._waiting.pop(value.id)
                    call.value = json.loads(value.body)
                    call.done.release()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                raise

    def call(self, number: int) -> Any:
        """Run a task there and back; any thread."""
        call = _Call(number, json.dumps([number, 1]).encode())
        self._waiting[call.id] = call
        self._handed_in.put(call)
        if not call.done.acquire(timeout=LIMIT):
            raise TimeoutError(f"the floor gave no value within {LIMIT:g} s")
        return call.value

    def close(self) -> None:
        """End the stream."""
        self._handed_in.put(None)
        self._stream.cancel()
        self._channel.close()
        self._reader.join(LIMIT)


def callers(floor: Floor, threads: int, each: int) -> dict[str, float]:
    """Run one task after the other in each of many threads, on one stream; return tasks a second."""
    client = CoalescingClient(floor.port)
    faults: list[str] = []

    def some(thread: int) -> None:
        for number in range(1 + thread * each, 1 + (thread + 1) * each):
            if client.call(number) != number + 1:
                faults.append(f"{number} gave a wrong value")

    try:
        for number in range(threads):
            client.call(10**9 + number)  # connected and warm
        started = [threading.Thread(target=some, args=(thread,), daemon=True) for thread in range(threads)]
        begin = time.perf_counter()
        for thread in started:
            thread.start()
        for thread in started:
            thread.join(LIMIT)
        seconds = time.perf_counter() - begin
    finally:
        client.close()
    if faults or any(thread.is_alive() for thread in started):
        raise AssertionError(f"the floor gave wrong values or none: {faults[:3]}")
    return {"seconds": seconds, "per_second": threads * each / seconds}


def commit_and_call(floor: Floor, count: int) -> dict[str, float]:
    """Commit one small record with fsync, then make one empty unary call, in turn; return the p50s in milliseconds.

    The record lies in a folder beside the floor's, so on the same file system.
    """
    commits, calls, both = [], [], []
    with (
        tempfile.TemporaryDirectory(prefix="commit-") as folder,
        lmdb.open(str(Path(folder)), map_size=1 << 30) as environment,
        grpc.insecure_channel(f"127.0.0.1:{floor.port}", options=OPTIONS) as channel,
    ):
        nothing: Any = channel.unary_unary("/bare.Bare/Nothing")
        for number in range(count + 5):
            start = time.perf_counter()
            with environment.begin(write=True) as transaction:
                transaction.put(number.to_bytes(16, "big"), b"[[1,1],{}]")
            committed = time.perf_counter()
            nothing(b"", timeout=LIMIT, wait_for_ready=True)
            called = time.perf_counter()
            if number >= 5:  # connected and warm
                commits.append(committed - start)
                calls.append(called - committed)
                both.append(called - start)
    found = {"commit_ms": commits, "call_ms": calls, "p50_ms": both}
    return {name: sorted(times)[len(times) // 2] * 1e3 for name, times in found.items()}
