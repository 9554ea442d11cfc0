"""How many places there are: grown and shrunk by hand, by the work that there is, and all of them made anew."""

from pathlib import Path

import psutil
import pytest
from tests.worker.executors.executor_kit import Gate, Running, Start, eventually

from grpcflow_worker.executor import ExecutorError
from grpcflow_worker.executors import KINDS

#: Those whose number of places can change while they run.
FLEXIBLE = [kind for kind in KINDS if kind != "solo"]


def children(running: Running) -> list[int]:
    return [process["pid"] for process in running.executor.stats()["processes"]]


async def arrivals(gate: Gate, count: int) -> list[str]:
    return [await gate.arrival() for _ in range(count)]


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FLEXIBLE)
async def test_a_pool_that_has_grown_runs_more_at_once(start: Start, gate: Gate, kind: str) -> None:
    running = await start(kind, concurrency=1)
    tokens = running.put_many("wait_at", [(gate.port, str(n)) for n in range(3)])
    await gate.arrival()
    assert running.executor.resize(2) == running.executor.places() == 3
    await arrivals(gate, 2)
    assert len(running.executor.running()) == 3
    assert running.executor.capacity() >= 3
    for number in range(3):
        gate.open(str(number))
    await running.heard.all_of(tokens)
    assert [running.heard.value(token) for token in tokens] == ["go"] * 3


@pytest.mark.parametrize("kind", FLEXIBLE)
async def test_a_pool_that_has_shrunk_lets_what_runs_end_and_runs_fewer_after_it(
    start: Start, gate: Gate, kind: str
) -> None:
    running = await start(kind, concurrency=3)
    tokens = running.put_many("wait_at", [(gate.port, str(n)) for n in range(5)])
    names = await arrivals(gate, 3)
    assert running.executor.resize(-2) == running.executor.places() == 1
    assert len(running.executor.running()) == 3
    gate.open(names[0])
    gate.open(names[1])
    await running.heard.until(lambda: len(running.heard.data) == 2)
    assert len(running.executor.running()) == 1
    gate.open(names[2])
    for _ in range(2):
        name = await gate.arrival()
        assert len(running.executor.running()) == 1
        gate.open(name)
    await running.heard.all_of(tokens)
    assert not running.heard.ends


@pytest.mark.parametrize("kind", FLEXIBLE)
async def test_one_place_is_left_whatever_is_asked(start: Start, kind: str) -> None:
    running = await start(kind, concurrency=2)
    with pytest.raises(ExecutorError, match="at most 1"):
        running.executor.resize(-2)
    assert running.executor.places() == 2
    assert running.executor.resize(-1) == 1
    assert await running.get("add", 1, 2) == 3


async def test_solo_has_one_place_for_ever(start: Start) -> None:
    running = await start("solo", concurrency=1)
    with pytest.raises(ExecutorError, match="-P threads"):
        running.executor.resize(1)
    assert running.executor.places() == 1


async def test_shrinking_takes_children_without_work_first(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=3)
    token = running.put("wait_at", gate.port)
    busy = int(await gate.arrival())
    running.executor.resize(-2)
    await eventually(lambda: children(running) == [busy])
    gate.open(str(busy))
    await running.heard.all_of([token])
    assert (await running.get("where"))[0] == busy


async def test_what_has_not_started_in_a_child_that_goes_runs_in_another(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=2)
    await running.heard.all_of(running.put_many("wait_or_not", [(0,)] * 400))
    tokens = running.put_many("wait_or_not", [(0,)] * 10 + [(gate.port,)] + [(0,)] * 189)
    slow = await gate.arrival()
    running.executor.restart()
    await running.heard.all_of([token for token in tokens if token != tokens[10]])
    gate.open(slow)
    await running.heard.all_of(tokens)
    assert not running.heard.ends


# --- anew -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", "solo", "asyncio"])
async def test_only_processes_can_be_restarted_and_scaled(start: Start, kind: str) -> None:
    running = await start(kind, concurrency=1)
    with pytest.raises(ExecutorError, match="-P prefork"):
        running.executor.restart(reload=True)
    with pytest.raises(ExecutorError, match="-P prefork"):
        running.executor.autoscale(3, 1)


async def test_a_restart_replaces_every_child_after_what_it_runs(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=2)
    before = children(running)
    token = running.put("wait_at", gate.port)
    busy = int(await gate.arrival())
    running.executor.restart()
    await eventually(lambda: len(children(running)) == 3 and busy in children(running))
    assert (await running.get("where"))[0] not in before
    gate.open(str(busy))
    await running.heard.all_of([token])
    assert running.heard.value(token) == "go"
    await eventually(lambda: len(children(running)) == 2 and not set(before) & set(children(running)))
    assert psutil.Process(children(running)[0]).ppid() == psutil.Process(children(running)[1]).ppid()


def write_app(folder: Path, word: str) -> None:
    (folder / "executor_rewritten.py").write_text(
        "from grpcflow import Grpcflow\n"
        "app = Grpcflow('executor_rewritten')\n"
        "@app.task\n"
        "def word():\n"
        f"    return {word}\n"
    )


