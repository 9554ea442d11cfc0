"""Schedules on a cluster whose time the test moves: they fire, pass, wait, are put by workers and steered."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from grpcflow import Grpcflow, chain, signals
from grpcflow.cli import main
from grpcflow.errors import InvalidRequest, NotFound
from grpcflow.schedules import crontab, once, schedule
from grpcflow.testing import Cluster

BOUND = 40.0

app = Grpcflow("fired", set_as_current=False)
ran: list[int] = []
gate = threading.Event()
entered = threading.Semaphore(0)


@app.task(name="fired.note")
def note(number: int) -> int:
    ran.append(number)
    return number


@app.task(name="fired.double")
def double(number: int) -> int:
    return 2 * number


@app.task(name="fired.hold")
def hold(number: int) -> int:
    ran.append(number)
    entered.release()
    assert gate.wait(BOUND)
    return number


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    ran.clear()
    gate.clear()
    while entered.acquire(blocking=False):  # a test before this one may have left some
        pass
    with Cluster(app, concurrency=4) as made:
        yield made
        gate.set()


def test_an_interval_fires_again_and_again(cluster: Cluster) -> None:
    app.schedules.add("often", 60, note, (1,))
    cluster.time.advance(30)
    assert ran == []
    cluster.time.advance(4 * 60 + 30)
    assert ran == [1] * 5
    info = app.schedules.get("often")
    assert info.fired == 5
    assert [tick.outcome for tick in info.history] == ["fired"] * 5
    assert [later.time - tick.time for later, tick in zip(info.history, info.history[1:], strict=False)] == [
        timedelta(minutes=1)
    ] * 4
    assert app.AsyncResult(info.history[0].id).get(timeout=BOUND) == 1


def test_no_signal_of_a_submission_is_sent_for_a_tick(cluster: Cluster) -> None:
    sent: list[str] = []

    def publish(sender: str, **_: object) -> None:
        sent.append(sender)

    for signal in (signals.before_task_publish, signals.after_task_publish):
        signal.connect(publish, sender="fired.note")
    app.schedules.add("often", schedule(60), note, (1,))
    cluster.time.advance(181)
    assert (ran, sent) == ([1] * 3, [])
    note.delay(2).get(timeout=BOUND)
    assert sent == ["fired.note"] * 2


def test_a_crontab_fires_when_it_says(cluster: Cluster) -> None:
    app.schedules.add("hourly", crontab(minute=0), note, (2,))
    (due,) = app.schedules.next_times("hourly", 1)
    assert (due.minute, due.second) == (0, 0)
    cluster.time.advance(due - cluster.time.now() + timedelta(seconds=1))
    assert ran == [2]
    cluster.time.advance(timedelta(hours=3))
    assert ran == [2] * 4


def test_one_moment_comes_once_and_the_schedule_is_gone(cluster: Cluster) -> None:
    app.schedules.add("later", once(cluster.time.now() + timedelta(minutes=5)), note, (3,))
    cluster.time.advance(timedelta(hours=1))
    assert ran == [3]
    assert app.schedules.list() == ()


def test_a_whole_canvas_fires_and_its_result_is_found(cluster: Cluster) -> None:
    app.schedules.add("canvas", schedule(60), chain(note.s(5), double.s(), double.s()))
    cluster.time.advance(121)
    first, second = app.schedules.get("canvas").history
    assert first.id != second.id
    assert [app.AsyncResult(tick.id).get(timeout=BOUND) for tick in (first, second)] == [20, 20]


def test_a_tick_passes_while_the_one_before_it_runs(cluster: Cluster) -> None:
    app.schedules.add("slow", 60, hold, (6,), overlap="skip")
    cluster.time.advance(61, settle=False)
    assert entered.acquire(timeout=BOUND)
    for _ in range(2):
        cluster.time.advance(60, settle=False)
    gate.set()
    cluster.settle()
    assert ran == [6]
    info = app.schedules.get("slow")
    assert [tick.outcome for tick in info.history] == ["skipped", "skipped", "fired"]
    assert (info.fired, info.passed) == (1, 2)
    cluster.time.advance(60)
    assert ran == [6, 6]


def test_one_tick_waits_for_the_one_before_it(cluster: Cluster) -> None:
    app.schedules.add("slow", 60, hold, (7,), overlap="queue_one")
    cluster.time.advance(61, settle=False)
    assert entered.acquire(timeout=BOUND)
    for _ in range(3):
        cluster.time.advance(60, settle=False)
    assert ran == [7]
    gate.set()
    assert entered.acquire(timeout=BOUND)
    cluster.settle()
    assert ran == [7, 7]


def test_a_paused_schedule_lets_its_ticks_pass(cluster: Cluster) -> None:
    app.schedules.add("often", 60, note, (8,))
    app.schedules.pause("often")
    cluster.time.advance(180)
    assert ran == []
    app.schedules.resume("often")
    cluster.time.advance(60)
    assert ran == [8]
    with pytest.raises(NotFound):
        app.schedules.pause("often", "nosuch")
    assert not app.schedules.get("often").paused


def test_a_schedule_is_run_by_hand_and_removed(cluster: Cluster) -> None:
    app.schedules.add("daily", timedelta(days=1), note, (9,))
    assert app.schedules.run("daily").get(timeout=BOUND) == 9
    app.schedules.remove("daily")
    cluster.time.advance(timedelta(days=2))
    assert ran == [9]
    with pytest.raises(NotFound):
        app.schedules.run("daily")


def test_a_schedule_that_is_put_again_as_it_was_keeps_its_place_in_time(cluster: Cluster) -> None:
    app.schedules.add("often", 60, note, (1,))
    (due,) = app.schedules.next_times("often", 1)
    cluster.time.advance(30)
    again = app.schedules.add("often", 60, note, (1,))
    assert (again.added, again.changed) == ((), ())
    assert app.schedules.next_times("often", 1) == (due,)
    assert app.schedules.add("often", 60, note, (2,)).changed == ("often",)


def test_what_the_coordinator_refuses_is_told(cluster: Cluster) -> None:
    with pytest.raises(InvalidRequest, match="no year has such a day"):
        app.schedules.add("never", crontab(0, 0, day_of_month="1", day_of_week="mon#2"), note, (1,))
    assert app.schedules.list() == ()


def test_workers_put_what_the_code_declares_and_sync_removes_the_rest() -> None:
    ran.clear()
    declaring = Grpcflow("declaring", set_as_current=False)
    declaring.task(name="fired.note")(note.run)
    declaring.conf.beat_schedule = {
        "one": {"task": "fired.note", "args": (1,), "schedule": 60},
        "two": {"task": "fired.note", "args": (2,), "schedule": 60},
    }
    with Cluster(declaring, concurrency=1) as cluster:
        until(lambda: len(declaring.schedules.list()) == 2)
        cluster.time.advance(61)
        assert sorted(ran) == [1, 2]
        assert {info.owner for info in declaring.schedules.list()} == {"declaring"}
        declaring.schedules.add("by hand", 3600, "fired.note", (3,))
        declaring.conf.beat_schedule = {"two": declaring.conf.beat_schedule["two"]}
        assert declaring.schedules.sync().removed == ("one",)
        assert [info.name for info in declaring.schedules.list()] == ["by hand", "two"]


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread does, as long as a test may."""
    pause, left = threading.Event(), 2_000
    while not holds() and left:
        pause.wait(0.02)
        left -= 1
    assert left


