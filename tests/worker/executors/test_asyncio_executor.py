"""What only the asyncio executor does: many coroutines on one loop, each for itself; cancelling, limits, the watch."""

import asyncio
import json
import logging
import signal as numbers
from typing import Any

import pytest
from tests.worker.executors.executor_kit import Gate, Running, Start

from grpcflow import Grpcflow, signals
from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import Ended


def failure_of(end: Ended) -> value_pb2.Failure:
    assert end.kind == "failure", end
    return value_pb2.Failure.FromString(end.failure)


@pytest.fixture
async def many(start: Start) -> Running:
    """An executor with a thousand places for coroutines."""
    return await start("asyncio", concurrency=1000, app="executor_async")


async def test_a_thousand_coroutines_wait_at_once_and_threads_beside_them(many: Running, gate: Gate) -> None:
    tokens = [many.put("wait_at", gate.port, f"n{number}") for number in range(1000)]
    names = {await gate.arrival() for _ in tokens}
    assert names == {f"n{number}" for number in range(1000)}
    assert len(many.executor.running()) == 1000
    beside = many.put("plain", gate.port)
    gate.open(await gate.arrival())
    await many.heard.all_of([beside])
    for name in names:
        gate.open(name)
    await many.heard.all_of(tokens)
    assert {many.heard.value(token) for token in tokens} == {"go"}
    assert many.executor.idle()


async def test_threads_for_plain_tasks_are_as_many_as_was_said(start: Start, gate: Gate) -> None:
    one = await start("asyncio", concurrency=50, threads=2, app="executor_async")
    tokens = [one.put("plain", gate.port, f"p{number}") for number in range(3)]
    await gate.arrival(), await gate.arrival()
    assert [waiting.token for waiting in one.executor.waiting()] == [tokens[2]]
    assert len(one.executor.stats()["threads"]) == 2
    one.executor.take_back_waiting(0)
    await one.heard.all_of([tokens[2]])


async def test_each_of_many_interleaved_tasks_is_itself_at_every_step_and_in_its_log(
    many: Running, caplog: pytest.LogCaptureFixture
) -> None:
    from grpcflow.log import TaskFormatter

    formatter = TaskFormatter("%(task_id)s", use_color=False)
    lines: list[tuple[str, str]] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((formatter.format(record), record.getMessage()))  # type: ignore[method-assign]
    logger = logging.getLogger("executor_async")
    logger.addHandler(handler)
    try:
        tokens = many.put_many("who", [[20]] * 300)
        await many.heard.all_of(tokens)
    finally:
        logger.removeHandler(handler)
    ids = [many.heard.value(token) for token in tokens]
    assert all(len(set(seen)) == 1 for seen in ids)
    assert len({seen[0] for seen in ids}) == 300
    assert {message for _, message in lines} == {f"I am {seen[0]}" for seen in ids}
    assert all(message == f"I am {task_id}" for task_id, message in lines)


# --- ends from outside -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
async def test_a_stopped_coroutine_is_cancelled_and_revoked(many: Running, gate: Gate, name: str) -> None:
    first, other = many.put("wait_at", gate.port, "a"), many.put("wait_at", gate.port, "b")
    await gate.arrival(), await gate.arrival()
    assert many.executor.stop(first, name)
    await many.heard.all_of([first])
    end = many.heard.ends[first]
    assert (end.kind, end.signal) == ("revoked", numbers.Signals[name])
    gate.open("b")
    await many.heard.all_of([other])
    assert many.heard.value(other) == "go"


async def test_a_cancelled_coroutine_may_clean_up_and_is_revoked_all_the_same(many: Running, gate: Gate) -> None:
    token = many.put("cancelled", gate.port)
    await gate.arrival()
    assert many.executor.stop(token, "SIGTERM")
    assert await gate.arrival() == "cancelled"
    assert token not in many.heard.ends
    gate.open("cancelled")
    await many.heard.all_of([token])
    assert many.heard.ends[token].kind == "revoked"


