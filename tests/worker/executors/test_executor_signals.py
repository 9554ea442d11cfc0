"""Signals of the worker: each in its process, in order, and whatever a receiver does, the work goes on."""

import json
import os
import signal as numbers
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.worker.executors.executor_kit import GRAPH, Gate, Running, Start, eventually

from grpcflow import signals
from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import STOP, Call, CallRun, Ended
from grpcflow_worker.executors import KINDS

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


@pytest.mark.parametrize("kind", KINDS)
async def test_a_revoked_attempt_is_told_with_its_call_and_what_ended_it(
    start: Start, notes: Path, gate: Gate, kind: str
) -> None:
    one = await start(kind, concurrency=1, app="executor_signals")
    given = value_pb2.Value(data=b'"b"').SerializeToString()
    runs = one.put("wait_at", gate.port, "a", id="mine", retries=2)
    waits, late = (one.put("wait_at", "a", inputs=[given], id=name) for name in ("second", "third"))
    await gate.arrival()
    attempts = {each.token: each.run.part(each.offset, each.offset + 1) for each in one.executor.running()}
    attempts.update({each.token: each.run.part(each.offset, each.offset + 1) for each in one.executor.waiting()})
    assert all(one.executor.stop(token) for token in (waits, late))
    assert one.executor.stop(runs, "SIGTERM")
    if kind in ("threads", "solo", "asyncio"):
        gate.open("a")  # a thread cannot be stopped: it ends as revoked when its code returns
    await one.heard.all_of([runs, waits, late])
    for token in (runs, waits, late):
        tell(one, one.heard.ends[token], attempts[token], expired=token == late)
    await one.close(drain=True)
    told = [json.loads(line) for line in Path(f"{notes}.revoked").read_text().splitlines()]
    same = {
        "sender": "executor_signals.wait_at",
        "task": "executor_signals.wait_at",
        "kwargs": {},
        "hostname": "w@test",
    }
    unstarted = {"retries": 0, "args": ["b", "a"], "terminated": False, "signum": None}
    assert told == [
        {
            "id": "mine",
            "retries": 2,
            "args": [gate.port, "a"],
            "terminated": True,
            "signum": 15,
            "expired": False,
            **same,
        },
        {"id": "second", "expired": False, **unstarted, **same},
        {"id": "third", "expired": True, **unstarted, **same},
    ]


def tell(one: Running, end: Ended, attempt: CallRun, *, expired: bool) -> None:
    """Say it as a supervisor does."""
    assert end.kind == "revoked"
    one.executor.emit("task_revoked", end.signal, attempt=attempt, expired=expired)


async def test_where_the_app_must_not_be_forked_a_thread_beside_the_maker_of_children_tells(
    start: Start, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXECUTOR_SIGNALS_THREAD", "1")
    one = await start("prefork", concurrency=1, app="executor_signals")
    assert "thread" in one.registered.warnings[0]
    child = await live(one)
    told = read(notes)
    main = told[0][1]
    assert main not in (child, os.getpid())
    late = ["worker_ready", "heartbeat_sent", *["worker_shutting_down"] * 2, "worker_shutdown"]
    assert [name for name, pid, *_ in told if pid == main] == [
        *SETUP,
        "celeryd_after_setup",
        "worker_before_create_process",
        *late,
    ]


@pytest.mark.parametrize("kind", ["prefork", "threads"])
async def test_no_revoked_attempt_is_forgotten_however_many_and_large_they_are(
    start: Start, notes: Path, kind: str
) -> None:
    one = await start(kind, concurrency=1, app="executor_signals")
    large = json.dumps([["x" * 1_000_000], {}]).encode()
    written = Path(f"{notes}.revoked")

    def emit(token: int) -> None:
        payload = large if token % 50 == 0 else b'[["small"], {}]'
        attempt = CallRun(Call("executor_signals.where"), GRAPH, token, token, [payload], id=str(token))
        one.executor.emit("task_revoked", attempt=attempt)

    for token in range(299):
        emit(token)
    # Who closes waits some seconds for the rest, in which a busy machine may not come to the end of so many.
    await eventually(lambda: written.exists() and written.read_bytes().count(b"\n") == 299)
    emit(299)
    await one.close(drain=True)
    told = [json.loads(line) for line in written.read_text().splitlines()]
    assert [each["id"] for each in told] == [str(token) for token in range(300)]
    assert [len(each["args"][0]) for each in told] == [1_000_000 if token % 50 == 0 else 5 for token in range(300)]


async def test_a_revoked_call_that_cannot_be_read_is_told_all_the_same(start: Start, notes: Path) -> None:
    one = await start("threads", concurrency=1, app="executor_signals")
    attempt = CallRun(Call("executor_signals.where"), GRAPH, 0, 1, [b"no call"], id="broken")
    one.executor.emit("task_revoked", 9, attempt=attempt)
    await one.close(drain=True)
    told = json.loads(Path(f"{notes}.revoked").read_text())
    assert (told["id"], told["args"], told["terminated"], told["signum"]) == ("broken", [], True, 9)


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
