"""One attempt in a worker, in process: its request, its handlers, signals and log lines, and how it ends."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from grpcflow import Grpcflow, Task, codec, current_task, errors, signals
from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import Call, CallRun, Ended
from grpcflow_worker.invoke import Invoker

GRAPH = bytes(range(12))
JOIN = GRAPH + (7).to_bytes(4, "big")
JOIN_ID = "00010203-0405-0607-0809-0a0b00000007"

app = Grpcflow("invoked", set_as_current=False)


class Heard(Task[..., Any]):
    """Notes which of its handlers are called, and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.broken = ""

    def note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if self.broken == name:
            raise SystemExit(f"{name} is broken")

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.note("before_start", task_id, args, kwargs)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.note("on_success", retval, task_id, args, kwargs)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.note("on_failure", repr(exc), task_id, args, kwargs, einfo.type, "Traceback" in str(einfo))

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.note("on_retry", repr(exc), task_id, args, kwargs, einfo.exception is exc)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.note("after_return", status, repr(retval), task_id, args, kwargs, einfo is None)


def act(self: Any, what: str, value: Any = None) -> Any:
    if what == "fail":
        raise ValueError(value)
    if what == "retry":
        raise self.retry(exc=KeyError(value), countdown=2)
    if what == "be too late":
        raise errors.StaleAttempt("another attempt goes on")
    if what == "ignore":
        raise errors.Ignore
    if what == "reject":
        raise errors.Reject("no", requeue=False)
    return object() if what == "unsendable" else value


heard: Any = app.task(base=Heard, bind=True, name="heard", throws=(LookupError,))(act)
plain: Any = app.task(bind=True, name="plain", throws=(LookupError,), max_retries=1)(act)


@app.task(bind=True, name="request")
def request(self: Any, *names: str) -> list[Any]:
    return [getattr(self.request, name) for name in names]


def invoke(
    name: str, *args: Any, run: dict[str, Any] | None = None, progress: Any = None, **call: Any
) -> bytes | Ended:
    """Run one attempt of a task with these arguments; `run` and `call` are more fields of the two messages."""
    invoker = Invoker(app, hostname="w1", progress=progress)
    described = CallRun(
        call=Call(task=name, **call),
        graph=GRAPH,
        first=3,
        token=40,
        payloads=[codec.encode_call(args, {})],
        **(run or {}),
    )
    return invoker.bind(described)(0)


def value(end: bytes | Ended) -> Any:
    assert isinstance(end, bytes), value_pb2.Failure.FromString(end.failure)
    return codec.decode(end)


def ended(end: bytes | Ended) -> Ended:
    assert isinstance(end, Ended)
    return end


def failure(end: bytes | Ended) -> value_pb2.Failure:
    return value_pb2.Failure.FromString(ended(end).failure)


ID = "00010203-0405-0607-0809-0a0b00000003"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    heard.calls.clear()
    heard.broken = ""
    yield
    heard.broken = ""


# --- the request -----------------------------------------------------------------------------------------------


def test_a_request_has_the_fields_of_its_call() -> None:
    headers = {"mine": 1, "stamps": {"tenant": ["a"]}, "shadow": "shown", "origin": "me", "reply_to": "there"}
    fields = {
        "id": ID,
        "task": "request",
        "root_id": "the-root",
        "parent_id": "the-parent",
        "group": JOIN_ID,
        "group_index": 5,
        "chord": JOIN_ID,
        "chain": None,
        "callbacks": None,
        "errbacks": None,
        "retries": 2,
        "losses": 1,
        "time_limit": 9.0,
        "soft_time_limit": 4.0,
        "timelimit": [9.0, 4.0],
        "hostname": "w1",
        "headers": {"mine": 1},
        "properties": {},
        "reply_to": "there",
        "correlation_id": ID,
        "origin": "me",
        "shadow": "shown",
        "called_directly": False,
        "is_eager": False,
        "ignore_result": False,
        "replaced_task_nesting": 2,
        "stamps": {"tenant": ["a"]},
        "stamped_headers": ["tenant"],
        "utc": True,
        "logfile": None,
        "loglevel": None,
        "children": [],
        "kwargs": {},
        "kwargsrepr": "{}",
        "delivery_info": {"exchange": "", "routing_key": "q", "queue": "q", "priority": 4, "redelivered": True},
    }
    run = {"retries": 2, "losses": 1, "group": JOIN, "group_index": 5, "in_chord": True}
    end = invoke(
        "request",
        *fields,
        run=run,
        headers=codec.encode(headers),
        parent_id="the-parent",
        root_id="the-root",
        time_limit=9.0,
        soft_time_limit=4.0,
        replaced_nesting=2,
        queue="q",
        priority=4,
    )
    assert dict(zip(fields, value(end), strict=True)) == fields
    assert value(invoke("request", "args", "argsrepr"))[0] == ["args", "argsrepr"]


