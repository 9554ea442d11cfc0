"""What a worker tells of itself, time limits that a command changes, and commands of its app, without any process."""

import json
from typing import Any

import pytest
from tests.worker.worker_fakes import GRAPH, FakeExecutor, make_session, welcome

from grpcflow import Grpcflow
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.app_commands import CommandBook, declared
from grpcflow_worker.control import Control, Facts
from grpcflow_worker.executor import Call, CallRun, Registered
from grpcflow_worker.facts import described
from grpcflow_worker.session import Session
from grpcflow_worker.told import censored

app = Grpcflow("told", set_as_current=False)


@app.task(name="t.add", rate_limit="10/m", time_limit=30)
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="t.nap")
def nap() -> None:
    return None


@app.inspect_command(args=[("n", int), ("ratio", float)], help="How large.")
def cache(state: Any, n: int, ratio: float = 0.5) -> None:
    return None


@app.control_command(variadic="keys", default_timeout=2.5, visible=False)
def evict(state: Any, keys: list[str]) -> None:
    return None


CONF: dict[str, Any] = {
    "addresses": ["127.0.0.1:50551"],
    "timezone": "UTC",
    "enable_utc": True,
    "was_set": ["timezone", "api_token", "hook"],
    "api_token": "abc",
    "hook": {"url": "https://me:word@example.com", "password": "x", "deep": [{"secret": "y"}, "https://a:b@c/d"]},
}


class Desk:
    """A worker's control, with what it speaks of."""

    def __init__(self) -> None:
        self.executor = FakeExecutor()
        self.session: Session = make_session()
        self.session.hello()
        self.session.received(welcome(), 0.0)
        conf = CONF | {"commands": declared(app), "described": described(app)}
        registered = Registered(("t.nap", "t.add"), conf)
        facts = Facts(
            session=self.session,
            executor=self.executor,
            registered=registered,
            shutdown=lambda: None,
            wake=lambda: None,
        )
        self.control = Control(facts)

    def ask(self, command: str, **arguments: Any) -> tuple[Any, str]:
        """Return reply and error of a command, which is answered at once."""
        self.control.take(pb.ControlCommand(id=3, command=command, arguments=json.dumps(arguments).encode()))
        return self.answered()

    def answered(self) -> tuple[Any, str]:
        """Return what was answered last."""
        message = self.session.next_message()
        assert message is not None
        [reply] = message.replies
        assert reply.id == 3
        return json.loads(reply.reply or b"null"), reply.error


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_settings_are_told_as_they_were_set_and_secrets_are_not(desk: Desk) -> None:
    told, _ = desk.ask("conf")
    assert told == {
        "timezone": "UTC",
        "api_token": "********",
        "hook": {
            "url": "https://********@example.com",
            "password": "********",
            "deep": [{"secret": "********"}, "https://********@c/d"],
        },
    }
    assert set(desk.ask("conf", with_defaults=True)[0]) == {"timezone", "enable_utc", "api_token", "hook"}
    assert censored("task_default_routing", "plain") == "plain"


def test_tasks_are_told_with_what_is_asked_of_them(desk: Desk) -> None:
    assert desk.ask("registered") == (["t.add [rate_limit=10/m]", "t.nap"], "")
    assert desk.ask("registered", attrs=["time_limit", "nothing"])[0] == ["t.add [time_limit=30]", "t.nap"]
    assert "attrs" in desk.ask("registered", attrs="time_limit")[1]


def test_small_questions(desk: Desk) -> None:
    clock = desk.ask("clock")[0]["clock"]
    assert desk.ask("clock")[0]["clock"] > clock
    assert float(desk.ask("memsample")[0].removesuffix("MB")) > 1
    assert "no switch" in desk.ask("enable_events")[0]["ok"] == desk.ask("disable_events")[0]["ok"]
    assert desk.ask("heartbeat") == ({"ok": "heartbeat sent"}, "")
    figures = desk.ask("stats")[0]
    assert figures["broker"] == {"transport": "grpc", "hostname": "127.0.0.1:50551"}
    assert {"clock", "uptime", "pid", "pool", "prefetch_count", "rusage", "total"} <= set(figures)


