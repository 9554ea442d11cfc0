"""Control replies: what each command says, and that no command can hurt the worker."""

import json
from typing import Any

import pytest
from tests.worker.worker_fakes import GRAPH, FakeExecutor, make_session, welcome

from grpcflow import codec
from grpcflow_protos import limits
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.control import Control, Facts
from grpcflow_worker.executor import Call, CallRun, Registered
from grpcflow_worker.session import Session


class Desk:
    """A control desk with everything it speaks of."""

    def __init__(self) -> None:
        self.session: Session = make_session()
        self.session.hello()
        self.session.received(welcome(), 0.0)
        self.executor = FakeExecutor()
        self.asked_to_leave = 0
        self.woken = 0
        self.loads_told = 0
        facts = Facts(
            session=self.session,
            executor=self.executor,
            registered=Registered(("t.nap", "t.add"), {"timezone": "UTC"}),
            shutdown=self._shutdown,
            wake=self._wake,
            tell_load=self._tell_load,
            now=lambda: 160.0,
            started_at=100.0,
        )
        self.control = Control(facts)

    def _shutdown(self) -> None:
        self.asked_to_leave += 1

    def _wake(self) -> None:
        self.woken += 1

    def _tell_load(self) -> None:
        self.loads_told += 1

    def ask(self, command: str, **arguments: Any) -> Any:
        """The reply, which must not be an error."""
        data = json.dumps(arguments).encode() if arguments else b""
        reply = self.control.answer(pb.ControlCommand(id=3, command=command, arguments=data))
        assert (reply.id, reply.error) == (3, "")
        return json.loads(reply.reply)

    def error(self, command: str, data: bytes = b"") -> str:
        """The error of a command, which must be one."""
        reply = self.control.answer(pb.ControlCommand(id=3, command=command, arguments=data))
        assert reply.id == 3
        assert reply.error
        assert not reply.reply
        return reply.error

    def put(self, token: int, payload: bytes, running: bool = False, **fields: Any) -> None:
        fields.setdefault("call", Call("t.add", "hipri", 4))
        self.executor.put(CallRun(graph=GRAPH, first=token, token=token, payloads=[payload], **fields))
        if running:
            self.executor.running_tokens.append(token)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_heartbeat_on_demand_tells_the_load(desk: Desk) -> None:
    assert desk.ask("heartbeat") == {"ok": "heartbeat sent"}
    assert (desk.loads_told, desk.woken) == (1, 1)


def test_ping(desk: Desk) -> None:
    assert desk.ask("ping") == {"ok": "pong"}


def test_active_shows_what_runs_under_celerys_names(desk: Desk) -> None:
    desk.put(5, b'[[1,"x"],{"k":2}]', running=True, losses=1, id="mine", group=b"g" * 16)
    desk.put(6, b"[[],{}]")
    (task,) = desk.ask("active")
    assert task == {
        "id": "mine",
        "name": "t.add",
        "args": [1, "x"],
        "kwargs": {"k": 2},
        "type": "t.add",
        "hostname": "w1",
        "time_start": 1700000000.5,
        "acknowledged": False,
        "delivery_info": {"exchange": "", "routing_key": "hipri", "priority": 4, "redelivered": True},
        "worker_pid": 77,
        "group": "67676767-6767-6767-6767-676767676767",
    }


def test_reserved_shows_what_has_not_started(desk: Desk) -> None:
    desk.put(5, b"[[],{}]", running=True)
    desk.put(6, b"[[],{}]")
    (task,) = desk.ask("reserved")
    assert task["id"] == "00010203-0405-0607-0809-0a0b00000006"
    assert (task["time_start"], task["worker_pid"]) == (None, None)


def test_inputs_stand_in_front_the_last_one_first(desk: Desk) -> None:
    parts = value_pb2.Value(list=value_pb2.ValueList(values=[value_pb2.Value(data=b"1"), value_pb2.Value(data=b"2")]))
    failed = value_pb2.Value(failed=value_pb2.FailedNode(id="broken"))
    inputs = (parts.SerializeToString(), failed.SerializeToString())
    desk.put(5, b"[[3],{}]", running=True, inputs=inputs)
    assert desk.ask("active")[0]["args"] == ["broken", [1, 2], 3]


