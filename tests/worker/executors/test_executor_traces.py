"""Spans of real child processes: each has a provider of its own, and none is lost when a child ends in order."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.worker.executors.executor_kit import Start

from grpcflow import signals


@pytest.fixture(autouse=True)
def spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that spans are written to; what the app connects in this process is undone."""
    path = tmp_path / "spans"
    path.touch()
    monkeypatch.setenv("EXECUTOR_TRACED_PATH", str(path))
    before = dict(signals.worker_process_shutdown.receivers)
    yield path
    signals.worker_process_shutdown.receivers.clear()
    signals.worker_process_shutdown.receivers.update(before)
    sys.modules.pop("executor_traced", None)


async def test_each_child_makes_its_provider_and_hands_over_its_last_spans(start: Start, spans: Path) -> None:
    one = await start("prefork", concurrency=1, app="executor_traced", max_tasks_per_child=2)
    children = [await one.get("where") for _ in range(3)] + [await one.get("where_awaited")]
    await one.close(drain=True)
    assert len(set(children)) == 2
    assert os.getpid() not in children
    written = [json.loads(line) for line in spans.read_text().splitlines()]
    wanted = ["run executor_traced.where"] * 3 + ["run executor_traced.where_awaited"]
    assert sorted(written) == sorted([name, child, child] for name, child in zip(wanted, children, strict=True))
