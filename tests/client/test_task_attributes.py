"""Attributes of tasks: which are taken, which are refused and what is said then; annotations; classes as tasks."""

import sys
from typing import Any

import pydantic
import pytest
from tests.client.fake_connection import FakeApp, lowered_calls

from grpcflow import Task, errors
from grpcflow.annotations import annotate


@pytest.fixture
def app() -> FakeApp:
    return FakeApp("attributes", set_as_current=False)


# --- attributes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"acks_on_failure": False}, "autoretry_for="),
        ({"acks_on_timeout": False}, "autoretry_for="),
        ({"acks_on_failure_or_timeout": False}, "autoretry_for="),
    ],
)
def test_what_cannot_be_honoured_is_refused(option: dict[str, Any], says: str, app: FakeApp) -> None:
    make: Any = app.task
    with pytest.raises(errors.ImproperlyConfigured, match=says):
        make(name="t", **option)(len)


def test_a_soft_limit_above_the_hard_one_is_refused(app: FakeApp) -> None:
    with pytest.raises(ValueError, match="soft_time_limit of 9 s above its time_limit of 5 s"):
        app.task(name="t", time_limit=5, soft_time_limit=9)(len)
    task = app.task(name="t", time_limit=9, soft_time_limit=5, lazy=False, shared=False)(len)
    task.delay([])
    template = app.fake.last[0].templates[0]
    assert (template.time_limit.seconds, template.soft_time_limit.seconds) == (9, 5)


@pytest.mark.parametrize("option", ["reject_on_worker_lost", "retry_on_worker_lost"])
def test_a_call_may_be_lost_once_or_as_often_as_the_setting_says(option: str, app: FakeApp) -> None:
    make: Any = app.task
    once, more = make(name="once", **{option: False})(len), make(name="more", **{option: True})(len)
    once.delay([])
    assert app.fake.last[0].templates[0].max_deliveries == 1
    more.delay([])
    assert app.fake.last[0].templates[0].max_deliveries == 0


def test_a_base_class_adds_options_of_its_own(app: FakeApp) -> None:
    class Rated(Task[..., Any]):
        stars = 0

    assert getattr(app.task(name="t", base=Rated, stars=5)(len), "stars", None) == 5
    with pytest.raises(TypeError, match="stars"):
        app.task(name="u", stars=5)(len)


# --- classes ---------------------------------------------------------------------------------------------------


def test_a_class_with_options_on_its_body_is_a_task(app: FakeApp) -> None:
    bound: list[Any] = []

    class Sum(Task[..., Any]):
        queue = "sums"
        autoretry_for = (ValueError,)

        def on_bound(self, app: Any) -> None:
            bound.append(app)

        def run(self, *values: int) -> int:
            if not values:
                raise ValueError("nothing")
            return sum(values)

    made = app.register_task(Sum())
    assert made.name == f"{__name__}.Sum"
    assert bound == [app]
    assert made(1, 2) == 3
    made.delay(1)
    assert app.fake.last[0].templates[0].queue == "sums"
    made.push_request(made.request.of_fields({"called_directly": False}))
    try:
        with pytest.raises(errors.Retry):
            made()
    finally:
        made.pop_request()


# --- annotations -----------------------------------------------------------------------------------------------


def test_annotations_set_attributes_and_methods(app: FakeApp) -> None:
    task: Any = app.task(name="t")(len)
    seen: list[Any] = []

    def on_success(self: Any, *arguments: Any) -> None:
        seen.append(self.name)

    annotate(
        task, {"*": {"priority": 1, "queue": "all", "on_success": on_success}, "t": {"queue": "own"}, "u": {"x": 1}}
    )
    assert (task.priority, task.queue) == (1, "own")
    task.on_success(1, "id", (), {})
    assert seen == ["t"]


def test_annotations_may_be_a_list_and_objects(app: FakeApp) -> None:
    class Fast:
        def annotate(self, task: Any) -> dict[str, Any] | None:
            return {"priority": 9} if task.name == "t" else None

    task, other = app.task(name="t")(len), app.task(name="u")(len)
    for each in (task, other):
        annotate(each, [Fast(), {"t": {"priority": 5}, "u": {"priority": 4}}])
    assert (task.priority, other.priority) == (9, 4)
    annotate(task, None)


@pytest.mark.parametrize("wrong", [{"*": {"queu": 1}}, {"*": {"@run": len}}, ["text"]])
def test_wrong_annotations_are_refused(wrong: Any, app: FakeApp) -> None:
    with pytest.raises(errors.ImproperlyConfigured, match="task_annotations"):
        annotate(app.task(name="t")(len), wrong)


def test_the_setting_is_heeded_whenever_a_task_is_registered() -> None:
    app = FakeApp(
        "annotated", set_as_current=False, task_annotations={"early": {"priority": 2}, "late": {"priority": 3}}
    )
    early = app.task(name="early")(len)
    _ = app.tasks
    assert early.priority == 2
    assert app.task(name="late")(len).priority == 3


# --- pydantic --------------------------------------------------------------------------------------------------


class Order(pydantic.BaseModel):
    """An order."""

    item: str
    count: int = 1


def test_models_come_in_and_go_out_as_mappings(app: FakeApp) -> None:
    def twice(order: Order, more: Order | None = None, times: int = 2) -> Order:
        assert isinstance(order, Order)
        assert more is None or isinstance(more, Order)
        return Order(item=order.item, count=order.count * times)

    task: Any = app.task(name="twice", pydantic=True)(twice)
    assert task({"item": "a", "count": 3}) == {"item": "a", "count": 6}
    assert task({"item": "a"}, more={"item": "b"}, times=1) == {"item": "a", "count": 1}
    assert task(Order(item="a")) == {"item": "a", "count": 2}
    with pytest.raises(pydantic.ValidationError):
        task({"count": "many"})


def test_a_caller_may_pass_models(app: FakeApp) -> None:
    @app.task(name="take", pydantic=True)
    def take(order: Order, *, other: Order) -> None:
        return None

    take.delay(Order(item="a"), other=Order(item="b"))
    assert lowered_calls(app.fake.last) == [["take", [{"item": "a", "count": 1}], {"other": {"item": "b", "count": 1}}]]
    take.s(Order(item="c")).apply_async(kwargs={"other": {"item": "d"}})
    assert lowered_calls(app.fake.last) == [["take", [{"item": "c", "count": 1}], {"other": {"item": "d"}}]]
    with pytest.raises(TypeError, match="other"):
        take.delay(Order(item="a"))  # type: ignore[call-arg]


def test_strictness_context_and_dumping_are_the_tasks(app: FakeApp) -> None:
    seen: list[Any] = []

    class Looking(pydantic.BaseModel):
        count: int
        unset: int = 0

        @pydantic.model_validator(mode="before")
        @classmethod
        def look(cls, value: Any, info: Any) -> Any:
            seen.append(dict(info.context))
            return value

    def look(value: Looking) -> Looking:
        return value

    look.__annotations__ = {"value": Looking, "return": Looking}
    options: dict[str, Any] = {"pydantic_context": {"a": 1}, "pydantic_dump_kwargs": {"exclude_unset": True}}
    make: Any = app.task
    task = make(name="look", pydantic=True, pydantic_strict=True, **options)(look)
    assert task({"count": 1}) == {"count": 1}
    assert seen == [{"a": 1, "grpcflow_app": app, "grpcflow_task_name": "look"}]
    with pytest.raises(pydantic.ValidationError):
        task({"count": "1"})


def test_without_pydantic_the_extra_is_named(app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ImportError, match=r"grpcflow\[pydantic\]"):
        app.task(name="t", pydantic=True)(len)