def test_a_call_in_no_group_and_without_limits_says_so() -> None:
    names = ("group", "group_index", "chord", "time_limit", "soft_time_limit", "eta", "expires", "parent_id", "stamps")
    assert value(invoke("request", *names)) == [None] * 8 + [{}]
    assert value(invoke("request", "root_id")) == [f"{ID[:-1]}0"], "the first call of its graph"


def test_progress_goes_to_the_worker_with_the_token_of_the_attempt() -> None:
    told: list[Any] = []

    @app.task(bind=True, name="progressing")
    def progressing(self: Any) -> str:
        self.update_state(state="PROGRESS", meta={"done": 3})
        return str(current_task.name)

    end = invoke("progressing", progress=lambda *report: told.append(report))
    assert value(end) == "progressing"
    assert told == [(40, "PROGRESS", b'{"done":3}', codec.JSON)]


def test_a_failure_is_kept_where_the_value_is_not_wanted() -> None:
    assert invoke("plain", "give", "v", ignore_result=True) == b""
    assert failure(invoke("plain", "fail", "bad", ignore_result=True)).message == "bad"


# --- handlers --------------------------------------------------------------------------------------------------


def test_handlers_of_success_come_in_order() -> None:
    assert value(invoke("heard", "give", 5)) == 5
    details: tuple[Any, ...] = (ID, ["give", 5], {})
    assert heard.calls == [
        ("before_start", *details),
        ("on_success", 5, *details),
        ("after_return", "SUCCESS", "5", *details, True),
    ]


def test_handlers_of_a_failure_get_the_exception_and_its_traceback() -> None:
    assert failure(invoke("heard", "fail", "bad")).type_name == "ValueError"
    details: tuple[Any, ...] = (ID, ["fail", "bad"], {})
    assert heard.calls[1:] == [
        ("on_failure", "ValueError('bad')", *details, ValueError, True),
        ("after_return", "FAILURE", "ValueError('bad')", *details, False),
    ]


def test_handlers_of_a_retry_get_what_led_to_it() -> None:
    end = ended(invoke("heard", "retry", "gone"))
    assert (end.kind, end.countdown_ms) == ("retry", 2000)
    assert heard.calls[1] == ("on_retry", "KeyError('gone')", ID, ["retry", "gone"], {}, True)
    assert heard.calls[2][:2] == ("after_return", "RETRY")
    assert heard.calls[2][2].startswith("Retry(")


def test_an_attempt_that_came_too_late_to_be_replaced_is_lost_and_has_not_failed() -> None:
    end = ended(invoke("heard", "be too late"))
    assert (end.kind, end.message, end.failure) == ("lost", "another attempt goes on", b"")
    assert [call[0] for call in heard.calls] == ["before_start"]


def test_a_call_that_goes_on_elsewhere_is_not_logged_as_ignored_and_its_loss_is_still_to_be_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "grpcflow.trace")
    end = ended(invoke("plain", "be too late"))
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert f"plain[{ID}] goes on in another attempt" in caplog.text
    assert "ignored" not in caplog.text
    assert not end.logged


@pytest.mark.parametrize(("what", "kind"), [("ignore", "ignored"), ("reject", "rejected")])
def test_what_is_ignored_or_rejected_calls_no_more_handlers(what: str, kind: str) -> None:
    assert ended(invoke("heard", what)).kind == kind
    assert [call[0] for call in heard.calls] == ["before_start"]


def test_a_value_that_cannot_travel_is_a_failure_to_the_handlers() -> None:
    assert failure(invoke("heard", "unsendable")).type_name == "SerializationError"
    assert [call[0] for call in heard.calls] == ["before_start", "on_failure", "after_return"]


