"""A tiny supervisor for the test that kills one: starts prefork, runs tasks that wait at a gate, and waits."""

import asyncio
import sys
from collections.abc import Sequence

from grpcflow_worker.executor import Call, CallRun, Ended, ExecutorSettings
from grpcflow_worker.executors import create
from grpcflow_worker.log_lines import Logged


class Silent:
    def values(self, tokens: Sequence[int], datas: Sequence[bytes]) -> None: ...
    def ended(self, ends: Sequence[Ended]) -> None: ...
    def started(self, tokens: Sequence[int]) -> None: ...
    def progressed(self, token: int, state: str, data: bytes, content_type: str) -> None: ...
    def logged(self, said: Sequence[Logged]) -> None: ...
    def broken(self, reason: str) -> None: ...


async def main(port: str) -> None:
    executor = create("prefork", ExecutorSettings(app="executor_sample", concurrency=2))
    await executor.start(Silent())
    payload = f"[[{port}], {{}}]".encode()
    executor.put(CallRun(Call("executor_sample.wait_at"), b"g" * 12, 0, 1, [payload, payload]))
    await asyncio.wait_for(asyncio.Event().wait(), 60)


asyncio.run(main(sys.argv[1]))
