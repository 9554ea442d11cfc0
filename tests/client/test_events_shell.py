"""`grpcflow events`: lines for people, JSON lines for programs, what was missed, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import click
import pytest

from grpcflow import Grpcflow
from grpcflow.cli import main
from grpcflow.cli.events_screen import line_of
from grpcflow.event_model import HEARTBEAT, KINDS, Event
from grpcflow.testing import Cluster

app = Grpcflow("shown")

START = "import sys; from grpcflow.cli import main; sys.exit(main())"


@app.task(name="shown.double")
def double(number: int) -> int:
    return 2 * number


@app.task(name="shown.fails")
def fails() -> None:
    raise ValueError("no\x1b[31m\nmore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        double.delay(1).get(timeout=40)
        fails.delay().get(timeout=40, propagate=False)
        app.events.publish("stock-low", item="tea")
        made.settle()
        yield made


def typed(cluster: Cluster, *words: str) -> int:
    return main(["--coordinator", cluster.address, "events", *words])


def test_each_event_is_a_line_for_people(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(cluster) == 0
    lines = capsys.readouterr().out.splitlines()
    worker = cluster.workers[0].name
    assert [line.split()[1] for line in lines][:4] == [
        "worker-online",
        "task-sent",
        "task-received",
        "task-succeeded",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  ", line) for line in lines)
    [failed] = [line for line in lines if "task-failed" in line]
    assert re.search(rf"task-failed     shown\.fails  \S{{36}}  {worker}  ValueError: no \[31m more", failed)
    [custom] = [line for line in lines if "stock-low" in line]
    assert custom.endswith('stock-low       {"item": "tea"}')


def test_with_json_each_event_is_one_object_on_a_line(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(cluster, "--json", "--task", "shown.d*", "--kind", "task-succeeded", "--kind", "task-sent") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["kind"] for one in found] == ["task-sent", "task-succeeded"]
    assert found[0]["ids"] == found[1]["ids"] == [found[1]["id"]]
    assert datetime.fromisoformat(found[1]["time"]) <= datetime.now(UTC)
    assert (found[1]["task"], found[1]["queue"]) == ("shown.double", "default")
    assert typed(cluster, "--json", "--id", found[0]["id"], "--worker", "*", "--limit", "1") == 0
    assert json.loads(capsys.readouterr().out)["id"] == found[0]["id"]


def test_where_nothing_passes_that_is_said(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(cluster, "--queue", "elsewhere", "--since", "1h") == 0
    said = capsys.readouterr()
    assert (said.out, "let nothing pass" in said.err) == ("", True)
    assert typed(cluster, "--json", "--queue", "elsewhere") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--kind", "task-fail"), 2, "task-failed"),
        (("--since", "soon"), 2, "neither an age"),
        (("--id", "nobody"), 66, "no task 'nobody'"),
        (("--limit", "0"), 2, "x>=1"),
    ],
)
def test_what_cannot_be_is_answered(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, told: str
) -> None:
    assert typed(cluster, *words) == code
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_how_many_were_missed_is_said(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed: Any = cluster._inside._coordinator.home.outbox.feed  # type: ignore[union-attr]
    monkeypatch.setattr(feed, "_length", 3)
    for number in range(5):
        app.events.publish("flood", number=number)
    assert typed(cluster, "--after", "2", "--json") == 0
    said = capsys.readouterr()
    assert [json.loads(line)["fields"]["number"] for line in said.out.splitlines()] == [2, 3, 4]
    assert re.match(r"\d+ events before these are no longer kept", said.err)


def follower(cluster: Cluster) -> "subprocess.Popen[str]":
    """A process that follows, with something to tell already."""
    words = [sys.executable, "-c", START, "--coordinator", cluster.address, "events", "--since", "1h", "-f"]
    app.events.publish("flood", number=0)
    surroundings = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings, start_new_session=True
    )


def test_ctrl_c_ends_it_as_other_commands(cluster: Cluster) -> None:
    with follower(cluster) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=150)
    assert (running.returncode, "Traceback" in said) == (130, False)


def test_a_closed_pipe_ends_it_without_a_traceback(cluster: Cluster) -> None:
    with follower(cluster) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline()
        running.stdout.close()
        for number in range(3):
            app.events.publish("flood", number=number)
        assert running.wait(60) != 0
        assert "Traceback" not in running.stderr.read()


def test_every_kind_has_a_line() -> None:
    for kind in KINDS:
        event = Event(
            1, datetime(2030, 1, 1, 12, tzinfo=UTC), kind, kind, id="an-id", count=1200, nodes=(1,), retries=1
        )
        line = line_of(event, date(2031, 1, 1))
        assert re.match(r"20(29|30)-\d\d-\d\d \d\d:\d\d:00\.000  ", line)
        assert kind in line
        assert line.endswith("an-id +1,199  1 retry")


def test_a_heartbeat_says_how_busy_the_worker_is() -> None:
    fields = {"loadavg": [0.5, 1.0, 12.25], "active": 2, "processed": 12_000}
    event = Event(1, datetime(2030, 1, 1, 12, tzinfo=UTC), HEARTBEAT, HEARTBEAT, worker="w1", fields=fields)
    line = line_of(event, date(2030, 1, 1))
    assert click.unstyle(line).endswith("worker-heartbeat  w1  load 0.50 1.00 12.25, 2 running, 12,000 ended")
