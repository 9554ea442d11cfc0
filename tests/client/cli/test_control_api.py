"""`app.control` and `inspect()`: shapes of questions and replies."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.client.cli.fake_coordinator import FakeConnection, FakeWorker

from grpcflow import Grpcflow, errors
from grpcflow.control import Control
from grpcflow.targets import Targets


def control_of(connection: FakeConnection) -> Control:
    app: Any = SimpleNamespace(connection=connection)
    return Control(app)


def test_replies_are_a_mapping_and_name_those_that_did_not_answer(cluster: FakeConnection) -> None:
    cluster.workers["w3"] = FakeWorker("w3", status="no_reply")
    cluster.workers["w4"] = FakeWorker("w4", status="disconnected")
    cluster.workers["w5"] = FakeWorker("w5", error="no such question")
    replies = control_of(cluster).inspect().ping()
    assert replies == {"w1": {"ok": "pong"}, "w2": {"ok": "pong"}, "w5": {"error": "no such question"}}
    assert (replies.no_reply, replies.disconnected) == (("w3",), ("w4",))
    assert replies.errors == {"w5": "no such question"}


def test_nobody_connected_is_an_empty_mapping_and_never_none() -> None:
    replies = control_of(FakeConnection()).inspect().active()
    assert replies == {}
    assert (replies.no_reply, replies.disconnected) == ((), ())


@pytest.mark.parametrize("name", ["ping", "active", "reserved", "scheduled", "registered", "active_queues", "stats"])
def test_each_question_goes_out_under_its_own_name(cluster: FakeConnection, name: str) -> None:
    getattr(control_of(cluster).inspect(destination=["w1"], timeout=2), name)()
    assert cluster.asked == [("inspect", name, {}, ("w1",), 2)]


def test_commands_reply_in_celerys_shape(cluster: FakeConnection) -> None:
    cluster.workers["w2"].status = "no_reply"
    replies = control_of(cluster).add_consumer("q", destination=("w1", "w2"))
    assert replies == [{"w1": {"ok": "pong"}}]
    assert replies.replies.no_reply == ("w2",)
    assert cluster.asked == [("control", "add_consumer", {"queue": "q"}, ("w1", "w2"), 1.0)]


def test_broadcast_returns_replies_only_where_they_are_wanted(cluster: FakeConnection) -> None:
    control = control_of(cluster)
    assert control.broadcast("anything", {"a": 1}, ["w1"]) == [{"w1": {"ok": "pong"}}]
    assert control.broadcast("anything", reply=False) is None
    assert control.ping(["w2"]) == [{"w2": {"ok": "pong"}}]
    assert [asked[:3] for asked in cluster.asked] == [
        ("control", "anything", {"a": 1}),
        ("control", "anything", {}),
        ("inspect", "ping", {}),
    ]


@pytest.mark.parametrize(
    ("destination", "timeout", "word"), [("w1", 1, r"destination=\['w1'\]"), ([], 1, "empty"), (None, 0, "timeout")]
)
def test_what_cannot_be_meant_is_refused(cluster: FakeConnection, destination: Any, timeout: float, word: str) -> None:
    control = control_of(cluster)
    with pytest.raises(ValueError, match=word):
        control.inspect(destination, timeout)
    with pytest.raises(ValueError, match=word):
        control.shutdown(destination, timeout)
    assert cluster.asked == []


def test_an_unknown_destination_is_an_error_that_knows_the_names(cluster: FakeConnection) -> None:
    with pytest.raises(errors.UnknownDestination) as caught:
        control_of(cluster).inspect(["w9"]).ping()
    assert caught.value.known == ("w1", "w2")


def test_revoke_takes_ids_and_results_and_cuts_long_lists(cluster: FakeConnection) -> None:
    control = control_of(cluster)
    result: Any = SimpleNamespace(id="r")
    assert control.revoke("a").revoked == 1
    assert control.revoke(result, terminate=True, signal="SIGKILL").revoked == 1
    assert control.terminate(["a", result, "unknown"]).unknown == ("unknown",)
    assert cluster.revokes == [
        (["a"], False, "SIGTERM"),
        (["r"], True, "SIGKILL"),
        (["a", "r", "unknown"], True, "SIGTERM"),
    ]
    assert control.revoke(str(number) for number in range(10_001)).revoked == 10_001
    assert [len(ids) for ids, _, _ in cluster.revokes[3:]] == [10_000, 1]


def test_arguments_of_questions_travel_under_their_names(cluster: FakeConnection) -> None:
    inspect = control_of(cluster).inspect()
    inspect.active(safe=True)
    inspect.registered("queue", "rate_limit")
    inspect.conf(with_defaults=True)
    inspect.query_task(["a", "b"])
    for name in ("revoked", "report", "clock", "memsample"):
        getattr(inspect, name)()
    assert [asked[1:3] for asked in cluster.asked] == [
        ("active", {"safe": True}),
        ("registered", {"attrs": ["queue", "rate_limit"]}),
        ("conf", {"with_defaults": True}),
        ("query_task", {"ids": ["a", "b"]}),
        *((name, {}) for name in ("revoked", "report", "clock", "memsample")),
    ]


def test_replies_are_given_to_a_callback_and_workers_are_chosen_by_what_they_are(cluster: FakeConnection) -> None:
    told: list[dict[str, Any]] = []
    control = control_of(cluster)
    control.inspect(callback=told.append, pattern="w?", queues=["default"], labels="zone=eu", upcoming=5).ping()
    control.broadcast("heartbeat", pattern=["a", "b"], matcher="pcre", limit=1, callback=told.append)
    assert told == [{"w1": {"ok": "pong"}}, {"w2": {"ok": "pong"}}] * 2
    assert cluster.targets == [
        Targets(("w?",), False, ("default",), ("zone=eu",), 5),
        Targets(("a", "b"), True, most=1),
    ]


@pytest.mark.parametrize("wrong", [{"matcher": "sql"}, {"limit": 0}, {"upcoming": -1}])
def test_ways_to_choose_that_there_are_not_are_refused(cluster: FakeConnection, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        control_of(cluster).inspect(**wrong)


def test_small_commands_go_out_under_celerys_names(cluster: FakeConnection) -> None:
    control = control_of(cluster)
    assert control.time_limit("proj.add", 2, 5, ["w1"]) == [{"w1": {"ok": "pong"}}]
    for name in ("enable_events", "disable_events", "heartbeat"):
        getattr(control, name)(destination=["w2"])
    assert [asked[1:4] for asked in cluster.asked] == [
        ("time_limit", {"task_name": "proj.add", "soft": 2, "hard": 5}, ("w1",)),
        *((name, {}, ("w2",)) for name in ("enable_events", "disable_events", "heartbeat")),
    ]


def test_a_broadcast_of_what_the_coordinator_does_is_done_by_it(cluster: FakeConnection) -> None:
    control = control_of(cluster)
    arguments = {"task_id": ["a", "unknown"], "terminate": True, "signal": "SIGKILL"}
    assert control.broadcast("revoke", arguments) == [{"coordinator": {"ok": "1 tasks revoked"}}]
    assert control.broadcast("terminate", {"task_id": "b"}, reply=False) is None
    assert cluster.revokes == [(["a", "unknown"], True, "SIGKILL"), (["b"], True, "SIGTERM")]
    assert cluster.asked == []
    with pytest.raises(TypeError, match="needs the argument 'task_id'"):
        control.broadcast("revoke", {})
    with pytest.raises(TypeError, match="no argument 'x'"):
        control.broadcast("revoke", {"task_id": "a", "x": 1})
    with pytest.raises(ValueError, match="leave destination out"):
        control.broadcast("revoke", {"task_id": "a"}, ["w1"])


def test_a_command_of_the_app_is_waited_for_as_long_as_it_says(cluster: FakeConnection) -> None:
    app = Grpcflow("waits", set_as_current=False)
    app.control_command(name="slow", default_timeout=9.0)(lambda state: None)
    asks: Any = SimpleNamespace(connection=cluster, commands=app.commands)
    Control(asks).broadcast("slow")
    Control(asks).broadcast("slow", timeout=2)
    assert [asked[-1] for asked in cluster.asked] == [9.0, 2]