async def test_killed_it_may_not_clean_up(many: Running, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    token = many.put("cleans_up_for_ever", gate.port)
    await gate.arrival()
    assert many.executor.stop(token, "SIGKILL")
    await many.heard.all_of([token])
    assert many.heard.ends[token].kind == "revoked"
    assert "executor_async.cleans_up_for_ever[" in caplog.text
    assert "was given up" in caplog.text


async def test_forgetting_what_runs_cancels_it_without_a_word(many: Running, gate: Gate) -> None:
    token = many.put("wait_at", gate.port)
    await gate.arrival()
    assert many.executor.forget(token)
    async with asyncio.timeout(40):
        while not many.executor.idle():
            await asyncio.sleep(0)
    assert token not in many.heard.ends
    assert token not in many.heard.data


# --- time limits -----------------------------------------------------------------------------------------------


async def test_a_soft_limit_is_raised_at_an_await_and_the_task_cleans_up(many: Running, gate: Gate) -> None:
    _, text = await many.get("clean_up", gate.port, soft_time_limit=0.5, time_limit=30)
    assert text == "the task ran longer than its soft time limit of 0.5 s"
    failure = failure_of(await many.end("wait_at", gate.port, soft_time_limit=0.5))
    assert (failure.module, failure.type_name) == ("grpcflow.errors", "SoftTimeLimitExceeded")
    assert "executor_async.py" in failure.traceback


async def test_a_hard_limit_ends_the_task_as_in_a_process(many: Running, gate: Gate) -> None:
    failure = failure_of(await many.end("wait_at", gate.port, time_limit=0.05))
    assert (failure.module, failure.type_name) == ("grpcflow.errors", "TimeLimitExceeded")
    assert (failure.reason, failure.message) == ("TIME_LIMIT", "TimeLimitExceeded(0.05)")


async def test_a_coroutine_that_ignores_all_limits_is_given_up(many: Running, gate: Gate) -> None:
    end = await many.end("stubborn", gate.port, soft_time_limit=0.3, time_limit=0.6)
    assert failure_of(end).reason == "TIME_LIMIT"
    assert await many.get("add", 1, 2) == 3


@pytest.mark.parametrize("limit", ["time_limit", "soft_time_limit"])
async def test_limits_of_the_worker_hold_for_coroutines_and_are_named_for_the_others(
    start: Start, gate: Gate, limit: str
) -> None:
    one = await start("asyncio", concurrency=1, app="executor_async", **{limit: 0.05})
    exceeded = "TimeLimitExceeded" if limit == "time_limit" else "SoftTimeLimitExceeded"
    assert failure_of(await one.end("wait_at", gate.port)).type_name == exceeded
    (warning,) = one.registered.warnings
    assert 'running task that is not "async def"' in warning
    assert f"--{limit.replace('_', '-')}" in warning


async def test_the_soft_signal_interrupts_a_coroutine_without_a_limit(many: Running, gate: Gate) -> None:
    token = many.put("clean_up", gate.port)
    await gate.arrival()
    assert many.executor.stop(token, "SIGUSR1")
    await many.heard.all_of([token])
    assert many.heard.value(token)[1] == "the task was told to end"


# --- what tasks do to the loop ---------------------------------------------------------------------------------


async def test_a_task_that_blocks_the_loop_is_named(many: Running, gate: Gate) -> None:
    ready = many.put("plain", gate.port)  # imports what the other one needs, which takes its time on a busy machine
    gate.open(await gate.arrival())
    await many.heard.all_of([ready])
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    messages: list[str] = []

    def note(record: logging.LogRecord) -> None:
        messages.append(record.getMessage())
        loop.call_soon_threadsafe(told.set)

    handler = logging.Handler()
    handler.emit = note  # type: ignore[method-assign]
    logger = logging.getLogger("grpcflow.worker")
    logger.addHandler(handler)
    try:
        token = many.put("blocks", gate.port)
        await gate.arrival()
        async with asyncio.timeout(40):
            await told.wait()
        gate.open("blocked")
        await many.heard.all_of([token])
    finally:
        logger.removeHandler(handler)
    (message,) = messages
    assert message.startswith("executor_async.blocks[00010203-")
    assert "has blocked the event loop of all tasks for 100 ms, at " in message
    # It stands there all the time; on a busy machine it may be seen on its way to the gate already.
    assert any(place in message for place in ("executor_sample.py", "socket.py")), message


async def test_what_a_task_left_running_is_cancelled_and_named(
    many: Running, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    token = many.put("leaves_others", gate.port)
    names = {await gate.arrival(), await gate.arrival()}
    assert names == {"left", "itself"}
    gate.open("itself")
    await many.heard.all_of([token])
    assert many.heard.value(token) == "done"
    assert "the one that was left (wait_at)" in caplog.text


async def test_neither_a_broken_callback_nor_a_child_that_exits_harms_other_tasks(
    many: Running, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    beside = many.put("wait_at", gate.port, "beside")
    await gate.arrival()
    assert await many.get("breaks_a_callback") == "fine"
    assert "ZeroDivisionError" in caplog.text
    assert await many.get("exits_in_a_child") == "caught"
    gate.open("beside")
    await many.heard.all_of([beside])
    assert many.heard.value(beside) == "go"


async def test_a_task_that_cancels_all_it_can_find_leaves_no_attempt_without_an_end(many: Running) -> None:
    tokens = many.put_many("cancels_all", [[]]) + many.put_many("add", [[number, 1] for number in range(50)])
    await many.heard.all_of(tokens)
    ends = [failure_of(many.heard.ends[token]).type_name for token in tokens if token in many.heard.ends]
    assert ends
    assert set(ends) == {"CancelledError"}
    assert await many.get("add", 1, 2) == 3


async def test_a_loop_that_is_blocked_for_ever_does_not_keep_the_worker(
    many: Running, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    token = many.put("blocks", gate.port)
    await gate.arrival()
    await many.close(drain=True, deadline=0.05)
    assert many.heard.ends[token].kind == "lost"
    assert "is blocked and was left behind" in caplog.text
    gate.open("blocked")


async def test_what_runs_at_the_end_is_cancelled_and_may_clean_up(many: Running, gate: Gate) -> None:
    token = many.put("cancelled", gate.port)
    await gate.arrival()
    closing = asyncio.create_task(many.close(drain=False, deadline=0))
    assert await gate.arrival() == "cancelled"
    gate.open("cancelled")
    await closing
    assert many.heard.ends[token].kind == "lost"


async def test_all_run_on_one_loop_that_is_not_the_supervisors(many: Running) -> None:
    loops = {await many.get("loop_of") for _ in range(5)}
    assert len(loops) == 1
    assert id(asyncio.get_running_loop()) not in loops


# --- handlers, signals, replacements ---------------------------------------------------------------------------


async def test_receivers_run_beside_the_loop_and_what_they_set_the_task_finds(many: Running) -> None:
    import threading

    from executor_async import mood  # type: ignore[import-not-found]

    heard: list[tuple[str, str, str]] = []

    def note(signal: signals.Signal, state: str = "", **_: Any) -> None:
        heard.append((signal.name, state, threading.current_thread().name))
        mood.set("as the receiver said")

    listened = (signals.task_received, signals.task_prerun, signals.task_success, signals.task_postrun)
    for signal in listened:
        signal.connect(note)
    try:
        assert await many.get("in_what_mood") == "as the receiver said"
    finally:
        for signal in listened:
            signal.disconnect(note)
    assert [(name, state) for name, state, _ in heard] == [
        ("task_received", ""),
        ("task_prerun", ""),
        ("task_success", ""),
        ("task_postrun", "SUCCESS"),
    ]
    assert all(thread.startswith("grpcflow-aside-") for *_, thread in heard)


@pytest.mark.parametrize("how", ["raised", "swallowed"])
async def test_a_replacement_is_submitted_beside_the_loop_once_the_body_has_ended(
    many: Running, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    import threading

    sent: list[tuple[str, str, str]] = []

    def submit(self: Grpcflow, sig: Any, *, attachment: Any) -> str:
        sent.append((sig.task, attachment.kind, threading.current_thread().name))
        return "sent"

    monkeypatch.setattr(Grpcflow, "submit", submit)
    assert (await many.end("gives_itself_away", how)).kind == "ignored"
    ((task, kind, thread),) = sent
    assert (task, kind) == ("executor_async.add", "replace")
    assert thread.startswith("grpcflow-aside-")


async def test_a_replacement_that_cannot_be_submitted_fails_the_task(
    many: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(self: Grpcflow, sig: Any, *, attachment: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(Grpcflow, "submit", submit)
    failure = failure_of(await many.end("gives_itself_away", "raised"))
    assert (failure.type_name, failure.message) == ("ConnectionError", "nobody there")


# --- coroutines on the other executors -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prefork", "threads", "solo"])
async def test_elsewhere_a_loop_is_kept_and_what_a_coroutine_leaves_is_closed(
    kind: str, start: Start, gate: Gate
) -> None:
    one = await start(kind, concurrency=1, app="executor_async")
    assert len({await one.get("loop_of") for _ in range(3)}) == 1
    before = len(await one.get("leaves_a_generator"))
    assert len(await one.get("leaves_a_generator")) == before + 1
    token = one.put("leaves_others", gate.port)
    assert {await gate.arrival(), await gate.arrival()} == {"left", "itself"}
    gate.open("itself")
    await one.heard.all_of([token])
    assert await one.get("add", 1, 2) == 3


async def test_prefork_keeps_both_limits_of_a_coroutine(start: Start, gate: Gate) -> None:
    one = await start("prefork", concurrency=1, app="executor_async")
    pid = (await one.get("where"))[0]
    told, text = await one.get("clean_up", gate.port, soft_time_limit=0.5, time_limit=30)
    assert (told, (await one.get("where"))[0]) == (pid, pid)
    assert text == "the task ran longer than its soft time limit of 0.5 s"
    failure = failure_of(await one.end("wait_at", gate.port, soft_time_limit=0.5))
    assert failure.type_name == "SoftTimeLimitExceeded"
    assert "executor_async.py" in failure.traceback
    assert failure_of(await one.end("stubborn", gate.port, soft_time_limit=0.5, time_limit=1.0)).reason == "TIME_LIMIT"
    assert json.dumps(await one.get("add", 1, 2)) == "3"
