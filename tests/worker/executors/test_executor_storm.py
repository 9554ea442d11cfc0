"""Random work, take-backs, stops and deaths at once: every attempt must end exactly once, whatever the order."""

import asyncio
import random

import pytest
from tests.worker.executors.executor_kit import Start

CALLS = 600


@pytest.mark.parametrize(
    ("kind", "app"),
    [
        ("prefork", "executor_sample"),
        ("threads", "executor_sample"),
        ("asyncio", "executor_sample"),
        ("asyncio", "executor_async"),
    ],
)
async def test_in_a_storm_every_attempt_ends_exactly_once(
    kind: str, app: str, start: Start, rng: random.Random
) -> None:
    running = await start(kind, concurrency=2, app=app)
    executor, heard = running.executor, running.heard
    tokens: list[int] = []
    silent: set[int] = set()
    while len(tokens) < CALLS:
        names = ["add"] * 6 + ["fail", "spin"] + (["die"] if kind == "prefork" and rng.random() < 0.1 else [])
        name = rng.choice(names)
        arguments = {"add": (1, 1), "fail": ("no",), "spin": (rng.choice((0.0005, 0.003, 0.03)),), "die": ("kill",)}
        tokens += running.put_many(name, [arguments[name]] * rng.randint(1, 30 if name == "add" else 3))
        for _ in range(rng.randint(0, 4)):
            await asyncio.sleep(0)
        step, chosen = rng.random(), rng.choice(tokens)
        if step < 0.1:
            executor.take_back(rng.sample(tokens, min(len(tokens), 10)))
        elif step < 0.15:
            executor.take_back_waiting(keep=rng.randint(0, 20))
        elif step < 0.25:
            executor.stop(chosen, rng.choice((None, "SIGTERM", "SIGKILL")))
        elif step < 0.3 and executor.forget(chosen):
            silent.add(chosen)
        elif step < 0.35:
            executor.running(), executor.waiting(), executor.stats()
    await heard.all_of([token for token in tokens if token not in silent])
    # Give what was silenced the time to end too, then look whether the executor still knows anything.
    async with asyncio.timeout(40):
        while not executor.idle():
            await asyncio.sleep(0)
    # A superseded attempt may have ended before it was asked for; never twice (the recorder looks at that).
    assert await running.get("add", 2, 2) == 4
    assert executor.held() == 0
    kinds = {heard.ends[token].kind for token in tokens if token in heard.ends}
    assert kinds <= {"failure", "returned", "revoked", "lost"}


async def test_a_storm_that_is_closed_in_the_middle_leaves_no_attempt_untold(start: Start, rng: random.Random) -> None:
    running = await start("prefork", concurrency=2)
    tokens = running.put_many("add", [(1, 1)] * 400) + running.put_many("spin", [(0.01,)] * 50)
    await running.heard.until(lambda: len(running.heard.data) > rng.randint(10, 300))
    await running.close(drain=rng.random() < 0.5, deadline=10)
    assert all(token in running.heard.data or token in running.heard.ends for token in tokens)
