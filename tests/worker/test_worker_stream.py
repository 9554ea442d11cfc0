"""The stream driver against a real gRPC server: connecting, losing, coming back, being refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from tests.worker.worker_fakes import (
    BOUND,
    FakeCoordinator,
    FakeTimer,
    assignment,
    coordinator,
    make_session,
    no_pauses,
    settle,
    welcome,
)

from grpcflow_protos.v1 import load_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.load import LoadTeller
from grpcflow_worker.session import Effects, Phase, Session
from grpcflow_worker.stream import Refused, StreamDriver


class Worker:
    """A session and its driver, without an executor."""

    def __init__(self, *addresses: str, interval: float = 0.0) -> None:
        self.session: Session = make_session()
        self.timer = FakeTimer()
        self.effects: asyncio.Queue[Effects] = asyncio.Queue()
        #: How many tasks ended, by what it says of its load.
        self.processed = 0
        load = LoadTeller(self.measure, interval, self.timer.timing.now)
        self.driver = StreamDriver(
            self.session, addresses, self.effects.put_nowait, load=load, timing=self.timer.timing
        )
        self.running = asyncio.ensure_future(self.driver.run())

    def measure(self) -> load_pb2.WorkerLoad:
        return load_pb2.WorkerLoad(processed=self.processed)

    async def next(self) -> Effects:
        return await asyncio.wait_for(self.effects.get(), BOUND)

    async def said_now(self) -> None:
        """Wait until the driver has noted that it said something: a message may arrive before its write has ended."""
        async with asyncio.timeout(BOUND):
            while self.driver._said_at != self.timer.time:
                await asyncio.sleep(0)

    async def noticed(self) -> None:
        """Wait until the driver knows that its stream has ended, and with which status, while time stands still."""
        async with asyncio.timeout(BOUND):
            while self.session.phase is Phase.ONLINE:
                await asyncio.sleep(0)

    async def end(self) -> Refused | None:
        return await asyncio.wait_for(self.running, BOUND)

    def value(self, token: int) -> None:
        self.session.values([token], [b"1"], self.timer.time)
        self.driver.wake()


@contextlib.asynccontextmanager
async def worker(*addresses: str, interval: float = 0.0) -> AsyncIterator[Worker]:
    made = Worker(*addresses, interval=interval)
    try:
        yield made
    finally:
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)


@pytest.fixture
async def service() -> AsyncIterator[FakeCoordinator]:
    async with coordinator() as made:
        yield made


async def test_work_comes_and_ends_are_reported(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, hello = await service.greeted()
        assert hello.name == "w1"
        assert (await one.next()).welcome is not None
        stream.send(assignment(1))
        assert [run.token for run in (await one.next()).runs] == [1]
        one.value(1)
        message = await stream.next()
        assert list(message.values.tokens) == [1]
        stream.acknowledge(message)
        await one.next()
        assert one.session.settled


async def test_a_broken_stream_is_taken_up_with_what_is_held(
    service: FakeCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "grpcflow.worker")
    async with worker(service.address) as one:
        stream, first = await service.greeted()
        await one.next()
        stream.send(assignment(1, 2))
        await one.next()
        stream.refuse(grpc.StatusCode.UNAVAILABLE, "restarting")
        await stream.over()
        one.value(1)
        await one.noticed()  # a write that fails gives the status only so long to be read
        async with no_pauses(one.timer):
            stream, again = await service.greeted(resumed=True)
        assert again.session == first.session
        assert sorted(each.token for each in again.held) == [1, 2]
        message = await stream.next()
        assert (message.sequence, list(message.values.tokens)) == (2, [1])
    assert "lost the coordinator" in caplog.text
    # Where a message is on its way as the stream ends, grpc may know of that alone, and not of the status.
    assert "restarting" in caplog.text or "Internal error from Core" in caplog.text
    assert "connected to" in caplog.text


async def test_an_ended_stream_is_a_broken_one(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted()
        await one.next()
        stream.end()
        async with no_pauses(one.timer):
            await service.greeted()


async def test_an_idle_worker_beats(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted(heartbeat_ms=5000)
        await one.next()
        await settle()
        await one.timer.advance(4.9)
        assert stream.inbox.empty()
        await one.timer.advance(0.2)
        await stream.beat()


async def test_a_sign_of_life_is_answered_by_one_where_little_was_said(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted(heartbeat_ms=5000)
        await one.next()
        await settle()
        for pause, answers in ((2.4, False), (0.2, True), (2.4, False), (2.5, True)):
            await one.timer.advance(pause)
            stream.send(pb.WorkResponse())
            await one.next()
            if answers:
                await stream.beat()
                await one.said_now()
            else:
                await settle()
                assert stream.inbox.empty()


async def test_silence_breaks_the_stream(service: FakeCoordinator, caplog: pytest.LogCaptureFixture) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted(silence_ms=15000)
        await one.next()
        await one.timer.advance(14.0)
        stream.send(pb.WorkResponse(acknowledged=1))
        await one.next()
        await one.timer.advance(14.0)
        await stream.beat()
        await one.timer.advance(1.5)
        await stream.over()
        assert "said nothing for 15 s" in caplog.text
        async with no_pauses(one.timer):
            await service.greeted()


async def test_no_welcome_is_silence_too(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.arrival()
        await one.timer.advance(15.1)
        await stream.over()
        async with no_pauses(one.timer):
            await service.greeted()


async def test_a_coordinator_against_the_protocol_is_left(
    service: FakeCoordinator, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted()
        await one.next()
        stream.send(welcome())
        await stream.over()
        assert "second welcome" in caplog.text
        async with no_pauses(one.timer):
            await service.greeted()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"),
        (grpc.StatusCode.ABORTED, "REPLACED"),
        (grpc.StatusCode.FAILED_PRECONDITION, "REVISION_UNKNOWN"),
        (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED"),
        (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS"),
    ],
)
async def test_a_refusal_is_final_and_tells_the_cure(
    service: FakeCoordinator, code: grpc.StatusCode, reason: str
) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.arrival()
        stream.refuse(code, "not you", reason, "do something else")
        refused = await one.end()
        assert refused is not None
        assert refused.reason == reason
        for part in (service.address, reason, "not you", "do something else"):
            assert part in refused.message


async def test_a_stream_that_was_replaced_ends_the_worker(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted()
        await one.next()
        stream.refuse(grpc.StatusCode.ABORTED, "a newer stream took over", "REPLACED")
        refused = await one.end()
        assert refused is not None
        assert refused.reason == "REPLACED"


async def test_the_next_address_is_tried(service: FakeCoordinator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "grpcflow.worker")
    dead = "127.0.0.1:1"
    async with worker(dead, service.address) as one, no_pauses(one.timer):
        await service.greeted()
        assert f"waiting for a coordinator at {dead}, {service.address}" in caplog.text


async def test_goodbye_ends_the_driver(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted()
        await one.next()
        one.session.drain()
        one.driver.wake()
        stream.acknowledge(await stream.next())
        assert (await stream.next()).goodbye
        await stream.over()
        stream.end()
        assert await one.end() is None


async def test_goodbye_does_not_wait_for_ever_for_the_end(service: FakeCoordinator) -> None:
    async with worker(service.address) as one:
        stream, _ = await service.greeted()
        await one.next()
        one.session.drain()
        one.driver.wake()
        stream.acknowledge(await stream.next())
        await stream.over()
        async with no_pauses(one.timer):
            assert await one.end() is None


async def test_a_drained_session_without_a_coordinator_just_ends() -> None:
    async with worker("127.0.0.1:1") as one:
        one.session.drain()
        async with no_pauses(one.timer):
            assert await one.end() is None


async def test_pauses_grow_and_are_bounded() -> None:
    pauses: list[float] = []
    enough = asyncio.Event()
    timer = FakeTimer()

    async def sleep(seconds: float) -> None:
        if seconds > 10:  # Watching for silence.
            await timer.sleep(seconds)
        pauses.append(seconds)
        if len(pauses) == 9:
            enough.set()
            await asyncio.Event().wait()

    @contextlib.asynccontextmanager
    async def fail(address: str) -> AsyncIterator[None]:
        raise OSError(f"no way to {address}")
        yield

    timing = timer.timing.__class__(now=timer.timing.now, sleep=sleep, chance=lambda: 1.0)
    driver = StreamDriver(make_session(), ["a:1"], lambda _: None, connect=fail, timing=timing)  # type: ignore[arg-type]
    running = asyncio.ensure_future(driver.run())
    await asyncio.wait_for(enough.wait(), BOUND)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert pauses == [0.1, 0.2, 0.4] + [0.5] * 6


async def test_the_load_goes_along_with_the_signs_of_life(service: FakeCoordinator) -> None:
    async with worker(service.address, interval=5.0) as one:
        stream, _ = await service.greeted()
        await one.next()
        assert (await stream.tells_load()).interval_ms == 5_000
        await one.timer.advance(0.3)  # so that the load is due a little sooner than the sign of life
        one.session.beat()
        one.driver.wake()
        await stream.beat()
        for one.processed in (1, 2):
            await one.timer.advance(5.0)
            assert (await stream.beat()).load.processed == one.processed
        assert stream.inbox.empty(), "nothing else was said"


async def test_a_load_that_is_wanted_more_often_is_a_message_that_nobody_acknowledges(service: FakeCoordinator) -> None:
    async with worker(service.address, interval=1.0) as one:
        stream, _ = await service.greeted()
        await one.next()
        await stream.tells_load()
        one.processed = 7
        await one.timer.advance(1.0)
        message = await asyncio.wait_for(stream.inbox.get(), BOUND)
        assert message == pb.WorkRequest(load=load_pb2.WorkerLoad(processed=7, interval_ms=1_000))
        one.value(1)
        assert one.session.said == 1
