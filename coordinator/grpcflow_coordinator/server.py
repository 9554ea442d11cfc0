"""The composition root: store, engine, services, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from grpcflow_coordinator.config import Config, split_address
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS, Now
from grpcflow_coordinator.engine import Engine, system_now
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.event_log import EventLog
from grpcflow_coordinator.event_names import Names
from grpcflow_coordinator.loads import Loads
from grpcflow_coordinator.outbox import StreamOutbox
from grpcflow_coordinator.rpc.client import ClientService
from grpcflow_coordinator.rpc.control import ControlService
from grpcflow_coordinator.rpc.desk import ControlDesk
from grpcflow_coordinator.rpc.events import EventService
from grpcflow_coordinator.rpc.graphs import GraphService
from grpcflow_coordinator.rpc.interceptors import RoleInterceptor, StatusInterceptor
from grpcflow_coordinator.rpc.schedules import ScheduleService
from grpcflow_coordinator.rpc.views import shown_failure
from grpcflow_coordinator.rpc.worker import WorkerService
from grpcflow_coordinator.storage.contract import Store
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_protos import limits
from grpcflow_protos.v1 import (
    client_service_pb2,
    client_service_pb2_grpc,
    control_service_pb2,
    control_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    graph_service_pb2,
    graph_service_pb2_grpc,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
    worker_service_pb2,
    worker_service_pb2_grpc,
)

log = logging.getLogger(__name__)

#: Name of the folder of events in the folder for data.
EVENTS_FOLDER: Final = "events"

#: Seconds in which calls may end when the coordinator stops.
STOP_GRACE: Final = 1.0

_SERVICES: Final = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (client_service_pb2, "ClientService"),
        (worker_service_pb2, "WorkerService"),
        (control_service_pb2, "ControlService"),
        (event_service_pb2, "EventService"),
        (graph_service_pb2, "GraphService"),
        (schedule_service_pb2, "ScheduleService"),
    )
)


def version() -> str:
    """Return the version of the distribution."""
    try:
        return importlib.metadata.version("grpcflow")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def open_store(config: Config) -> Store:
    """Open the store that the settings name."""
    return MemoryStore() if config.memory else LmdbStore(Path(config.data))


class Coordinator:
    """A coordinator that serves: `start`, then `wait`, then `stop`.

    Args:
        config: its settings.
        store: another store than the one that the settings name, for tests.
        now: the clock; another one than the system's for tests.
    """

    def __init__(self, config: Config, store: Store | None = None, *, now: Callable[[], Now] = system_now) -> None:
        self.config = config
        self._store = store or open_store(config)
        self.outbox = StreamOutbox(
            heartbeat=config.heartbeat,
            silence=config.silence,
            grace=config.grace,
            version=version(),
            payload_limit=config.payload_limit,
            now=now,
        )
        self.engine = Engine(self._store, Machine(config.core_limits()), self.outbox, now=now, on_fatal=self._on_fatal)
        self._stopped = asyncio.Event()
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._clients: ClientService | None = None
        #: The address it listens on, once started.
        self.address = ""

    async def start(self) -> None:
        """Recover, then listen."""
        self.engine.start()
        self.outbox.feed.base = self.engine.machine.cluster.epoch << TOKEN_NUMBER_BITS
        if self.config.events_on_disk:
            self._keep_events()
        server = grpc.aio.server(
            interceptors=[StatusInterceptor(), RoleInterceptor()],
            options=[
                ("grpc.max_receive_message_length", self.config.payload_limit + limits.MESSAGE_OVERHEAD),
                ("grpc.max_send_message_length", self.config.payload_limit + limits.MESSAGE_OVERHEAD),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            ],
        )
        self._add_services(server)
        host, port = split_address(self.config.listen)
        target = f"[{host}]" if ":" in host else host
        try:
            bound = server.add_insecure_port(f"{target}:{port}")
        except RuntimeError as error:
            self._store.close()
            raise ConfigurationError(
                f"cannot listen on {self.config.listen}: another process has the port, or the address is not this "
                f"machine's. Stop the other one, or choose another with --listen"
            ) from error
        self.address = f"{target}:{bound}"
        await server.start()
        self._server = server
        self.engine.attach(asyncio.get_running_loop())
        for name in ("", *_SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("serving on %s, data in %s, epoch %d", self.address, self._where(), self.engine.machine.cluster.epoch)

    def _keep_events(self) -> None:
        """Keep events on disk as well."""
        feed = self.outbox.feed
        feed.keep(
            EventLog(
                Path(self.config.data) / EVENTS_FOLDER,
                self.config.events_on_disk,
                base=feed.base,
                now=self.engine.now,
                describe=Names(self.engine.committed, shown_failure).describe,
                later=asyncio.get_running_loop().call_later,
            )
        )

    def _where(self) -> str:
        return "memory only: nothing survives" if self.config.memory else self.config.data

    def _add_services(self, server: grpc.aio.Server) -> None:
        config, engine = self.config, self.engine
        desk, loads = ControlDesk(), Loads(engine.now)
        self._clients = ClientService(
            engine,
            self.outbox.watchers,
            payload_limit=config.payload_limit,
            node_limit=config.node_limit,
            version=version(),
        )
        control = ControlService(engine, desk, loads, self.outbox.revoked)
        workers = WorkerService(engine, desk, loads, payload_limit=config.payload_limit, heartbeat=config.heartbeat)
        client_service_pb2_grpc.add_ClientServiceServicer_to_server(self._clients, server)
        worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(workers, server)
        control_service_pb2_grpc.add_ControlServiceServicer_to_server(control, server)
        graph_service_pb2_grpc.add_GraphServiceServicer_to_server(GraphService(engine), server)
        events = EventService(engine, self.outbox.feed, loads)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(events, server)
        schedules = ScheduleService(engine, config.payload_limit)
        schedule_service_pb2_grpc.add_ScheduleServiceServicer_to_server(schedules, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    def _on_fatal(self, error: BaseException) -> None:
        self._stopped.set()

    def stop_soon(self) -> None:
        """Ask `wait` to return."""
        self._stopped.set()

    async def wait(self) -> None:
        """Wait until someone asked for the stop, or the engine failed."""
        await self._stopped.wait()

    async def stop(self) -> None:
        """Tell peers to come back later, end the calls, close the store."""
        await self._health.enter_graceful_shutdown()
        for session in self.engine.machine.cluster.sessions.values():
            if isinstance(session.stream, WorkerStream):
                session.stream.close("STOPPING", "the coordinator stops: come back with the same session")
        if self._clients is not None:
            self._clients.stop()
        if self._server is not None:
            await self._server.stop(STOP_GRACE)
        self.engine.detach()
        self.outbox.feed.close()
        self._store.close()
        log.info("stopped")
