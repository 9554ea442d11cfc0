"""Events that are kept on disk, over the wire: replayed over a restart, and named when their graphs are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.coordinator.support.serving import BOUND, Wire, call, calls, serving

from grpcflow_coordinator.core.model import text_id
from grpcflow_coordinator.event_log import found_in
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos.v1 import event_service_pb2 as pb
from grpcflow_protos.v1 import event_service_pb2_grpc, value_pb2, worker_service_pb2

SIZE = 1 << 20


async def read(wire: Wire, **given: Any) -> tuple[list[pb.Event], int]:
    """Read all that is there; return it, and how many events are missing."""
    stub: Any = event_service_pb2_grpc.EventServiceStub(wire.channel)
    answers = [one async for one in stub.ReadEvents(pb.ReadEventsRequest(**given), timeout=BOUND)]
    return [event for answer in answers for event in answer.events], sum(answer.missed for answer in answers)


async def some_work(wire: Wire) -> list[bytes]:
    """Run a call, a call that fails and a group; return their graphs."""
    worker = await wire.work()
    chunks = [call(id="my-own"), call(), calls(3)]
    await wire.submit(chunks[0])
    await worker.run(1)
    await wire.submit(chunks[1])
    [_, token] = await worker.have(2)
    failure = value_pb2.Failure(type_name="ValueError", message="boom")
    await worker.report(reports=[worker_service_pb2.Report(token=token, failure=failure)])
    await wire.submit(chunks[2])
    tokens = (await worker.have(5))[2:]
    await worker.report(values=worker_service_pb2.ReportedValues(tokens=tokens, values=[b"1"] * 3))
    await worker.leave()
    return [chunk.graph for chunk in chunks]


async def test_events_are_read_on_over_a_restart(tmp_path: Path) -> None:
    async with serving(memory=False, data=str(tmp_path), events_on_disk=SIZE) as wire:
        await some_work(wire)
        before, _ = await read(wire)
        await wire.submit(call(task="last"))  # which nobody reads before the stop
    async with serving(memory=False, data=str(tmp_path), events_on_disk=SIZE) as wire:
        found, missed = await read(wire)
        assert (found[:-1], found[-1].task, missed) == (before, "last", 0)
        before = found
        assert await read(wire, after=before[3].offset) == (before[4:], 0)
        assert await read(wire, since_ms=before[0].time_ms) == (before, 0)
        await wire.submit(call(task="later"))
        found, missed = await read(wire, after=before[-1].offset)
        assert ([event.task for event in found], missed) == (["later"], 0)
        assert [event.detail for event in (await read(wire, kinds=[pb.EVENT_KIND_TASK_FAILED]))[0]] == [
            "ValueError: boom"
        ]


async def test_what_was_pruned_still_has_its_names(tmp_path: Path) -> None:
    async with serving(memory=False, data=str(tmp_path), events_on_disk=SIZE) as wire:
        graphs = await some_work(wire)
        before, _ = await read(wire)
    store = LmdbStore(tmp_path)
    records = Records(overlay := Overlay(store))
    for graph in graphs:
        records.drop_graph(graph, 1_000)
    store.commit(overlay.seal())
    store.close()
    async with serving(memory=False, data=str(tmp_path), events_on_disk=SIZE) as wire:
        found, missed = await read(wire)
        for event in before:
            event.took_ms, event.retries = 0, 0
            if event.kind in {pb.EVENT_KIND_TASK_SUCCEEDED, pb.EVENT_KIND_TASK_FAILED}:
                event.worker = ""
        assert (found, missed) == (before, 0)
        assert {event.task for event in found if event.graph} == {"t", ""}, "a join has no name"
        assert [event.id for event in found if event.graph == graphs[0]] == ["my-own"] * 3
        assert (await read(wire, task="t", kinds=[pb.EVENT_KIND_TASK_FAILED]))[0][0].id == text_id(graphs[1], 0)


async def test_without_the_setting_nothing_is_on_disk(tmp_path: Path) -> None:
    async with serving(memory=False, data=str(tmp_path)) as wire:
        await some_work(wire)
    assert found_in(tmp_path / "events") == []
    async with serving(memory=False, data=str(tmp_path)) as wire:
        assert await read(wire) == ([], 0)
