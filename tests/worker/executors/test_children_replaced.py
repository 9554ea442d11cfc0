"""Children are replaced after so many tasks, or when they have grown: nothing is lost, and no place is empty."""

import collections
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.worker.executors.executor_kit import Gate, Running, Start, eventually


def resident(pid: int) -> int:
    """KiB that a process takes now."""
    return int(psutil.Process(pid).memory_info().rss) >> 10


def pids_of(running: Running) -> list[int]:
    return [process["pid"] for process in running.executor.stats()["processes"]]


@pytest.mark.parametrize("app", ["executor_sample", "executor_threaded"], ids=["forked", "fresh"])
async def test_a_child_runs_no_more_tasks_than_it_may(start: Start, app: str) -> None:
    count = 20 if app == "executor_sample" else 4
    running = await start("prefork", concurrency=2, max_tasks_per_child=3 if count > 4 else 2, app=app)
    tokens = running.put_many("where", [()] * count)
    await running.heard.all_of(tokens)
    counts = collections.Counter(running.heard.value(token)[0] for token in tokens)
    most = 3 if count > 4 else 2
    assert max(counts.values()) == most
    assert len(counts) >= count / most


async def test_short_tasks_that_go_in_frames_of_many_are_counted_one_by_one(start: Start) -> None:
    running = await start("prefork", concurrency=2, max_tasks_per_child=250)
    tokens = running.put_many("where", [()] * 2_000)
    await running.heard.all_of(tokens)
    counts = collections.Counter(running.heard.value(token)[0] for token in tokens)
    assert max(counts.values()) <= 250
    assert len(counts) >= 8
    await running.heard.until(running.executor.idle)
    assert not running.heard.ends


async def test_the_next_child_is_there_before_the_old_one_ends_and_waits_for_its_place(
    start: Start, gate: Gate
) -> None:
    running = await start("prefork", concurrency=1, max_tasks_per_child=1)
    first, second = running.put_many("wait_at", [(gate.port,), (gate.port,)])
    old = await gate.arrival()
    stats: list[dict[str, Any]] = []

    def both_ready() -> bool:
        stats[:] = running.executor.stats()["processes"]
        return len(stats) == 2 and all(process["ready"] for process in stats)

    await eventually(both_ready)
    assert len(running.executor.running()) == 1, "two tasks at once where there is one place"
    successor = next(process["pid"] for process in stats if process["pid"] != int(old))
    gate.open(old)
    assert int(await gate.arrival()) == successor
    gate.open(str(successor))
    await running.heard.all_of([first, second])


async def test_a_child_that_has_grown_too_large_is_replaced_after_its_task(start: Start) -> None:
    running = await start("prefork", concurrency=1)
    small = resident((await running.get("where"))[0])
    limited = await start("prefork", concurrency=1, max_memory_per_child=small + (32 << 10))
    pid = (await limited.get("where"))[0]
    assert (await limited.get("where"))[0] == pid
    assert await limited.get("grow", 8) == pid
    assert await limited.get("grow", 64) == pid
    assert (await limited.get("where"))[0] != pid
    assert not limited.heard.ends


async def test_what_waits_in_a_child_that_has_grown_runs_in_another(start: Start) -> None:
    free = await start("prefork", concurrency=1)
    small = resident((await free.get("where"))[0])
    running = await start("prefork", concurrency=1, max_memory_per_child=small + (32 << 10))
    # Short so far, so that many go into one frame; one of them grows its child.
    await running.heard.all_of(running.put_many("grow", [(0,)] * 400))
    tokens = running.put_many("grow", [(0,)] * 10 + [(64,)] + [(0,)] * 189)
    await running.heard.all_of(tokens)
    before = {running.heard.value(token) for token in tokens[:11]}
    after = {running.heard.value(token) for token in tokens[11:]}
    assert len(before) == len(after) == 1
    assert before != after


