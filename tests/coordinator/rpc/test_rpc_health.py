"""The health service: serving where what is submitted can be committed, and the service manager hears the same."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.coordinator.support.serving import BOUND, Wire, call, serving

from grpcflow_coordinator import health
from grpcflow_coordinator.__main__ import command
from grpcflow_coordinator.config import Config
from grpcflow_coordinator.server import Coordinator
from grpcflow_coordinator.storage.contract import Batch, StoreFailed, StoreFull
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_protos.service_manager import ServiceManager
from grpcflow_protos.v1 import client_service_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come so often that nobody has to wait for one."""
    monkeypatch.setattr(health, "LOOK", 0.01)


async def standing(wire: Wire, name: str = "") -> int:
    """Returns what the health service says."""
    stub: Any = health_pb2_grpc.HealthStub(wire.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=BOUND)
    return int(answer.status)


async def test_a_coordinator_that_has_recovered_serves_under_every_name_and_knows_no_other() -> None:
    async with serving() as wire:
        for name in ("", "grpcflow.v1.ClientService", "grpcflow.v1.WorkerService", "grpcflow.v1.ScheduleService"):
            assert await standing(wire, name) == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await standing(wire, "no.such.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_full_disk_is_not_serving_until_there_is_room_and_watchers_hear_both() -> None:
    full = asyncio.Event()

    def failpoint(when: str, _batch: Batch) -> None:
        if full.is_set() and when == "before":
            raise StoreFull("no room: this is a test")

    store = MemoryStore(failpoint=failpoint)
    async with serving(store) as wire, asyncio.timeout(BOUND):
        stub: Any = health_pb2_grpc.HealthStub(wire.channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == SERVING
        full.set()
        submitting = asyncio.create_task(wire.submit(call()))
        assert (await watching.read()).status == NOT_SERVING
        assert await standing(wire, "grpcflow.v1.ClientService") == NOT_SERVING
        full.clear()
        await submitting
        assert (await watching.read()).status == SERVING
        assert await standing(wire) == SERVING


async def test_an_engine_that_has_failed_is_not_serving() -> None:
    broken = asyncio.Event()

    def failpoint(when: str, _batch: Batch) -> None:
        if broken.is_set() and when == "before":
            raise StoreFailed("the disk is broken: this is a test")

    async with serving(MemoryStore(failpoint=failpoint)) as wire:
        broken.set()
        with pytest.raises(grpc.aio.AioRpcError):
            await wire.client.Submit(client_service_pb2.SubmitRequest(chunks=[call()]), timeout=0.2)
        assert await standing(wire) == NOT_SERVING
        assert "engine has failed" in wire.coordinator._health.trouble()


async def test_watchers_hear_of_the_stop() -> None:
    async with serving() as wire, asyncio.timeout(BOUND):
        stub: Any = health_pb2_grpc.HealthStub(wire.channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == SERVING
        stopping = asyncio.create_task(wire.coordinator._health.stop())
        assert (await watching.read()).status == NOT_SERVING
        watching.cancel()
        await stopping


async def test_the_service_manager_hears_of_start_life_trouble_and_end(tmp_path: Path) -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "n"))
        bound.setblocking(False)

        async def until(wanted: str) -> None:
            async with asyncio.timeout(BOUND):
                while not any(wanted in line for line in told):
                    told.append((await loop.sock_recv(bound, 4_096)).decode())

        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "20000"})
        config = Config(data="unused", memory=True, listen="127.0.0.1:0")
        coordinator = Coordinator(config, manager=manager)
        await coordinator.start()
        await until("READY=1\nSTATUS=serving on 127.0.0.1:")
        await until("WATCHDOG=1")
        # The engine looks at the space only once a second, so it stays as it is set here.
        coordinator.engine._short_of_space = True
        await until("the disk is nearly full")
        await coordinator.stop()
        await until("STOPPING=1")


async def asked(*words: str) -> tuple[int, str]:
    """Asks with the command; returns its exit code and what it said."""
    done = await asyncio.to_thread(CliRunner().invoke, command, ["health", *words])
    return done.exit_code, done.output


async def test_the_command_of_probes_tells_by_its_exit_code() -> None:
    async with serving() as wire:
        address = wire.coordinator.address
        assert await asked(address) == (0, "SERVING\n")
        wire.coordinator.engine._short_of_space = True
        assert await asked(address) == (2, "NOT_SERVING\n")
    code, told = await asked(address, "--timeout", "0.2")
    assert code == 1
    assert f"{address} does not answer" in told
    code, told = await asked(address, "--tls-ca", "/no/such/file")
    assert code == 1
    assert "/no/such/file cannot be read" in told
