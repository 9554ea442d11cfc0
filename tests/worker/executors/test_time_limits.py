"""Time limits: what is over one ends, alone, and about when it should; nothing else is hit."""

import json
import random
import time

import pytest
from tests.worker.executors.executor_kit import Gate, Start

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import Call, Ended

#: Seconds: what is not to be over a limit may be, once or twice, where it has no processor for so long.
LIMITS = (0.3, 2.0, 10.0)


def failure_of(end: Ended) -> value_pb2.Failure:
    assert end.kind == "failure", end
    return value_pb2.Failure.FromString(end.failure)


async def test_a_task_over_its_limit_fails_and_its_process_is_replaced(start: Start, gate: Gate) -> None:
    one = await start("prefork", concurrency=1)
    before = (await one.get("where"))[0]
    seconds: list[float] = []
    while not seconds or (seconds[-1] >= 2.25 and len(seconds) < 5):  # the machine may be busy once or twice
        started = time.monotonic()
        failure = failure_of(await one.end("wait_at", gate.port, time_limit=0.25))
        seconds.append(time.monotonic() - started)
        assert (failure.module, failure.type_name) == ("grpcflow.errors", "TimeLimitExceeded")
        assert (failure.reason, failure.message) == ("TIME_LIMIT", "TimeLimitExceeded(0.25)")
    assert 0.25 <= min(seconds) < 2.25, "seconds until it was stopped"
    assert (await one.get("where"))[0] != before


async def test_a_task_that_holds_the_interpreter_is_stopped_as_well(start: Start) -> None:
    one = await start("prefork", concurrency=1)
    seconds: list[float] = []
    while not seconds or (seconds[-1] >= 2.2 and len(seconds) < 5):  # the machine may be busy once or twice
        started = time.monotonic()
        assert failure_of(await one.end("deaf_sum", time_limit=0.2)).reason == "TIME_LIMIT"
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 2.2


async def test_what_waits_behind_a_stopped_task_runs_elsewhere_and_is_not_lost(start: Start, gate: Gate) -> None:
    one = await start("prefork", concurrency=1)
    await one.get("wait_or_not", 0)
    for limit in LIMITS:
        one.heard.ends.clear()
        calls = [[0]] * 5 + [[gate.port]] + [[0]] * 20
        tokens = one.put_many("wait_or_not", calls, time_limit=limit, acks_early=True)
        await one.heard.all_of(tokens)
        assert failure_of(one.heard.ends[tokens[5]]).reason == "TIME_LIMIT"
        if len(one.heard.ends) == 1:
            break
    assert len(one.heard.ends) == 1


async def test_the_clock_of_each_attempt_starts_when_it_starts(start: Start) -> None:
    one = await start("prefork", concurrency=1)
    for limit in LIMITS:
        one.heard.ends.clear()
        await one.heard.all_of(one.put_many("spin", [[limit / 3]] * 6, time_limit=limit))
        if not one.heard.ends:
            break
    assert not one.heard.ends


async def test_map_is_one_call_and_its_limit_holds_for_all_of_it(start: Start) -> None:
    one = await start("prefork", concurrency=1)
    end = await one.end("spin", [0.05] * 100, time_limit=0.2, headers=b'{"via": "map"}')
    assert failure_of(end).reason == "TIME_LIMIT"


async def test_a_soft_limit_lets_the_task_clean_up_in_its_process(start: Start, gate: Gate) -> None:
    one = await start("prefork", concurrency=1)
    pid = (await one.get("where"))[0]
    told, text = await one.get("clean_up", gate.port, soft_time_limit=0.5, time_limit=30)
    assert (told, (await one.get("where"))[0]) == (pid, pid)
    assert "soft time limit of 0.5 s" in text


async def test_a_task_that_does_not_expect_its_soft_limit_fails_by_it(start: Start, gate: Gate) -> None:
    one = await start("prefork", concurrency=1)
    failure = failure_of(await one.end("wait_at", gate.port, soft_time_limit=0.5))
    assert (failure.module, failure.type_name) == ("grpcflow.errors", "SoftTimeLimitExceeded")
    assert "executor_sample.py" in failure.traceback