async def test_settings_of_the_app_hold_where_the_worker_says_nothing(start: Start) -> None:
    running = await start("prefork", concurrency=1, app="executor_replaced")
    # One by one: what waits in a child that is slow to begin goes to another one.
    ran = [await running.get("where") for _ in range(6)]
    assert set(collections.Counter(ran).values()) == {2}
    asked = await start("prefork", concurrency=1, app="executor_replaced", max_tasks_per_child=100)
    tokens = asked.put_many("where", [()] * 6)
    await asked.heard.all_of(tokens)
    assert len({asked.heard.value(token) for token in tokens}) == 1


async def test_the_apps_limit_of_memory_holds_where_the_worker_says_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXECUTOR_REPLACED_KIB", "1")
    running = await start("prefork", concurrency=1, app="executor_replaced", max_tasks_per_child=100)
    tokens = running.put_many("where", [()] * 3)
    await running.heard.all_of(tokens)
    assert len({running.heard.value(token) for token in tokens}) == 3


async def test_a_child_that_is_killed_in_its_last_task_loses_that_one_only(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=1, max_tasks_per_child=1)
    first, second = running.put_many("wait_at", [(gate.port,), (gate.port,)])
    os.kill(int(await gate.arrival()), signal.SIGKILL)
    await running.heard.all_of([first])
    assert running.heard.ends[first].kind == "lost"
    gate.open(await gate.arrival())
    await running.heard.all_of([second])
    assert running.heard.value(second) == "go"


async def test_a_revoked_task_of_a_child_that_is_to_end_is_stopped(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=1, max_tasks_per_child=1)
    first, second = running.put_many("wait_at", [(gate.port,), (gate.port,)])
    await gate.arrival()
    assert running.executor.stop(first, "SIGTERM")
    await running.heard.all_of([first])
    assert running.heard.ends[first].kind == "revoked"
    gate.open(await gate.arrival())
    await running.heard.all_of([second])


async def test_each_child_is_told_of_its_begin_and_its_end(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    monkeypatch.setenv("EXECUTOR_SIGNALS_PATH", str(notes))
    running = await start("prefork", concurrency=1, app="executor_signals", max_tasks_per_child=1)
    pids = [await running.get("where") for _ in range(3)]
    await running.close()
    told = [line.split()[:2] for line in notes.read_text().splitlines()]
    for pid in pids:
        mine = [name for name, at in told if at == str(pid)]
        assert [name for name in mine if "process" in name] == ["worker_process_init", "worker_process_shutdown"]
    assert sum(name == "worker_before_create_process" for name, _ in told) >= 3


async def test_a_drain_waits_for_a_child_that_is_to_end(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=1, max_tasks_per_child=1)
    token = running.put("wait_at", gate.port, "last")
    gate.open(await gate.arrival())
    await running.close(drain=True)
    assert running.heard.value(token) == "go"
    assert not pids_of(running)


@pytest.mark.parametrize("kind", ["threads", "solo", "asyncio"])
async def test_executors_without_children_name_the_options_that_they_do_not_heed(start: Start, kind: str) -> None:
    one = await start(kind, concurrency=1, app="executor_replaced", max_memory_per_child=5)
    (warning,) = one.registered.warnings
    for name in (kind, "--max-memory-per-child", "worker_max_tasks_per_child", "worker_max_memory_per_child"):
        assert name in warning
    assert "--max-tasks-per-child" not in warning


async def test_a_child_shows_its_worker_and_its_task_as_its_title(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=2)
    assert await running.get("title") in {f"grpcflow-worker: w@test child {n}: executor_sample.title" for n in (1, 2)}
    token = running.put("wait_at", gate.port)
    pid = int(await gate.arrival())
    idle = next(process["pid"] for process in running.executor.stats()["processes"] if process["pid"] != pid)
    assert psutil.Process(pid).cmdline()[0].endswith(": executor_sample.wait_at")
    assert psutil.Process(idle).cmdline()[0] in ("grpcflow-worker: w@test child 1", "grpcflow-worker: w@test child 2")
    gate.open(str(pid))
    await running.heard.all_of([token])
