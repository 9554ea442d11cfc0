"""Limits, keys and retention of tasks: what can be declared, what is refused at once, and what travels."""

from datetime import timedelta
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

from grpcflow import Grpcflow, ImproperlyConfigured, Task
from grpcflow.limits import Rate, parse_rate
from grpcflow.lower import Calls, TemplateSpec, lower, to_chunks
from grpcflow_protos.v1 import graph_pb2


@pytest.fixture
def app() -> FakeApp:
    return FakeApp("limits", set_as_current=False)


def pay(account: int, amount: int = 1, *, note: str = "") -> None:
    """A task's function."""


def only(app: Grpcflow, name: str = "pay", **options: Any) -> TemplateSpec:
    return Calls(app).template(name, options)


# --- rates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1000)),
        ("100/m", Rate(100, 60_000)),
        ("3/h", Rate(3, 3_600_000)),
        (" 5 / m ", Rate(5, 60_000)),
        ("7", Rate(7, 1000)),
        (7, Rate(7, 1000)),
        (0.5, Rate(1, 2000)),
        ("2.5/m", Rate(5, 120_000)),
        (0.1, Rate(1, 10_000)),
        (1 / 3, Rate(1, 3000)),
        (1e6, Rate(1_000_000, 1000)),
        (None, None),
        (0, None),
        ("0/m", None),
    ],
)
def test_a_rate_is_text_or_a_number_for_so_many_a_second(text: Any, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "10/d", "-1/s", "10/", "1e3", -1, float("inf"), float("nan"), True, [1]])
def test_what_is_no_rate_is_refused_with_how_to_write_one(text: Any, app: FakeApp) -> None:
    with pytest.raises(ValueError, match='write "10/s"'):
        parse_rate(text)
    with pytest.raises(ValueError, match="the task pay: the rate limit"):
        app.task(name="pay", rate_limit=text)(pay)
    with pytest.raises(ImproperlyConfigured, match="task_default_rate_limit"):
        app.conf.task_default_rate_limit = text


@pytest.mark.parametrize("text", ["0.0001/h", 10**10])
def test_a_rate_that_nobody_could_keep_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="one start a week"):
        parse_rate(text)


# --- attributes that cannot be ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concurrency_limit": 0}, "concurrency_limit is 0"),
        ({"concurrency_limit": -1}, "concurrency_limit is -1"),
        ({"concurrency_limit": 1.5}, "whole number"),
        ({"concurrency_limit": True}, "whole number"),
        ({"concurrency_per_key": 0}, "concurrency_per_key is 0"),
        ({"concurrency_key": "acount"}, "'acount', which its function does not have; it has account, amount, note"),
        ({"concurrency_key": ("account", "acount")}, "'acount'"),
        ({"concurrency_key": 5}, "the name of an argument"),
        ({"concurrency_key": "a-b"}, "the name of an argument"),
        ({"fairness_key": "tenant"}, "fairness_key names the argument 'tenant'"),
        ({"unique_for": 60, "unique_on": ("user",)}, "unique_on names the argument 'user'"),
        ({"unique_for": 0}, "unique_for is 0; it must be a number of seconds above 0"),
        ({"unique_for": -5}, "unique_for is -5"),
        ({"unique_for": timedelta(0)}, "unique_for is"),
        ({"unique_for": 1e12}, "unique_for is"),
        ({"unique_on": ("account",)}, "without unique_for"),
        ({"unique_stays": True}, "without unique_for"),
        ({"result_expires": 0}, "result_expires is 0"),
        ({"result_failure_expires": "1d"}, "result_failure_expires is '1d'"),
        ({"priority": 10}, "the priority is 10; it must be a whole number from 0 to 9"),
        ({"priority": -1}, "the priority is -1"),
    ],
)
def test_what_cannot_be_is_refused_where_the_task_is_made(options: dict[str, Any], says: str, app: FakeApp) -> None:
    with pytest.raises(ValueError, match=says):
        app.task(name="pay", **options)(pay)


def test_a_class_is_checked_too_and_an_annotation(app: FakeApp) -> None:
    class Slow(Task[..., None]):
        name = "slow"
        rate_limit = "fast"

        def run(self) -> None: ...

    with pytest.raises(ValueError, match="the task slow: the rate limit 'fast'"):
        app.register_task(Slow)
    annotated = Grpcflow("annotated", set_as_current=False, task_annotations={"pay": {"rate_limit": "10/x"}})
    annotated.task(name="pay")(pay)
    with pytest.raises(ValueError, match="the task pay: the rate limit '10/x'"):
        _ = annotated.tasks  # the configuration is read at the first look


def test_an_argument_may_be_any_where_the_function_takes_any(app: FakeApp) -> None:
    app.task(name="any", concurrency_key="whatever")(lambda **kwargs: None)
    app.task(name="bound", bind=True, concurrency_key="account")(lambda self, account: None)
    with pytest.raises(ValueError, match="'self', which its function does not have"):
        app.task(name="bound", bind=True, concurrency_key="self")(lambda self, account: None)


