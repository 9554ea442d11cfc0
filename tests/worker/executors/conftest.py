"""Fixtures of the executors' tests: sample apps, a gate, and executors that are closed at the end of the test."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.worker.executors.executor_kit import APPS, Gate, Running, Start, finish, open_gate, start_one


@pytest.fixture(autouse=True)
def sample_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample apps can be imported, here and in child processes."""
    monkeypatch.syspath_prepend(str(APPS))


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gate for `wait_at`."""
    async with open_gate() as made:
        yield made


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A function that starts an executor of a kind: `await start("prefork", concurrency=2)`."""
    started: list[Running] = []

    async def make(kind: str, **settings: Any) -> Running:
        running = await start_one(kind, **settings)
        started.append(running)
        return running

    yield make
    for running in started:
        await finish(running)
