"""What every executor must do from its start to its end, and what takes one of its own to see."""

import asyncio

import pytest
from tests.worker.executors.executor_kit import Gate, Running, Start, failure_of

from grpcflow_worker.executor import ExecutorError, ExecutorSettings
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


async def test_each_of_many_calls_ends_once_with_its_own_value(kind: str, sample: str, start: Start) -> None:
    running = await start(kind, concurrency=2, app=sample)
    tokens = [
        token for base in range(0, 1000, 250) for token in running.put_many("add", [(base + i, 1) for i in range(250)])
    ]
    await running.heard.all_of(tokens)
    assert [running.heard.value(token) for token in tokens] == [i + 1 for i in range(1000)]
    assert running.executor.idle()
    assert running.executor.capacity() >= 2


async def test_values_up_to_the_limit_pass_and_one_byte_more_fails(kind: str, sample: str, start: Start) -> None:
    running = await start(kind, concurrency=1, app=sample, payload_limit=300_000)
    for length in (299_999, 300_000):
        assert len(await running.get("text", length - 2)) == length - 2
    failure = failure_of(await running.end("text", 299_999))
    assert failure.reason == "TOO_LARGE"
    assert "300,001" in failure.message
    assert "300,000" in failure.message


async def test_draining_hands_back_what_waits_and_finishes_what_runs(one: Running, gate: Gate) -> None:
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
    await one.close(drain=True, deadline=1.0)
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
    with pytest.raises(ExecutorError, match="prefork, threads, solo, asyncio"):
        create("fibers", ExecutorSettings())


def test_frames_come_out_whole_wherever_the_stream_is_cut() -> None:
    stream = b"".join(len(body).to_bytes(4, "little") + body for body in (b"one", b"", b"x" * 300))
    for cut in range(len(stream)):
        reader = FrameReader()
        assert reader.feed(stream[:cut]) + reader.feed(stream[cut:]) == [b"one", b"", b"x" * 300]
