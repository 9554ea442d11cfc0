"""Queues and their weights: what the command line says, what the app says, and what the coordinator is told."""

import json
from typing import Any

import pytest
from tests.worker.worker_fakes import FakeExecutor, make_session, welcome

from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.control import Control, Facts
from grpcflow_worker.executor import Registered
from grpcflow_worker.identity import Identity
from grpcflow_worker.session import Session
from grpcflow_worker.subscription import ConfigError, parse_queues, served, shown

DECLARED = {"queues": {"default": 1, "mail": 5, "video": 1}}


def test_weights_stand_behind_the_last_colon_and_other_colons_are_the_names() -> None:
    assert parse_queues(["a:3, b", "prio:high", "q:7:100"]) == {"a": 3, "b": None, "prio:high": None, "q:7": 100}


@pytest.mark.parametrize("text", ["a:0", "a:101", "a:-1", "a:1.5", "a:", ":3", "q" * 256, "a:99999999999999999999"])
def test_a_queue_or_weight_that_cannot_be_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match=r"from 1 to 100|1 to 255 bytes"):
        parse_queues([text])


@pytest.mark.parametrize(
    ("asked", "excluded", "settings", "result"),
    [
        ({}, (), {}, {"default": 1}),
        ({}, (), {"queues": {"ours": 1}}, {"ours": 1}),
        ({}, (), DECLARED, {"default": 1, "mail": 5, "video": 1}),
        ({}, ("video",), DECLARED, {"default": 1, "mail": 5}),
        ({"mail": None, "other": 3}, (), DECLARED, {"mail": 5, "other": 3}),
        ({"mail": 2, "video": None}, ("video", "default"), DECLARED, {"mail": 2}),
    ],
)
def test_a_worker_serves_what_it_is_told_or_what_its_app_declares(
    asked: dict[str, int | None], excluded: tuple[str, ...], settings: dict[str, Any], result: dict[str, int]
) -> None:
    assert served(asked, excluded, settings) == result


@pytest.mark.parametrize(
    ("asked", "excluded", "settings", "said"),
    [
        ({}, ("vidio",), DECLARED, "--exclude-queues: the app defines no queue 'vidio'. Did you mean 'video'?"),
        ({}, ("x",), DECLARED, "It defines: default, mail, video"),
        ({}, ("default",), {}, "--exclude-queues leaves none of the queues default"),
        ({"a": 1}, ("a",), DECLARED, "--exclude-queues leaves none of the queues a"),
        ({"vidio": None}, (), {**DECLARED, "task_create_missing_queues": False}, "--queues: .* 'video'"),
    ],
)
def test_queues_that_the_app_does_not_define_or_none_left_are_refused(
    asked: dict[str, int | None], excluded: tuple[str, ...], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        served(asked, excluded, settings)


def test_the_coordinator_is_told_the_weights() -> None:
    session = Session(Identity(name="w1", secret=b"s" * 16, tasks=(), concurrency=1), {"a": 3, "b": 1})
    hello = session.hello().hello
    assert (list(hello.queues), list(hello.weights)) == (["a", "b"], [3, 1])
    assert session.weights == {"a": 3, "b": 1}


def test_equal_weights_need_not_be_told() -> None:
    assert list(make_session().hello().hello.weights) == []


class Desk:
    """The control commands of queues, with the session that they change."""

    def __init__(self) -> None:
        self.session = make_session()
        self.meet()
        registered = Registered(("t.add",), DECLARED)
        nothing = lambda: None  # noqa: E731
        facts = Facts(
            session=self.session, executor=FakeExecutor(), registered=registered, shutdown=nothing, wake=nothing
        )
        self.control = Control(facts)

    def meet(self) -> pb.WorkerHello:
        """Connect, again if need be."""
        hello = self.session.hello().hello
        self.session.received(welcome(), 0.0)
        return hello

    def ask(self, command: str, **arguments: Any) -> Any:
        reply = self.control.answer(pb.ControlCommand(id=1, command=command, arguments=json.dumps(arguments).encode()))
        return json.loads(reply.reply) if reply.reply else reply.error


def test_a_queue_is_added_with_a_weight_and_stays_over_a_reconnect() -> None:
    desk = Desk()
    assert desk.ask("add_consumer", queue="extra", weight=7) == {"ok": "add consumer extra"}
    message = desk.session.next_message()
    assert message is not None
    assert (list(message.queues), list(message.weights)) == (["default", "extra"], [1, 7])
    assert desk.ask("active_queues") == [{"name": "default", "weight": 1}, {"name": "extra", "weight": 7}]
    hello = desk.meet()
    assert (list(hello.queues), list(hello.weights)) == (["default", "extra"], [1, 7])


def test_an_added_queue_has_the_weight_that_the_app_declares_and_another_one_replaces_it() -> None:
    desk = Desk()
    desk.ask("add_consumer", queue="mail")
    assert desk.session.weights == {"default": 1, "mail": 5}
    assert "already" in desk.ask("add_consumer", queue="mail")["ok"]
    assert desk.ask("add_consumer", queue="mail", weight=2) == {"ok": "add consumer mail"}
    assert desk.session.weights == {"default": 1, "mail": 2}


@pytest.mark.parametrize("weight", [0, 101, "3", 1.5, True, None])
def test_a_weight_that_cannot_be_changes_nothing(weight: object) -> None:
    desk = Desk()
    assert "from 1 to 100" in desk.ask("add_consumer", queue="extra", weight=weight)
    assert desk.session.queues == ("default",)


def test_the_last_queue_may_be_cancelled_and_another_one_added() -> None:
    desk = Desk()
    assert desk.ask("cancel_consumer", queue="default") == {"ok": "no longer consuming from default"}
    assert desk.ask("cancel_consumer", queue="default") == {"ok": "no longer consuming from default"}
    message = desk.session.next_message()
    assert message is not None
    assert (message.subscription_changed, list(message.queues)) == (True, [])
    assert list(desk.meet().queues) == []
    desk.ask("add_consumer", queue="default")
    assert desk.session.queues == ("default",)


def test_queues_are_shown_with_what_is_not_usual() -> None:
    assert shown({"a": 1, "b": 3}) == "a, b:3"
    assert shown({}) == "none"
