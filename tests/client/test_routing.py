"""Where calls go: every form of ``task_routes``, and which of call, task, route and setting wins."""

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

from grpcflow import Broadcast, Grpcflow, ImproperlyConfigured, Queue, chain, group
from grpcflow.lower import Calls, LoweredGraph, TemplateSpec, lower
from grpcflow.routes import Router


def app_with(routes: Any, **settings: Any) -> Grpcflow:
    app = Grpcflow("routing", set_as_current=False, task_routes=routes, **settings)
    app.task(name="feed.read")(lambda *args, **kwargs: None)
    return app


def lowered(app: Grpcflow, canvas: Any, **options: Any) -> LoweredGraph:
    graph = lower(canvas, Calls(app), options=options)
    assert graph is not None
    return graph


def only(app: Grpcflow, name: str = "feed.read", args: Any = (), **options: Any) -> TemplateSpec:
    """Returns the template of one call."""
    (template,) = lowered(app, app.signature(name, args=args), **options).templates
    return template


# --- forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "queue"),
    [
        ({"feed.read": "feeds"}, "feeds"),
        ({"feed.read": {"queue": "feeds"}}, "feeds"),
        ({"feed.*": "feeds"}, "feeds"),
        ({re.compile(r"(feed|news)\."): {"queue": "feeds"}}, "feeds"),
        ({"feed.read": Queue("feeds")}, "feeds"),
        ([("feed.*", "feeds")], "feeds"),
        ([[("news.*", "news"), ("feed.*", {"queue": "feeds"})]], "feeds"),
        (([("feed.*", {"queue": "feeds"})],), "feeds"),
        ([{"news.*": "news"}, {"feed.*": "feeds"}], "feeds"),
        (lambda name, args, kwargs, options, task=None, **more: {"queue": "feeds"}, "feeds"),
        ([lambda name, args, kwargs, options, task=None, **more: "feeds"], "feeds"),
        (lambda name, *rest, **more: Queue("feeds"), "feeds"),
        ([lambda name, *rest, **more: None, {"feed.read": "feeds"}], "feeds"),
        ([{"feed.*": {}}, {"*": "feeds"}], "feeds"),
        (None, "default"),
        ([], "default"),
        (lambda *rest, **more: None, "default"),
    ],
)
def test_a_route_in_any_form_names_the_queue(routes: Any, queue: str) -> None:
    assert only(app_with(routes)).queue == queue


def test_exact_names_win_and_patterns_hold_in_their_order() -> None:
    routes = {"feed.*": "second", re.compile("feed"): "third", "feed.read": "first", "*": "last"}
    app = app_with(routes)
    assert [only(app, name).queue for name in ("feed.read", "feed.write", "feeding", "other")] == [
        *("first", "second", "third", "last"),
    ]


def test_the_first_true_answer_of_a_list_wins() -> None:
    asked: list[str] = []

    def function(name: str, *rest: Any, **more: Any) -> str | None:
        asked.append(name)
        return "late" if name.endswith("late") else None

    app = app_with([{"early": "first"}, function, ("*", "rest")])
    assert [only(app, name).queue for name in ("early", "a.late", "other")] == ["first", "late", "rest"]
    assert asked == ["a.late", "other"]  # for what stands before it nobody asks


