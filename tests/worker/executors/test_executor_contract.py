"""What every executor must do, with tasks that are functions and with tasks that are coroutines."""

import json

import pytest
from tests.worker.executors.executor_kit import Gate, Running, Start

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import Ended, ExecutorError
from grpcflow_worker.executors import KINDS, create
from grpcflow_worker.executors.frames import FrameReader


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["executor_sample", "executor_async"], ids=["functions", "coroutines"])
def sample(request: pytest.FixtureRequest) -> str:
    """The app: the same tasks, written in two ways."""
    return str(request.param)


@pytest.fixture
async def one(kind: str, sample: str, start: Start) -> Running:
    """An executor with one place."""
    return await start(kind, concurrency=1, app=sample)


def failure_of(end: Ended) -> value_pb2.Failure:
    assert end.failure, end
    return value_pb2.Failure.FromString(end.failure)


def data(value: object) -> bytes:
    return value_pb2.Value(data=json.dumps(value).encode()).SerializeToString()


# --- ends ----------------------------------------------------------------------------------------------------


async def test_start_says_what_is_registered_and_how_the_app_is_set(one: Running) -> None:
    assert f"{one.app}.add" in one.registered.tasks
    assert one.registered.conf["task_default_queue"] == "sample"
    assert one.registered.conf["addresses"]
    assert one.registered.warnings == ()


async def test_each_of_many_calls_ends_once_with_its_own_value(kind: str, sample: str, start: Start) -> None:
    running = await start(kind, concurrency=2, app=sample)
    tokens = [
        token for base in range(0, 1000, 250) for token in running.put_many("add", [(base + i, 1) for i in range(250)])
    ]
    await running.heard.all_of(tokens)
    assert [running.heard.value(token) for token in tokens] == [i + 1 for i in range(1000)]
    assert running.executor.idle()
    assert running.executor.capacity() >= 2


async def test_an_exception_is_a_failure_with_its_traceback(one: Running) -> None:
    failure = failure_of(await one.end("fail", "no funds"))
    assert (failure.type_name, failure.module, failure.message) == ("ValueError", "builtins", "no funds")
    assert f"{one.app}.py" in failure.traceback
    assert await one.get("add", 1, 2) == 3


@pytest.mark.parametrize(("how", "name"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
async def test_leaving_the_interpreter_is_a_failure_of_the_task_only(one: Running, how: str, name: str) -> None:
    pid = (await one.get("where"))[0]
    assert failure_of(await one.end("leave", how)).type_name == name
    assert (await one.get("where"))[0] == pid


async def test_retry_carries_the_delay_the_reason_and_new_arguments(one: Running) -> None:
    end = await one.end("again", 1)
    assert (end.kind, end.countdown_ms) == ("retry", 1500)
    assert json.loads(end.data) == [[2], {}]
    assert failure_of(end).message == "later"
    assert await one.get("again", 1, 5, retries=1) == 6


async def test_retry_without_new_arguments_sends_none(one: Running) -> None:
    end = await one.end("again_as_it_is", 1)
    assert (end.kind, end.countdown_ms, end.data) == ("retry", 0, b"")


async def test_ignore_and_reject_steer_the_end(one: Running) -> None:
    assert (await one.end("ignored")).kind == "ignored"
    end = await one.end("rejected", True)
    assert (end.kind, end.requeue) == ("rejected", True)
    end = await one.end("rejected", False)
    assert (end.requeue, failure_of(end).message) == (False, "not mine")


async def test_an_unknown_task_fails_with_a_code_and_a_cure(one: Running) -> None:
    failure = failure_of(await one.end("nobody"))
    assert failure.reason == "UNREGISTERED"
    assert "include" in failure.message


async def test_a_value_that_cannot_travel_is_a_failure_that_names_the_task(one: Running) -> None:
    failure = failure_of(await one.end("unsendable"))
    assert failure.type_name == "SerializationError"
    assert f"{one.app}.unsendable" in failure.message


async def test_values_up_to_the_limit_pass_and_one_byte_more_fails(kind: str, sample: str, start: Start) -> None:
    running = await start(kind, concurrency=1, app=sample, payload_limit=300_000)
    for length in (299_999, 300_000):
        assert len(await running.get("text", length - 2)) == length - 2
    failure = failure_of(await running.end("text", 299_999))
    assert failure.reason == "TOO_LARGE"
    assert "300,001" in failure.message
    assert "300,000" in failure.message


async def test_a_payload_that_is_no_call_is_a_failure(one: Running) -> None:
    from grpcflow_worker.executor import Call, CallRun

    one.executor.put(CallRun(Call(f"{one.app}.add"), b"g" * 12, 0, 7, [b'{"no": "call"}']))
    await one.heard.all_of([7])
    assert failure_of(one.heard.ends[7]).type_name == "SerializationError"


async def test_wrong_arguments_are_the_functions_own_type_error(one: Running) -> None:
    assert failure_of(await one.end("add", 1)).type_name == "TypeError"


async def test_an_ignored_value_is_dropped(one: Running) -> None:
    token = one.put("add", 1, 2, ignore_result=True)
    await one.heard.all_of([token])
    assert one.heard.data[token] == b""


# --- what a call is given -------------------------------------------------------------------------------------


async def test_inputs_are_put_in_front_one_after_the_other(one: Running) -> None:
    both = value_pb2.Value(list=value_pb2.ValueList(values=[value_pb2.Value(data=b"1"), value_pb2.Value(data=b"2")]))
    assert await one.get("listed", 9, inputs=[data("a"), both.SerializeToString()]) == [[1, 2], "a", 9]


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ("errback_id", ["id", "the-id"]),
        ("errback_bound", ["bound", "the-id", None, None]),
        ("errback_three", ["three", "the-id", "ValueError('no')", "the traceback"]),
    ],
)
async def test_an_errback_is_told_what_it_can_take(one: Running, task: str, value: list[object]) -> None:
    failure = value_pb2.Failure(
        type_name="ValueError", module="builtins", message="no", args=b'["no"]', traceback="the traceback"
    )
    failed = value_pb2.Value(failed=value_pb2.FailedNode(id="the-id", failure=failure))
    assert await one.get(task, inputs=[failed.SerializeToString()]) == value


