"""How busy workers say they are: told to those who ask, given to readers as heartbeats, and nothing to the feed."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from tests.coordinator.support.serving import BOUND, Wire, Worker, call, hello, serving

from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.loads import Loads
from grpcflow_coordinator.rpc import events as rpc_events
from grpcflow_coordinator.rpc.events import Beats
from grpcflow_protos.v1 import control_service_pb2, event_service_pb2_grpc, load_pb2, worker_service_pb2
from grpcflow_protos.v1 import event_service_pb2 as pb

BEAT = pb.EVENT_KIND_WORKER_HEARTBEAT


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers look for heartbeats as often as can be."""
    monkeypatch.setattr(rpc_events, "LOOK", 0.01)


async def tell(worker: Worker, running: int, **said: Any) -> None:
    """Tell a load alone, without a number, and then something that is acknowledged."""
    load = load_pb2.WorkerLoad(running=running, processed=7, load_average=[0.5, 0.25, 0.125], interval_ms=5_000)
    await worker.call.write(worker_service_pb2.WorkRequest(load=load, **said))
    await worker.report()


async def infos(wire: Wire) -> dict[str, control_service_pb2.WorkerInfo]:
    """Ask who is there."""
    answer = await wire.control.ListWorkers(control_service_pb2.ListWorkersRequest(), timeout=BOUND)
    return {worker.name: worker for worker in answer.workers}


def reader(wire: Wire, **given: Any) -> Any:
    """Open a stream of events."""
    stub: Any = event_service_pb2_grpc.EventServiceStub(wire.channel)
    return stub.ReadEvents(pb.ReadEventsRequest(**given), timeout=BOUND)


async def read(wire: Wire, **given: Any) -> list[pb.Event]:
    """Read all that is there."""
    return [event async for answer in reader(wire, **given) for event in answer.events]


async def test_the_list_of_workers_says_how_busy_each_is() -> None:
    async with serving() as wire:
        worker, other = await wire.work(name="w1"), await wire.work(name="w2")
        await tell(worker, 1)
        await tell(worker, 3)
        found = await infos(wire)
        assert (found["w1"].load.running, list(found["w1"].load.load_average)) == (3, [0.5, 0.25, 0.125])
        assert not found["w2"].HasField("load")
        await worker.leave()
        assert await read(wire, kinds=[BEAT]) == []
        await other.leave()


async def test_heartbeats_come_where_they_are_asked_for_and_take_no_place_in_the_feed() -> None:
    async with serving() as wire:
        one, two = await wire.work(name="w1"), await wire.work(name="w2")
        await tell(one, 1)
        before = await read(wire)
        for running in range(50):
            await tell(one, running)
        await tell(two, 9)
        assert await read(wire) == before
        assert [event.kind for event in before] == [pb.EVENT_KIND_WORKER_ONLINE] * 2
        found = await read(wire, kinds=[BEAT])
        assert [(event.worker, event.load.running, event.offset) for event in found] == [
            ("w1", 49, before[-1].offset),
            ("w2", 9, before[-1].offset),
        ]
        assert await read(wire, heartbeats=True) == before + found
        assert await read(wire, after=before[-1].offset, heartbeats=True) == found
        assert await read(wire, heartbeats=True, worker="w2") == [before[1], found[1]]
        assert await read(wire, heartbeats=True, limit=3) == [*before, found[0]]
        assert await read(wire, heartbeats=True, since_ms=found[1].time_ms + 1) == []
        assert await read(wire, heartbeats=True, kinds=[pb.EVENT_KIND_WORKER_ONLINE]) == before
        assert await read(wire, heartbeats=True, queue="default") == []


async def test_a_follower_is_given_each_newest_one_once() -> None:
    async with serving() as wire:
        worker = await wire.work()
        await tell(worker, 1)
        stream = reader(wire, follow=True, heartbeats=True)
        assert not (await stream.read()).events, "those to come are wanted"
        for running in (2, 3):
            await tell(worker, running)
            async with asyncio.timeout(BOUND):
                while not (answer := await stream.read()).events:
                    pass
            assert [event.load.running for event in answer.events] == [running]
        await wire.submit(call(task="then"))
        async with asyncio.timeout(BOUND):
            while not (answer := await stream.read()).events:
                pass
        assert [event.task for event in answer.events] == ["then"]
        stream.cancel()


async def test_who_wants_the_name_of_another_worker_does_not_speak_for_it() -> None:
    async with serving() as wire:
        worker = await wire.work(name="w1")
        await tell(worker, 1)
        stranger = wire.workers.Work(timeout=BOUND)
        await stranger.write(hello("w1", session=os.urandom(16)))
        await stranger.write(worker_service_pb2.WorkRequest(load=load_pb2.WorkerLoad(running=66)))
        async with asyncio.timeout(BOUND):
            await worker.read(lambda _: bool(worker.commands))  # it is asked whether it lives
        assert (await infos(wire))["w1"].load.running == 1
        stranger.cancel()


def test_a_stream_that_was_replaced_takes_nothing_with_it() -> None:
    loads = Loads(lambda: Now(1, 0.0))
    old, new = object(), object()
    loads.hear(old, "w", load_pb2.WorkerLoad(running=1))
    loads.hear(new, "w", load_pb2.WorkerLoad(running=2, load_average=[1.0] * 9, system="x" * 999))
    loads.forget(old, "w")
    load = loads.of("w")
    assert load is not None
    assert (load.running, len(load.load_average), len(load.system)) == (2, 3, 255)
    loads.forget(new, "w")
    assert loads.of("w") is None
    assert list(loads.since(0)) == []


def test_who_has_gone_again_is_not_waited_for() -> None:
    loads = Loads(lambda: Now(1, 0.0))
    beats, stream = Beats(loads, pb.ReadEventsRequest(heartbeats=True, follow=True)), object()
    loads.hear(stream, "w", load_pb2.WorkerLoad(running=1))
    assert beats.waiting
    loads.forget(stream, "w")
    assert list(beats.fresh(1, 0)) == []
    assert not beats.waiting, "else the reader would look again at once, for ever"