def test_a_function_sees_name_arguments_options_and_the_task() -> None:
    seen: list[Any] = []

    def function(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> None:
        seen.append((name, list(args), kwargs, options, task, more))
        options["queue"] = kwargs["spoilt"] = "by the function"

    app = app_with(function)
    task = app.tasks["feed.read"]
    task.time_limit = 30
    graph = lowered(app, task.s(1, user=2).set(priority=3))
    assert seen == [
        ("feed.read", [1], {"user": 2, "spoilt": "by the function"}, {"queue": "by the function"} | SHOWN, task, {})
    ]
    assert graph.templates[0].queue == "default"
    assert b"spoilt" not in graph.runs[0].payloads[0]


#: Options that the function is shown of a task with a time limit and a call with a priority.
SHOWN = {"time_limit": 30, "priority": 3}


@pytest.fixture
def routers() -> Iterator[ModuleType]:
    """A module that routes can name."""
    module = ModuleType("routers_of_a_test")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


@pytest.mark.parametrize("name", ["routers_of_a_test.by_name", "routers_of_a_test:by_name"])
def test_a_function_may_be_named_and_is_imported_at_the_first_call(name: str, routers: ModuleType) -> None:
    app = app_with(name)
    routers.by_name = lambda task_name, *rest, **more: {"queue": f"for-{task_name}"}  # type: ignore[attr-defined]
    assert only(app).queue == "for-feed.read"


def test_an_old_class_with_route_for_task_still_works(routers: ModuleType) -> None:
    class Old:
        def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
            return {"queue": f"{task}-{args[0]}-{kwargs['user']}"}

    routers.Old = Old  # type: ignore[attr-defined]
    for routes in (Old(), [Old], "routers_of_a_test.Old", ("routers_of_a_test.Old",)):
        app = app_with(routes)
        (template,) = lowered(app, app.signature("feed.read", args=(1,), kwargs={"user": 2})).templates
        assert template.queue == "feed.read-1-2"


def test_a_route_may_hold_any_option_of_a_call() -> None:
    route = {"queue": "q", "priority": 7, "time_limit": 9, "expires": 60, "headers": {"a": 1}, "max_deliveries": 2}
    template = only(app_with({"feed.read": route}), headers={"b": 2})
    assert (template.priority, template.max_deliveries) == (7, 2)
    assert template.time_limit is not None
    assert template.expires_in is not None
    assert (template.time_limit.seconds, template.expires_in.seconds) == (9, 60)
    assert template.headers == b'{"a":1,"b":2}'


def test_what_a_broker_needs_beside_the_queue_is_not_asked_for() -> None:
    route = {"queue": "q", "exchange": "media", "routing_key": "media.video", "exchange_type": "topic"}
    assert only(app_with({"feed.read": route})).queue == "q"


# --- who wins ---------------------------------------------------------------------------------------------------


def test_the_call_beats_the_task_the_task_the_route_and_the_route_the_setting() -> None:
    app = app_with({"*": {"queue": "route", "priority": 2}}, task_default_queue="setting", task_default_priority=1)

    @app.task(name="own", queue="task", priority=3)
    def own() -> None: ...

    assert only(app, "own", queue="call", priority=4).queue == "call"
    assert (only(app, "own").queue, only(app, "own").priority) == ("task", 3)
    assert (only(app).queue, only(app).priority) == ("route", 2)
    app.conf.task_routes = {}
    assert (only(app).queue, only(app).priority) == ("setting", 1)


def test_a_start_that_the_call_names_takes_the_place_of_the_routes() -> None:
    app = app_with({"*": {"countdown": 60}})
    assert str(only(app).countdown) == "0:01:00"
    assert only(app, eta="2030-01-01T00:00:00+00:00").countdown is None


@pytest.mark.parametrize("kind", ["map", "starmap", "chunks"])
def test_map_starmap_and_chunks_route_by_the_inner_task(kind: str) -> None:
    app = app_with({"feed.*": "feeds", "grpcflow.*": "wrong", "celery.*": "wrong"})
    task = app.tasks["feed.read"]
    canvas = task.chunks([(1,), (2,)], 1) if kind == "chunks" else getattr(task, kind)([(1,), (2,)])
    assert {template.queue for template in lowered(app, canvas).templates} == {"feeds"}
    function = app_with(lambda name, *rest, **more: f"to-{name}")
    inner = function.tasks["feed.read"]
    canvas = inner.chunks([(1,), (2,)], 1) if kind == "chunks" else getattr(inner, kind)([(1,), (2,)])
    assert {template.queue for template in lowered(function, canvas).templates} == {"to-feed.read"}


def test_another_name_for_the_route_may_be_given() -> None:
    app = app_with({"other": "others"})
    assert only(app, route_name="other").queue == "others"
    app = app_with(lambda name, *rest, **more: name)
    assert only(app, route_name="other").queue == "other"


# --- functions and templates ------------------------------------------------------------------------------------


def test_a_function_is_asked_for_each_call_and_calls_with_one_route_share_a_template() -> None:
    asked: list[int] = []

    def by_argument(name: str, args: Any, *rest: Any, **more: Any) -> Any:
        asked.append(args[0])
        return {"queue": "odd" if args[0] % 2 else "even"}

    app = app_with(by_argument)
    task = app.tasks["feed.read"]
    graph = lowered(app, group(task.s(number) for number in (0, 2, 1, 3, 4)))
    assert asked == [0, 2, 1, 3, 4]
    assert [template.queue for template in graph.templates] == ["even", "odd"]
    assert [(run.template, run.count) for run in graph.runs[:-1]] == [(0, 2), (1, 2), (0, 1)]


def test_routes_by_name_are_found_once_for_all_calls() -> None:
    app = app_with({"feed.*": "feeds"})
    task = app.tasks["feed.read"]
    lowered(app, task.s(1))
    (made,) = app.template_cache.values()
    assert lowered(app, group(task.s(1), task.s(2))).templates[0] is made
    assert len(app.template_cache) == 1


def test_steps_and_callbacks_are_routed_too() -> None:
    app = app_with(lambda name, args, *rest, **more: f"q{args[0]}" if args else "none")
    task = app.tasks["feed.read"]
    canvas = chain(task.s(1), task.si(2)).on_error(task.si(3))
    canvas.link(task.si(4))
    assert {template.queue for template in lowered(app, canvas).templates} == {"q1", "q2", "q3", "q4"}


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        (["a"], "task_routes holds 'a'"),
        ("queue", "task_routes holds 'queue'"),
        (5, "task_routes holds 5"),
        ([("a", "b", "c")], "a pair of a name and its route"),
        ({5: "q"}, "has 5 for a task name"),
        ({"a": 5}, "'a' in task_routes is 5"),
        ({"a": ""}, "'a' in task_routes is ''"),
        ({"a": None}, "'a' in task_routes is None"),
        ({"a": {"exchange": "media"}}, "name the queue"),
        ({"a": {"routing_key": "media.video"}}, "name the queue, as in"),
        ({re.compile("a+"): {"routing_key": "k"}}, r"the route of 'a\+'"),
        ({"a": {"queue": "q", "qeue": "p"}}, "has 'qeue'"),
        ({"a": {"task_id": "1"}}, "has 'task_id'"),
        ({"a": {"link": []}}, "has 'link'"),
        ({"a": {"queue": 5}}, "has the queue 5"),
        ({"a": {"priority": 10}}, "has the priority 10"),
        ({"a": {"priority": "high"}}, "has the priority 'high'"),
    ],
)
def test_a_wrong_route_is_refused_when_it_is_set(routes: Any, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        Router(routes)
    with pytest.raises(ImproperlyConfigured, match=says):
        app_with(routes)


@pytest.mark.parametrize(
    ("answer", "says"),
    [(5, "says of feed.read is 5"), ({"exchange": "x"}, "name the queue"), ({"priority": -1}, "the priority -1")],
)
def test_a_wrong_answer_of_a_function_is_refused_at_the_call(answer: Any, says: str) -> None:
    def wrong(*rest: Any, **more: Any) -> Any:
        return answer

    with pytest.raises(ImproperlyConfigured, match=says) as raised:
        only(app_with(wrong))
    assert "wrong" in str(raised.value)


@pytest.mark.parametrize("name", ["nowhere.to_be_found", "sys.no_such_name", "sys.path"])
def test_a_name_that_stands_for_no_function_is_refused_at_the_call(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="task_routes names"):
        only(app_with(name))


def test_what_a_function_raises_comes_to_the_caller() -> None:
    app = FakeApp("raising", set_as_current=False)
    app.task(name="t")(len)
    app.conf.task_routes = lambda *rest, **more: 1 // 0
    with pytest.raises(ZeroDivisionError):
        app.tasks["t"].delay([])
    assert not app.fake.graphs


def test_a_broadcast_queue_is_told_wherever_its_name_comes_from() -> None:
    app = app_with({"feed.*": "news"}, task_queues=(Queue("a"), Broadcast("news")))
    assert only(app).broadcast
    assert only(app, "other", queue="news").broadcast
    assert only(app, "other", queue=Broadcast("undeclared")).broadcast
    assert not only(app, queue="a").broadcast
