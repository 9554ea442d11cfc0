"""Whether the coordinator can do its work: for gRPC's health service, and for the service manager of the system.

SERVING means: recovered, and what is submitted can be committed. This file may not decide what a full disk is, nor stop
anything: the engine does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from grpc_health.v1 import health, health_pb2

from grpcflow_coordinator.engine import Engine
from grpcflow_protos.service_manager import ServiceManager

log = logging.getLogger(__name__)

#: Seconds between two looks, for those who watch; who asks is told how it stands at that moment.
LOOK: Final = 1.0

#: Seconds after which a commit that has not ended is trouble, and no sign of life.
STUCK: Final = 10.0

_ABLE: Final = health_pb2.HealthCheckResponse.SERVING
_UNABLE: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health(health.aio.HealthServicer):
    """The health service.

    Args:
        engines: namespace -> what is able to commit, or is not; may get more.
        names: of the services that it answers for; the empty one is all of them.
    """

    def __init__(self, engines: Mapping[str, Engine], names: Sequence[str]) -> None:
        super().__init__()
        self._engines, self._names = engines, ("", *names)
        self._told: str | None = None
        self._stopping = False

    def trouble(self) -> str:
        """Return what keeps the coordinator from its work, in a few words; "" where nothing does."""
        if self._stopping:
            return "stopping"
        for name, engine in self._engines.items():
            if trouble := _trouble_of(engine):
                return f"namespace {name}: {trouble}" if name else trouble
        return ""

    async def look(self) -> str:
        """Take note of how it stands now, tell those who watch where that has changed, and return the trouble."""
        trouble = self.trouble()
        if trouble != self._told and not self._stopping:
            if bool(trouble) != bool(self._told) or self._told is None:
                for name in self._names:
                    await self.set(name, _UNABLE if trouble else _ABLE)
            if trouble or self._told:
                log.warning("health: %s", trouble or "serving again")
            self._told = trouble
        return trouble

    async def stop(self) -> None:
        """Say that it is over, to everybody and for good."""
        self._stopping = True
        await self.enter_graceful_shutdown()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the rpc
        """Answer how it stands now."""
        await self.look()
        return await super().Check(request, context)

    async def Watch(self, request: Any, context: Any) -> None:
        """Tell how it stands, now and whenever that changes."""
        await self.look()
        await super().Watch(request, context)

    async def beat(self, manager: ServiceManager, at: str) -> None:
        """Look every second, and tell the service manager; runs until it is cancelled.

        Args:
            manager: who is told.
            at: the address that is served.
        """
        while True:
            trouble = await self.look()
            manager.status(f"{trouble} ({at})" if trouble else f"serving on {at}")
            if all(engine.failed is None and not _is_stuck(engine) for engine in self._engines.values()):
                manager.alive()  # a full disk is no reason to be started anew
            await asyncio.sleep(min(LOOK, manager.watchdog_seconds or LOOK))


def _trouble_of(engine: Engine) -> str:
    if engine.failed is not None:
        return f"the engine has failed: {engine.failed}"
    if _is_stuck(engine):
        return f"the disk does not answer: a commit has waited for it for {engine.commit_seconds():.0f} s"
    return "the disk is nearly full: submits are refused until there is room" if engine.full else ""


def _is_stuck(engine: Engine) -> bool:
    """Return whether the disk does not answer. One that is waited for on the event loop itself silences all of this."""
    return engine.commit_seconds() > STUCK
