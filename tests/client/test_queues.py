"""Declared queues: their names, limits and weights, broadcasts, what is taken of kombu, and queues nobody declared."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from grpcflow import Broadcast, Grpcflow, ImproperlyConfigured, Queue, QueueNotFound, group, worker_direct
from grpcflow.limits import Rate
from grpcflow.lower import Calls, TemplateSpec, lower
from grpcflow.queues import Queues


def app_with(*queues: Any, **settings: Any) -> Grpcflow:
    app = Grpcflow("queues", set_as_current=False, task_queues=queues or None, **settings)
    app.task(name="t")(lambda *args, **kwargs: None)
    return app


def only(app: Grpcflow, **options: Any) -> TemplateSpec:
    return Calls(app).template("t", options)


# --- declaring --------------------------------------------------------------------------------------------------


def test_an_app_that_declares_nothing_has_its_default_queue() -> None:
    assert {name: queue.weight for name, queue in app_with(task_default_queue="mine").queues.items()} == {"mine": 1}


def test_queues_have_limits_and_weights() -> None:
    app = app_with(Queue("a", rate_limit="10/s", concurrency_limit=3, weight=5), "b")
    assert list(app.queues) == ["a", "b"]
    a = app.queues["a"]
    assert (a.rate, a.concurrency_limit, a.weight) == (Rate(10, 1000), 3, 5)
    assert (app.queues["b"].rate, app.queues["b"].concurrency_limit) == (None, None)


def test_queues_may_be_a_mapping_of_names() -> None:
    app = Grpcflow(
        "mapping",
        set_as_current=False,
        task_queues={"a": None, "b": {"exchange": "b", "exchange_type": "direct", "routing_key": "b", "rate_limit": 2}},
    )
    assert list(app.queues) == ["a", "b"]
    assert app.queues["b"].rate == Rate(2, 1000)


def test_new_queues_replace_the_old_ones() -> None:
    app = app_with("a")
    app.conf.task_queues = ("b",)
    assert list(app.queues) == ["b"]
    app.conf.update(task_queues=None, task_default_queue="c")
    assert list(app.queues) == ["c"]


def test_an_alias_is_another_name_for_calls() -> None:
    app = app_with(Queue("images", alias="pictures"), task_create_missing_queues=False)
    assert only(app, queue="pictures").queue == "images"
    assert list(app.queues) == ["images"]


@dataclass
class KombuExchange:
    """What kombu's Exchange has of what is looked at."""

    name: str = ""
    type: str = "direct"


@dataclass
class KombuQueue:
    """What kombu's Queue has of what is looked at; kombu itself need not be installed."""

    name: str
    exchange: KombuExchange = field(default_factory=KombuExchange)
    routing_key: str = ""
    queue_arguments: dict[str, Any] | None = None
    alias: str | None = None
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    no_ack: bool | None = None
    expires: float | None = None
    message_ttl: float | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    max_priority: int | None = None


class KombuBroadcast(KombuQueue):
    """As kombu's: the name is made up for each process, the alias is what people call it."""


KombuBroadcast.__name__ = "Broadcast"


