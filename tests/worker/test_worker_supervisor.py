"""A whole worker but for the children: assignments become calls, ends become reports, and every way to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import AsyncIterator

import grpc
import pytest
from tests.worker.worker_fakes import (
    BOUND,
    SECRET,
    FakeCoordinator,
    FakeExecutor,
    FakeTimer,
    WorkerStream,
    assignment,
    coordinator,
    make_config,
    no_pauses,
    settle,
)

from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.capacity import PATIENCE
from grpcflow_worker.executor import Ended, ExecutorError
from grpcflow_worker.supervisor import EXIT_SOFTWARE, EXIT_START, EXIT_UNAVAILABLE, TICK, Supervisor


class Cluster:
    """One coordinator in a test's hands and one worker without children."""

    def __init__(self, service: FakeCoordinator, executor: FakeExecutor) -> None:
        self.service = service
        self.executor = executor
        self.timer = FakeTimer()
        config = make_config(service.address)
        self.supervisor = Supervisor(config, executor, secret=SECRET, timing=self.timer.timing)
        self.running = asyncio.ensure_future(self.supervisor.run())

    async def code(self) -> int:
        return await asyncio.wait_for(self.running, BOUND)

    async def ask(self, stream: WorkerStream, command: str, **arguments: object) -> object:
        data = json.dumps(arguments).encode()
        stream.send(pb.WorkResponse(commands=[pb.ControlCommand(id=9, command=command, arguments=data)]))
        message = await stream.until(lambda each: bool(each.replies))
        assert message.replies[0].error == ""
        stream.acknowledge(message)
        return json.loads(message.replies[0].reply)


@contextlib.asynccontextmanager
async def cluster(executor: FakeExecutor | None = None) -> AsyncIterator[Cluster]:
    async with coordinator() as service:
        made = Cluster(service, executor or FakeExecutor())
        try:
            yield made
        finally:
            made.running.cancel()
            await asyncio.gather(made.running, return_exceptions=True)


async def test_assignments_become_reports() -> None:
    async with cluster() as it:
        stream, hello = await it.service.greeted()
        assert (hello.session, list(hello.tasks), hello.executor) == (SECRET, ["t.add", "t.nap"], "fake")
        stream.send(assignment(1, 3))
        await it.executor.holds(1, 2, 3)
        it.executor.give(2, 1)
        message = await stream.next()
        assert list(message.values.tokens) == [2, 1]
        stream.acknowledge(message)
        it.executor.end(Ended(3, "retry", countdown_ms=1500))
        message = await stream.next()
        assert message.reports[0].retry.countdown_ms == 1500
        stream.acknowledge(message)


async def test_the_wish_of_the_executor_becomes_the_offer() -> None:
    async with cluster() as it:
        stream, hello = await it.service.greeted()
        assert hello.capacity == 2
        stream.send(assignment(1))
        await it.executor.holds(1)
        it.executor.wanted = 10
        it.executor.give(1)
        assert (await stream.next()).capacity_plus_one == 11


async def test_a_broken_stream_loses_nothing() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, 2))
        await it.executor.holds(1, 2)
        it.executor.give(1)
        await stream.next()
        stream.refuse(grpc.StatusCode.UNAVAILABLE, "gone")
        await stream.over()
        it.executor.give(2)
        async with no_pauses(it.timer):
            stream, hello = await it.service.greeted(resumed=True)
        assert sorted(each.token for each in hello.held) == [1, 2]
        assert list((await stream.next()).values.tokens) == [1, 2]


async def test_superseded_attempts_are_killed_without_a_report() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, 2))
        await it.executor.holds(1, 2)
        stream.send(pb.WorkResponse(stops=[pb.Stop(token=1, superseded=True)]))
        assert await it.ask(stream, "ping") == {"ok": "pong"}
        assert it.executor.forgotten == [1]


@pytest.mark.parametrize(
    ("stop", "asked"),
    [
        (pb.Stop(token=1), [(1, None)]),
        (pb.Stop(token=1, signal="SIGKILL"), [(1, None)]),
        (pb.Stop(token=1, terminate=True), [(1, "SIGTERM")]),
        (pb.Stop(token=1, terminate=True, signal="SIGKILL"), [(1, "SIGKILL")]),
        (pb.Stop(token=1, terminate=True, signal="SIGNONSENSE"), [(1, "SIGTERM")]),
    ],
)
async def test_a_stop_reaches_the_executor(stop: pb.Stop, asked: list[tuple[int, str | None]]) -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1))
        await it.executor.holds(1)
        stream.send(pb.WorkResponse(stops=[stop]))
        await it.ask(stream, "ping")
        assert it.executor.stopped == asked


