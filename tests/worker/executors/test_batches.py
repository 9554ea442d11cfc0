"""Batches: one call of a function with many calls, each of which keeps its own end, on every executor."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.worker.executors.executor_kit import GRAPH, Gate, Running, eventually, failure_of, finish, start_one

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.batches import Batching
from grpcflow_worker.executor import Call, CallRun
from grpcflow_worker.executors import KINDS

Begin = Callable[..., Awaitable[Running]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["", "_async"], ids=["function", "coroutine"])
def form(request: pytest.FixtureRequest) -> str:
    """What the names of tasks end with."""
    return str(request.param)


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    """Starts an executor that takes batches apart."""
    started: list[Running] = []

    async def make(kind: str, concurrency: int = 1, **settings: Any) -> Running:
        running = await start_one(kind, batching=True, app="executor_batches", concurrency=concurrency, **settings)
        started.append(running)
        return running

    yield make
    for running in started:
        await finish(running)
        assert running.executor.idle()
        assert running.executor.held() == 0


def put(running: Running, name: str, calls: Sequence[Sequence[Any]], base: int = 1 << 40, **options: Any) -> list[int]:
    """Puts a batch whose calls come as two runs, as when they are of two graphs; returns the tokens."""
    payloads = [json.dumps([list(args), {}]).encode() for args in calls]
    half = (len(calls) + 1) // 2
    parts = [(base, payloads[:half]), (base + 10_000, payloads[half:])]
    of_run = {key: options.pop(key) for key in ("id", "retries", "inputs") if key in options}
    runs = [
        CallRun(Call(f"executor_batches.{name}", **options), GRAPH, token & 0xFFFF, token, part, batch=base, **of_run)
        for token, part in parts
        if part
    ]
    assert isinstance(running.executor, Batching)
    running.executor.put_all(runs)
    return [run.token + offset for run in runs for offset in range(len(run.payloads))]


async def all_values(running: Running, tokens: Sequence[int]) -> list[Any]:
    await running.heard.all_of(tokens)
    return [running.heard.value(token) for token in tokens]


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_the_function_is_called_once_and_each_call_has_its_own_value(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"summed{form}", [(number, 1) for number in range(5)])
    assert await all_values(running, tokens) == [[number + 1, {}, 5] for number in range(5)]


async def test_each_call_has_its_own_failure(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"mixed{form}", [("a",), ("fail", "b"), ("ignore",), ("unsendable",), (5,)])
    await running.heard.all_of(tokens)
    assert [running.heard.value(tokens[0]), running.heard.value(tokens[4])] == ["a", 5]
    failed = failure_of(running.heard.ends[tokens[1]])
    assert (failed.type_name, failed.message) == ("ValueError", "not b")
    assert running.heard.ends[tokens[2]].kind == "ignored"
    assert failure_of(running.heard.ends[tokens[3]]).type_name == "SerializationError"


@pytest.mark.parametrize(
    ("how", "told"), [("raise", "all of them"), ("exit", "3"), ("short", "1 values"), ("text", "str")]
)
async def test_what_is_no_outcome_for_each_fails_all(begin: Begin, kind: str, form: str, how: str, told: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"wrong{form}", [(how,), (how,), (how,)])
    await running.heard.all_of(tokens)
    assert all(told in failure_of(running.heard.ends[token]).message for token in tokens)
    assert await all_values(running, put(running, f"summed{form}", [(1, 2)], base=1 << 41)) == [[3, {}, 1]]


async def test_none_is_none_for_each(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    assert await all_values(running, put(running, f"wrong{form}", [("none",)] * 3)) == [None, None, None]


async def test_a_retry_tries_each_call_again_as_it_is(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"again{form}", [(1,), (2,)])
    await running.heard.all_of(tokens)
    for token in tokens:
        end = running.heard.ends[token]
        assert (end.kind, end.countdown_ms, end.data) == ("retry", 1500, b"")
        assert failure_of(end).message == "later"
    assert await all_values(running, put(running, f"again{form}", [(1,), (2,)], base=1 << 41, retries=1)) == [1, 1]


async def test_a_call_that_cannot_be_read_is_not_given_and_fails_alone(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    call = Call(f"executor_batches.summed{form}")
    good, bad = json.dumps([[1, 2], {}]).encode(), b'{"no": "call"}'
    assert isinstance(running.executor, Batching)
    running.executor.put_all([CallRun(call, GRAPH, 0, 7, [bad, good, good], batch=7)])
    await running.heard.all_of([7, 8, 9])
    assert failure_of(running.heard.ends[7]).type_name == "SerializationError"
    assert [running.heard.value(8), running.heard.value(9)] == [[3, {}, 2]] * 2
    running.executor.put_all([CallRun(call, GRAPH, 0, 17, [bad], batch=17)])
    await running.heard.all_of([17])
    assert failure_of(running.heard.ends[17]).type_name == "SerializationError"


async def test_each_call_has_its_own_request_and_inputs(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"requests{form}", [(), ()], priority=7, retries=2)
    first, second = await all_values(running, tokens)
    assert first[0] == first[1] != second[0] == second[1]
    assert first[2:] == second[2:] == [2, 7]
    given = value_pb2.Value(data=b"5").SerializeToString()
    tokens = put(running, f"summed{form}", [(1,)], base=1 << 41, inputs=(given,), id="mine")
    assert await all_values(running, tokens) == [[6, {}, 1]]


async def test_items_of_a_mapped_call_are_calls_of_the_batch(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"summed{form}", [[[[1, 2], [3, 4]]], [[]]], headers=b'{"via": "starmap"}')
    assert await all_values(running, tokens) == [[[3, {}, 2], [7, {}, 2]], []]
    tokens = put(
        running, f"mixed{form}", [[["a", "b"]], [["a", "ignore"]], [5]], base=1 << 41, headers=b'{"via": "map"}'
    )
    await running.heard.all_of(tokens)
    assert running.heard.value(tokens[0]) == ["a", "b"]
    assert running.heard.ends[tokens[1]].kind == "ignored"
    assert failure_of(running.heard.ends[tokens[2]]).type_name == "TypeError"


async def test_a_call_that_comes_alone_is_a_batch_of_one(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = running.put_many(f"summed{form}", [(1, 2), (3, 4)])
    assert await all_values(running, tokens) == [[3, {}, 1], [7, {}, 1]]


async def test_a_batch_of_a_task_that_takes_single_calls_runs_them_one_by_one(begin: Begin, kind: str) -> None:
    running = await begin(kind)
    assert await all_values(running, put(running, "single", [(1,), (2,), (3,)])) == [1, 2, 3]
    tokens = put(running, "nobody", [(1,), (2,)], base=1 << 41)
    await running.heard.all_of(tokens)
    assert all(failure_of(running.heard.ends[token]).reason == "UNREGISTERED" for token in tokens)


# --- what the supervisor asks -----------------------------------------------------------------------------------------


async def test_a_batch_takes_one_place_and_its_calls_are_seen_one_by_one(
    begin: Begin, gate: Gate, kind: str, form: str
) -> None:
    running = await begin(kind)
    tokens = put(running, f"wait_at{form}", [(gate.port, letter) for letter in "abc"], track_started=True)
    behind = put(running, "single", [(1,), (2,)], base=1 << 41)
    await gate.arrival()
    await running.heard.until(lambda: sorted(running.heard.begun) == tokens)
    assert [each.token for each in running.executor.running()] == tokens
    assert {each.run.call.task for each in running.executor.running()} == {f"executor_batches.wait_at{form}"}
    assert running.executor.held() == 3 + len(behind) - len([each for each in behind if each in running.heard.data])
    gate.open("a")
    assert await all_values(running, tokens) == [["a", "b", "c"]] * 3
    await running.heard.all_of(behind)


async def test_a_call_that_is_revoked_before_the_start_is_taken_out(
    begin: Begin, gate: Gate, kind: str, form: str
) -> None:
    running = await begin(kind)
    first = put(running, f"wait_at{form}", [(gate.port, "running")])
    await gate.arrival()
    tokens = put(running, f"wait_at{form}", [(gate.port, letter) for letter in "abcd"], base=1 << 41)
    assert [each.token for each in running.executor.waiting()] == tokens
    assert running.executor.stop(tokens[0])
    assert running.executor.stop(tokens[2], "SIGTERM")
    assert running.executor.forget(tokens[3])
    await running.heard.all_of([tokens[0], tokens[2]])
    assert {running.heard.ends[token].kind for token in (tokens[0], tokens[2])} == {"revoked"}
    gate.open("running")
    await running.heard.all_of(first)
    gate.open(await gate.arrival())
    assert await all_values(running, [tokens[1]]) == [["b"]]
    await eventually(running.executor.idle)
    assert tokens[3] not in running.heard.ends
    assert not running.executor.stop(tokens[3], "SIGTERM")


async def test_a_batch_that_waits_goes_back_whole(begin: Begin, gate: Gate, kind: str, form: str) -> None:
    running = await begin(kind)
    first = put(running, f"wait_at{form}", [(gate.port, "running")])
    await gate.arrival()
    second = put(running, f"summed{form}", [(1,), (2,)], base=1 << 41)
    third = put(running, f"summed{form}", [(1,), (2,)], base=1 << 42)
    running.executor.take_back([second[1]])
    await running.heard.all_of(second)
    running.executor.take_back_waiting(0)
    await running.heard.all_of(third)
    assert {running.heard.ends[token].kind for token in second + third} == {"returned"}
    gate.open("running")
    await running.heard.all_of(first)


async def test_a_call_that_is_stopped_while_its_batch_runs_does_not_stop_the_others(
    begin: Begin, gate: Gate, kind: str, form: str
) -> None:
    running = await begin(kind)
    tokens = put(running, f"wait_at{form}", [(gate.port, letter) for letter in "abcd"])
    await gate.arrival()
    assert running.executor.stop(tokens[0])
    assert running.executor.stop(tokens[1], "SIGTERM")
    assert running.executor.forget(tokens[2])
    gate.open("a")
    await running.heard.all_of([tokens[0], tokens[1], tokens[3]])
    assert running.heard.value(tokens[0]) == running.heard.value(tokens[3]) == ["a", "b", "c", "d"]
    assert running.heard.ends[tokens[1]].kind == "revoked"
    assert running.heard.ends[tokens[1]].signal == 15
    assert tokens[2] not in running.heard.ends


async def test_a_batch_whose_calls_are_all_stopped_is_stopped(begin: Begin, gate: Gate, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"wait_at{form}", [(gate.port, letter) for letter in "abc"])
    await gate.arrival()
    assert all(running.executor.stop(token, "SIGTERM") for token in tokens)
    if kind in ("threads", "solo") or (kind == "asyncio" and not form):
        gate.open("a")  # a thread cannot be stopped
    await running.heard.all_of(tokens)
    assert {(running.heard.ends[token].kind, running.heard.ends[token].signal) for token in tokens} == {("revoked", 15)}
    assert await all_values(running, put(running, f"summed{form}", [(1, 2)], base=1 << 41)) == [[3, {}, 1]]


async def test_what_a_batch_says_of_itself_holds_for_each_of_its_calls(begin: Begin, kind: str) -> None:
    running = await begin(kind)
    tokens = put(running, "tell", [(), (), ()])
    await running.heard.all_of(tokens)
    assert [(token, state, json.loads(data)) for token, state, data, _ in running.heard.progress] == [
        (token, "STEP", {"calls": 3}) for token in tokens
    ]


# --- time limits, and processes that die ------------------------------------------------------------------------------


async def test_a_child_that_dies_loses_all_of_its_batch_and_nothing_else(begin: Begin) -> None:
    running = await begin("prefork")
    tokens = put(running, "die", [(), (), ()])
    others = put(running, "summed", [(1,), (2,)], base=1 << 41)
    await running.heard.all_of(tokens)
    assert {(running.heard.ends[token].kind, running.heard.ends[token].message) for token in tokens} == {
        ("lost", "signal 9")
    }
    assert await all_values(running, others) == [[1, {}, 2], [2, {}, 2]]


@pytest.mark.parametrize(("kind", "form"), [("prefork", ""), ("prefork", "_async"), ("asyncio", "_async")])
async def test_time_limits_hold_for_a_batch_as_a_whole(begin: Begin, kind: str, form: str) -> None:
    running = await begin(kind)
    tokens = put(running, f"endless{form}", [(1,), (2,)], soft_time_limit=0.1)
    assert await all_values(running, tokens) == ["softly", "softly"]
    tokens = put(running, f"endless{form}", [(1,), (2,)], base=1 << 41, time_limit=0.15)
    await running.heard.all_of(tokens)
    for token in tokens:
        failure = failure_of(running.heard.ends[token])
        assert (failure.message, failure.reason) == ("TimeLimitExceeded(0.15)", "TIME_LIMIT")


async def test_a_batch_that_runs_at_the_end_of_the_worker_is_lost_and_one_that_waits_returned(
    begin: Begin, gate: Gate, kind: str, form: str
) -> None:
    running = await begin(kind)
    tokens = put(running, f"wait_at{form}", [(gate.port, letter) for letter in "ab"])
    await gate.arrival()
    behind = put(running, f"summed{form}", [(1,), (2,)], base=1 << 41)
    await running.close(drain=False, deadline=0)
    assert {running.heard.ends[token].kind for token in tokens} == {"lost"}
    assert {running.heard.ends[token].kind for token in behind} == {"returned"}
    gate.open("a")


async def test_a_batch_counts_as_one_task_of_a_child_that_is_replaced(begin: Begin) -> None:
    running = await begin("prefork", max_tasks_per_child=2)
    for number in range(1, 5):
        tokens = put(running, "summed", [(1,), (2,), (3,)], base=number << 40)
        assert await all_values(running, tokens) == [[n, {}, 3] for n in (1, 2, 3)]
    assert not running.heard.ends