@pytest.mark.parametrize(("broken", "what"), [("on_success", "give"), ("after_return", "give"), ("on_failure", "fail")])
def test_a_broken_handler_is_logged_and_the_end_stands(
    broken: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []

    def internal_error(**arguments: Any) -> None:
        told.append((arguments["task_id"], repr(arguments["exception"])))

    signals.task_internal_error.connect(internal_error)
    heard.broken = broken
    end = invoke("heard", what, "x")
    signals.task_internal_error.disconnect(internal_error)
    assert value(end) == "x" if what == "give" else failure(end).type_name == "ValueError"
    assert told == [(ID, f"SystemExit('{broken} is broken')")]
    assert "the task's own end" in caplog.text
    assert heard.calls[-1][0] == "after_return"
    assert not bool(current_task)


def test_what_before_start_raises_is_what_the_task_raised() -> None:
    heard.broken = "before_start"
    assert failure(invoke("heard", "give", 1)).type_name == "SystemExit"
    assert [call[0] for call in heard.calls] == ["before_start", "on_failure", "after_return"]


# --- signals ---------------------------------------------------------------------------------------------------


@pytest.fixture
def told() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Hears all signals of tasks."""
    heard_signals: list[tuple[str, dict[str, Any]]] = []
    names = ("prerun", "postrun", "success", "failure", "retry", "rejected", "unknown")

    def hear(**arguments: Any) -> None:
        heard_signals.append((arguments["signal"].name.removeprefix("task_"), arguments))

    for name in names:
        getattr(signals, f"task_{name}").connect(hear)
    yield heard_signals
    for name in names:
        getattr(signals, f"task_{name}").disconnect(hear)


@pytest.mark.parametrize(
    ("what", "names", "state"),
    [
        ("give", ["prerun", "success", "postrun"], "SUCCESS"),
        ("fail", ["prerun", "failure", "postrun"], "FAILURE"),
        ("retry", ["prerun", "retry", "postrun"], "RETRY"),
        ("ignore", ["prerun", "postrun"], "IGNORED"),
        ("reject", ["prerun", "rejected", "postrun"], "REJECTED"),
    ],
)
def test_signals_of_each_end(what: str, names: list[str], state: str, told: list[Any]) -> None:
    invoke("plain", what, "v")
    assert [name for name, _ in told] == names
    first, last = told[0][1], told[-1][1]
    assert (first["sender"], first["task_id"], first["task"], first["args"]) == (plain, ID, plain, [what, "v"])
    assert (last["state"], last["task_id"], last["kwargs"]) == (state, ID, {})
    if what == "give":
        assert told[1][1]["result"] == last["retval"] == "v"
    if what == "fail":
        arguments = told[1][1]
        assert repr(arguments["exception"]) == "ValueError('v')"
        assert arguments["einfo"].type is ValueError
        assert arguments["traceback"] is not None
    if what == "retry":
        assert told[1][1]["request"].id == ID
        assert isinstance(told[1][1]["reason"], errors.Retry)


def test_an_attempt_that_arrived_is_told_of_before_it_starts() -> None:
    order: list[Any] = []

    def received(sender: Any, request: Any, **_: Any) -> None:
        order.append(("received", sender.hostname, request.id, request.args))

    def prerun(task_id: str, **_: Any) -> None:
        order.append(("prerun", task_id))

    signals.task_received.connect(received)
    signals.task_prerun.connect(prerun)
    try:
        assert value(invoke("plain", "give", 1)) == 1
    finally:
        signals.task_received.disconnect(received)
        signals.task_prerun.disconnect(prerun)
    assert order == [("received", "w1", ID, ["give", 1]), ("prerun", ID)]


@pytest.mark.parametrize(
    ("name", "what"), [("success", "give"), ("failure", "fail"), ("retry", "retry"), ("rejected", "reject")]
)
def test_a_receiver_that_leaves_ends_neither_the_task_nor_its_process(
    name: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    def leaves(**_: Any) -> None:
        raise SystemExit(3)

    heard_by = (getattr(signals, f"task_{name}"), signals.task_postrun)
    for signal in heard_by:
        signal.connect(leaves)
    end = invoke("plain", what, "x")
    for signal in heard_by:
        signal.disconnect(leaves)
    assert value(end) == "x" if what == "give" else isinstance(end, Ended) and end.kind in (name, "failure")
    assert caplog.text.count("the task's own end") == 2
    assert not bool(current_task)


@pytest.mark.parametrize(
    ("signal", "task", "kind"),
    [
        (signals.task_received, "plain", "value"),
        (signals.task_unknown, "nowhere", "NotRegistered"),
        (signals.task_prerun, "plain", "SystemExit"),
    ],
)
def test_a_receiver_that_leaves_before_the_task_runs(signal: signals.Signal, task: str, kind: str) -> None:
    def leaves(**_: Any) -> None:
        raise SystemExit(3)

    signal.connect(leaves)
    end = invoke(task, "give", "x")
    signal.disconnect(leaves)
    assert value(end) == "x" if kind == "value" else failure(end).type_name == kind
    assert not bool(current_task)


def test_what_earlier_steps_hand_over_is_read_as_result_accept_content_says() -> None:
    packed = value_pb2.Value(data=codec.encode(5, "application/msgpack"), content_type="application/msgpack")
    run = {"inputs": (packed.SerializeToString(),)}
    app.conf.result_accept_content = ["json"]
    try:
        assert failure(invoke("plain", run=run)).type_name == "ContentDisallowed"
        app.conf.update(accept_content=["json"], result_accept_content=["msgpack"])
        assert isinstance(invoke("plain", run=run), bytes)
    finally:
        app.conf.update(accept_content=["json", "msgpack"], result_accept_content=None)


def test_a_task_that_nobody_registered_is_told_of(told: list[Any]) -> None:
    assert failure(invoke("nowhere")).reason == "UNREGISTERED"
    assert [(name, arguments["name"], arguments["id"]) for name, arguments in told] == [("unknown", "nowhere", ID)]


# --- the log ---------------------------------------------------------------------------------------------------


def test_a_failure_is_logged_with_its_traceback_and_an_expected_one_without(caplog: pytest.LogCaptureFixture) -> None:
    end = invoke("plain", "fail", "bad")
    assert isinstance(end, Ended)
    assert end.logged, "so that the supervisor need not"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"plain[{ID}] failed: ValueError('bad')" in caplog.text
    assert "Traceback" in caplog.text
    caplog.clear()
    caplog.set_level(logging.INFO, "grpcflow.trace")
    plain.max_retries = 0
    assert failure(invoke("plain", "retry", "gone")).type_name == "KeyError"
    plain.max_retries = 1
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "KeyError('gone')" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_success_is_logged_at_info_with_its_time(caplog: pytest.LogCaptureFixture) -> None:
    invoke("plain", "give", "v")
    assert not caplog.records
    caplog.set_level(logging.INFO, "grpcflow.trace")
    invoke("plain", "give", "v" * 5000)
    assert f"plain[{ID}] succeeded after 0." in caplog.text
    assert len(caplog.text) < 2000


def test_a_call_that_cannot_be_read_fails_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    run = CallRun(call=Call(task="plain"), graph=GRAPH, first=3, token=40, payloads=[b"{"])
    end = Invoker(app, hostname="w1").bind(run)(0)
    assert failure(end).type_name == "SerializationError"
    assert isinstance(end, Ended)
    assert (end.logged, len(caplog.records)) == (True, 1)
    assert f"plain[{ID}] failed" in caplog.text


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_an_end_that_this_log_does_not_show_is_left_to_the_supervisor(
    level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "grpcflow.trace")
    end = invoke("plain", "retry", "again")
    assert isinstance(end, Ended)
    assert end.kind == "retry"
    assert end.logged is (level == logging.INFO) is bool(caplog.records)
    unknown = invoke("nowhere")
    assert isinstance(unknown, Ended)
    assert not unknown.logged


def test_an_exception_whose_text_fails_is_still_a_failure() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit

        __repr__ = __str__

    @app.task(name="mute")
    def mute() -> None:
        raise Mute

    assert failure(invoke("mute")).type_name.endswith("Mute")


# --- errbacks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "styles"), [((), 3), ((1,), 1)])
def test_an_errback_is_told_three_things_where_it_can_take_them(stored: tuple[Any, ...], styles: int) -> None:
    @app.task(name="errback")
    def errback(first: Any, second: Any = None, third: Any = None) -> int:
        return 1 if isinstance(first, str) else 3

    failed = value_pb2.FailedNode(id="the-failed", failure=value_pb2.Failure(type_name="ValueError", module="builtins"))
    run = {"inputs": (value_pb2.Value(failed=failed).SerializeToString(),)}
    assert value(invoke("errback", *stored, run=run)) == styles
