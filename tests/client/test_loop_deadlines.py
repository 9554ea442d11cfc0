"""Deadlines of coroutines that wait at the same time share a timer, and nothing is left of them."""

from __future__ import annotations

import asyncio

import pytest

from grpcflow.aio import bell
from grpcflow.aio.bell import Deadlines


async def waits(deadlines: Deadlines, deadline: float) -> asyncio.Future[None]:
    """Wait for a future that nobody ends; return it."""
    return await until(deadlines, asyncio.get_running_loop().create_future(), deadline)


async def until(deadlines: Deadlines, future: asyncio.Future[None], deadline: float) -> asyncio.Future[None]:
    """Wait for a future until then; return it."""
    turn = deadlines.add(future, deadline, asyncio.get_running_loop())
    try:
        await future
    finally:
        deadlines.drop(future, turn)
    return future


async def test_a_deadline_ends_the_wait_and_one_timer_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "_COARSE", float("-inf"))
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    soon = loop.time() + 0.01
    tasks = [asyncio.create_task(waits(deadlines, soon)) for _ in range(100)]
    await asyncio.sleep(0)
    assert len(deadlines._due) == 1, "hundred waits, one timer"
    assert all(future.done() for future in await asyncio.gather(*tasks))
    assert loop.time() >= soon
    assert not deadlines._due


async def test_a_wait_that_ends_before_leaves_no_timer() -> None:
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(3)]
    late = loop.time() + 3_000
    tasks = [asyncio.create_task(until(deadlines, one, late)) for one in futures]
    await asyncio.sleep(0)
    [(_, timer)] = deadlines._due.values()
    futures[0].set_result(None)
    tasks[1].cancel()
    await asyncio.sleep(0)
    assert not timer.cancelled()
    futures[2].set_result(None)
    await asyncio.wait(tasks)
    assert timer.cancelled()
    assert not deadlines._due


async def test_a_short_wait_is_exact_and_one_that_is_over_ends_at_once() -> None:
    deadlines = Deadlines()
    now = asyncio.get_running_loop().time()
    assert (await waits(deadlines, now + 0.001)).done()
    assert (await waits(deadlines, now - 5.0)).done()
