"""Schedules in code: crontab, schedule, solar, once; entries of beat_schedule; add_periodic_task; what is sent."""

import copy
import logging
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from grpcflow import Grpcflow, chain, group
from grpcflow.errors import ImproperlyConfigured
from grpcflow.schedule_entries import owner_of
from grpcflow.schedule_wire import NO_GRAPH, app_request, times_of
from grpcflow.schedules import BaseSchedule, ParseException, crontab, maybe_schedule, once, schedule, solar
from grpcflow_protos.v1 import schedule_service_pb2 as pb


@pytest.fixture
def app() -> Grpcflow:
    made = Grpcflow("proj", set_as_current=False, timezone="Europe/Berlin")

    @made.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    @made.task(name="proj.late", queue="slow", expires=datetime(2030, 1, 1, tzinfo=UTC))
    def late() -> None:
        pass

    return made


def put(app: Grpcflow, **entry: Any) -> pb.Schedule:
    app.conf.beat_schedule = {"one": {"task": "proj.add", "args": (2, 2), "schedule": 10, **entry}}
    (sent,) = app_request(app).schedules
    return sent


# ------------------------------------------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (crontab(), "* * * * *"),
        (crontab(minute=0, hour=0), "0 0 * * *"),
        (crontab(0, 7, 1), "0 7 * * 1"),
        (crontab("*/15", "*/4", "sun", 2, 5), "*/15 */4 2 5 sun"),
        (crontab(minute={30, 0}, hour=[17, 8], day_of_week=range(1, 6)), "0,30 8,17 * * 1,2,3,4,5"),
        (crontab(hour=None), "* * * * *"),
        (crontab.from_string("0 22 1-7 jan-mar mon"), "0 22 1-7 jan-mar mon"),
        (crontab(0, 0, app=object()), "0 0 * * *"),
    ],
)
def test_a_crontab_takes_its_fields_in_celerys_order_and_travels_in_that_of_cron(made: crontab, fields: str) -> None:
    assert " ".join(made.fields) == fields
    assert repr(made) == f"<crontab: {fields}>"


def test_the_fields_of_a_crontab_are_sets() -> None:
    made = crontab(minute="*/20", hour="22-2", day_of_week="fri-mon", day_of_month="1,15", month_of_year="*/3")
    assert made.minute == {0, 20, 40}
    assert made.hour == {22, 23, 0, 1, 2}
    assert made.day_of_week == {5, 6, 0, 1}
    assert made.day_of_month == {1, 15}
    assert made.month_of_year == {1, 4, 7, 10}
    assert crontab().day_of_week == set(range(7))
    assert crontab(day_of_month="L").day_of_month == {"L"}


def test_times_are_equal_where_they_name_the_same() -> None:
    assert crontab(minute="*/30") == crontab(minute="0,30")
    assert crontab(minute="*/30") != crontab(minute="0")
    assert schedule(60) == schedule(timedelta(minutes=1))
    assert schedule(60) == timedelta(minutes=1)
    assert schedule(60) != schedule(60, relative=True)
    assert solar("sunset", 1, 2) == solar("sunset", 1.0, 2.0)
    assert solar("sunset", 1, 2) != solar("sunrise", 1, 2)
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert once(moment) == once(moment.astimezone(timezone(timedelta(hours=1))))
    assert crontab() != schedule(60) != solar("sunset", 1, 2) != once(moment)
    assert len({crontab(minute="*/30"), crontab(minute="0,30"), schedule(60), solar("sunset", 1, 2), once(moment)}) == 4


