"""What every executor must do, be its tasks functions or coroutines: how calls end, what they are given, what is asked.

None of these tests leaves a trace in an executor, so all of a kind share one, and the loop that it lives on.
"""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.worker.executors.executor_kit import APPS, Gate, Running, failure_of, finish, open_gate, start_one

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executors import KINDS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["executor_sample", "executor_async"], ids=["functions", "coroutines"])
def sample(request: pytest.FixtureRequest) -> str:
    """The app: the same tasks, written in two ways."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(kind: str, sample: str) -> AsyncIterator[Running]:
    """An executor with one place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APPS))
        running = await start_one(kind, concurrency=1, app=sample)
        yield running
        await finish(running)


@pytest_asyncio.fixture(loop_scope="module")
async def gate() -> AsyncIterator[Gate]:
    """A gate for `wait_at`, on the loop of the executor."""
    async with open_gate() as made:
        yield made


@pytest.fixture
def one(shared: Running) -> Iterator[Running]:
    """The same, as idle after a test as it was before."""
    assert shared.executor.idle()
    yield shared
    assert shared.executor.idle()


def data(value: object) -> bytes:
    return value_pb2.Value(data=json.dumps(value).encode()).SerializeToString()


# --- ends ----------------------------------------------------------------------------------------------------


async def test_start_says_what_is_registered_and_how_the_app_is_set(one: Running) -> None:
    assert f"{one.app}.add" in one.registered.tasks
    assert one.registered.conf["task_default_queue"] == "sample"
    assert one.registered.conf["addresses"]
    assert one.registered.warnings == ()


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
        "request", queue="hi", priority=7, parent_id="p", losses=1, retries=2, headers=b'{"k": "v"}', id="mine", first=0
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
