"""A worker inside the process of a test: the real supervisor and executor, on the cluster's event loop.

Its tasks run in threads of their own, as those of ``grpcflow-worker -P threads`` do. It may not know the coordinator's
memory.
"""

import asyncio
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from grpcflow_worker.config import WorkerConfig, build_config
from grpcflow_worker.executor import ExecutorSettings
from grpcflow_worker.executors import create
from grpcflow_worker.executors.inside import InProcess
from grpcflow_worker.executors.threads import Threads
from grpcflow_worker.supervisor import Supervisor

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.testing.inside import Inside

__all__ = ["Hand", "Worker", "worker_config"]

#: Tasks that a worker with threads runs at once where nobody says: enough to see that two run at once.
_THREADS: Final = 2

#: Real seconds that the threads of a worker have to end once all of their tasks have.
_JOIN: Final = 5.0


def worker_config(
    address: str, name: str, concurrency: int | None, queues: Sequence[str], pool: str, options: dict[str, Any]
) -> WorkerConfig:
    """Return the settings of a worker in this process.

    Raises:
        ValueError: One of them cannot be used; says which and what to write.
    """
    if pool == "prefork":
        raise ValueError(
            "a worker inside the test's process cannot be prefork, for it would fork the test: choose threads, solo "
            "or asyncio, or start grpcflow-worker as a process"
        )
    if concurrency is None and pool == "threads":
        concurrency = _THREADS
    if pool == "asyncio":
        # A test may well hold all threads for a moment: to warn of that is noise, unless somebody asks for it.
        options = {"blocked_after": 0.0, **options}
    return build_config(
        coordinator=address, name=name, concurrency=concurrency, queues=queues, pool=pool, host="testing", **options
    )


class Hand:
    """The works of one worker: what the cluster starts and ends.

    Args:
        app: The app whose tasks it runs.
        config: What it is told.
        serves_all: True: it takes work from every queue that there is.
    """

    def __init__(self, app: "Grpcflow", config: WorkerConfig, *, serves_all: bool) -> None:
        self.config = config
        self.serves_all = serves_all
        settings = ExecutorSettings(
            hostname=config.name,
            concurrency=config.concurrency,
            time_limit=config.time_limit,
            soft_time_limit=config.soft_time_limit,
            threads=config.threads,
            blocked_after=config.blocked_after,
        )
        self._executor = create(config.pool, settings)
        assert isinstance(self._executor, InProcess)
        self._executor.app = app
        #: Names of the tasks that ran on when the worker's time was over.
        self._stuck: list[str] = []
        self._supervisor: Supervisor | None = None
        self._running: asyncio.Task[int] | None = None

    @property
    def is_running(self) -> bool:
        """True from its start to its end, whoever ended it."""
        return self._running is not None and not self._running.done()

    async def start(self) -> None:
        """Begin to run, on the cluster's loop; the coordinator knows when it has arrived."""
        self._supervisor = Supervisor(self.config, self._executor)
        self._running = asyncio.ensure_future(self._supervisor.run())

    async def leave(self, timeout: float) -> None:
        """Drain it, and stop it at once when the time is over; on the cluster's loop."""
        if self._supervisor is None or self._running is None or self._running.done():
            return
        # What the two signals do to a worker that is a process of its own.
        self._supervisor.signalled(signal.SIGTERM)
        await asyncio.wait([self._running], timeout=timeout)
        if not self._running.done():
            self._stuck = [running.run.call.task for running in self._executor.running()]
            self._supervisor.signalled(signal.SIGTERM)
            await asyncio.wait([self._running])

    def join(self) -> None:
        """Wait until its threads have ended.

        Raises:
            TimeoutError: A task runs on in one of them.
        """
        if self._stuck:
            raise TimeoutError(
                f"{', '.join(self._stuck)} still runs on the worker {self.config.name} though its time is over, and a "
                "thread cannot be ended from outside: let the test release its tasks before it stops their worker"
            )
        deadline = time.monotonic() + _JOIN
        for thread in self._executor.left() if isinstance(self._executor, Threads) else ():
            thread.join(max(0.0, deadline - time.monotonic()))


class Worker:
    """One worker of a cluster; made by ``cluster.worker()``.

    Args:
        inside: What it belongs to.
        hand: Its works.
    """

    def __init__(self, inside: "Inside", hand: Hand) -> None:
        self._inside = inside
        self._hand = hand

    @property
    def config(self) -> WorkerConfig:
        """What it was told at its start: name, queues, concurrency, pool, ..."""
        return self._hand.config

    @property
    def name(self) -> str:
        """Its name, as ``task.request.hostname`` shows it."""
        return self._hand.config.name

    @property
    def is_running(self) -> bool:
        """True until it has ended, whoever ended it."""
        return self._hand.is_running

    def stop(self, timeout: float | None = None) -> None:
        """End it in order: what runs may end, what has not started goes back to its queue. Again it does nothing.

        Args:
            timeout: Real seconds that running tasks have to end; None: as the cluster says.

        Raises:
            TimeoutError: One of them did not; it counts as lost and runs again on another worker, but its thread
                cannot be ended from outside.
        """
        self._inside.dismiss(self._hand, timeout)

    def __repr__(self) -> str:
        return f"<Worker {self.name}{'' if self.is_running else ' (ended)'}>"
