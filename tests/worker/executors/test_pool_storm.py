"""Random work and batches while children are replaced, come, go and die: every attempt must end exactly once."""

import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.worker.executors.executor_kit import GRAPH, Running, Start, eventually, start_one

from grpcflow_worker.batches import Batching
from grpcflow_worker.executor import Call, CallRun, ExecutorError

CALLS = 500
NAMES = ("summed", "mixed", "single", "single", "die")


def put_batch(running: Running, name: str, base: int, sizes: list[int]) -> list[int]:
    """Puts a batch of several runs; returns the tokens."""
    assert isinstance(running.executor, Batching)
    runs: list[CallRun] = []
    for place, size in enumerate(sizes):
        payloads = [json.dumps([[1] if name != "die" else [], {}]).encode()] * size
        runs.append(CallRun(Call(f"executor_batches.{name}"), GRAPH, 0, base + place * 100, payloads, batch=base))
    running.executor.put_all(runs)
    return [run.token + offset for run in runs for offset in range(len(run.payloads))]


def change(running: Running, rng: random.Random) -> None:
    """Changes the pool, if it can be now."""
    executor = running.executor
    changes: list[Callable[[], Any]] = [
        lambda: executor.resize(rng.choice((-1, 1))),
        lambda: executor.restart(),
        lambda: executor.restart(),
        lambda: executor.autoscale(rng.randint(2, 4), rng.randint(1, 2)),
    ]
    with contextlib.suppress(ExecutorError):
        rng.choice(changes)()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("prefork", {"max_tasks_per_child": 7}),
        ("prefork", {"autoscale": (4, 1), "autoscale_keepalive": 0.01, "max_tasks_per_child": 20}),
        ("prefork", {"max_memory_per_child": 1}),
        ("threads", {}),
        ("asyncio", {}),
    ],
    ids=["tasks", "autoscale", "memory", "threads", "asyncio"],
)
async def test_in_a_changing_pool_every_attempt_ends_exactly_once(
    start: Start, kind: str, settings: dict[str, Any], rng: random.Random
) -> None:
    del start  # the sample apps only
    running = await start_one(kind, batching=True, app="executor_batches", concurrency=2, **settings)
    executor, heard = running.executor, running.heard
    tokens: list[int] = []
    silent: set[int] = set()
    base = 1 << 45
    while len(tokens) < CALLS:
        name = rng.choice(NAMES if kind == "prefork" and rng.random() < 0.1 else NAMES[:-1])
        base += 1_000
        if name == "single" or rng.random() < 0.2:
            many = 1 if name == "die" else rng.randint(1, 30)
            tokens += running.put_many(name, [[1]] * many if name != "die" else [[]])
        else:
            tokens += put_batch(running, name, base, [rng.randint(1, 6) for _ in range(rng.randint(1, 3))])
        for _ in range(rng.randint(0, 4)):
            await asyncio.sleep(0)
        step, chosen = rng.random(), rng.choice(tokens)
        if step < 0.1:
            executor.take_back(rng.sample(tokens, min(len(tokens), 10)))
        elif step < 0.15:
            executor.take_back_waiting(keep=rng.randint(0, 20))
        elif step < 0.3:
            executor.stop(chosen, rng.choice((None, "SIGTERM", "SIGKILL")))
        elif step < 0.35 and executor.forget(chosen):
            silent.add(chosen)
        elif step < 0.5:
            change(running, rng)
        elif step < 0.55:
            executor.running(), executor.waiting(), executor.stats()
    await heard.all_of([token for token in tokens if token not in silent])
    await eventually(executor.idle)
    assert await running.get("single", 2) == 2
    assert executor.held() == 0
    assert {heard.ends[token].kind for token in tokens if token in heard.ends} <= {
        "failure",
        "returned",
        "revoked",
        "lost",
    }
    await running.close()
    assert not heard.twice
    assert not heard.late