@pytest.mark.parametrize("made", [crontab(0, "9-17"), schedule(5), solar("sunset", 1, 2), once(datetime(2030, 1, 1))])
def test_times_can_be_copied(made: BaseSchedule) -> None:
    assert copy.deepcopy(made) == made == pickle.loads(pickle.dumps(made))  # noqa: S301
    assert repr(copy.copy(made)) == repr(made)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: crontab(60), ValueError, "minute '60' is out of bounds: write 0 to 59"),
        (lambda: crontab("a"), ParseException, "minute 'a' says nothing: write"),
        (lambda: crontab(""), ParseException, "says nothing"),
        (lambda: crontab(-1), ParseException, "says nothing"),
        (lambda: crontab("*/0"), ParseException, "steps of 0"),
        (lambda: crontab(hour=[8, 25]), ValueError, "hour '8,25' is out of bounds"),
        (lambda: crontab(day_of_month=30, month_of_year=2), ValueError, "no year has such a day"),
        (lambda: crontab(day_of_month="31", month_of_year="4,6,9,11"), ValueError, 'day_of_month="L"'),
        (lambda: crontab(minute=1.5), TypeError, "give a number, text or numbers"),  # type: ignore[arg-type]
        (lambda: crontab(minute=[]), TypeError, "give a number, text or numbers"),
        (lambda: crontab(minute=True), TypeError, "give a number, text or numbers"),
        (lambda: crontab(nowfun=datetime.now), TypeError, "coordinator's clock decides"),
        (lambda: crontab(second=3), TypeError, "no argument 'second'"),
        (lambda: crontab.from_string("* * * *"), ValueError, "has 4 fields: write five"),
        (lambda: schedule(0), ValueError, "give 0.1 s to 100 years"),
        (lambda: schedule(-5), ValueError, "give 0.1 s to 100 years"),
        (lambda: schedule(float("inf")), ValueError, "at most 100 years"),
        (lambda: schedule(None), TypeError, "give seconds or a timedelta"),  # type: ignore[arg-type]
        (lambda: solar("noon", 0, 0), ValueError, "no event 'noon' of the sun: give one of dawn_astronomical"),
        (lambda: solar("sunset", 91, 0), ValueError, "latitude 91 is not on earth"),
        (lambda: solar("sunset", 0, float("nan")), ValueError, "longitude nan is not on earth"),
        (lambda: once("2030-01-01"), TypeError, "takes a datetime"),  # type: ignore[arg-type]
        (lambda: once(datetime(9999, 12, 31)), ValueError, "give a year from 1970 to 9899"),
        (lambda: maybe_schedule("10"), TypeError, "give seconds, a timedelta, crontab"),
        (lambda: maybe_schedule(True), TypeError, "give seconds"),
    ],
)
def test_times_that_cannot_be_are_refused_when_they_are_made(
    make: Callable[[], Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as refused:
        make()
    assert words in str(refused.value)


# ------------------------------------------------------------------------------------------------ what is sent


def test_an_entry_becomes_a_schedule_with_its_call(app: Grpcflow) -> None:
    sent = put(app, schedule=crontab(30, 7, 1), kwargs={}, options={"queue": "reports", "priority": 5, "expires": 60})
    assert (sent.name, sent.owner, sent.time_zone) == ("one", "proj", "Europe/Berlin")
    assert (sent.crontab.minute, sent.crontab.hour, sent.crontab.day_of_week) == ("30", "7", "1")
    assert (sent.crontab.day_of_month, sent.crontab.month_of_year) == ("*", "*")
    (template,) = sent.graph.templates
    assert (template.task, template.queue, template.priority) == ("proj.add", "reports", 5)
    assert template.expires_in.ToSeconds() == 60
    assert sent.graph.runs[0].payloads == [b"[[2,2],{}]"]
    assert sent.graph.last
    assert sent.description == "proj.add(2, 2)"
    assert not sent.HasField("catch_up")
    assert not sent.HasField("jitter")


@pytest.mark.parametrize(
    ("given", "kind", "shown"),
    [
        (10.5, "interval", "every 10.5 s"),
        (timedelta(hours=1), "interval", "every 1 h"),
        (schedule(3600, relative=True), "interval", "every 1 h, aligned"),
        (crontab("*/5", "8-18", "mon-fri"), "crontab", "*/5 8-18 * * mon-fri"),
        (solar("sunset", 52.5, 13.4), "solar", "sunset at 52.5, 13.4"),
        (once(datetime(2030, 6, 1, 12)), "once", "once at 2030-06-01 12:00:00+02:00"),
        (once(datetime(2030, 6, 1, 12, tzinfo=UTC)), "once", "once at 2030-06-01 14:00:00+02:00"),
    ],
)
def test_all_kinds_of_times_travel_and_come_back(app: Grpcflow, given: Any, kind: str, shown: str) -> None:
    sent = put(app, schedule=given)
    assert sent.WhichOneof("times") == kind
    assert times_of(sent).describe() == shown
    if not isinstance(given, once):
        assert times_of(sent) == maybe_schedule(given)


def test_relative_belongs_to_lengths(app: Grpcflow) -> None:
    assert put(app, schedule=3600, relative=True).interval.aligned
    assert not put(app, schedule=3600).interval.aligned


def test_our_own_keys_travel(app: Grpcflow) -> None:
    sent = put(app, overlap="skip", catch_up=timedelta(hours=2), catch_up_all=True, jitter=3.5, time_zone="Asia/Tokyo")
    assert sent.overlap == pb.OVERLAP_POLICY_SKIP
    assert sent.catch_up.ToSeconds() == 7200
    assert sent.catch_up_all
    assert sent.jitter.ToMilliseconds() == 3500
    assert sent.time_zone == "Asia/Tokyo"
    assert put(app, overlap="queue_one").overlap == pb.OVERLAP_POLICY_QUEUE_ONE
    assert put(app).overlap == pb.OVERLAP_POLICY_ALLOW
    never = put(app, catch_up=0)
    assert never.HasField("catch_up")
    assert never.catch_up.ToSeconds() == 0
    assert put(app, time_zone=ZoneInfo("Asia/Tokyo")).time_zone == "Asia/Tokyo"


def test_the_zone_is_that_of_the_settings(app: Grpcflow) -> None:
    app.conf.timezone = None
    assert put(app).time_zone == "UTC"
    app.conf.enable_utc = False
    with pytest.raises(ImproperlyConfigured, match="set timezone"):
        put(app)


def test_any_canvas_can_be_scheduled(app: Grpcflow) -> None:
    add = app.tasks["proj.add"]
    app.conf.beat_schedule = {
        "chained": {"signature": chain(add.s(1, 1), add.s(2)), "schedule": 10},
        "grouped": {"signature": group(add.s(number, 1) for number in range(50)) | add.si(0, 0), "schedule": 10},
        "linked": {"task": "proj.add", "args": [1, 1], "schedule": 10, "options": {"link": add.s(5)}},
    }
    chained, grouped, linked = app_request(app).schedules
    assert chained.graph.node_count == 2
    assert chained.description == "proj.add(1, 1) | proj.add(2)"
    assert grouped.graph.node_count == 52
    assert linked.graph.node_count == 2


def test_a_schedule_that_stays_as_it_was_is_the_same_message(app: Grpcflow) -> None:
    add = app.tasks["proj.add"]
    app.conf.beat_schedule = {"one": {"signature": group(add.s(1, 1), add.s(2, 2)) | add.si(1, 1), "schedule": 10}}
    first, second = (app_request(app).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert app_request(app).schedules[0].graph.graph == NO_GRAPH


def test_a_task_that_is_not_registered_here_can_be_scheduled(app: Grpcflow) -> None:
    assert put(app, task="elsewhere.report").graph.templates[0].task == "elsewhere.report"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"args": (1, 2, 3)}, "'one' cannot be: "),
        ({"options": {"nosuch": 1}}, "'one' cannot be: "),
        ({"task": "proj.late", "args": ()}, "that is a moment, the same for every tick"),
        ({"task": None, "args": None, "signature": chain()}, "its chain is empty"),
        ({"args": ("x" * 300_000, object())}, "'one' cannot be: "),
    ],
)
def test_calls_that_cannot_be_are_refused_when_they_are_put(app: Grpcflow, entry: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        put(app, **entry)
    assert words in str(refused.value)


def test_a_canvas_with_an_id_of_the_users_own_is_refused(app: Grpcflow) -> None:
    with pytest.raises(ImproperlyConfigured, match="leave task_id out"):
        put(app, task=None, args=None, signature=app.tasks["proj.add"].s(1, 1).set(task_id="mine"))


def test_a_canvas_must_fit_one_piece(app: Grpcflow) -> None:
    many = group(app.tasks["proj.add"].s(number, "x" * 1000) for number in range(1_000))
    with pytest.raises(ImproperlyConfigured, match="schedule a task that submits it"):
        put(app, task=None, args=None, signature=many)


def test_an_app_has_at_most_a_thousand_schedules(app: Grpcflow) -> None:
    app.conf.beat_schedule = {f"n{number}": {"task": "t", "schedule": 10} for number in range(1_001)}
    with pytest.raises(ImproperlyConfigured, match="1000 are allowed"):
        app_request(app)


def test_times_of_a_class_of_ones_own_are_refused(app: Grpcflow) -> None:
    class Fortnight(BaseSchedule):
        def describe(self) -> str:
            return "every other week"

    with pytest.raises(ImproperlyConfigured, match="class of your own"):
        put(app, schedule=Fortnight())


# ------------------------------------------------------------------------------------------------ beat_schedule


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (3, "must be a mapping with task"),
        ({"task": "t"}, "does not say when"),
        ({"schedule": 10}, 'either "task", a name, or "signature"'),
        ({"schedule": 10, "task": "t", "signature": chain()}, 'either "task", a name, or "signature"'),
        ({"schedule": 10, "task": 5}, "give the name of a task"),
        ({"schedule": 10, "signature": "t"}, "give a signature"),
        ({"schedule": 10, "task": "t", "overlp": "skip"}, "no key 'overlp'; did you mean 'overlap'?"),
        ({"schedule": 10, "task": "t", "overlap": "never"}, "give one of allow, skip, queue_one"),
        ({"schedule": "10", "task": "t"}, "give seconds, a timedelta, crontab(...)"),
        ({"schedule": 0.01, "task": "t"}, "give 0.1 s to 100 years"),
        ({"schedule": 10, "task": "t", "catch_up": -1}, "catch_up is -1: give 0 seconds or more"),
        ({"schedule": 10, "task": "t", "jitter": 90_000}, "give at most a day"),
        ({"schedule": 10, "task": "t", "jitter": "5"}, "give seconds or a timedelta"),
        ({"schedule": 10, "task": "t", "time_zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"schedule": 10, "task": "t", "time_zone": 3}, "give a name"),
        ({"schedule": 10, "task": "t", "args": "ab"}, "give a tuple or a list"),
        ({"schedule": 10, "task": "t", "kwargs": [1]}, "give a mapping"),
        ({"schedule": 10, "task": "t", "options": {"task_id": "x"}}, "option task_id cannot be had"),
        ({"schedule": 10, "task": "t", "options": {"eta": datetime.now(UTC)}}, "option eta cannot be had"),
        ({"schedule": 10, "task": "t", "options": {"expires": datetime.now(UTC)}}, "give seconds"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_when_it_is_set(app: Grpcflow, entry: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        app.conf.beat_schedule = {"nightly": entry}
    assert "'nightly'" in str(refused.value)
    assert words in str(refused.value)
    assert app.conf.beat_schedule == {}


@pytest.mark.parametrize("name", ["", "x" * 256, 5])
def test_a_schedule_needs_a_name(app: Grpcflow, name: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="1 to 255 bytes"):
        app.conf.beat_schedule = {name: {"task": "t", "schedule": 10}}
    with pytest.raises(ImproperlyConfigured, match="mapping of names to entries"):
        app.conf.beat_schedule = [1]  # type: ignore[assignment]


def test_schedules_are_read_from_a_configuration() -> None:
    app = Grpcflow("proj", set_as_current=False)
    app.config_from_object({"CELERY_BEAT_SCHEDULE": {"x": {"task": "t", "schedule": 10}}}, namespace="CELERY")
    assert [each.name for each in app_request(app).schedules] == ["x"]


def test_who_owns_an_apps_schedules() -> None:
    assert owner_of(Grpcflow("proj", set_as_current=False)) == "proj"
    assert owner_of(Grpcflow(set_as_current=False)) == owner_of(Grpcflow("__main__", set_as_current=False)) != ""


# ------------------------------------------------------------------------------------------------ add_periodic_task


def test_periodic_tasks_are_declared_in_handlers_as_in_celery(app: Grpcflow) -> None:
    add = app.tasks["proj.add"]
    fresh = Grpcflow("fresh", set_as_current=False)

    @fresh.on_after_configure.connect
    def early(sender: Grpcflow, **_more: Any) -> None:
        assert sender.add_periodic_task(10.0, add.s(2, 2), expires=5) == "proj.add(2, 2)"

    @fresh.on_after_finalize.connect
    def late(sender: Grpcflow, **_more: Any) -> None:
        sender.add_periodic_task(crontab(0, 7), add.s(1), args=(9,), kwargs={"z": 1}, name="daily", overlap="skip")

    assert "proj.add(2, 2)" in fresh.conf.beat_schedule
    fresh.finalize()
    entry = fresh.conf.beat_schedule["proj.add(2, 2)"]
    assert (entry["task"], entry["args"], entry["options"]) == ("proj.add", (2, 2), {"expires": 5})
    daily = fresh.conf.beat_schedule["daily"]
    assert (daily["args"], daily["kwargs"], daily["overlap"]) == ((9, 1), {"z": 1}, "skip")
    assert daily["schedule"] == crontab(0, 7)


def test_a_periodic_task_may_be_declared_before_the_settings_are_read() -> None:
    app = Grpcflow("proj", set_as_current=False)
    assert app.add_periodic_task(5, app.signature("t", args=(1,)), name="x") == "x"
    assert not app.configured
    assert list(app.conf.beat_schedule) == ["x"]


def test_tasks_names_and_canvases_can_be_periodic(app: Grpcflow) -> None:
    add = app.tasks["proj.add"]
    app.add_periodic_task(5, add, (1, 2))
    app.add_periodic_task(5, "t.other", kwargs={"a": 1}, name="by name")
    app.add_periodic_task(5, chain(add.s(1, 1), add.s(1)), name="canvas", queue="slow")
    app.add_periodic_task(5, add.si(3, 3), name="immutable")
    sent = {each.name: each for each in app_request(app).schedules}
    assert [sent[name].description for name in ("proj.add(1, 2)", "by name", "canvas")] == [
        "proj.add(1, 2)",
        "t.other(a=1)",
        "proj.add(1, 1) | proj.add(1)",
    ]
    assert "slow" in {template.queue for template in sent["canvas"].graph.templates}
    assert sent["immutable"].graph.runs[0].payloads == [b"[[3,3],{}]"]


def test_one_call_twice_without_a_name_is_told(app: Grpcflow, caplog: pytest.LogCaptureFixture) -> None:
    _ = app.conf.version
    with caplog.at_level(logging.WARNING, "grpcflow"):
        app.add_periodic_task(5, app.tasks["proj.add"].s(1, 2))
        app.add_periodic_task(7, app.tasks["proj.add"].s(1, 2))
    assert "declared twice" in caplog.text
    assert app.conf.beat_schedule["proj.add(1, 2)"]["schedule"] == 7


def test_a_periodic_task_that_cannot_be_is_refused_where_it_is_declared(app: Grpcflow) -> None:
    with pytest.raises(ImproperlyConfigured, match="give one of allow, skip, queue_one"):
        app.add_periodic_task(5, app.tasks["proj.add"].s(1, 2), overlap="maybe")
