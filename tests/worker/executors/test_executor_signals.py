"""Signals of the worker: each in its process, in order, and whatever a receiver does, the work goes on."""

import os
import signal as numbers
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.worker.executors.executor_kit import Running, Start

from grpcflow import signals
from grpcflow_worker.executor import STOP

SETUP = ["celeryd_init", "import_modules", "worker_init"]
LOGS = ["after_setup_logger", "after_setup_task_logger"]


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that the app of these tests writes to; what it connects in this process is undone."""
    path = tmp_path / "notes"
    path.touch()
    monkeypatch.setenv("EXECUTOR_SIGNALS_PATH", str(path))
    every = [each for each in vars(signals).values() if isinstance(each, signals.Signal)]
    before = [(each, dict(each.receivers)) for each in every]
    yield path
    for each, receivers in before:
        each.receivers.clear()
        each.receivers.update(receivers)
    sys.modules.pop("executor_signals", None)


def read(notes: Path) -> list[tuple[str, int, str, str]]:
    lines = [line.split() for line in notes.read_text().splitlines()]
    return [(name, int(pid), sender, arguments) for name, pid, sender, arguments in lines]


async def live(one: Running) -> int:
    """The life of a worker as its supervisor tells it; returns the process of its task."""
    one.executor.emit("worker_ready")
    pid = await one.get("where", app="executor_signals")
    one.executor.emit("heartbeat_sent")
    one.executor.emit("worker_shutting_down", numbers.SIGTERM)
    one.executor.emit("worker_shutting_down", STOP + numbers.SIGINT)
    one.executor.emit("worker_shutdown")
    await one.close(drain=True)
    assert isinstance(pid, int)
    return pid


async def test_prefork_sends_each_signal_in_its_process(start: Start, notes: Path) -> None:
    one = await start("prefork", concurrency=1, app="executor_signals", log_level="INFO")
    assert one.registered.conf["task_default_queue"] == "by_signal"
    child = await live(one)
    told = read(notes)
    main = told[0][1]
    assert [name for name, pid, *_ in told if pid == main] == [
        *SETUP,
        *LOGS,
        "celeryd_after_setup",
        "worker_before_create_process",
    ]
    assert [name for name, pid, *_ in told if pid == child] == ["worker_process_init", "worker_process_shutdown"]
    herald = [(name, sender) for name, pid, sender, _ in told if pid not in (main, child)]
    late = ["worker_ready", "heartbeat_sent", *["worker_shutting_down"] * 2, "worker_shutdown"]
    assert herald == [(name, "w@test") for name in late]
    assert len({pid for _, pid, *_ in told} | {os.getpid()}) == 4
    shutting = Path(f"{notes}.shutting").read_text().splitlines()
    assert shutting == ["Warm SIGTERM 0", f"Cold SIGINT {STOP + numbers.SIGINT}"]


@pytest.mark.parametrize("kind", ["threads", "solo", "asyncio"])
async def test_executors_without_processes_send_all_in_the_worker(start: Start, notes: Path, kind: str) -> None:
    one = await start(kind, concurrency=1, app="executor_signals")
    assert await live(one) == os.getpid()
    told = read(notes)
    assert {pid for _, pid, *_ in told} == {os.getpid()}
    late = ["worker_ready", "heartbeat_sent", *["worker_shutting_down"] * 2, "worker_shutdown"]
    assert [name for name, *_ in told] == [*SETUP, "celeryd_after_setup", *late]


async def test_receivers_that_fail_or_leave_end_no_process(start: Start, notes: Path) -> None:
    one = await start("prefork", concurrency=1, app="executor_signals")
    first = await one.get("where", app="executor_signals")
    assert await one.get("where", app="executor_signals") == first
    assert [name for name, pid, *_ in read(notes) if pid == first] == ["worker_process_init"]


async def test_an_app_that_listens_to_nothing_has_no_further_process(start: Start) -> None:
    one = await start("prefork", concurrency=1)
    for name in ("worker_ready", "heartbeat_sent", "worker_shutting_down", "worker_shutdown"):
        one.executor.emit(name)
    assert await one.get("add", 1, 2) == 3
