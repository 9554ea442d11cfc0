"""Ways of a worker to its end beyond the first two signals: soft, at once, anew, and starts that come to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

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
    settle,
)

from grpcflow_worker.config import WorkerConfig, build_config
from grpcflow_worker.executor import ExecutorError
from grpcflow_worker.service_options import ServiceOptions
from grpcflow_worker.supervisor import EXIT_START, EXIT_USAGE, Supervisor


class House:
    """One coordinator in a test's hands and one worker without children, whose files the test may change."""

    def __init__(self, service: FakeCoordinator, executor: FakeExecutor, config: WorkerConfig, reloads: bool) -> None:
        self.service = service
        self.executor = executor
        self.timer = FakeTimer()
        self.file_changed = asyncio.Event()
        self.told: list[dict[str, Any]] = []
        self.supervisor = Supervisor(
            config,
            executor,
            secret=SECRET,
            timing=self.timer.timing,
            changed=self._changed if reloads else None,
            told=lambda settings: self.told.append(dict(settings)),
        )
        self.running = asyncio.ensure_future(self.supervisor.run())

    async def _changed(self) -> None:
        await self.file_changed.wait()

    async def code(self) -> int:
        return await asyncio.wait_for(self.running, BOUND)

    async def busy(self) -> WorkerStream:
        """Connect, and run one task."""
        stream, _ = await self.service.greeted()
        stream.send(assignment(1))
        await self.executor.holds(1)
        self.executor.begin(1)
        return stream

    async def leave(self, stream: WorkerStream, wanted: Callable[[Any], bool]) -> Any:
        """Read until a report that the test waits for, then let the worker say goodbye; returns the message."""
        message = await stream.until(wanted)
        stream.acknowledge(message)
        await stream.until(lambda each: each.goodbye)
        stream.end()
        return message


@contextlib.asynccontextmanager
async def house(executor: FakeExecutor | None = None, *, reloads: bool = False, **options: Any) -> AsyncIterator[House]:
    async with coordinator() as service:
        config = build_config(app="proj", coordinator=service.address, name="w1", concurrency=2, **options)
        made = House(service, executor or FakeExecutor(), config, reloads)
        try:
            yield made
        finally:
            made.running.cancel()
            await asyncio.gather(made.running, return_exceptions=True)


def soft(seconds: float) -> FakeExecutor:
    """An executor of an app that gives running tasks so much time."""
    executor = FakeExecutor()
    executor.conf["worker_soft_shutdown_timeout"] = seconds
    return executor


def lost(message: Any) -> bool:
    return any(report.HasField("lost") for report in message.reports)


async def test_quit_stops_at_once() -> None:
    async with house() as it:
        stream = await it.busy()
        it.supervisor.signalled(signal.SIGQUIT)
        await it.leave(stream, lost)
        assert await it.code() == 128 + signal.SIGQUIT


async def test_the_soft_time_lets_a_task_finish_that_is_short_enough() -> None:
    async with house(soft(10.0)) as it:
        stream = await it.busy()
        it.supervisor.signalled(signal.SIGQUIT)
        message = await stream.until(lambda each: each.drain)
        stream.acknowledge(message)
        await it.timer.advance(9.0)
        it.executor.give(1)
        await it.leave(stream, lambda each: list(each.values.tokens) == [1])
        assert await it.code() == 0


async def test_when_the_soft_time_is_over_what_runs_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grpcflow.worker")
    async with house(soft(10.0)) as it:
        stream = await it.busy()
        it.supervisor.signalled(signal.SIGINT)
        assert "then stopping; once more gives them 10 s" in caplog.text
        it.supervisor.signalled(signal.SIGINT)
        await settle()
        message = await stream.until(lambda each: each.drain)
        assert not lost(message)
        stream.acknowledge(message)
        await it.timer.advance(10.1)
        await it.leave(stream, lost)
        assert await it.code() == 128 + signal.SIGINT


async def test_a_further_signal_ends_the_soft_time() -> None:
    async with house(soft(10.0)) as it:
        stream = await it.busy()
        for _ in range(3):
            it.supervisor.signalled(signal.SIGTERM)
        await it.leave(stream, lost)
        assert await it.code() == 128 + signal.SIGTERM


def hurried(seconds: float) -> dict[str, Any]:
    """The options of a worker that has so much time to leave."""
    return {"service": ServiceOptions(drain_timeout=seconds)}


async def test_a_warm_stop_turns_cold_when_the_drain_timeout_is_over(caplog: pytest.LogCaptureFixture) -> None:
    async with house(**hurried(10.0)) as it:
        stream = await it.busy()
        it.supervisor.signalled(signal.SIGTERM)
        message = await stream.until(lambda each: each.drain)
        stream.acknowledge(message)
        await it.timer.advance(9.9)
        assert it.executor.held() == 1
        await it.timer.advance(0.2)
        await it.leave(stream, lost)
        assert await it.code() == 128 + signal.SIGTERM
    assert "the 10 s of --drain-timeout are over: stopping at once" in caplog.text