def test_queues_of_kombu_are_taken_for_what_they_say() -> None:
    exchange = KombuExchange("media", "topic")
    arguments = {"x-max-priority": 10, "x-queue-type": "quorum"}
    app = app_with(
        KombuQueue("videos", exchange, "media.video", arguments, alias="v", max_priority=10),
        KombuBroadcast("bcast.1b2c", KombuExchange("news", "fanout"), alias="news"),
    )
    assert list(app.queues) == ["videos", "news"]
    assert isinstance(app.queues["news"], Broadcast)
    assert only(app, queue="v").queue == "videos"
    assert only(app, queue=KombuQueue("another")).queue == "another"
    assert only(app, queue="news").broadcast


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: KombuQueue("q", message_ttl=5), "expires="),
        (lambda: KombuQueue("q", exclusive=True), "concurrency_limit=1"),
        (lambda: KombuQueue("q", queue_arguments={"x-max-length": 5}), "no call is ever dropped"),
        (lambda: KombuQueue("q", KombuExchange("x", "fanout")), r"Broadcast\('q'\)"),
        (lambda: 5, "task_queues holds 5"),
        (lambda: object(), "must be a grpcflow.Queue"),
    ],
)
def test_what_a_queue_of_kombu_wants_of_a_broker_is_refused_when_it_is_set(make: Any, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        app_with(make())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"queue_arguments": {"x-message-ttl": 5}}, "give calls that may be too late expires="),
        ({"queue_arguments": {"x-dead-letter-exchange": "dead"}}, "grpcflow failed list"),
        ({"queue_arguments": {"x-delivery-limit": 5}}, "max_deliveries="),
        ({"queue_arguments": {"x-single-active-consumer": True}}, "concurrency_limit=1"),
        ({"queue_arguments": {"x-anything": 1}}, "no such option"),
        ({"exchange_type": "headers"}, "name the queue in task_routes"),
        ({"no_ack": True}, "acks_late=False"),
        ({"rate": "10/s"}, "no such option"),
    ],
)
def test_options_that_only_a_broker_has_say_what_to_use(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        Queue("q", **options)


def test_options_that_change_nothing_are_taken() -> None:
    Queue("q", "exchange", "key", durable=False, auto_delete=True, max_priority=10, expires=None, no_ack=False)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("", {}, "must be text"),
        ("q" * 256, {}, "at most 255 bytes"),
        ("q", {"rate_limit": "fast"}, "the queue q: the rate limit 'fast' is none"),
        ("q", {"concurrency_limit": 0}, "concurrency_limit is 0"),
        ("q", {"weight": 0}, "weight is 0"),
        ("q", {"weight": 101}, "from 1 to 100"),
    ],
)
def test_a_queue_that_cannot_be_is_refused(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Queue(name, **options)


@pytest.mark.parametrize("value", ["default", 5, {"a": 5}, {"a": {"weight": 0}}, {"": None}])
def test_what_is_no_set_of_queues_is_refused(value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="task_queues"):
        Grpcflow("wrong", set_as_current=False, task_queues=value)


# --- queues that are not declared -------------------------------------------------------------------------------


def test_any_name_makes_a_queue_unless_that_is_off() -> None:
    assert only(app_with("a"), queue="anything").queue == "anything"
    app = app_with("images", task_create_missing_queues=False, task_default_queue="images")
    assert only(app).queue == "images"
    with pytest.raises(QueueNotFound, match=r"'imges' is not in task_queues.*did you mean 'images'\?"):
        app.signature("t").apply_async(queue="imges")
    with pytest.raises(KeyError):  # as in Celery
        only(app, queue="x")


def test_the_default_queue_and_routes_must_be_declared_too_where_creation_is_off() -> None:
    app = app_with("a", "b", task_create_missing_queues=False)
    with pytest.raises(QueueNotFound, match=r"'default' is not in task_queues.*there are a, b"):
        only(app)
    app.conf.update(task_default_queue="a", task_routes={"t": "c"})
    with pytest.raises(QueueNotFound, match="'c'"):
        only(app)


def test_queues_of_workers_and_queue_objects_need_no_declaring() -> None:
    app = app_with("a", task_create_missing_queues=False)
    assert worker_direct("w1@host") == "w1@host.dq"
    assert only(app, queue=worker_direct("w1")).queue == "w1.dq"
    assert only(app, queue=Queue("own")).queue == "own"


def test_what_is_no_queue_is_refused_at_the_call() -> None:
    app = app_with("a")
    for wrong in (5, object(), ["a"]):
        with pytest.raises(ValueError, match="it must be the name of one"):
            only(app, queue=wrong)
    with pytest.raises(ValueError, match="must be text"):
        only(app, queue="")


def test_a_group_may_go_to_queues_of_its_own() -> None:
    app = app_with("a", Broadcast("all"))
    task = app.tasks["t"]
    graph = lower(group(task.s(1), task.s(2).set(queue="all"), task.s(3).set(queue=Queue("b"))), Calls(app))
    assert graph is not None
    assert [(each.queue, each.broadcast) for each in graph.templates] == [
        ("default", False),
        ("all", True),
        ("b", False),
    ]


def test_the_queues_are_a_mapping() -> None:
    queues = Queues(("a", Broadcast("b")))
    assert (len(queues), "a" in queues, "c" in queues, queues.get("c")) == (2, True, False, None)
    assert repr(queues) == "<Queues a, b>"
    assert repr(queues["b"]) == "<Broadcast b>"