async def test_receivers_are_told_of_what_was_revoked_why_and_how() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, 4))
        await it.executor.holds(1, 2, 3, 4)
        stops = [pb.Stop(token=1, terminate=True), pb.Stop(token=2), pb.Stop(token=3, expired=True)]
        stream.send(pb.WorkResponse(stops=[*stops, pb.Stop(token=4, expired=True)]))
        await it.ask(stream, "ping")
        it.executor.end(Ended(1, "revoked", signal=15), Ended(2, "revoked"), Ended(3, "revoked"))
        it.executor.give(4)  # it had started in time
        await stream.until(lambda each: bool(each.reports))
        assert [(run.token, len(run.payloads), *how) for run, *how in it.executor.revoked] == [
            (1, 1, 15, False),
            (2, 1, 0, False),
            (3, 1, 0, True),
        ]
        assert it.supervisor._expired == set()


async def test_starts_are_told_where_asked_for() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, track_started=True))
        stream.send(assignment(2))
        await it.executor.holds(1, 2)
        it.executor.begin(1, 2)
        message = await stream.next()
        assert [(report.token, report.HasField("started")) for report in message.reports] == [(1, True)]


async def test_a_drain_hands_back_finishes_and_says_goodbye() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, 3))
        await it.executor.holds(1, 2, 3)
        it.executor.begin(1)
        it.supervisor.signalled(signal.SIGTERM)
        message = await stream.next()
        assert message.drain
        assert sorted(report.token for report in message.reports if report.HasField("returned")) == [2, 3]
        stream.acknowledge(message)
        active = await it.ask(stream, "active")
        assert isinstance(active, list)
        assert len(active) == 1
        it.executor.give(1)
        message = await stream.next()
        assert list(message.values.tokens) == [1]
        assert not message.goodbye
        stream.acknowledge(message)
        assert (await stream.next()).goodbye
        stream.end()
        assert await it.code() == 0
        assert it.executor.closed == [False]


async def test_shutdown_is_answered_before_the_worker_goes() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        assert await it.ask(stream, "shutdown") == {"ok": "shutting down"}
        told = await stream.next()
        assert told.drain
        stream.acknowledge(told)
        assert (await stream.next()).goodbye
        stream.end()
        assert await it.code() == 0


async def test_a_second_signal_kills_and_reports_what_ran_as_lost() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, 2))
        await it.executor.holds(1, 2)
        it.executor.begin(1)
        it.supervisor.signalled(signal.SIGTERM)
        message = await stream.next()
        assert [report.token for report in message.reports if report.HasField("returned")] == [2]
        stream.acknowledge(message)
        it.supervisor.signalled(signal.SIGTERM)
        message = await stream.next()
        assert [report.token for report in message.reports if report.HasField("lost")] == [1]
        stream.acknowledge(message)
        assert (await stream.next()).goodbye
        stream.end()
        assert await it.code() == 128 + signal.SIGTERM
        assert it.executor.closed == [False]


async def test_a_second_signal_does_not_wait_for_the_coordinator(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1))
        await it.executor.holds(1)
        it.executor.begin(1)
        it.supervisor.signalled(signal.SIGINT)
        it.supervisor.signalled(signal.SIGINT)
        await stream.until(lambda each: bool(each.reports))
        await it.timer.advance(2.1)
        assert await it.code() == 128 + signal.SIGINT
        told = [number for name, number in it.executor.emitted if name == "worker_shutting_down"]
        assert told == [signal.SIGINT, 128 + signal.SIGINT], "warm, then cold"
        assert "1 reports" in caplog.text


async def test_real_signals_are_taken() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        signal.raise_signal(signal.SIGTERM)
        message = await stream.next()
        assert message.drain
        stream.acknowledge(message)
        assert (await stream.next()).goodbye
        stream.end()
        assert await it.code() == 0


async def test_a_signal_during_the_start_ends_it() -> None:
    class Slow(FakeExecutor):
        def __init__(self) -> None:
            super().__init__()
            self.starting = asyncio.Event()

        async def start(self, listener: object) -> object:  # type: ignore[override]
            self.starting.set()
            await asyncio.Event().wait()
            return None

    executor = Slow()
    async with cluster(executor) as it:
        await asyncio.wait_for(executor.starting.wait(), BOUND)
        it.supervisor.signalled(signal.SIGTERM)
        assert await it.code() == 0
        assert executor.closed == [False]