def test_values_that_json_has_no_word_for_are_shown_as_text(desk: Desk) -> None:
    desk.put(5, codec.encode([[float("nan"), b"raw", {1, 2}], {}]), running=True)
    assert desk.ask("active")[0]["args"] == ["nan", "b'raw'", "{1, 2}"]


def test_pickles_are_not_opened(desk: Desk) -> None:
    desk.put(5, b"cos\nsystem\n(S'false'\ntR.", running=True, content_type=codec.PICKLE)
    (task,) = desk.ask("active")
    assert "x-python-pickle, not shown" in task["args"]


@pytest.mark.parametrize("payload", [b"not json", b"[]", b"[" * 100_000, b'[["' + b"x" * 70_000 + b'"],{}]'])
def test_payloads_that_cannot_be_shown_do_not_hide_the_task(desk: Desk, payload: bytes) -> None:
    desk.put(5, payload, running=True)
    (task,) = desk.ask("active")
    assert task["name"] == "t.add"
    assert str(len(payload)) in task["args"]


def test_registered_scheduled_conf(desk: Desk) -> None:
    assert desk.ask("registered") == ["t.add", "t.nap"]
    assert desk.ask("scheduled") == []
    assert desk.ask("revoked") == []
    assert "worker w1 on" in desk.ask("report")["ok"]
    assert desk.ask("conf") == {"timezone": "UTC"}


def test_queues_are_added_and_cancelled(desk: Desk) -> None:
    assert desk.ask("add_consumer", queue="extra") == {"ok": "add consumer extra"}
    assert desk.ask("active_queues") == [{"name": "default", "weight": 1}, {"name": "extra", "weight": 1}]
    assert "already" in desk.ask("add_consumer", queue="extra")["ok"]
    assert desk.woken == 1
    assert desk.ask("cancel_consumer", queue="default") == {"ok": "no longer consuming from default"}
    message = desk.session.next_message()
    assert message is not None
    assert list(message.queues) == ["extra"]


def test_stats(desk: Desk) -> None:
    figures = desk.ask("stats")
    assert figures["uptime"] == 60
    assert figures["pool"] == {"implementation": "fake", "max-concurrency": 2, "processes": [77], "timeouts": [0, 0]}
    assert figures["total"] == {"t.add": 5}
    assert figures["executor"]["processes"] == [{"pid": 77}]
    assert figures["capacity"] == 2
    assert figures["session"] == {"draining": False, "unacknowledged": 0, "queues": ["default"]}
    assert figures["rusage"]["maxrss"] > 0


def test_query_task_finds_what_is_held_and_leaves_out_the_rest(desk: Desk) -> None:
    desk.put(5, b"[[],{}]", running=True, id="a")
    desk.put(6, b"[[],{}]", id="b")
    found = desk.ask("query_task", ids=["a", "b", "c"])
    assert {task: state for task, (state, _) in found.items()} == {"a": "active", "b": "reserved"}


def test_shutdown_answers_and_begins(desk: Desk) -> None:
    assert desk.ask("shutdown") == {"ok": "shutting down"}
    assert desk.asked_to_leave == 1


def test_an_unknown_command_names_those_there_are(desk: Desk) -> None:
    text = desk.error("explode")
    assert "'explode'" in text
    assert "ping" in text


@pytest.mark.parametrize(
    ("command", "data"),
    [
        ("ping", b"{"),
        ("ping", b"[1]"),
        ("ping", b"\xff"),
        ("add_consumer", b"{}"),
        ("add_consumer", b'{"queue": 3}'),
        ("add_consumer", b'{"queue": ""}'),
        ("cancel_consumer", json.dumps({"queue": "q" * (limits.NAME_LIMIT + 1)}).encode()),
        ("query_task", b'{"ids": "a"}'),
    ],
)
def test_bad_arguments_are_an_error_that_says_what_is_taken(desk: Desk, command: str, data: bytes) -> None:
    assert desk.error(command, data)
    assert desk.session.queues == ("default",)


def test_a_handler_that_raises_is_an_error_reply(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no figures")

    monkeypatch.setattr(desk.executor, "stats", broken)
    assert "RuntimeError: no figures" in desk.error("stats")


def test_a_reply_that_fits_no_message_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.executor, "stats", lambda: {"huge": "x" * (limits.PAYLOAD_LIMIT + 1)})
    assert "at most" in desk.error("stats")