async def test_a_task_that_ignores_its_soft_limit_meets_the_hard_one(start: Start) -> None:
    one = await start("prefork", concurrency=1)
    end = await one.end("stubborn", soft_time_limit=0.5, time_limit=1.0)
    assert failure_of(end).reason == "TIME_LIMIT"


async def test_a_soft_limit_never_hits_another_task(start: Start) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    one = await start("prefork", concurrency=1)
    limited = [one.put("spin", 0.02 + chance.uniform(-0.001, 0.001), soft_time_limit=0.02) for _ in range(40)]
    free = one.put_many("add", [(i, 1) for i in range(2_000)])
    for _ in range(20):
        limited.append(one.put("spin", 0.02 + chance.uniform(-0.001, 0.001), soft_time_limit=0.02))
        free += one.put_many("add", [(i, 1) for i in range(50)])
    await one.heard.all_of(limited + free)
    assert not set(one.heard.ends) & set(free), "an unlimited task was hit"
    assert {failure_of(end).type_name for end in one.heard.ends.values()} <= {"SoftTimeLimitExceeded"}


async def test_stopping_with_the_soft_signal_interrupts_a_task_without_a_limit(start: Start, gate: Gate) -> None:
    one = await start("prefork", concurrency=1)
    token = one.put("clean_up", gate.port)
    await gate.arrival()
    assert one.executor.stop(token, "SIGUSR1")
    await one.heard.all_of([token])
    assert one.heard.value(token)[1] == "the task was told to end"


@pytest.mark.parametrize("limit", ["time_limit", "soft_time_limit"])
async def test_limits_of_the_worker_hold_for_calls_that_say_none(start: Start, gate: Gate, limit: str) -> None:
    one = await start("prefork", concurrency=1, **{limit: 0.1})
    exceeded = "TimeLimitExceeded" if limit == "time_limit" else "SoftTimeLimitExceeded"
    assert failure_of(await one.end("wait_at", gate.port)).type_name == exceeded
    assert await one.get("spin", 0.3, **{limit: 30.0}) is None


async def test_limits_of_the_app_hold_where_nothing_else_is_said(start: Start) -> None:
    one = await start("prefork", concurrency=1, app="executor_limited")
    failure = failure_of(await one.end("spin", 20, app="executor_limited"))
    assert failure.message == "TimeLimitExceeded(0.15)"
    other = await start("prefork", concurrency=1, app="executor_limited", time_limit=30.0)
    assert await other.get("spin", 0.3, app="executor_limited") is None


async def test_limits_of_the_app_hold_for_coroutines_on_a_loop(start: Start) -> None:
    one = await start("asyncio", concurrency=1, app="executor_limited")
    assert failure_of(await one.end("endless")).message == "TimeLimitExceeded(0.15)"


@pytest.mark.parametrize("kind", ["threads", "solo", "asyncio"])
async def test_executors_that_cannot_stop_a_task_name_the_limits_that_do_not_hold(start: Start, kind: str) -> None:
    one = await start(kind, concurrency=1, app="executor_limited", soft_time_limit=9.0)
    (warning,) = one.registered.warnings
    for name in (kind, "--soft-time-limit", "task_time_limit", "time_limit of executor_limited.slow"):
        assert name in warning
    assert await one.get("spin", 0.3, app="executor_limited") is None


def test_calls_without_limits_are_left_as_they_are() -> None:
    from grpcflow_worker.executor import ExecutorSettings
    from grpcflow_worker.executors.limits import TimeLimits

    limits = TimeLimits(None, None, ExecutorSettings(time_limit=5.0))  # type: ignore[arg-type]
    limits.take_defaults({"task_time_limit": 7, "task_soft_time_limit": 3})
    assert limits.of(Call("t", time_limit=1.0, soft_time_limit=0.5)) == Call("t", time_limit=1.0, soft_time_limit=0.5)
    assert (limits.of(Call("t")).time_limit, limits.of(Call("t")).soft_time_limit) == (5.0, 3)
    free = TimeLimits(None, None, ExecutorSettings())  # type: ignore[arg-type]
    call = Call("t")
    assert free.of(call) is call
    assert json.dumps(call.time_limit) == "null"
