"""Tells the service manager of the system how a worker stands: ready, at work, leaving. It may NOT change any of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

from grpcflow_protos.service_manager import ServiceManager
from grpcflow_worker.leaving import Leaving, Step
from grpcflow_worker.session import Session

#: Seconds between two looks at the worker.
LOOK: Final = 0.5


class Told(Protocol):
    """The worker of which is told."""

    @property
    def leaving(self) -> Leaving:
        """How far it is on its way out."""
        ...

    @property
    def session(self) -> Session | None:
        """Who it is to the coordinator; None before its start is over."""
        ...


class Pulse:
    """What is told of a worker, look by look.

    Args:
        manager: who is told.
        worker: the worker.
    """

    def __init__(self, manager: ServiceManager, worker: Told) -> None:
        self._manager, self._worker = manager, worker
        self._ready = self._starts_anew = self._stopping = False

    def look(self) -> None:
        """Tell what has changed, and that the worker lives."""
        session = self._worker.session
        welcomed = session is not None and session.streams > 0
        if welcomed and not self._ready:
            self._ready = True
            self._manager.ready(self._status())
        leaves = self._worker.leaving.step is not Step.WORKING or (session is not None and session.draining)
        if leaves and self._worker.leaving.restarts:
            if not self._starts_anew:
                # Not as stopping: the manager would wait for the end of the process, which goes on, and then kill it.
                self._starts_anew = True
                self._manager.reloading(self._status())
        elif leaves and not self._stopping:
            self._stopping = True
            self._manager.stopping(self._status())
        if self._ready or self._stopping:
            self._manager.status(self._status())
        self._manager.alive()

    def _status(self) -> str:
        session = self._worker.session
        held = session.open if session is not None else 0
        tasks = "1 task" if held == 1 else f"{held} tasks"
        return f"finishing {tasks}" if self._stopping or self._starts_anew else f"holds {tasks}"

    async def beat(self) -> None:
        """Look for ever, often enough for the manager."""
        while True:
            self.look()
            await asyncio.sleep(min(LOOK, self._manager.watchdog_seconds or LOOK))


@contextlib.asynccontextmanager
async def told_to(manager: ServiceManager, worker: Told) -> AsyncIterator[None]:
    """Tell a service manager of a worker while this is open; where nobody listens it costs nothing.

    Args:
        manager: who is told.
        worker: the worker.
    """
    if not manager.listens:
        yield
        return
    pulse = Pulse(manager, worker)
    beating = asyncio.create_task(pulse.beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        pulse.look()
