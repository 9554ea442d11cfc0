"""Erase: nothing of a task, a graph or a stamp is left in the records, the events and the files of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, calls, mint, ranges, refused, serving

from grpcflow_coordinator.core.model import text_id
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.event_erasing import ERASING, Erasure, rewrite
from grpcflow_coordinator.event_frames import frames
from grpcflow_coordinator.event_log import EventLog
from grpcflow_coordinator.happenings import Happening
from grpcflow_coordinator.storage.checking import check
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_protos.v1 import (
    client_service_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    graph_pb2,
    graph_service_pb2,
    value_pb2,
    worker_service_pb2,
)
from grpcflow_protos.v1 import control_service_pb2 as pb

SECRET = b"hunter2-hunter2"
PAYLOAD = b'[["' + SECRET + b'"],{}]'


async def erase(wire: Wire, *ids: str, stamps: dict[str, str] | None = None) -> pb.EraseResponse:
    wired = [graph_pb2.Stamp(name=name, values=[value]) for name, value in (stamps or {}).items()]
    answer: pb.EraseResponse = await wire.control.Erase(pb.EraseRequest(ids=ids, stamps=wired), timeout=BOUND)
    return answer


def stored(wire: Wire) -> bytes:
    """Return all keys and values of the records."""
    store = wire.coordinator.engine._store
    return b"\n".join(key + value for key, value in store.scan(b"", b"\xff" * 40, 1 << 30))


async def events(wire: Wire) -> list[Any]:
    stub: Any = event_service_pb2_grpc.EventServiceStub(wire.channel)
    stream = stub.ReadEvents(event_service_pb2.ReadEventsRequest(), timeout=BOUND)
    return [event async for answer in stream for event in answer.events]


async def published(wire: Wire, id: str) -> None:
    stub: Any = event_service_pb2_grpc.EventServiceStub(wire.channel)
    fields = b'{"told": "' + SECRET + b'"}'
    await stub.PublishEvent(event_service_pb2.PublishEventRequest(type="mine", fields=fields, id=id), timeout=BOUND)


async def run_one(wire: Wire, chunk: graph_pb2.GraphChunk, value: bytes = b'"' + SECRET + b'"') -> None:
    await wire.submit(chunk)
    worker = await wire.work(name=f"w{chunk.graph.hex()}@h")
    await worker.run(chunk.node_count, value) if chunk.node_count == 1 else await worker.run(chunk.node_count - 1)
    await worker.leave()


async def test_nothing_of_a_task_is_left(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"memory": False, "data": str(tmp_path), "events_on_disk": 1 << 20}
    async with serving(store=MemoryStore(), **settings) as wire:
        chunk, other = call(PAYLOAD, id="mine-" + SECRET.decode()), call()
        chunk.templates[0].stamps.add(name="user", values=[SECRET.decode()])
        await run_one(wire, chunk)
        await run_one(wire, other, b"1")
        await published(wire, "mine-" + SECRET.decode())
        before = await events(wire)
        assert SECRET in stored(wire)
        assert SECRET in in_files(wire, tmp_path)
        answer = await erase(wire, "mine-" + SECRET.decode(), "nobody's")
        assert (answer.graphs, answer.nodes, answer.running, list(answer.unknown)) == (1, 0, 0, ["nobody's"])
        assert any("backups" in text for text in answer.left)
        assert SECRET not in stored(wire)
        after = await events(wire)
        assert [event.offset for event in after] == [event.offset for event in before], "offsets hold"
        assert SECRET not in b"".join(event.SerializeToString() for event in after)
        assert chunk.graph not in b"".join(event.graph for event in after)
        assert any(event.graph == other.graph for event in after), "others stay"
        assert SECRET not in in_files(wire, tmp_path)
        results = await wire.client.GetResults(
            client_service_pb2.GetResultsRequest(nodes=ranges(other.graph, 1)), timeout=BOUND
        )
        assert results.results[0].state == value_pb2.STATE_SUCCESS
        assert list((await erase(wire, text_id(chunk.graph, 0))).unknown) == [text_id(chunk.graph, 0)]
        await wire.works()


def in_files(wire: Wire, folder: Path) -> bytes:
    log = wire.coordinator.home.outbox.feed.log
    assert log is not None
    log.flush()
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_what_was_read_of_a_graph_leaves_the_memory_with_it() -> None:
    async with serving() as wire:
        chunk, committed = calls(3), wire.coordinator.engine.committed
        await run_one(wire, chunk)
        assert (chunk.graph, 0) in committed._payloads
        await erase(wire, text_id(chunk.graph, 3))
        assert (chunk.graph, 0) not in committed._payloads
        assert chunk.graph not in committed._small


async def test_a_stamp_takes_all_its_graphs_and_no_other() -> None:
    async with serving() as wire:
        mine = [call(PAYLOAD) for _ in range(3)]
        for chunk in mine:
            chunk.templates[0].stamps.add(name="user", values=["7"])
        theirs = call()
        theirs.templates[0].stamps.add(name="user", values=["8"])
        for chunk in (*mine, theirs):
            await wire.submit(chunk)
        answer = await erase(wire, stamps={"user": "7"})
        assert (answer.graphs, answer.running) == (3, 0)
        assert SECRET not in stored(wire)
        assert wire.coordinator.engine.committed.graph(theirs.graph) is not None
        await wire.works()


async def test_the_list_of_what_was_revoked_lately_knows_it_no_longer() -> None:
    async with serving() as wire:
        await wire.work(queues=["other"])  # the answer is told for a worker
        gone, stays = call(id="mine-" + SECRET.decode()), call(id="theirs")
        for chunk in (gone, stays):
            await wire.submit(chunk)
        await wire.control.Revoke(pb.RevokeRequest(ids=["mine-" + SECRET.decode(), "theirs"]), timeout=BOUND)
        assert SECRET in await revoked(wire)
        assert (await erase(wire, "mine-" + SECRET.decode())).graphs == 1
        assert SECRET not in await revoked(wire)
        assert b"theirs" in await revoked(wire)


async def revoked(wire: Wire) -> bytes:
    stream = wire.control.Inspect(pb.InspectRequest(command="revoked"), timeout=BOUND)
    return b"".join([answer.SerializeToString() async for answer in stream])


async def test_where_it_comes_to_no_end_it_can_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"memory": False, "data": str(tmp_path), "events_on_disk": 1 << 20}
    async with serving(store=MemoryStore(), **settings) as wire:
        chunk = call(PAYLOAD, id="mine-" + SECRET.decode())
        await run_one(wire, chunk)
        await published(wire, "mine-" + SECRET.decode())
        assert SECRET in in_files(wire, tmp_path)

        def ends(*_: Any) -> None:
            raise RuntimeError("the coordinator is killed here: this is a test")

        with monkeypatch.context() as patched:
            patched.setattr("grpcflow_coordinator.rpc.erasing.EraseAsked", ends)
            with pytest.raises(grpc.aio.AioRpcError):
                await erase(wire, "mine-" + SECRET.decode())
        assert SECRET not in in_files(wire, tmp_path), "what has no records cannot be asked for again, so they stay"
        assert SECRET in stored(wire)
        assert (await erase(wire, "mine-" + SECRET.decode())).graphs == 1
        assert SECRET not in stored(wire)


def test_half_a_file_of_an_erasing_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"{1:016x}-{1:012x}.events"
    happening = Happening(1, event_service_pb2.EVENT_KIND_TASK_SENT, b"g" * 12)
    whole = b"".join(frame for _, frame in frames(1, [happening]))
    path.write_bytes(whole)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            rewrite(path, Erasure({b"g" * 12}))
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
    left = path.with_suffix(ERASING)
    left.write_bytes(whole[:5])  # of one that was killed
    EventLog(tmp_path, 1 << 20, base=1, now=system_now).close()
    assert not left.exists()


async def test_what_runs_is_stopped_first_and_the_answer_says_so() -> None:
    async with serving() as wire:
        chunk = call(PAYLOAD)
        await wire.submit(chunk)
        worker = await wire.work()
        await worker.have(1)
        answer = await erase(wire, text_id(chunk.graph, 0))
        assert (answer.graphs, answer.running, list(answer.left)) == (0, 1, [])
        assert SECRET in stored(wire)
        await worker.leave()


async def test_a_node_of_a_canvas_takes_its_graph_along() -> None:
    async with serving() as wire:
        chunk = calls(3)
        await run_one(wire, chunk)
        answer = await erase(wire, text_id(chunk.graph, 1))
        assert answer.graphs == 1
        assert wire.coordinator.engine.committed.graph(chunk.graph) is None
        await wire.works()


def bundle() -> graph_pb2.GraphChunk:
    """Return two independent calls that share a graph."""
    run = graph_pb2.NodeRun(count=2, payloads=[PAYLOAD, b'[["kept"],{}]'])
    return graph_pb2.GraphChunk(
        graph=mint(), last=True, node_count=2, templates=[graph_pb2.Template(task="t", apart=True)], runs=[run]
    )


async def test_of_independent_calls_that_share_a_graph_only_the_one_that_is_named_goes() -> None:
    async with serving() as wire:
        chunk = bundle()
        await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(2)
        await worker.leave()
        answer = await erase(wire, text_id(chunk.graph, 0))
        assert (answer.graphs, answer.nodes) == (0, 1)
        everything = stored(wire)
        assert SECRET not in everything
        assert b"kept" in everything
        request = client_service_pb2.GetResultsRequest(nodes=client_service_pb2.NodeSet(ids=[text_id(chunk.graph, 0)]))
        assert not (await wire.client.GetResults(request, timeout=BOUND)).results[0].known
        request = client_service_pb2.GetResultsRequest(nodes=client_service_pb2.NodeSet(ids=[text_id(chunk.graph, 1)]))
        assert (await wire.client.GetResults(request, timeout=BOUND)).results[0].state == value_pb2.STATE_SUCCESS
        by_graph = await erase(wire, chunk.graph.hex())
        assert by_graph.graphs == 1
        assert b"kept" not in stored(wire)


def keyed_bundle() -> graph_pb2.GraphChunk:
    """Return three independent calls with headers, stamps and keys; the last two share theirs."""
    mine, theirs = SECRET.decode(), "theirs"
    templates = [
        graph_pb2.Template(
            task="t",
            concurrency_per_key=2,
            apart=True,
            headers=name.encode(),
            stamps=[graph_pb2.Stamp(name="user", values=[name])],
        )
        for name in (mine, theirs)
    ]
    runs = [
        graph_pb2.NodeRun(
            first=first, count=1, template=template, payloads=[name.encode()], fairness_key=name, concurrency_key=name
        )
        for first, template, name in ((0, 0, mine), (1, 1, theirs), (2, 1, theirs))
    ]
    return graph_pb2.GraphChunk(graph=mint(), last=True, node_count=3, templates=templates, runs=runs)


@pytest.mark.parametrize("large", [False, True], ids=["one record", "a record for each run"])
async def test_of_one_of_them_nothing_is_left_that_it_does_not_share(large: bool) -> None:
    async with serving() as wire:
        chunk = keyed_bundle()
        if large:
            chunk.runs[2].payloads[0] += b"x" * 100_000
        await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(3)
        assert (await erase(wire, text_id(chunk.graph, 0))).nodes == 1
        assert SECRET not in stored(wire)
        assert SECRET not in repr(wire.coordinator.engine.machine.cluster).encode()
        assert SECRET not in repr(wire.coordinator.engine.committed.runs(chunk.graph, 0, 3)).encode()
        assert (await erase(wire, text_id(chunk.graph, 1))).nodes == 1
        records = wire.coordinator.engine.committed
        graph, left = records.graph(chunk.graph), records.run_of(chunk.graph, 2)
        assert graph is not None
        assert left is not None
        assert graph.templates[left.template].stamps == (("user", ("theirs",)),), "the third call keeps what it shared"
        assert graph.templates[left.template].wire
        assert (await erase(wire, text_id(chunk.graph, 2))).nodes == 1
        assert b"theirs" not in stored(wire)
        assert list(check(wire.coordinator.engine._store, system_now().wall_ms)) == []
        await worker.leave()


async def test_what_was_erased_is_not_run_again_when_the_calls_that_it_was_sent_with_are_retried() -> None:
    async with serving() as wire:
        chunk = bundle()
        await wire.submit(chunk)
        worker = await wire.work()
        failure = value_pb2.Failure(type_name="ValueError", module="builtins", message="no")
        reports = [worker_service_pb2.Report(token=token, failure=failure) for token in await worker.have(2)]
        await worker.report(reports=reports)
        await erase(wire, text_id(chunk.graph, 0))
        graphs: Any = wire.graphs
        answer = await graphs.RetryGraph(graph_service_pb2.RetryGraphRequest(id=chunk.graph.hex()), timeout=BOUND)
        assert answer.retried == 1
        await worker.have(3)
        assert worker.runs[-1].payloads == [b'[["kept"],{}]']
        await worker.leave()


async def test_a_saved_group_goes_under_its_id() -> None:
    async with serving() as wire:
        await wire.client.SaveGroup(client_service_pb2.SaveGroupRequest(id="g", data=SECRET), timeout=BOUND)
        assert SECRET in stored(wire)
        answer = await erase(wire, "g")
        assert (answer.groups, list(answer.unknown)) == (1, [])
        assert SECRET not in stored(wire)


async def test_nothing_or_too_much_is_refused() -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    async with serving() as wire:
        assert await refused(erase(wire)) == (invalid, "BAD_ARGUMENTS")
        assert await refused(erase(wire, *["x"] * 10_001)) == (invalid, "TOO_MANY_IDS")
        assert await refused(erase(wire, "x" * 300)) == (invalid, "ID_TOO_LONG")
