"""Fixtures of the executors' tests: sample apps, a gate, and executors that are closed at the end of the test."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.worker.executors.executor_kit import APPS, Gate, Recorder, Running, Start

from grpcflow_worker.executor import ExecutorSettings
from grpcflow_worker.executors import create


@pytest.fixture(autouse=True)
def sample_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample apps can be imported, here and in child processes."""
    monkeypatch.syspath_prepend(str(APPS))


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gate for `wait_at`."""
    made = Gate()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await made.close()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A function that starts an executor of a kind: `await start("prefork", concurrency=2)`."""
    started: list[Running] = []

    async def make(kind: str, **settings: Any) -> Running:
        values: dict[str, Any] = {"app": "executor_sample", "hostname": "w@test", "start_timeout": 30.0, **settings}
        executor = create(kind, ExecutorSettings(**values))
        recorder = Recorder()
        running = Running(executor, recorder, await executor.start(recorder), values["app"])
        started.append(running)
        return running

    yield make
    for running in started:
        if not running.closed:
            await running.close(drain=False, deadline=0)
        assert not running.heard.twice, "attempts that ended twice"
        assert not running.heard.late, "attempts whose progress came after their end"