async def test_an_app_that_cannot_be_imported_is_a_clear_end(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster(FakeExecutor(ExecutorError("no module named proj"))) as it:
        assert await it.code() == EXIT_START
        assert "no module named proj" in caplog.text


async def test_a_taken_name_is_a_clear_end(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as it:
        stream, _ = await it.service.arrival()
        stream.refuse(grpc.StatusCode.ALREADY_EXISTS, "w1 is taken", "NAME_TAKEN", "choose another with -n")
        assert await it.code() == EXIT_UNAVAILABLE
        assert "choose another with -n" in caplog.text
        assert it.executor.closed == [False]


async def test_a_broken_executor_ends_the_worker_and_tells_what_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1))
        await it.executor.holds(1)
        it.executor.begin(1)
        assert it.executor.listener is not None
        it.executor.listener.broken("the forkserver died")
        message = await stream.until(lambda each: bool(each.reports))
        assert message.reports[0].HasField("lost")
        stream.acknowledge(message)
        await stream.until(lambda each: each.goodbye)
        stream.end()
        assert await it.code() == EXIT_SOFTWARE
        assert "the forkserver died" in caplog.text


async def test_what_waits_too_long_goes_back() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        it.executor.wanted = 16
        stream.send(assignment(1))
        await it.executor.holds(1)
        it.executor.give(1)
        await stream.next()
        stream.send(assignment(2, 8))
        await it.executor.holds(*range(2, 10))
        it.executor.begin(2, 3)
        for _ in range(int(PATIENCE / TICK) + 2):
            await settle()
            await it.timer.advance(TICK)
        assert it.executor.taken_back == [0]
        message = await stream.until(lambda each: bool(each.reports))
        assert len(message.reports) == 6
        assert message.capacity_plus_one == 3


async def test_the_log_tells_what_fails_and_how_lost_tasks_are_treated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grpcflow.worker")
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, id="mine"))
        await it.executor.holds(1)
        failure = value_pb2.Failure(type_name="ValueError", message="too small", traceback="the traceback")
        it.executor.end(Ended(1, "failure", failure=failure.SerializeToString()))
        assert (await stream.next()).reports[0].failure.message == "too small"
        assert "failed: t.add[mine]: ValueError: too small\nthe traceback" in caplog.text
        stream.send(assignment(2, id="told"))
        await it.executor.holds(2)
        it.executor.end(Ended(2, "failure", failure=failure.SerializeToString(), logged=True))
        assert (await stream.next()).reports[0].failure.message == "too small"
        assert "told" not in caplog.text, "the process that ran it has said so"
        assert "acks_late=True: a lost task runs again" in caplog.text
        assert "a warning" in caplog.text
        assert "worker w1 starts: queues default" in caplog.text


async def test_an_end_that_the_wire_cannot_carry_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1))
        await it.executor.holds(1)
        it.executor.end(Ended(1, "exploded"))  # type: ignore[arg-type]
        assert (await stream.next()).reports[0].HasField("lost")
        assert "exploded" in caplog.text


@pytest.mark.parametrize(
    ("said", "address"),
    [(None, "127.0.0.1:50551"), ("a:1,b:2", "a:1, b:2"), (["a:1", "b:2"], "a:1, b:2")],
)
async def test_the_app_may_name_the_coordinator(said: object, address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grpcflow.worker")
    executor = FakeExecutor()
    executor.conf = {"coordinator": said, "task_acks_late": False}

    @contextlib.asynccontextmanager
    async def nowhere(_: str) -> AsyncIterator[None]:
        raise OSError("not in this test")
        yield

    supervisor = Supervisor(make_config(), executor, connect=nowhere, timing=FakeTimer().timing)  # type: ignore[arg-type]
    running = asyncio.ensure_future(supervisor.run())
    await settle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert f"coordinator {address}, executor fake" in caplog.text
    assert "acks_late=False: a lost task fails and never runs twice" in caplog.text


async def test_receivers_are_told_when_it_is_ready_and_when_it_leaves() -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        assert await it.ask(stream, "ping") == {"ok": "pong"}
        assert it.executor.emitted == [("worker_ready", 0)]
        stream.refuse(grpc.StatusCode.UNAVAILABLE, "gone")
        await stream.over()
        async with no_pauses(it.timer):
            stream, _ = await it.service.greeted(resumed=True)
        assert await it.ask(stream, "ping") == {"ok": "pong"}
        it.supervisor.signalled(signal.SIGTERM)
        message = await stream.until(lambda each: each.drain)
        stream.acknowledge(message)
        await stream.until(lambda each: each.goodbye)
        stream.end()
        assert await it.code() == 0
        names = ["worker_ready", "worker_shutting_down", "worker_shutdown"]
        assert [name for name, _ in it.executor.emitted] == names
        assert it.executor.emitted[1][1] == signal.SIGTERM


async def test_progress_of_a_task_is_told_and_what_cannot_be_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1))
        await it.executor.holds(1)
        it.supervisor.progressed(1, "", b"1", "")
        it.supervisor.progressed(1, "STEP", b"1", "application/msgpack")
        message = await stream.until(lambda each: bool(each.reports))
        told = message.reports[0].progressed
        assert (told.state, told.meta.data, told.meta.content_type) == ("STEP", b"1", "application/msgpack")
        assert "is not told" in caplog.text