def test_time_limits_that_were_changed_hold_for_what_comes_from_then_on(desk: Desk) -> None:
    call = Call("t.add", time_limit=30.0)
    before = CallRun(call=call, graph=GRAPH, first=0, token=1, payloads=[b""])
    desk.control.overrides.apply([before])
    assert before.call is call
    assert desk.ask("time_limit", task_name="t.add", soft=2, hard=5) == ({"ok": "time limits set successfully"}, "")
    runs = [CallRun(call=each, graph=GRAPH, first=0, token=2, payloads=[b""]) for each in (call, Call("t.nap"))]
    desk.control.overrides.apply(runs)
    assert [(one.call.time_limit, one.call.soft_time_limit) for one in runs] == [(5, 2), (None, None)]
    desk.ask("time_limit", task_name="t.add")
    desk.control.overrides.apply(runs)
    assert (runs[0].call.time_limit, runs[0].call.soft_time_limit) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"task_name": "t.ad", "soft": 1}, "did you mean 't.add'?"),
        ({"task_name": "t.add", "soft": 5, "hard": 1}, "above the hard one"),
        ({"task_name": "t.add", "soft": 0}, "above 0"),
        ({"task_name": "t.add", "soft": True}, "above 0"),
        ({"soft": 1}, "task_name"),
    ],
)
def test_time_limits_that_cannot_be_are_refused(desk: Desk, arguments: dict[str, Any], said: str) -> None:
    assert said in desk.ask("time_limit", **arguments)[1]


def test_a_command_of_the_app_goes_to_where_the_app_is_and_is_answered_later(desk: Desk) -> None:
    desk.control.take(pb.ControlCommand(id=3, command="cache", arguments=b'{"n": 2}'))
    [(name, data, told)] = desk.executor.asked
    assert (name, json.loads(data)) == ("cache", {"n": 2})
    told(b'{"size": 7}', "")
    assert desk.answered() == ({"size": 7}, "")


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("cache", {}, "n missing"),
        ("cache", {"n": "2"}, "type int, not str"),
        ("cache", {"n": True}, "type int, not bool"),
        ("cache", {"n": 1, "ratoi": 2}, "did you mean 'ratio'?"),
        ("cache", {"n": 1, "ratio": "x"}, "type float"),
        ("evict", {"keys": "a"}, "type list"),
        ("evict", {"x": 1}, "no argument 'x'"),
    ],
)
def test_arguments_that_a_command_does_not_take_reach_no_handler(
    desk: Desk, command: str, arguments: dict[str, Any], said: str
) -> None:
    assert said in desk.ask(command, **arguments)[1]
    assert desk.executor.asked == []


def test_a_hello_says_which_commands_there_are() -> None:
    cached, evicts = CommandBook(declared(app)).messages()
    assert (cached.name, cached.control, cached.help) == ("cache", False, "How large.")
    assert [(one.name, one.type, one.optional) for one in cached.arguments] == [
        ("n", "int", False),
        ("ratio", "float", True),
    ]
    assert (evicts.name, evicts.control, evicts.variadic) == ("evict", True, "keys")
    assert [(one.default_timeout_ms, one.hidden) for one in (cached, evicts)] == [(1_000, False), (2_500, True)]


def test_a_command_that_cannot_be_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="no argument 'm'"):
        app.inspect_command(args=[("m", int)])(lambda state, n: None)
    with pytest.raises(TypeError, match="no state"):
        app.inspect_command(lambda: None)
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        app.control_command(name="x" * 300)(lambda state: None)
    with pytest.raises(ValueError, match="default_timeout"):
        app.control_command(default_timeout=0)(lambda state: None)