async def test_the_drain_timeout_holds_for_the_command_and_not_for_what_ends_in_time() -> None:
    async with house(**hurried(10.0)) as it:
        stream = await it.busy()
        it.supervisor.drain()
        message = await stream.until(lambda each: each.drain)
        stream.acknowledge(message)
        await it.timer.advance(9.9)
        it.executor.give(1)
        await it.leave(stream, lambda each: list(each.values.tokens) == [1])
        assert await it.code() == 0
    async with house(**hurried(10.0)) as it:
        stream = await it.busy()
        it.supervisor.drain()
        await it.timer.advance(10.1)
        await it.leave(stream, lost)
        assert await it.code() == 128 + signal.SIGTERM


async def test_a_worker_that_is_to_start_anew_does_so_when_the_drain_timeout_is_over() -> None:
    async with house(**hurried(10.0)) as it:
        it.supervisor.leaving = type(it.supervisor.leaving)({})
        stream = await it.busy()
        it.supervisor.signalled(signal.SIGHUP)
        await it.timer.advance(10.1)
        await it.leave(stream, lost)
        assert (await it.code(), it.supervisor.leaving.restarts) == (0, True)


async def test_the_soft_time_counts_anew_where_it_comes_within_the_drain_timeout() -> None:
    async with house(soft(10.0), **hurried(12.0)) as it:
        stream = await it.busy()
        it.supervisor.signalled(signal.SIGTERM)
        await it.timer.advance(11.0)
        it.supervisor.signalled(signal.SIGTERM)
        message = await stream.until(lambda each: each.drain)
        stream.acknowledge(message)
        await it.timer.advance(9.0)
        it.executor.give(1)
        await it.leave(stream, lambda each: list(each.values.tokens) == [1])
        assert await it.code() == 0


async def test_hangup_finishes_what_runs_and_asks_for_a_new_start() -> None:
    async with house() as it:
        it.supervisor.leaving = type(it.supervisor.leaving)({})  # as with no terminal
        stream = await it.busy()
        it.supervisor.signalled(signal.SIGHUP)
        message = await stream.until(lambda each: each.drain)
        stream.acknowledge(message)
        it.executor.give(1)
        await it.leave(stream, lambda each: list(each.values.tokens) == [1])
        assert (await it.code(), it.supervisor.leaving.restarts) == (0, True)


@pytest.mark.parametrize(("handler", "drains"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
async def test_a_hangup_that_whoever_started_it_had_ignored_stays_ignored(
    handler: signal.Handlers, drains: bool
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        async with house() as it:
            await it.service.greeted()
            signal.raise_signal(signal.SIGHUP)
            await settle()
            assert it.supervisor.leaving.step.value == ("warm" if drains else "working")
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_changed_file_finishes_what_runs_hands_back_the_rest_and_asks_for_a_new_start() -> None:
    async with house(reloads=True) as it:
        stream, _ = await it.service.greeted()
        stream.send(assignment(1, 3))
        await it.executor.holds(1, 2, 3)
        it.executor.begin(1)
        it.file_changed.set()
        message = await stream.until(lambda each: each.drain)
        assert sorted(report.token for report in message.reports if report.HasField("returned")) == [2, 3]
        stream.acknowledge(message)
        it.executor.give(1)
        await it.leave(stream, lambda each: list(each.values.tokens) == [1])
        assert (await it.code(), it.supervisor.leaving.restarts) == (0, True)


async def test_an_app_that_cannot_be_imported_waits_for_the_change_that_mends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house(FakeExecutor(ExecutorError("invalid syntax")), reloads=True) as it:
        await settle()
        assert "invalid syntax" in caplog.text
        assert "waiting for a file to change" in caplog.text
        assert not it.running.done()
        it.file_changed.set()
        assert (await it.code(), it.supervisor.leaving.restarts) == (0, True)


async def test_who_waits_for_a_change_can_be_told_to_stop() -> None:
    async with house(FakeExecutor(ExecutorError("invalid syntax")), reloads=True) as it:
        await settle()
        it.supervisor.signalled(signal.SIGINT)
        assert (await it.code(), it.supervisor.leaving.restarts) == (EXIT_START, False)


async def test_queues_that_the_app_does_not_define_end_the_start(caplog: pytest.LogCaptureFixture) -> None:
    async with house(exclude_queues=["nonsense"]) as it:
        assert await it.code() == EXIT_USAGE
        assert "--exclude-queues: the app defines no queue 'nonsense'" in caplog.text


async def test_without_queues_it_serves_those_of_the_app(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grpcflow.worker")
    executor = FakeExecutor()
    executor.conf["queues"] = {"mail": 5, "video": 1}
    async with house(executor) as it:
        _, hello = await it.service.greeted()
        assert (list(hello.queues), list(hello.weights)) == (["mail", "video"], [5, 1])
        assert "queues mail:5, video, app proj" in caplog.text
        assert it.told == [executor.conf], "who set up the log hears of the settings"


async def test_quiet_says_nothing_of_the_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grpcflow.worker")
    async with house(service=ServiceOptions(quiet=True)) as it:
        await it.service.greeted()
        assert "worker w1 starts" not in caplog.text
        assert "a warning" in caplog.text, "warnings are said"


async def test_stacks_are_asked_of_the_children_too(capfd: pytest.CaptureFixture[str]) -> None:
    async with house() as it:
        await it.service.greeted()
        signal.raise_signal(signal.SIGUSR1)
        await settle()
        assert it.executor.dumped == 1
        assert "most recent call first" in capfd.readouterr().err