async def test_schedules_can_be_awaited(cluster: Cluster) -> None:
    assert (await app.schedules.aadd("often", 60, note, (1,))).added == ("often",)
    assert [info.name for info in await app.schedules.alist()] == ["often"]
    await app.schedules.apause("often")
    assert (await app.schedules.aget("often")).paused
    await app.schedules.aresume("often")
    assert len(await app.schedules.anext_times("often", 3)) == 3
    assert await (await app.schedules.arun("often")).aget(timeout=BOUND) == 1
    await app.schedules.aremove("often")
    assert (await app.schedules.async_()).removed == ()
    await app.aclose()


def test_the_same_from_the_shell(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str, code: int = 0) -> str:
        assert main(["--coordinator", cluster.address, "schedule", *words]) == code
        found = capsys.readouterr()
        return found.out if not code else found.err

    assert "is added; it fires next at" in said("add", "shell", "fired.note", "--every", "1m", "-a", "[4]")
    cluster.time.advance(61)
    assert ran == [4]
    assert "fired" in said("list").splitlines()[1]
    assert said("list", "night*") == "No schedule is called 'night*'.\n"
    assert said("pause", "shell") == "Schedule shell is paused.\n"
    assert json.loads(said("show", "shell", "--json"))["paused"] is True
    assert app.AsyncResult(said("run", "shell").strip()).get(timeout=BOUND) == 4
    assert said("remove", "shell", "--yes") == "Schedule shell is removed.\n"
    assert "shell" in said("remove", "shell", "-y", code=66)