async def test_map_and_starmap_run_the_task_on_each_item(one: Running) -> None:
    assert await one.get("listed", [1, 2], headers=b'{"via": "map"}') == [[1], [2]]
    assert await one.get("add", [[1, 2], [3, 4]], headers=b'{"via": "starmap"}') == [3, 7]
    assert failure_of(await one.end("add", [1], headers=b'{"via": "magic"}')).type_name == "GrpcflowError"


async def test_a_task_sees_its_request(one: Running) -> None:
    seen = await one.get(
        "request", queue="hi", priority=7, parent_id="p", losses=1, retries=2, headers=b'{"k": "v"}', id="mine"
    )
    assert seen == {
        "id": "mine",
        "task": f"{one.app}.request",
        "root_id": "mine",
        "parent_id": "p",
        "retries": 2,
        "losses": 1,
        "hostname": "w@test",
        "headers": {"k": "v"},
        "delivery_info": {"exchange": "", "routing_key": "hi", "queue": "hi", "priority": 7, "redelivered": True},
        "args": [],
        "called_directly": False,
    }
    assert (await one.get("request"))["id"].startswith("00010203-0405-0607-0809-0a0b0000")


async def test_waiting_for_results_is_marked_as_denied_inside_a_task(one: Running) -> None:
    assert (await one.get("where"))[1] is True


async def test_a_start_is_told_where_it_is_asked_for(one: Running, gate: Gate) -> None:
    token = one.put("wait_at", gate.port, "a", track_started=True)
    await one.heard.until(lambda: one.heard.begun == [token])
    gate.open(await gate.arrival())
    await one.heard.all_of([token])


# --- what the supervisor asks ---------------------------------------------------------------------------------


async def test_what_runs_and_what_waits_can_be_seen(one: Running, gate: Gate) -> None:
    first = one.put("wait_at", gate.port, "a")
    others = one.put_many("add", [(1, 1), (2, 2)])
    name = await gate.arrival()
    (running,) = one.executor.running()
    assert (running.token, running.run.call.task) == (first, f"{one.app}.wait_at")
    assert running.pid > 0
    assert [waiting.token for waiting in one.executor.waiting()] == others
    assert [waiting.token for waiting in one.executor.waiting(limit=1)] == others[:1]
    assert one.executor.held() == 3
    assert not one.executor.idle()
    assert one.executor.stats()["held"] == 3
    gate.open(name)
    await one.heard.all_of([first, *others])
    assert one.executor.idle()


