"""Many workers at once, inside the process of a test: real supervisors with real threads, on one event loop.

A process for each would cost a second of the processor; how a process takes its signals is tested elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from grpcflow import Grpcflow
from grpcflow_worker.config import build_config
from grpcflow_worker.executor import ExecutorSettings
from grpcflow_worker.executors.threads import Threads
from grpcflow_worker.supervisor import Supervisor

Result = TypeVar("Result")

#: Seconds within which a worker comes, and leaves.
PATIENCE = 60.0

#: Tasks that each runs at once.
PLACES = 2


class Fleet:
    """Workers of one app.

    Args:
        app: whose tasks they run.
        address: where the coordinator is.
    """

    def __init__(self, app: Grpcflow, address: str) -> None:
        self._app = app
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fleet", daemon=True)
        self._workers: dict[str, tuple[Supervisor, asyncio.Task[int]]] = {}

    def start(self, *names: str) -> None:
        """Have these workers come; they need not be known yet when this returns."""
        self._await(self._start(names))

    def replace(self, name: str) -> int:
        """Tell a worker to stop, wait until it has, start another one of its name; returns the exit code."""
        return self._await(self._replace(name))

    def _await(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    # --- on the loop ---

    async def _start(self, names: tuple[str, ...]) -> None:
        for name in names:
            config = build_config(
                coordinator=self._address, name=name, concurrency=PLACES, queues=["default"], pool="threads"
            )
            executor = Threads(ExecutorSettings(hostname=name, concurrency=PLACES))
            executor.app = self._app
            supervisor = Supervisor(config, executor)
            self._workers[name] = supervisor, asyncio.ensure_future(supervisor.run())

    async def _replace(self, name: str) -> int:
        supervisor, running = self._workers[name]
        supervisor.signalled(signal.SIGTERM)
        code = await running
        await self._start((name,))
        return code

    async def _stop(self) -> None:
        for supervisor, _ in self._workers.values():
            supervisor.signalled(signal.SIGQUIT)
        await asyncio.gather(*(running for _, running in self._workers.values()))

    # --- from outside ---

    def begin(self) -> None:
        """Start the loop."""
        self._thread.start()

    def end(self) -> None:
        """Stop every worker at once, and the loop."""
        try:
            self._await(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop.close()


@contextlib.contextmanager
def fleet_of(app: Grpcflow, address: str, *names: str) -> Iterator[Fleet]:
    """Give a fleet whose workers are on their way."""
    fleet = Fleet(app, address)
    fleet.begin()
    try:
        fleet.start(*names)
        yield fleet
    finally:
        fleet.end()
