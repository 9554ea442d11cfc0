"""Calls of coroutines leave together: those of one moment, and those that come while two bundles wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from grpcflow.errors import GrpcflowError
from grpcflow.lower.model import TemplateSpec
from grpcflow.pool import UNDER_WAY, Pool, Pooled


class Line:
    """Takes the bundles that leave."""

    def __init__(self) -> None:
        self.sent: list[Pooled] = []
        self.pool = Pool(self.sent.append, self._soon)

    @staticmethod
    def _soon(call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(call)

    async def call(self, queue: str = "default") -> Pooled:
        """Let one call gather, and let the loop turn."""
        pooled, _ = self.pool.add(TemplateSpec(task="t", queue=queue), b"[[],{}]", time.monotonic() + 60.0)
        await asyncio.sleep(0)
        return pooled

    @property
    def counts(self) -> list[int]:
        return [pooled.bundle.count for pooled in self.sent]


async def test_a_call_that_nothing_is_before_leaves_at_once() -> None:
    line = Line()
    for number in range(3):
        await line.call()
        assert line.counts == [1] * (number + 1)
        line.sent[-1].finish()


async def test_while_two_bundles_wait_calls_gather_and_leave_with_the_next_answer() -> None:
    line = Line()
    for _ in range(UNDER_WAY):
        await line.call()
    gathered = [await line.call() for _ in range(5)]
    assert line.counts == [1] * UNDER_WAY
    line.sent[0].finish()
    await asyncio.sleep(0)
    assert line.counts == [1] * UNDER_WAY + [5]
    assert set(gathered) == {line.sent[-1]}
    await line.call()
    assert len(line.sent) == UNDER_WAY + 1
    for pooled in line.sent[1:]:
        pooled.finish()
    await asyncio.sleep(0)
    assert line.counts[-1] == 1
    line.sent[-1].finish()
    await line.call()
    assert len(line.sent) == UNDER_WAY + 3


async def test_an_answer_that_tells_of_a_failure_lets_the_next_ones_leave() -> None:
    line = Line()
    for _ in range(UNDER_WAY):
        await line.call()
    waiting = await line.call()
    line.sent[0].finish(GrpcflowError("nobody answered"))
    line.sent[0].finish()
    await asyncio.sleep(0)
    assert line.sent[-1] is waiting
    assert isinstance(line.sent[0].error, GrpcflowError)


async def test_one_queue_does_not_wait_for_another_and_a_full_bundle_waits_for_nothing() -> None:
    line = Line()
    for _ in range(UNDER_WAY):
        await line.call("slow")
    await line.call("quick")
    assert len(line.sent) == UNDER_WAY + 1
    pooled = await line.call("slow")
    while not pooled.bundle.is_full:
        assert len(line.sent) == UNDER_WAY + 1
        assert await line.call("slow") is pooled
    assert line.sent[-1] is pooled


class Waits:
    """One who waits, and says where it was told."""

    def __init__(self, number: int, seen: list[int]) -> None:
        self._number, self._seen = number, seen

    def told(self, _pooled: Pooled) -> None:
        self._seen.append(self._number)


def test_of_threads_the_first_leaves_at_once_and_those_behind_two_gather() -> None:
    sent: list[Pooled] = []
    pool = Pool(sent.append)
    template = TemplateSpec(task="t", queue="q")
    for number in range(UNDER_WAY):
        pool.add(template, b"[[],{}]", 0.0)
        assert len(sent) == number + 1
    told: list[int] = []
    for number in range(3):
        pooled, index = pool.add(template, b"[[],{}]", 0.0)
        assert index == number
        pooled.waiting.append(Waits(number, told))
    assert len(sent) == UNDER_WAY
    sent[0].finish()
    assert sent[-1].bundle.count == 3
    sent[-1].finish()
    assert told == [0, 1, 2]
