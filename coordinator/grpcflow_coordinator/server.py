"""The composition root: what listens, what guards it, and the order in which realms and server start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from grpcflow_coordinator.config import Config, split_address
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.engine import Engine, system_now
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.health import Health
from grpcflow_coordinator.realm import SERVICES, Realm
from grpcflow_coordinator.realms import Realms
from grpcflow_coordinator.rpc.access import AccessInterceptor
from grpcflow_coordinator.rpc.interceptors import StatusInterceptor
from grpcflow_coordinator.rpc.switchboard import Switchboard
from grpcflow_coordinator.security.guard import Guard
from grpcflow_coordinator.storage.contract import Store
from grpcflow_protos import limits
from grpcflow_protos.service_manager import ServiceManager

if TYPE_CHECKING:
    from grpcflow_coordinator.dashboard import Dashboard
    from grpcflow_coordinator.metrics.endpoint import Endpoint

log = logging.getLogger(__name__)

#: Calls of one connection that may be under way at once; its transport keeps further ones back.
CALLS: Final = 25_000

#: Seconds in which calls may end when the coordinator stops.
STOP_GRACE: Final = 1.0


class Coordinator:
    """A coordinator that serves: `start`, then `wait`, then `stop`.

    Args:
        config: its settings.
        store: another store than the one that the settings name, for tests.
        now: the clock; another one than the system's for tests.
        manager: who is told how it stands; None: nobody.
    """

    def __init__(
        self,
        config: Config,
        store: Store | None = None,
        *,
        now: Callable[[], Now] = system_now,
        manager: ServiceManager | None = None,
    ) -> None:
        self.config = config
        self.realms = Realms(config, store, now=now, on_fatal=self._on_fatal)
        self._stopped = asyncio.Event()
        self._health = Health(self.realms.engines, SERVICES)
        self._manager = manager or ServiceManager({})
        self._beat: asyncio.Task[None] | None = None
        self._server: grpc.aio.Server | None = None
        self._guard = Guard(config, now)
        self._access = AccessInterceptor(self._guard.tokens, self._guard.audit, self.realms.check)
        #: Where metrics are told, once started; None: nowhere.
        self.metrics: Endpoint | None = None
        self._dashboard: Dashboard | None = None
        if config.dashboard:
            from grpcflow_coordinator.dashboard import check_installed

            check_installed()
        #: The address it listens on, once started.
        self.address = ""

    @property
    def home(self) -> Realm:
        """The realm of the default namespace."""
        return self.realms.home

    @property
    def engine(self) -> Engine:
        """The engine of the default namespace."""
        return self.realms.home.engine

    async def start(self) -> None:
        """Recover, then listen.

        Raises:
            ConfigurationError: it cannot listen there.
            StoreError: a namespace cannot be recovered.
        """
        try:
            self.realms.open(None if self._guard.tokens is None else self._guard.tokens.namespaces)
            server = self._new_server()
            self.address = self._bind(server)
            self._tell_metrics()
        except BaseException:
            self.realms.close()
            raise
        await server.start()
        self._server = server
        self._guard.watch(self._recheck)
        self.realms.attach(asyncio.get_running_loop())
        await self._health.look()
        self._manager.ready(f"serving on {self.address}")
        self._beat = asyncio.create_task(self._health.beat(self._manager, self.address))
        log.info("serving on %s, data in %s, epoch %d", self.address, self._where(), self.home.epoch)
        self._show_dashboard()

    def _show_dashboard(self) -> None:
        """Have the dashboard run beside us from now on, where that is wanted."""
        if self.config.dashboard:
            from grpcflow_coordinator.dashboard import Dashboard, start_of

            self._dashboard = Dashboard(start_of(self.config, self.address))

    def _tell_metrics(self) -> None:
        """Tell metrics from now on, where that is wanted."""
        if self.config.metrics:
            from grpcflow_coordinator.metrics.endpoint import Endpoint

            self.metrics = Endpoint(self.config, self.realms, self._guard.tokens)

    def _bind(self, server: grpc.aio.Server) -> str:
        """Have the server listen; return the address."""
        host, port = split_address(self.config.listen)
        target = f"[{host}]" if ":" in host else host
        try:
            bound = self._guard.bind(server, f"{target}:{port}")
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen on {self.config.listen}: another process has the port, or the address is not this "
                f"machine's. Stop the other one, or choose another with --listen"
            ) from error
        return f"{target}:{bound}"

    def _new_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            interceptors=[self._access, StatusInterceptor()],
            options=[
                ("grpc.max_receive_message_length", self.config.payload_limit + limits.MESSAGE_OVERHEAD),
                ("grpc.max_send_message_length", self.config.payload_limit + limits.MESSAGE_OVERHEAD),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                # Measuring each line costs two messages more for each one that comes, which is most of what idle
                # workers cost; what may be on its way is said instead.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", limits.WINDOW),
                ("grpc.max_concurrent_streams", CALLS),
            ],
        )
        server.add_generic_rpc_handlers((Switchboard(self.realms.handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        return server

    def _where(self) -> str:
        where = "memory only: nothing survives" if self.config.memory else self.config.data
        return f"{where} with {len(self.realms) - 1} namespaces" if len(self.realms) > 1 else where

    def _recheck(self) -> None:
        """Heed tokens that have changed: what they open, and whom they let in no longer."""
        self._access.recheck()
        if self._guard.tokens is not None:
            self.realms.follow(self._guard.tokens.namespaces)

    def _on_fatal(self, error: BaseException) -> None:
        self._stopped.set()

    def stop_soon(self) -> None:
        """Ask `wait` to return."""
        self._stopped.set()

    async def wait(self) -> None:
        """Wait until someone asked for the stop, or the engine failed."""
        await self._stopped.wait()

    async def stop(self) -> None:
        """Tell peers to come back later, end the calls, close the stores."""
        hidden = None if self._dashboard is None else asyncio.ensure_future(asyncio.to_thread(self._dashboard.close))
        self._guard.close()
        if self.metrics is not None:
            self.metrics.close()
        if self._beat is not None:
            self._beat.cancel()
        self._manager.stopping("stopping: calls may end")
        await self._health.stop()
        await self.realms.leave()
        if self._server is not None:
            await self._server.stop(STOP_GRACE)
        self.realms.close()
        if hidden is not None:
            await hidden
        log.info("stopped")