async def test_what_waits_can_be_taken_back_and_what_runs_cannot(one: Running, gate: Gate) -> None:
    first = one.put("wait_at", gate.port, "a")
    others = one.put_many("add", [(1, 1), (2, 2), (3, 3)])
    name = await gate.arrival()
    one.executor.take_back([first, others[1], 12345])
    await one.heard.all_of([others[1]])
    assert one.heard.ends[others[1]].kind == "returned"
    gate.open(name)
    await one.heard.all_of([first, others[0], others[2]])
    assert one.heard.value(first) == "go"
    assert one.heard.value(others[2]) == 6


async def test_the_last_come_are_taken_back_first(one: Running, gate: Gate) -> None:
    first = one.put("wait_at", gate.port, "a")
    others = one.put_many("add", [(1, 1), (2, 2), (3, 3)])
    name = await gate.arrival()
    one.executor.take_back_waiting(keep=1)
    await one.heard.all_of(others[1:])
    assert [one.heard.ends[token].kind for token in others[1:]] == ["returned", "returned"]
    gate.open(name)
    await one.heard.all_of([first, others[0]])
    assert one.heard.value(others[0]) == 2


async def test_stopping_what_has_not_started_revokes_it(one: Running, gate: Gate) -> None:
    first = one.put("wait_at", gate.port, "a")
    waiting, silent = one.put_many("add", [(1, 1), (2, 2)])
    name = await gate.arrival()
    assert one.executor.stop(first) is True  # it runs, and no signal was named
    assert one.executor.stop(waiting, "SIGTERM") is True
    assert one.executor.forget(silent) is True
    assert one.executor.stop(12345, "SIGTERM") is False
    with pytest.raises(ValueError, match="SIGNONSENSE"):
        one.executor.stop(waiting, "SIGNONSENSE")
    await one.heard.all_of([waiting])
    assert one.heard.ends[waiting].kind == "revoked"
    gate.open(name)
    await one.heard.all_of([first])
    assert one.heard.value(first) == "go"
    assert await one.get("add", 1, 1) == 2
    assert silent not in one.heard.ends
    assert one.executor.idle()


async def test_draining_hands_back_what_waits_and_finishes_what_runs(one: Running, gate: Gate) -> None:
    import asyncio

    first = one.put("wait_at", gate.port, "a")
    others = one.put_many("add", [(1, 1), (2, 2)])
    name = await gate.arrival()
    closing = asyncio.create_task(one.close(drain=True, deadline=20))
    await one.heard.all_of(others)
    assert {one.heard.ends[token].kind for token in others} == {"returned"}
    gate.open(name)
    await closing
    assert one.heard.value(first) == "go"


async def test_what_still_runs_at_the_deadline_is_lost(one: Running, gate: Gate) -> None:
    first = one.put("wait_at", gate.port, "a")
    waiting = one.put("add", 1, 1)
    await gate.arrival()
    await one.close(drain=True, deadline=0.05)
    assert one.heard.ends[first].kind == "lost"
    assert one.heard.ends[first].message
    assert one.heard.ends[waiting].kind == "returned"


async def test_an_app_that_cannot_be_imported_is_said_with_its_traceback(kind: str, start: Start) -> None:
    with pytest.raises(ExecutorError, match="broken on purpose"):
        await start(kind, app="executor_broken")


async def test_an_app_that_is_not_there_is_said(kind: str, start: Start) -> None:
    with pytest.raises(ExecutorError, match="no_such_module_anywhere"):
        await start(kind, app="no_such_module_anywhere")


def test_an_unknown_executor_is_refused_with_the_names_there_are() -> None:
    from grpcflow_worker.executor import ExecutorSettings

    with pytest.raises(ExecutorError, match="prefork, threads, solo, asyncio"):
        create("fibers", ExecutorSettings())


def test_frames_come_out_whole_wherever_the_stream_is_cut() -> None:
    stream = b"".join(len(body).to_bytes(4, "little") + body for body in (b"one", b"", b"x" * 300))
    for cut in range(len(stream)):
        reader = FrameReader()
        assert reader.feed(stream[:cut]) + reader.feed(stream[cut:]) == [b"one", b"", b"x" * 300]
