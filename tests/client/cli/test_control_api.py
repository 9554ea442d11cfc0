"""`app.control` and `inspect()`: shapes of questions and replies."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.client.cli.fake_coordinator import FakeConnection, FakeWorker

from grpcflow import errors
from grpcflow.control import Control


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
