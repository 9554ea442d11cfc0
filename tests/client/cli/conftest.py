"""Fixtures of the command line's tests: two workers in memory and a way to type a command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.client.cli.fake_coordinator import FakeConnection, FakeWorker

from grpcflow.cli import command_line
from grpcflow.cli.invocation import Invocation
from grpcflow_protos.v1 import control_service_pb2 as control_pb2

NAP = {
    "id": "01890000-0000-7000-8000-000000000001",
    "name": "proj.tasks.nap",
    "args": [2],
    "kwargs": {"why": "tired"},
    "time_start": 1_000.0,
    "worker_pid": 4711,
}


def worker(name: str, process_id: int, *queues: str, running: list[dict[str, Any]] | None = None) -> FakeWorker:
    """Returns a live worker with two prefork children."""
    return FakeWorker(
        name,
        answers={
            "active": running or [],
            "active_queues": [{"name": queue, "weight": 3 if queue == "hipri" else 1} for queue in queues],
            "registered": ["proj.tasks.add", "proj.tasks.nap"],
            "stats": {"pid": process_id, "uptime": 3725, "pool": {"max-concurrency": 2, "processes": [1, 2]}},
            "scheduled": [],
        },
        info={
            "state": control_pb2.WORKER_STATE_LIVE,
            "queues": queues,
            "held": len(running or []),
            "capacity": 64,
            "concurrency": 2,
            "executor": "prefork",
            "host": "green",
            "process_id": process_id,
            "tasks": 2,
        },
    )


@pytest.fixture
def cluster() -> FakeConnection:
    """Two live workers: w1 runs one task and serves two queues, w2 is idle."""
    return FakeConnection(worker("w1", 4700, "hipri", "default", running=[dict(NAP)]), worker("w2", 4800, "default"))


Type = Callable[..., Result]


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No app and no coordinator is named by the surroundings."""
    monkeypatch.delenv("GRPCFLOW_APP", raising=False)
    monkeypatch.delenv("GRPCFLOW_COORDINATOR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def typed(cluster: FakeConnection) -> Type:
    """Runs a command as typed, against the cluster in memory."""

    def run(*words: str) -> Result:
        said = Invocation(connect=lambda _addresses: cluster)  # type: ignore[arg-type, return-value]
        return CliRunner().invoke(command_line, list(words), obj=said, catch_exceptions=False)

    return run