# --- what travels -----------------------------------------------------------------------------------------------


def wire(app: Grpcflow, canvas: Any) -> graph_pb2.GraphChunk:
    """Returns a canvas as it travels."""
    graph = lower(canvas, Calls(app))
    assert graph is not None
    (chunk,) = to_chunks(graph, b"g" * 12)
    return chunk


def test_everything_a_call_says_of_its_limits_travels(app: FakeApp) -> None:
    task = app.task(
        name="pay",
        concurrency_key="account",
        concurrency_per_key=2,
        fairness_key="note",
        unique_for=timedelta(minutes=1),
        unique_on="amount",
        unique_stays=True,
        result_expires=3600,
        result_failure_expires=timedelta(days=7),
    )(pay)
    chunk = wire(app, task.s(17, note="north"))
    (template,), (run,) = chunk.templates, chunk.runs
    assert (template.unique_for.seconds, template.unique_stays, template.concurrency_per_key) == (60, True, 2)
    assert (template.result_expires.seconds, template.failure_expires.ToTimedelta().days) == (3600, 7)
    assert (run.concurrency_key, run.fairness_key) == ("pay:17", "north")
    assert run.unique_key.startswith("pay:#")


def test_a_call_without_any_says_nothing(app: FakeApp) -> None:
    task = app.task(name="pay", concurrency_limit=5, rate_limit="1/s")(pay)
    chunk = wire(app, task.s(17))
    (template,), (run,) = chunk.templates, chunk.runs
    assert not template.HasField("unique_for")
    assert not template.HasField("result_expires")
    assert not (template.unique_stays)
    assert not (template.broadcast)
    assert not (template.concurrency_per_key)
    assert not (run.concurrency_key)
    assert not (run.fairness_key)
    assert not (run.unique_key)


def test_retention_comes_from_the_call_or_the_task_or_the_route_or_the_setting(app: FakeApp) -> None:
    app.task(name="pay")(pay)
    app.task(name="kept", result_expires=10)(pay)
    assert only(app).result_expires is None
    app.conf.update(result_expires=timedelta(hours=1), result_failure_expires=5)
    assert (only(app).result_expires, only(app).failure_expires) == (timedelta(hours=1), timedelta(seconds=5))
    app.conf.task_routes = {"*": {"result_expires": 60}}
    assert only(app).result_expires == timedelta(minutes=1)
    assert only(app, "kept").result_expires == timedelta(seconds=10)
    assert only(app, "kept", result_expires=20).result_expires == timedelta(seconds=20)
    wrongs: list[Any] = [0, -1, "1h", 1e15]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="result_expires"):
            only(app, result_expires=wrong)
        with pytest.raises(ImproperlyConfigured, match="result_expires"):
            app.conf.result_expires = wrong


def test_an_attribute_that_changes_holds_from_the_next_call(app: FakeApp) -> None:
    task = app.task(name="pay", unique_on=["account"], unique_for=5)(pay)  # type: ignore[call-overload, unused-ignore]
    assert only(app).unique_for == timedelta(seconds=5)
    task.unique_for = 6
    assert only(app).unique_for == timedelta(seconds=6)


# --- starts and ends of calls -----------------------------------------------------------------------------------


def test_a_countdown_below_zero_means_now_as_in_celery(app: FakeApp) -> None:
    for past in (-5, timedelta(days=-1), 0):
        assert only(app, countdown=past).countdown is None


@pytest.mark.parametrize(
    "eta", ["9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59.999999", "9999-06-01T00:00:00+05:00"]
)
def test_an_eta_in_the_year_9999_travels(eta: str, app: FakeApp) -> None:
    app.task(name="pay")(pay)
    chunk = wire(app, app.signature("pay", args=(1,), options={"eta": eta}))
    assert chunk.templates[0].eta.ToJsonString().startswith("9999-")


@pytest.mark.parametrize("eta", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
@pytest.mark.parametrize("option", ["eta", "expires"])
def test_a_time_that_utc_has_not_is_refused(option: str, eta: str, app: FakeApp) -> None:
    with pytest.raises(ValueError, match=rf"{option} is .*before or after all times in UTC"):
        only(app, **{option: eta})


@pytest.mark.parametrize("option", ["countdown", "expires"])
@pytest.mark.parametrize("value", [1e15, timedelta.max, float("inf"), float("nan"), "soon"])
def test_a_length_that_cannot_travel_is_refused(option: str, value: Any, app: FakeApp) -> None:
    with pytest.raises(ValueError, match=r"10,000 years at most|must be a datetime, or text such as"):
        only(app, **{option: value})


def test_a_priority_out_of_range_is_refused_at_the_call(app: FakeApp) -> None:
    for wrong in (10, -1, "high", 1.5):
        with pytest.raises(ValueError, match="from 0 to 9"):
            only(app, priority=wrong)
