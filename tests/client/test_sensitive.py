"""Calls whose arguments nobody is to be shown: inspection, details, events, logs, signals, schedules; they run too."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from grpcflow import Grpcflow, group, signals
from grpcflow.schedule_entries import ScheduleEntry
from grpcflow.schedule_wire import to_message
from grpcflow.schedules import schedule
from grpcflow.testing import Cluster
from grpcflow_protos.limits import HIDDEN

SECRET = "hunter2-hunter2"
BOUND = 20.0


@pytest.fixture(scope="module")
def app() -> Grpcflow:
    made = Grpcflow("sensitive", set_as_current=False)

    @made.task(name="s.login", sensitive=True)
    def login(password: str, *, user: str = "") -> str:
        return password

    @made.task(name="s.shown")
    def shown(text: str) -> str:
        return text

    @made.task(name="s.held", sensitive=True, bind=True)
    def held(self: Any, password: str) -> list[str]:
        STARTED.set()
        assert GO.wait(BOUND)
        return [self.request.argsrepr, self.request.kwargsrepr]

    @made.task(name="s.broken", sensitive=True)
    def broken(password: str) -> None:
        raise ValueError(f"wrong password {password}")

    return made


STARTED, GO = threading.Event(), threading.Event()


@pytest.fixture(scope="module", autouse=True)
def cluster(app: Grpcflow) -> Iterator[Cluster]:
    with Cluster(app) as made:
        yield made


def test_the_call_gets_its_arguments_and_the_caller_its_value(app: Grpcflow) -> None:
    result = app.tasks["s.login"].delay(SECRET, user="me")
    assert result.get(timeout=BOUND) == SECRET


def test_what_runs_shows_no_arguments(app: Grpcflow) -> None:
    result = app.tasks["s.held"].delay(SECRET)
    try:
        assert STARTED.wait(BOUND)
        told = app.control.inspect(timeout=30).active()
        assert SECRET not in json.dumps(told)
        assert [one["args"] for found in told.values() for one in found] == [HIDDEN]
        assert SECRET not in json.dumps(app.control.inspect(timeout=30).query_task(result.id))
    finally:
        GO.set()
    assert result.get(timeout=BOUND) == [HIDDEN, HIDDEN]


def test_what_waits_in_the_coordinator_shows_no_arguments(app: Grpcflow) -> None:
    later = app.tasks["s.login"].apply_async((SECRET,), {"user": SECRET}, countdown=3600)
    shown = app.tasks["s.shown"].apply_async(("plain",), countdown=3600)
    told = json.dumps(app.control.inspect(timeout=30).scheduled())
    assert SECRET not in told
    assert HIDDEN in told
    assert "plain" in told, "else nothing would be seen here anyway"
    for one in (later, shown):
        one.revoke()


def test_details_of_a_result_hold_no_arguments(app: Grpcflow) -> None:
    for name, seen in (("s.login", False), ("s.shown", True)):
        result = app.tasks[name].delay(SECRET)
        result.get(timeout=BOUND)
        assert (SECRET in repr((result.args, result.kwargs))) is seen


def test_events_and_logs_say_that_it_failed_and_not_with_what(app: Grpcflow, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        result = app.tasks["s.broken"].delay(SECRET)
        with pytest.raises(ValueError, match=SECRET):
            result.get(timeout=BOUND)
        app.tasks["s.login"].delay(SECRET).get(timeout=BOUND)
    told = repr(list(app.events.read()))
    assert "ValueError" in told
    assert SECRET not in told
    assert "ValueError" in caplog.text
    assert "in broken" in caplog.text, "where it failed is in the log"
    assert SECRET not in caplog.text


def test_an_option_of_a_call_hides_too_and_signals_see_no_arguments(app: Grpcflow) -> None:
    seen: list[Any] = []

    def note(headers: dict[str, Any], **_: Any) -> None:
        seen.append((headers["argsrepr"], headers["kwargsrepr"]))

    signals.before_task_publish.connect(note, weak=False)
    try:
        app.tasks["s.shown"].apply_async((SECRET,), sensitive=True).get(timeout=BOUND)
        app.tasks["s.shown"].delay("plain").get(timeout=BOUND)
    finally:
        signals.before_task_publish.disconnect(note)
    assert seen == [(HIDDEN, HIDDEN), ("('plain',)", "{}")]


def test_in_place_nothing_is_logged_either(app: Grpcflow, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        app.tasks["s.login"].apply((SECRET,))
        app.tasks["s.broken"].apply((SECRET,))
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("name", "seen"), [("s.login", False), ("s.shown", True)])
def test_the_text_of_a_schedule_shows_no_arguments_either(app: Grpcflow, name: str, seen: bool) -> None:
    for canvas in (app.tasks[name].s(SECRET), group(app.tasks[name].s(SECRET), app.tasks["s.shown"].s("plain"))):
        message = to_message(app, ScheduleEntry("often", schedule(3600), canvas))
        assert (SECRET in message.description) is seen
        assert name in message.description
        assert (HIDDEN in message.description) is not seen
