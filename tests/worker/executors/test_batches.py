"""Batches: one call of a function with many calls, each of which keeps its own end, on every executor."""

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from tests.worker.executors.executor_kit import (
    APPS,
    GRAPH,
    Gate,
    Running,
    eventually,
    failure_of,
    finish,
    open_gate,
    start_one,
)

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.batches import Batching
from grpcflow_worker.executor import Call, CallRun
from grpcflow_worker.executors import KINDS

Begin = Callable[..., Awaitable[Running]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Tokens of the batches: far from those of single calls, and from each other, for two runs each.
BASES = itertools.count(1 << 45, 1 << 20)


@pytest.fixture(params=["", "_async"], ids=["function", "coroutine"])
def form(request: pytest.FixtureRequest) -> str:
    """What the names of tasks end with."""
    return str(request.param)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def begun(kind: str, **settings: Any) -> Running:
    """Starts an executor with one place that takes batches apart."""
    return await start_one(kind, batching=True, app="executor_batches", concurrency=1, **settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(kind: str) -> AsyncIterator[Running]:
    """One for all tests of a kind that leave no trace in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APPS))
        running = await begun(kind)
        yield running
        await finish(running)


@pytest.fixture
def one(shared: Running) -> Iterator[Running]:
    """The same, as idle after a test as it was before."""
    assert shared.executor.idle()
    shared.heard.progress.clear()
    shared.heard.begun.clear()
    yield shared
    assert shared.executor.idle()
    assert shared.executor.held() == 0


@pytest_asyncio.fixture(loop_scope="module")
async def own() -> AsyncIterator[Begin]:
    """Starts one for a test alone."""
    started: list[Running] = []

    async def make(kind: str, **settings: Any) -> Running:
        started.append(await begun(kind, **settings))
        return started[-1]

    yield make
    for running in started:
        await finish(running)
        assert running.executor.held() == 0


@pytest_asyncio.fixture(loop_scope="module")
async def gate() -> AsyncIterator[Gate]:
    """A gate for `wait_at`, on the loop of the executors."""
    async with open_gate() as made:
        yield made


def put(running: Running, name: str, calls: Sequence[Sequence[Any]], **options: Any) -> list[int]:
    """Puts a batch whose calls come as two runs, as when they are of two graphs; returns the tokens."""
    payloads = [json.dumps([list(args), {}]).encode() for args in calls]
    base = next(BASES)
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


async def test_the_function_is_called_once_and_each_call_has_its_own_value(one: Running, kind: str, form: str) -> None:
    tokens = put(one, f"summed{form}", [(number, 1) for number in range(5)])
    assert await all_values(one, tokens) == [[number + 1, {}, 5] for number in range(5)]


async def test_each_call_has_its_own_failure(one: Running, kind: str, form: str) -> None:
    tokens = put(one, f"mixed{form}", [("a",), ("fail", "b"), ("ignore",), ("unsendable",), (5,)])
    await one.heard.all_of(tokens)
    assert [one.heard.value(tokens[0]), one.heard.value(tokens[4])] == ["a", 5]
    failed = failure_of(one.heard.ends[tokens[1]])
    assert (failed.type_name, failed.message) == ("ValueError", "not b")
    assert one.heard.ends[tokens[2]].kind == "ignored"
    assert failure_of(one.heard.ends[tokens[3]]).type_name == "SerializationError"


@pytest.mark.parametrize(
    ("how", "told"), [("raise", "all of them"), ("exit", "3"), ("short", "1 values"), ("text", "str")]
)
async def test_what_is_no_outcome_for_each_fails_all(one: Running, kind: str, form: str, how: str, told: str) -> None:
    tokens = put(one, f"wrong{form}", [(how,), (how,), (how,)])
    await one.heard.all_of(tokens)
    assert all(told in failure_of(one.heard.ends[token]).message for token in tokens)
    assert await all_values(one, put(one, f"summed{form}", [(1, 2)])) == [[3, {}, 1]]


async def test_none_is_none_for_each(one: Running, kind: str, form: str) -> None:
    assert await all_values(one, put(one, f"wrong{form}", [("none",)] * 3)) == [None, None, None]


async def test_a_retry_tries_each_call_again_as_it_is(one: Running, kind: str, form: str) -> None:
    tokens = put(one, f"again{form}", [(1,), (2,)])
    await one.heard.all_of(tokens)
    for token in tokens:
        end = one.heard.ends[token]
        assert (end.kind, end.countdown_ms, end.data) == ("retry", 1500, b"")
        assert failure_of(end).message == "later"
    assert await all_values(one, put(one, f"again{form}", [(1,), (2,)], retries=1)) == [1, 1]


async def test_a_call_that_cannot_be_read_is_not_given_and_fails_alone(one: Running, kind: str, form: str) -> None:
    call = Call(f"executor_batches.summed{form}")
    good, bad = json.dumps([[1, 2], {}]).encode(), b'{"no": "call"}'
    assert isinstance(one.executor, Batching)
    base, alone = next(BASES), next(BASES)
    one.executor.put_all([CallRun(call, GRAPH, 0, base, [bad, good, good], batch=base)])
    await one.heard.all_of([base, base + 1, base + 2])
    assert failure_of(one.heard.ends[base]).type_name == "SerializationError"
    assert [one.heard.value(base + 1), one.heard.value(base + 2)] == [[3, {}, 2]] * 2
    one.executor.put_all([CallRun(call, GRAPH, 0, alone, [bad], batch=alone)])
    await one.heard.all_of([alone])
    assert failure_of(one.heard.ends[alone]).type_name == "SerializationError"


async def test_each_call_has_its_own_request_and_inputs(one: Running, kind: str, form: str) -> None:
    tokens = put(one, f"requests{form}", [(), ()], priority=7, retries=2)
    first, second = await all_values(one, tokens)
    assert first[0] == first[1] != second[0] == second[1]
    assert first[2:] == second[2:] == [2, 7]
    given = value_pb2.Value(data=b"5").SerializeToString()
    tokens = put(one, f"summed{form}", [(1,)], inputs=(given,), id="mine")
    assert await all_values(one, tokens) == [[6, {}, 1]]


async def test_items_of_a_mapped_call_are_calls_of_the_batch(one: Running, kind: str, form: str) -> None:
    tokens = put(one, f"summed{form}", [[[[1, 2], [3, 4]]], [[]]], headers=b'{"via": "starmap"}')
    assert await all_values(one, tokens) == [[[3, {}, 2], [7, {}, 2]], []]
    tokens = put(one, f"mixed{form}", [[["a", "b"]], [["a", "ignore"]], [5]], headers=b'{"via": "map"}')
    await one.heard.all_of(tokens)
    assert one.heard.value(tokens[0]) == ["a", "b"]
    assert one.heard.ends[tokens[1]].kind == "ignored"
    assert failure_of(one.heard.ends[tokens[2]]).type_name == "TypeError"


async def test_a_call_that_comes_alone_is_a_batch_of_one(one: Running, kind: str, form: str) -> None:
    tokens = one.put_many(f"summed{form}", [(1, 2), (3, 4)])
    assert await all_values(one, tokens) == [[3, {}, 1], [7, {}, 1]]


async def test_a_batch_of_a_task_that_takes_single_calls_runs_them_one_by_one(one: Running, kind: str) -> None:
    assert await all_values(one, put(one, "single", [(1,), (2,), (3,)])) == [1, 2, 3]
    tokens = put(one, "nobody", [(1,), (2,)])
    await one.heard.all_of(tokens)
    assert all(failure_of(one.heard.ends[token]).reason == "UNREGISTERED" for token in tokens)


# --- what the supervisor asks -----------------------------------------------------------------------------------------


async def test_a_batch_takes_one_place_and_its_calls_are_seen_one_by_one(
    one: Running, gate: Gate, kind: str, form: str
) -> None:
    tokens = put(one, f"wait_at{form}", [(gate.port, letter) for letter in "abc"], track_started=True)
    behind = put(one, f"single{form}", [(1,), (2,)])  # of the same form: functions and coroutines wait in two lines
    await gate.arrival()
    await one.heard.until(lambda: sorted(one.heard.begun) == tokens)
    assert [each.token for each in one.executor.running()] == tokens
    assert {each.run.call.task for each in one.executor.running()} == {f"executor_batches.wait_at{form}"}
    assert one.executor.held() == 3 + len(behind)
    gate.open("a")
    assert await all_values(one, tokens) == [["a", "b", "c"]] * 3
    await one.heard.all_of(behind)


async def test_a_call_that_is_revoked_before_the_start_is_taken_out(
    one: Running, gate: Gate, kind: str, form: str
) -> None:
    first = put(one, f"wait_at{form}", [(gate.port, "running")])
    await gate.arrival()
    tokens = put(one, f"wait_at{form}", [(gate.port, letter) for letter in "abcd"])
    assert [each.token for each in one.executor.waiting()] == tokens
    assert one.executor.stop(tokens[0])
    assert one.executor.stop(tokens[2], "SIGTERM")
    assert one.executor.forget(tokens[3])
    await one.heard.all_of([tokens[0], tokens[2]])
    assert {one.heard.ends[token].kind for token in (tokens[0], tokens[2])} == {"revoked"}
    gate.open("running")
    await one.heard.all_of(first)
    gate.open(await gate.arrival())
    assert await all_values(one, [tokens[1]]) == [["b"]]
    await eventually(one.executor.idle)
    assert tokens[3] not in one.heard.ends
    assert not one.executor.stop(tokens[3], "SIGTERM")


async def test_a_batch_that_waits_goes_back_whole(one: Running, gate: Gate, kind: str, form: str) -> None:
    first = put(one, f"wait_at{form}", [(gate.port, "running")])
    await gate.arrival()
    second = put(one, f"summed{form}", [(1,), (2,)])
    third = put(one, f"summed{form}", [(1,), (2,)])
    one.executor.take_back([second[1]])
    await one.heard.all_of(second)
    one.executor.take_back_waiting(0)
    await one.heard.all_of(third)
    assert {one.heard.ends[token].kind for token in second + third} == {"returned"}
    gate.open("running")
    await one.heard.all_of(first)


async def test_a_call_that_is_stopped_while_its_batch_runs_does_not_stop_the_others(
    one: Running, gate: Gate, kind: str, form: str
) -> None:
    tokens = put(one, f"wait_at{form}", [(gate.port, letter) for letter in "abcd"])
    await gate.arrival()
    assert one.executor.stop(tokens[0])
    assert one.executor.stop(tokens[1], "SIGTERM")
    assert one.executor.forget(tokens[2])
    gate.open("a")
    await one.heard.all_of([tokens[0], tokens[1], tokens[3]])
    assert one.heard.value(tokens[0]) == one.heard.value(tokens[3]) == ["a", "b", "c", "d"]
    assert one.heard.ends[tokens[1]].kind == "revoked"
    assert one.heard.ends[tokens[1]].signal == 15
    assert tokens[2] not in one.heard.ends


async def test_a_batch_whose_calls_are_all_stopped_is_stopped(one: Running, gate: Gate, kind: str, form: str) -> None:
    tokens = put(one, f"wait_at{form}", [(gate.port, letter) for letter in "abc"])
    await gate.arrival()
    assert all(one.executor.stop(token, "SIGTERM") for token in tokens)
    if kind in ("threads", "solo") or (kind == "asyncio" and not form):
        gate.open("a")  # a thread cannot be stopped
    await one.heard.all_of(tokens)
    assert {(one.heard.ends[token].kind, one.heard.ends[token].signal) for token in tokens} == {("revoked", 15)}
    assert await all_values(one, put(one, f"summed{form}", [(1, 2)])) == [[3, {}, 1]]


async def test_what_a_batch_says_of_itself_holds_for_each_of_its_calls(one: Running, kind: str) -> None:
    tokens = put(one, "tell", [(), (), ()])
    await one.heard.all_of(tokens)
    assert [(token, state, json.loads(data)) for token, state, data, _ in one.heard.progress] == [
        (token, "STEP", {"calls": 3}) for token in tokens
    ]


# --- time limits, and processes that die ------------------------------------------------------------------------------


async def test_a_child_that_dies_loses_all_of_its_batch_and_nothing_else(own: Begin) -> None:
    running = await own("prefork")
    tokens = put(running, "die", [(), (), ()])
    others = put(running, "summed", [(1,), (2,)])
    await running.heard.all_of(tokens)
    assert {(running.heard.ends[token].kind, running.heard.ends[token].message) for token in tokens} == {
        ("lost", "signal 9")
    }
    assert await all_values(running, others) == [[1, {}, 2], [2, {}, 2]]


@pytest.mark.parametrize(("kind", "form"), [("prefork", ""), ("prefork", "_async"), ("asyncio", "_async")])
async def test_time_limits_hold_for_a_batch_as_a_whole(own: Begin, kind: str, form: str) -> None:
    running = await own(kind)
    tokens = put(running, f"endless{form}", [(1,), (2,)], soft_time_limit=0.5)
    assert await all_values(running, tokens) == ["softly", "softly"]
    tokens = put(running, f"endless{form}", [(1,), (2,)], time_limit=0.15)
    await running.heard.all_of(tokens)
    for token in tokens:
        failure = failure_of(running.heard.ends[token])
        assert (failure.message, failure.reason) == ("TimeLimitExceeded(0.15)", "TIME_LIMIT")


async def test_a_batch_that_runs_at_the_end_of_the_worker_is_lost_and_one_that_waits_returned(
    own: Begin, gate: Gate, kind: str, form: str
) -> None:
    running = await own(kind)
    tokens = put(running, f"wait_at{form}", [(gate.port, letter) for letter in "ab"])
    await gate.arrival()
    behind = put(running, f"summed{form}", [(1,), (2,)])
    await running.close(drain=False, deadline=0)
    assert {running.heard.ends[token].kind for token in tokens} == {"lost"}
    assert {running.heard.ends[token].kind for token in behind} == {"returned"}
    gate.open("a")


async def test_a_batch_counts_as_one_task_of_a_child_that_is_replaced(own: Begin) -> None:
    running = await own("prefork", max_tasks_per_child=2)
    for _ in range(4):
        tokens = put(running, "summed", [(1,), (2,), (3,)])
        assert await all_values(running, tokens) == [[n, {}, 3] for n in (1, 2, 3)]
    assert not running.heard.ends
