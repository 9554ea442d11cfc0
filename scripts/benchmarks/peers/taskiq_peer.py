"""taskiq on a Redis stream: two worker processes. Runs in the peers' own Python."""
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from taskiq.serializers import ORJSONSerializer  # type: ignore[import-not-found,unused-ignore]
from taskiq_pipelines import Pipeline, PipelineMiddleware  # type: ignore[import-not-found,unused-ignore]
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import redis_server, work
from benchmarks.peers.driver import NoWay, Peer, main, start

#: Seconds between two looks at a result, which wakes nobody.
PAUSE = 0.001

#: How many calls of the client are under way at once, each on a connection of its own.
AT_ONCE = 32

backend: Any = RedisAsyncResultBackend(
    redis_server.PATIENT_URL, keep_results=False, serializer=ORJSONSerializer(), max_connection_pool_size=AT_ONCE
)
# From the start of the stream: what is sent before the first worker has its consumer group would be passed over.
broker: Any = RedisStreamBroker(
    redis_server.PATIENT_URL, consumer_id="0", max_connection_pool_size=AT_ONCE
).with_result_backend(backend)
broker = broker.with_serializer(ORJSONSerializer()).with_middlewares(PipelineMiddleware())


async def _add(x: int, y: int) -> int:
    return work.add(x, y)


async def _echo(text: str) -> str:
    return work.echo(text)


add: Any = broker.task(task_name="add")(_add)
echo: Any = broker.task(task_name="echo")(_echo)


async def _each(act: Callable[[Any], Awaitable[Any]], items: Iterable[Any]) -> list[Any]:
    """Do something for every item, a bounded number at once, in order."""
    numbered = list(enumerate(items))
    found: list[Any] = [None] * len(numbered)
    waiting = iter(numbered)

    async def drain() -> None:
        for place, item in waiting:
            found[place] = await act(item)

    await asyncio.gather(*(drain() for _ in range(AT_ONCE)))
    return found


async def _value(task: Any) -> Any:
    result = await task.wait_result(check_interval=PAUSE)
    result.raise_for_error()
    return result.return_value


class TaskiqPeer(Peer):
    """taskiq, with chains by taskiq-pipelines."""

    settings = (
        f"Redis stream as broker and Redis results with hiredis, 2 worker processes, async tasks, uvloop, orjson, no "
        f"parsing of arguments, acks on receipt, prefetch 100; client: {AT_ONCE} calls at once, results looked at "
        f"every {PAUSE * 1e3:g} ms; chains by taskiq-pipelines"
    )
    durability = redis_server.DURABILITY
    packages = ("taskiq", "taskiq-redis", "redis")

    def open(self) -> None:
        """Start Redis, and a loop for the client."""
        import uvloop

        redis_server.start_redis()
        self._loop = uvloop.new_event_loop()
        self._loop.run_until_complete(broker.startup())

    def _run(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)

    def clear(self) -> None:
        """Empty Redis."""
        redis_server.flush()

    def start_workers(self) -> None:
        """Start two processes."""
        fast = ("--no-parse", "--ack-type", "when_received", "--max-prefetch", "100", "--log-level", "WARNING")
        start("taskiq", "worker", "benchmarks.peers.taskiq_peer:broker", "--workers", "2", *fast)

    async def _sent(self, count: int) -> list[Any]:
        return await _each(lambda i: add.kiq(i, i), range(count))

    def submit(self, count: int) -> None:
        """Calls of kiq, many at once."""
        self._run(self._sent(count))

    def one(self, number: int) -> int:
        """One kiq and wait_result."""

        async def call() -> Any:
            return await _value(await add.kiq(number, 1))

        value: int = self._run(call())
        return value

    def group(self, count: int) -> list[int]:
        """Calls of kiq, many at once, then the results."""

        async def call() -> list[int]:
            return await _each(_value, await self._sent(count))

        values: list[int] = self._run(call())
        return values

    def chord(self, count: int) -> int:
        """Nothing of its own."""
        raise NoWay("taskiq and taskiq-pipelines have no task that follows many others")

    def chords(self, count: int, each: int) -> int:
        """Nothing of its own."""
        return self.chord(count * each)

    def chain(self, steps: int) -> int:
        """A pipeline."""

        async def call() -> Any:
            pipeline: Any = Pipeline(broker, add)
            for _ in range(steps - 1):
                pipeline = pipeline.call_next(add, y=1, param_name="x")
            return await _value(await pipeline.kiq(0, 1))

        value: int = self._run(call())
        return value

    def echoes(self, texts: list[str]) -> list[str]:
        """Calls of kiq, many at once, then the results."""

        async def call() -> list[str]:
            return await _each(_value, await _each(echo.kiq, texts))

        values: list[str] = self._run(call())
        return values


if __name__ == "__main__":
    main(TaskiqPeer())