async def test_a_restart_with_reload_imports_the_app_anew(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    write_app(tmp_path, "'old'")
    running = await start("prefork", concurrency=2, app="executor_rewritten")
    assert await running.get("word") == "old"
    old = psutil.Process(children(running)[0]).parent()
    write_app(tmp_path, "'new one'")
    running.executor.restart()
    assert await running.get("word") == "old", "without reload the app is as it was imported first"
    running.executor.restart(reload=True)
    with pytest.raises(ExecutorError, match="already"):
        running.executor.restart(reload=True)
    await eventually(lambda: old is None or not old.is_running() or old.status() == psutil.STATUS_ZOMBIE)
    assert await running.get("word") == "new one"
    assert len(children(running)) == 2


async def test_an_app_that_cannot_be_imported_anew_leaves_all_as_it_is(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    write_app(tmp_path, "'old'")
    running = await start("prefork", concurrency=1, app="executor_rewritten")
    before = children(running)
    write_app(tmp_path, "(((")
    running.executor.restart(reload=True)
    await eventually(lambda: "SyntaxError" in caplog.text)
    assert await running.get("word") == "old"
    assert children(running) == before
    write_app(tmp_path, "'mended'")
    running.executor.restart(reload=True)
    await eventually(lambda: not set(children(running)) & set(before))
    assert await running.get("word") == "mended"


async def test_a_restart_may_import_further_modules(start: Start) -> None:
    running = await start("prefork", concurrency=1)
    running.executor.restart(modules=["executor_replaced"])
    before = children(running)
    await eventually(lambda: not set(children(running)) & set(before))
    assert await running.get("add", 1, 2) == 3


# --- by the work that there is ----------------------------------------------------------------------------------------


async def test_children_come_at_once_with_the_work_and_no_more_than_may(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=3, autoscale=(3, 1))
    assert len(children(running)) == 1
    assert running.executor.places() == 3
    assert running.executor.capacity() == 3
    tokens = running.put_many("wait_at", [(gate.port, str(n)) for n in range(5)])
    names = await arrivals(gate, 3)
    assert len(running.executor.running()) == len(children(running)) == 3
    for name in names:
        gate.open(name)
    for _ in range(2):
        gate.open(await gate.arrival())
    await running.heard.all_of(tokens)
    assert not running.heard.ends


async def test_children_without_work_go_one_after_the_other_down_to_the_least(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=4, autoscale=(4, 2), autoscale_keepalive=0.2)
    tokens = running.put_many("wait_at", [(gate.port,)] * 4)
    names = await arrivals(gate, 4)
    assert len(children(running)) == 4
    for name in names:
        gate.open(name)
    await running.heard.all_of(tokens)
    counts: list[int] = []

    def shrunk() -> bool:
        if not counts or counts[-1] != len(children(running)):
            counts.append(len(children(running)))
        return counts[-1] == 2

    await eventually(shrunk)
    assert counts == sorted(counts, reverse=True), "each once, by a clock of its own: see test_scaling.py"
    assert running.executor.stats()["autoscale"] == {"max": 4, "min": 2, "current": 2}
    assert running.executor.places() == 4
    assert running.executor.capacity() >= 4


async def test_a_child_with_work_stays_however_long_it_takes(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=3, autoscale=(3, 1), autoscale_keepalive=0.05)
    tokens = running.put_many("wait_at", [(gate.port,)] * 3)
    names = await arrivals(gate, 3)
    for name in names[:2]:
        gate.open(name)
    await eventually(lambda: children(running) == [int(names[2])])
    gate.open(names[2])
    await running.heard.all_of(tokens)
    assert not running.heard.ends


async def test_bounds_can_be_changed_and_hold_at_once(start: Start, gate: Gate) -> None:
    running = await start("prefork", concurrency=2, autoscale=(2, 1))
    assert running.executor.autoscale(4, 3) == (4, 3)
    await eventually(lambda: len(children(running)) == 3)
    assert running.executor.places() == 4
    assert running.executor.autoscale(2) == (2, 2)
    await eventually(lambda: len(children(running)) == 2)
    assert running.executor.autoscale(None, 1) == (2, 1)
    for most, least in ((1, 2), (0, 0), (2, 0)):
        with pytest.raises(ExecutorError, match="MIN"):
            running.executor.autoscale(most, least)
    with pytest.raises(ExecutorError, match="autoscale"):
        running.executor.resize(1)


async def test_bounds_cannot_be_changed_where_there_are_none(start: Start) -> None:
    running = await start("prefork", concurrency=1)
    with pytest.raises(ExecutorError, match="--autoscale MAX,MIN"):
        running.executor.autoscale(3, 1)


async def test_children_that_come_and_go_are_replaced_after_their_tasks_too(start: Start) -> None:
    running = await start("prefork", concurrency=3, autoscale=(3, 1), autoscale_keepalive=0.05, max_tasks_per_child=50)
    tokens = running.put_many("where", [()] * 1_000)
    await running.heard.all_of(tokens)
    pids = [running.heard.value(token)[0] for token in tokens]
    assert max(pids.count(pid) for pid in set(pids)) <= 50
    await eventually(lambda: len(children(running)) == 1)
    assert not running.heard.ends
