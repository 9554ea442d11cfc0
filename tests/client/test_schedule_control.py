"""The schedules that the coordinator keeps, from Python and from the shell, over a coordinator in memory."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.client.fake_schedules import ROOT, FakeSchedules

from grpcflow import Grpcflow, chain
from grpcflow.cli import main
from grpcflow.errors import ImproperlyConfigured, NotFound
from grpcflow.schedules import crontab, once, schedule, solar
from grpcflow_protos.v1 import schedule_service_pb2 as pb

Shell = Callable[..., str]

PROGRAM = """
from grpcflow import Grpcflow
from grpcflow.schedules import crontab

app = Grpcflow("proj", timezone="Europe/Berlin")

@app.task(name="proj.report")
def report(number, title=""):
    return number

app.conf.beat_schedule = {
    "nightly": {"task": "proj.report", "args": (3,), "schedule": crontab(30, 2), "overlap": "skip"},
    "often": {"task": "proj.report", "args": (1,), "schedule": 10},
}
"""


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> FakeSchedules:
    fake = FakeSchedules()
    monkeypatch.setattr("grpcflow.connection.connection_for", lambda addresses, credentials: fake)
    return fake


@pytest.fixture
def app(kept: FakeSchedules) -> Grpcflow:
    made = Grpcflow("proj", set_as_current=False, timezone="Europe/Berlin")

    @made.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    return made


@pytest.fixture
def shell(kept: FakeSchedules, capsys: pytest.CaptureFixture[str]) -> Shell:
    def said(*words: str, code: int = 0) -> str:
        assert main(["schedule", *words]) == code
        found = capsys.readouterr()
        return found.out if not code else found.err

    return said


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "proj_of_schedules.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("proj_of_schedules", None)


# ------------------------------------------------------------------------------------------------ from Python


def test_what_the_code_declares_is_put_and_what_it_declares_no_more_is_removed(app: Grpcflow) -> None:
    entry = {"task": "proj.add", "args": (1, 1), "schedule": 10}
    app.conf.beat_schedule = {"one": entry, "two": entry}
    assert app.schedules.sync().added == ("one", "two")
    app.conf.beat_schedule = {"two": entry, "three": {**entry, "schedule": 20}}
    done = app.schedules.sync()
    assert (done.added, done.changed, done.removed) == (("three",), (), ("one",))
    app.conf.beat_schedule = {}
    assert app.schedules.sync().removed == ("two", "three")


def test_handlers_that_declare_schedules_run_before_they_are_put(app: Grpcflow) -> None:
    @app.on_after_finalize.connect
    def declare(sender: Grpcflow, **_more: object) -> None:
        sender.add_periodic_task(5, sender.tasks["proj.add"].s(1, 1), name="late")

    assert app.schedules.sync().added == ("late",)


def test_a_schedule_is_told_as_it_stands(app: Grpcflow, kept: FakeSchedules) -> None:
    more: dict[str, Any] = {"overlap": "queue_one", "catch_up": 3600, "catch_up_all": True, "jitter": 0.5}
    app.schedules.add("nightly", crontab(30, 2), "proj.add", (1, 2), **more)
    kept.came("nightly", pb.TICK_OUTCOME_SKIPPED, pb.TICK_OUTCOME_FIRED, 99)
    info = app.schedules.get("nightly", 2)
    assert info.schedule == crontab(30, 2)
    assert (info.description, info.time_zone, info.owner, info.paused) == ("proj.add(1, 2)", "Europe/Berlin", "", False)
    assert (info.overlap, info.catch_up, info.catch_up_all) == ("queue_one", timedelta(hours=1), True)
    assert info.jitter == timedelta(milliseconds=500)
    first, second = info.next
    zone = ZoneInfo("Europe/Berlin")
    assert timedelta(0) <= first - datetime(2026, 3, 29, 3, 0, tzinfo=zone) <= info.jitter, "02:30 does not exist"
    assert timedelta(0) <= second - datetime(2026, 3, 30, 2, 30, tzinfo=zone) <= info.jitter
    assert [(tick.outcome, tick.id) for tick in info.history] == [
        ("skipped", ""),
        ("fired", f"{ROOT}1"),
        ("unknown", ""),
    ]
    assert info.history[0].time == datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert (info.fired, info.passed) == (1, 2)


def test_schedules_are_added_with_anything_that_can_be_called(app: Grpcflow) -> None:
    add = app.tasks["proj.add"]
    app.schedules.add("task", schedule(60), add, (1, 2), {})
    app.schedules.add("canvas", solar("sunset", 50, 10), chain(add.s(1, 1), add.s(2)))
    app.schedules.add("name", once(datetime(2030, 1, 1, 12)), "proj.other", kwargs={"a": 1}, options={"queue": "q"})
    told = {info.name: info for info in app.schedules.list()}
    assert {name: info.description for name, info in told.items()} == {
        "task": "proj.add(1, 2)",
        "canvas": "proj.add(1, 1) | proj.add(2)",
        "name": "proj.other(a=1)",
    }
    assert told["name"].schedule == once(datetime(2030, 1, 1, 11, tzinfo=UTC))
    assert [info.name for info in app.schedules.list("*a*")] == ["canvas", "name", "task"]
    with pytest.raises(ImproperlyConfigured, match="give seconds, a timedelta"):
        app.schedules.add("bad", "soon", add)


def test_schedules_are_paused_resumed_run_and_removed(app: Grpcflow, kept: FakeSchedules) -> None:
    app.schedules.add("one", 60, "proj.other")
    app.schedules.pause("one")
    assert app.schedules.get("one").paused
    app.schedules.resume("one")
    assert not app.schedules.get("one").paused
    assert app.schedules.run("one").id == f"{ROOT}1"
    assert len(app.schedules.next_times("one", 3)) == 3
    app.schedules.remove("one")
    assert app.schedules.list() == ()
    for refused in (app.schedules.get, app.schedules.run, app.schedules.pause, app.schedules.remove):
        with pytest.raises(NotFound):
            refused("one")


def test_names_with_the_signs_of_patterns_are_found(app: Grpcflow) -> None:
    for name in ("a[1]", "a*", "ab", "proj.add(2, 2)"):
        app.schedules.add(name, 60, "proj.other")
    for name in ("a[1]", "a*", "ab", "proj.add(2, 2)"):
        assert app.schedules.get(name).name == name


# ------------------------------------------------------------------------------------------------ from the shell


def test_the_list_and_a_schedule_are_shown(app: Grpcflow, kept: FakeSchedules, shell: Shell) -> None:
    assert shell("list") == "There are no schedules.\n"
    app.conf.beat_schedule = {
        "nightly": {"task": "proj.add", "args": (1, 2), "schedule": crontab(30, 2)},
        "often": {"task": "proj.add", "args": ("x" * 100,), "schedule": 10},
    }
    app.conf.beat_schedule["often"]["args"] = ("x" * 100, 1)
    app.schedules.sync()
    kept.came("nightly", pb.TICK_OUTCOME_FIRED)
    kept.pause_schedules(["often"], True)
    head, nightly, often = shell("list").splitlines()
    assert head.split() == ["NAME", "WHEN", "CALLS", "NEXT", "LAST", "FIRED", "OWNER"]
    assert nightly.split("  ")[0] == "nightly"
    assert "30 2 * * * Europe/Berlin" in nightly
    assert "2026-03-29 03:00:00 CEST" in nightly
    assert "fired" in nightly
    assert "every 10 s" in often
    assert "paused" in often
    assert "…" in often
    shown = shell("show", "nightly", "--next", "3")
    assert shown.count("02:30:00 CEST") == 2
    assert f"fired    {ROOT}0" in shown
    assert "the latest tick of an outage, up to 1 d late" in shown
    (told,) = json.loads(shell("list", "night*", "--json"))["schedules"]
    assert told == json.loads(shell("show", "nightly", "--next", "1", "--json"))
    assert (told["when"], told["next"]) == ("30 2 * * *", ["2026-03-29T03:00:00+02:00"])
    assert "There is no schedule".lower() in shell("show", "nosuch", code=66).lower()


@pytest.mark.parametrize(
    ("words", "when"),
    [
        (["--cron", "*/5 8-18 * * mon-fri"], "*/5 8-18 * * mon-fri"),
        (["--every", "90"], "every 90 s"),
        (["--every", "1h30m"], "every 90 min"),
        (["--every", "1d", "--aligned"], "every 1 d, aligned"),
        (["--every", "0.5s"], "every 0.5 s"),
        (["--at", "2030-01-01T12:00:00+00:00"], "once at 2030-01-01 13:00:00+01:00"),
        (["--at", "2030-01-01T12:00"], "once at 2030-01-01 12:00:00+01:00"),
        (["--solar", "sunset", "--lat", "52.5", "--lon", "13.4"], "sunset at 52.5, 13.4"),
    ],
)
def test_schedules_are_added_from_the_shell(kept: FakeSchedules, shell: Shell, words: list[str], when: str) -> None:
    said = shell("add", "n", "proj.add", *words, "-a", "[1, 2]", "-k", '{"z": 1}', "--tz", "Europe/Paris")
    assert said.startswith("Schedule n is added; it fires next at 20")
    told = json.loads(shell("show", "n", "--json"))
    assert (told["when"], told["calls"], told["time_zone"]) == (when, "proj.add(1, 2, z=1)", "Europe/Paris")
    assert "stays as it was" in shell(
        "add", "n", "proj.add", *words, "-a", "[1, 2]", "-k", '{"z": 1}', "--tz", "Europe/Paris"
    )


def test_one_that_fired_before_it_could_be_asked_for_is_told_as_such(
    kept: FakeSchedules, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = kept.put_schedules

    def put_and_fire(request: pb.PutSchedulesRequest) -> pb.PutSchedulesResponse:
        answer = put(request)
        kept.remove_schedules(["n"])
        return answer

    monkeypatch.setattr(kept, "put_schedules", put_and_fire)
    assert shell("add", "n", "proj.add", "--at", "2030-01-01T12:00") == "Schedule n is added; it has fired.\n"
    assert json.loads(shell("add", "n", "proj.add", "--at", "2030-01-01T12:00", "--json"))["next"] is None


def test_all_options_of_add_travel(kept: FakeSchedules, shell: Shell) -> None:
    options = ["--queue", "slow", "--expires", "5m", "--overlap", "queue_one", "--catch-up", "0", "--catch-up-all"]
    done = json.loads(shell("add", "n", "proj.add", "--every", "60", *options, "--jitter", "2s", "--json"))
    assert done["added"] == ["n"]
    assert done["next"].startswith("2026-03-28T12:01:0")
    sent = kept.infos["n"].schedule
    (template,) = sent.graph.templates
    assert (template.queue, template.expires_in.ToSeconds()) == ("slow", 300)
    assert (sent.overlap, sent.catch_up_all, sent.jitter.ToSeconds()) == (pb.OVERLAP_POLICY_QUEUE_ONE, True, 2)
    assert sent.HasField("catch_up")
    assert sent.catch_up.ToSeconds() == 0
    assert sent.owner == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give one of --cron, --every, --at and --solar"),
        (["--every", "5", "--cron", "* * * * *"], "give one of --cron, --every, --at and --solar"),
        (["--cron", "61 * * * *"], "minute '61' is out of bounds: write 0 to 59"),
        (["--cron", "* * *"], "has 3 fields: write five"),
        (["--cron", "0 0 30 2 *"], "no year has such a day"),
        (["--every", "5x"], "no length of time; write 90s, 5m, 1h30m, 2d"),
        (["--every", ""], "no length of time"),
        (["--every", "1e99d"], "no length of time"),
        (["--every", "0.01"], "every 0.01 s cannot be: give 0.1 s to 100 years"),
        (["--cron", "* * * * *", "--aligned"], "--aligned belongs to --every"),
        (["--at", "tomorrow"], "is not a moment"),
        (["--solar", "sunset"], "--solar, --lat and --lon belong together"),
        (["--every", "5", "--lat", "3"], "--solar, --lat and --lon belong together"),
        (["--solar", "noon", "--lat", "1", "--lon", "1"], "no event 'noon' of the sun"),
        (["--every", "5", "--tz", "Mars/Base"], "no time zone 'Mars/Base'"),
        (["--every", "5", "-a", "{}"], "write a list"),
        (["--every", "5", "--overlap", "maybe"], "is not one of"),
        (["--every", "5", "--jitter", "2d"], "give at most a day"),
    ],
)
def test_add_says_what_to_write(kept: FakeSchedules, shell: Shell, words: list[str], said: str) -> None:
    assert said in shell("add", "n", "proj.add", *words, code=2)
    assert kept.requests == []


def test_what_code_declares_is_not_changed_by_hand(app: Grpcflow, kept: FakeSchedules, shell: Shell) -> None:
    app.conf.beat_schedule = {"nightly": {"task": "proj.add", "schedule": 10, "args": (1, 1)}}
    app.schedules.sync()
    assert "declared by the code of proj: change it there" in shell("add", "nightly", "t", "--every", "5", code=1)


def test_schedules_are_steered_from_the_shell(app: Grpcflow, kept: FakeSchedules, shell: Shell) -> None:
    for name in ("a", "b"):
        app.schedules.add(name, 60, "proj.other")
    assert shell("pause", "a", "b") == "Schedule a is paused.\nSchedule b is paused.\n"
    assert kept.infos["b"].paused
    assert shell("resume", "a") == "Schedule a is not paused.\n"
    assert shell("run", "a") == f"{ROOT}1\n"
    assert json.loads(shell("run", "a", "--json")) == {"id": f"{ROOT}1"}
    assert shell("remove", "a", "--yes") == "Schedule a is removed.\n"
    for command in (["pause"], ["resume"], ["run"], ["remove", "--yes"]):
        assert "no schedule 'a'" in shell(*command, "a", code=66)


def test_the_schedules_of_an_app_are_put_from_the_shell(
    kept: FakeSchedules, shell: Shell, program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell("sync", "-A", "proj_of_schedules") == (
        "added: nightly\nadded: often\n2 schedules are declared by proj.\n"
    )
    assert json.loads(shell("sync", "-A", "proj_of_schedules", "--json")) == {"added": [], "changed": [], "removed": []}
    assert {info.schedule.owner for info in kept.infos.values()} == {"proj"}
    assert main(["-A", "proj_of_schedules", "beat", "-l", "INFO", "-s", "/var/run/celerybeat-schedule"]) == 0
    assert "No beat process is needed: the coordinator fires the schedules" in capsys.readouterr().out
    assert main(["schedule", "sync"]) != 0, "an app must be named"
