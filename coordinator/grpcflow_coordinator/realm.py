"""A realm: one store, with the engine, the streams, the events and the services that stand on it.

Nothing in a realm knows of another one. It may not listen, and it may not ask who calls.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from grpcflow_coordinator.aside import CommitThread
from grpcflow_coordinator.config import Config
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS, Now
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.event_log import EventLog
from grpcflow_coordinator.event_names import Names
from grpcflow_coordinator.loads import Loads
from grpcflow_coordinator.outbox import StreamOutbox
from grpcflow_coordinator.rpc.client import ClientService
from grpcflow_coordinator.rpc.control import ControlService
from grpcflow_coordinator.rpc.crowd import Crowd
from grpcflow_coordinator.rpc.desk import ControlDesk
from grpcflow_coordinator.rpc.events import EventService
from grpcflow_coordinator.rpc.graphs import GraphService
from grpcflow_coordinator.rpc.schedules import ScheduleService
from grpcflow_coordinator.rpc.switchboard import Collector
from grpcflow_coordinator.rpc.views import told_failure
from grpcflow_coordinator.rpc.worker import WorkerService
from grpcflow_coordinator.storage.contract import Store
from grpcflow_coordinator.storage.ground import check_ground
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.streams import WorkerStream
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

if TYPE_CHECKING:
    from grpcflow_coordinator.metrics.meter import Meter

#: Name of the folder of events in the folder for data.
EVENTS_FOLDER: Final = "events"

#: The services that a realm answers for.
SERVICES: Final = tuple(
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
    """Open the store that the settings name.

    Raises:
        StoreError: it cannot be opened.
    """
    if config.memory:
        return MemoryStore()
    if not config.unsafe_filesystem:
        check_ground(Path(config.data))
    return LmdbStore(Path(config.data), room=config.preallocate, journal=config.journal)


class Realm:
    """A realm: made, then `recover`, `attach`, `leave` and `close`.

    Args:
        config: settings; `data` is the realm's own folder.
        store: where its records lie; the realm closes it.
        now: the clock.
        on_fatal: called once with the reason when memory can no longer be trusted to match the disk.
    """

    def __init__(
        self, config: Config, store: Store, *, now: Callable[[], Now], on_fatal: Callable[[BaseException], None]
    ) -> None:
        self._config, self._store = config, store
        #: What counts, where metrics are on.
        self.meter: Meter | None = None
        self.outbox = StreamOutbox(
            heartbeat=config.heartbeat,
            silence=config.silence,
            grace=config.grace,
            version=version(),
            payload_limit=config.payload_limit,
            log_limit=config.task_logs,
            now=now,
        )
        used, machine = self._core()
        # A store in memory waits for nothing, and is written and read on one thread.
        aside = CommitThread(used.commit) if isinstance(store, LmdbStore) else None
        self.engine = Engine(used, machine, self.outbox, now=now, aside=aside, on_fatal=on_fatal)
        self.clients = ClientService(
            self.engine,
            self.outbox.watchers,
            payload_limit=config.payload_limit,
            node_limit=config.node_limit,
            version=version(),
        )
        #: ``/SERVICE/METHOD`` -> what answers it.
        self.handlers: Mapping[str, Any] = self._handlers()

    def _core(self) -> tuple[Store, Machine]:
        """Return the store and the machine; where metrics are on those that are looked at."""
        core_limits = self._config.core_limits()
        if not self._config.metrics:
            return self._store, Machine(core_limits)
        from grpcflow_coordinator.metrics.meter import Meter, MeteredMachine, MeteredStore

        self.meter = Meter()
        return MeteredStore(self._store, self.meter), MeteredMachine(core_limits, self.meter)

    def _handlers(self) -> Mapping[str, Any]:
        config, engine, feed = self._config, self.engine, self.outbox.feed
        desk, loads, crowd = ControlDesk(), Loads(engine.now), Crowd(is_busy=engine.is_busy)
        workers = WorkerService(engine, desk, loads, payload_limit=config.payload_limit, heartbeat=config.heartbeat)
        control = ControlService(engine, desk, loads, feed, self.outbox.revoked, crowd)
        schedules = ScheduleService(engine, config.payload_limit)
        collector: Any = Collector()
        client_service_pb2_grpc.add_ClientServiceServicer_to_server(self.clients, collector)
        worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(workers, collector)
        control_service_pb2_grpc.add_ControlServiceServicer_to_server(control, collector)
        graph_service_pb2_grpc.add_GraphServiceServicer_to_server(GraphService(engine, crowd), collector)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(EventService(engine, feed, loads), collector)
        schedule_service_pb2_grpc.add_ScheduleServiceServicer_to_server(schedules, collector)
        handlers: Mapping[str, Any] = collector.handlers
        return handlers

    @property
    def store(self) -> Store:
        """Where its records lie."""
        return self._store

    @property
    def epoch(self) -> int:
        """How often it has been started."""
        return self.engine.machine.cluster.epoch

    def recover(self) -> None:
        """Go on from the records; then it may be asked.

        Raises:
            StoreError: they cannot be read or written.
        """
        self.engine.start()
        if isinstance(self._store, LmdbStore):
            self._store.recovered()
        self.outbox.feed.base = self.epoch << TOKEN_NUMBER_BITS

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run on an event loop from now on."""
        if self._config.events_on_disk:
            self._keep_events(loop)
        self.engine.attach(loop)
        self.engine.look_after_store()

    def _keep_events(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep events on disk as well."""
        feed = self.outbox.feed
        feed.keep(
            EventLog(
                Path(self._config.data) / EVENTS_FOLDER,
                self._config.events_on_disk,
                base=feed.base,
                now=self.engine.now,
                describe=Names(self.engine.committed, told_failure).describe,
                later=loop.call_later,
            )
        )

    def leave(self) -> None:
        """Tell workers and clients to come back later."""
        for session in self.engine.machine.cluster.sessions.values():
            if isinstance(session.stream, WorkerStream):
                session.stream.close("STOPPING", "the coordinator stops: come back with the same session")
        self.clients.stop()

    def close(self) -> None:
        """End it, and close its store."""
        self.engine.detach()
        self.outbox.feed.close()
        self._store.close()
