"""Realms: opened, recovered and closed together; what one lacks, or that it fails, and what becomes of the others."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.coordinator.security.token_files import caller, give, realm, take_away
from tests.coordinator.support.serving import BOUND, Wire, call, reason, refused, serving

from grpcflow_coordinator import realms
from grpcflow_coordinator.config import Config
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.realm import EVENTS_FOLDER, Realm, open_store
from grpcflow_coordinator.rpc.roles import ROLES
from grpcflow_coordinator.security.token_file import Role
from grpcflow_coordinator.server import Coordinator
from grpcflow_coordinator.storage.contract import Batch, Store, StoreFailed, StoreFull, StoreLocked
from grpcflow_coordinator.storage.journal import JOURNAL_BYTES, SMALLEST_JOURNAL
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
)

pytestmark = pytest.mark.usefixtures("quick_looks")


# --- opened and closed ---------------------------------------------------------------------------------------------


def on_disk(folder: Path, tokens: Path, **settings: Any) -> dict[str, Any]:
    return {"data": str(folder), "memory": False, "tokens": str(tokens), **settings}


async def test_a_restart_recovers_every_namespace_also_one_that_no_token_names_any_more(tokens: Path) -> None:
    data = tokens.parent / "data"
    chief, gone = give(tokens, Role), give(tokens, Role, namespace="gone")
    stays = give(tokens, Role, namespace="stays")
    graphs = {name: call() for name in ("", "gone", "stays")}
    async with serving(**on_disk(data, tokens, events_on_disk=1 << 20)) as wire:
        for name, token in (("", chief), ("gone", gone), ("stays", stays)):
            await caller(wire, token).submit(graphs[name])
        assert (data / "journal").stat().st_size == JOURNAL_BYTES
        for name in ("gone", "stays"):
            assert (data / "namespaces" / name / "journal").stat().st_size == SMALLEST_JOURNAL, (
                "64 of them may be there"
            )
    for name in ("gone", "stays"):
        assert (data / "namespaces" / name / "data.mdb").is_file()
        assert list((data / "namespaces" / name / EVENTS_FOLDER).iterdir())
    take_away(tokens, gone)
    (data / "namespaces" / "No Namespace").mkdir()
    async with serving(**on_disk(data, tokens)) as wire:
        assert sorted(wire.coordinator.realms.engines) == ["", "gone", "stays"]
        for name, graph in graphs.items():
            worker = await caller(wire, chief, name).work()
            await worker.run(1)
            assert [run.graph for run in worker.runs] == [graph.graph]
            assert realm(wire, name).epoch == 2


async def test_without_tokens_the_folders_of_namespaces_are_left_alone(
    tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tokens.parent / "data"
    give(tokens, Role, namespace="ours")
    async with serving(**on_disk(data, tokens)):
        pass
    async with serving(data=str(data), memory=False) as wire:
        assert list(wire.coordinator.realms.engines) == [""]
        LmdbStore(data / "namespaces" / "ours").close()
    assert "1 namespaces are not served: that takes tokens" in caplog.text


async def test_a_new_namespace_is_opened_when_its_first_token_comes(tokens: Path) -> None:
    chief = give(tokens, Role)
    async with serving(**on_disk(tokens.parent / "data", tokens)) as wire:
        late = give(tokens, Role, namespace="late")
        await opened(wire, late)
        await caller(wire, late).works()
        await caller(wire, chief, "late").works()
        with pytest.raises(StoreLocked):
            LmdbStore(tokens.parent / "data" / "namespaces" / "late")


async def opened(wire: Wire, token: str) -> None:
    """Waits until a token lets in."""
    async with asyncio.timeout(BOUND):
        while True:
            try:
                await caller(wire, token).control.ListQueues(control_service_pb2.ListQueuesRequest())
                return
            except grpc.aio.AioRpcError as error:
                if reason(error)[1] not in ("NAMESPACE_CLOSED", "TOKEN_WRONG"):
                    raise


async def test_one_that_cannot_be_opened_disturbs_nobody_and_is_tried_again(
    tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chief = give(tokens, Role)
    data = tokens.parent / "data"
    async with serving(**on_disk(data, tokens)) as wire:
        (data / "namespaces").write_text("in the way")
        late = give(tokens, Role, namespace="late")
        async with asyncio.timeout(BOUND):
            while "the namespace late cannot be opened" not in caplog.text:
                await asyncio.sleep(0)
        asked = caller(wire, late).control.ListQueues(control_service_pb2.ListQueuesRequest())
        assert await refused(asked) == (grpc.StatusCode.UNAVAILABLE, "NAMESPACE_CLOSED")
        await caller(wire, chief).works()
        (data / "namespaces").unlink()
        await opened(wire, late)


async def test_a_new_one_that_cannot_be_opened_at_the_start_holds_up_nobody(
    tokens: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = tokens.parent / "data"
    chief, old = give(tokens, Role), give(tokens, Role, namespace="old")
    async with serving(**on_disk(data, tokens)):
        pass
    new = give(tokens, Role, namespace="new")
    full = [True]

    def opening(config: Config) -> Store:
        if config.data.endswith("/new") and full:
            raise StoreFailed("no room for a folder: this is a test")
        return open_store(config)

    monkeypatch.setattr(realms, "open_store", opening)
    (data / "namespaces" / "new").mkdir()  # as far as it came
    async with serving(**on_disk(data, tokens)) as wire:
        assert "the namespace new cannot be opened" in caplog.text
        for token in (chief, old):
            await caller(wire, token).works()
        full.clear()
        await opened(wire, new)
        await caller(wire, new).works()


async def test_of_too_many_those_that_are_there_go_on_and_the_others_are_told(
    tokens: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realms, "MOST", 3)
    made = {name: give(tokens, Role, namespace=name) for name in ("", "a", "b", "c")}
    async with serving(tokens=str(tokens)) as wire:
        assert "the namespace c is not served: a coordinator has" in caplog.text
        made["d"] = give(tokens, Role, namespace="d")
        async with asyncio.timeout(BOUND):
            while "the namespace d is not served" not in caplog.text:
                await asyncio.sleep(0)
        exhausted = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_NAMESPACES")
        for name in ("c", "d"):
            for side in (caller(wire, made[name]), caller(wire, made[""], name)):
                assert await refused(side.control.ListQueues(control_service_pb2.ListQueuesRequest())) == exhausted
        for name in ("", "a", "b"):
            await caller(wire, made[name]).works()
    assert caplog.text.count("the namespace c is not served") == 1


async def test_the_stop_ends_the_streams_of_all_and_closes_all_stores(tokens: Path) -> None:
    data = tokens.parent / "data"
    names = ("", "a", "b")
    made = [give(tokens, Role, namespace=name) for name in names]
    async with serving(**on_disk(data, tokens)) as wire:
        workers = [await caller(wire, token).work() for token in made]
        sessions = [await caller(wire, token).session() for token in made]
        stopping = asyncio.create_task(wire.coordinator.stop())
        streams: list[Any] = [*workers, *sessions]
        for stream in streams:
            ended = await refused(stream.read(lambda _: False))
            assert ended == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
        await stopping
        for folder in (data, data / "namespaces" / "a", data / "namespaces" / "b"):
            LmdbStore(folder).close()


async def test_where_the_start_fails_no_store_stays_open(tokens: Path) -> None:
    data = tokens.parent / "data"
    for name in ("a", "b"):
        give(tokens, Role, namespace=name)
    config = Config(data=str(data), listen="127.0.0.1:0", tokens=str(tokens))
    LmdbStore(data / "namespaces" / "a").close()
    held = LmdbStore(data / "namespaces" / "b")
    with pytest.raises(StoreLocked, match="b is held"):
        await Coordinator(config).start()
    held.close()
    for folder in (data, data / "namespaces" / "a"):
        LmdbStore(folder).close()


# --- one that fails ------------------------------------------------------------------------------------------------


def with_store(monkeypatch: pytest.MonkeyPatch, name: str, store: Store) -> None:
    """Gives one namespace this store."""

    def opening(config: Config) -> Store:
        return store if config.data.endswith(f"namespaces/{name}") else open_store(config)

    monkeypatch.setattr(realms, "open_store", opening)


async def standing(wire: Wire) -> int:
    stub: Any = health_pb2_grpc.HealthStub(wire.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(), timeout=BOUND)).status)


async def test_a_full_store_of_one_stops_nothing_of_another_and_is_told_by_health(
    tokens: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = asyncio.Event()

    def failpoint(when: str, _batch: Batch) -> None:
        if full.is_set() and when == "before":
            raise StoreFull("no room: this is a test")

    with_store(monkeypatch, "full", MemoryStore(failpoint=failpoint))
    inside, chief = give(tokens, Role, namespace="full"), give(tokens, Role)
    async with serving(tokens=str(tokens)) as wire:
        full.set()
        submitting = asyncio.create_task(caller(wire, inside).submit(call()))
        async with asyncio.timeout(BOUND):
            while not realm(wire, "full").engine.full:
                await asyncio.sleep(0)
        assert await refused(caller(wire, inside).submit(call())) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL")
        await caller(wire, chief).works()
        assert await standing(wire) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert wire.coordinator._health.trouble().startswith("namespace full: the disk is nearly full")
        full.clear()
        await submitting
        assert await standing(wire) == health_pb2.HealthCheckResponse.SERVING
    told = [record for record in caplog.records if record.name == "grpcflow_coordinator.engine"]
    assert [record.getMessage().partition(",")[0] for record in told] == [
        "namespace full: the disk is full",
        "namespace full: the disk has room again",
    ]
    assert {vars(record)["namespace"] for record in told} == {"full"}


async def test_one_that_fails_for_good_stops_the_coordinator(
    tokens: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = asyncio.Event()

    def failpoint(when: str, _batch: Batch) -> None:
        if broken.is_set() and when == "before":
            raise StoreFailed("the disk is broken: this is a test")

    with_store(monkeypatch, "broken", MemoryStore(failpoint=failpoint))
    inside = give(tokens, Role, namespace="broken")
    async with serving(tokens=str(tokens)) as wire, asyncio.timeout(BOUND):
        broken.set()
        asked = caller(wire, inside).client.Submit(client_service_pb2.SubmitRequest(chunks=[call()]), timeout=BOUND)
        with caplog.at_level(logging.CRITICAL):
            await wire.coordinator.wait()
        asked.cancel()  # nobody answers it
        assert isinstance(wire.coordinator.realms.failed, StoreFailed)
        assert wire.coordinator.engine.failed is None
        assert "the namespace broken has failed" in caplog.text


def test_each_realm_answers_all_of_the_table_but_health_and_reflection() -> None:
    one = Realm(Config(data="unused", memory=True), MemoryStore(), now=system_now, on_fatal=print)
    listed = {f"/{service}/{method}" for service, row in ROLES.items() for method in row}
    assert listed - set(one.handlers) == {path for path in listed if path.startswith("/grpc.")}
    assert set(one.handlers) <= listed
