"""The cluster: a coordinator with its store in memory and workers with threads, all in this process.

Nothing is replaced by a double: requests go over real sockets of the loopback, through the real codec, lowering, engine
and supervisor. What is missing is the disk and the processes. Only this package may import all four others.
"""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from grpcflow import connection, lower
from grpcflow.app import Grpcflow
from grpcflow.testing.calls import Call, CallLog
from grpcflow.testing.clock import Clock, Time
from grpcflow.testing.loop import BackgroundLoop
from grpcflow.testing.stillness import Stillness
from grpcflow.testing.worker import Worker, worker_config
from grpcflow_coordinator.config import Config
from grpcflow_coordinator.core.events import Tick
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.server import Coordinator
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_worker.executors import herald, loading

if TYPE_CHECKING:
    from grpcflow.conf import SavedSettings
    from grpcflow.task import Task

__all__ = ["Cluster"]

#: Nobody dies unnoticed inside one process, so silence means a debugger or a busy machine.
_PATIENT: Final[Mapping[str, Any]] = {"heartbeat": 60.0, "silence": 3600.0, "grace": 3600.0}

_NUMBERS: Final = itertools.count(1)

#: Imported now, or the first test would pay for it: half of its time was imports.
_IMPORTED: Final = (connection, herald, loading, lower)


class Cluster:
    """A whole cluster for the time of a ``with``; several may run at once, each with an app of its own.

    Args:
        app: The app whose tasks run; its coordinator is this cluster until the end, and then what it was. None: a new
            app, ``cluster.app``.
        concurrency: How many tasks the first worker runs at once; None: 2 in threads, 1 in solo, 100 in asyncio. 0:
            there is no worker until ``worker()``.
        queues: The queues that it serves; None: every queue that there is.
        pool: What its tasks run in: threads, solo or asyncio.
        coordinator: Settings of the coordinator by name, such as ``result_expires`` or ``max_deliveries``.
        raise_errors: True: ``settle()`` and ``time.advance()`` raise what tasks that failed since then raised.
        timeout: Real seconds that each wait may take where it says nothing itself. Default 10.

    Attributes:
        app: The app.
        time: Its time, which the test can move.
        workers: The workers that were started and not stopped.
    """

    def __init__(
        self,
        app: Grpcflow | None = None,
        *,
        concurrency: int | None = None,
        queues: Sequence[str] | None = None,
        pool: str = "threads",
        coordinator: Mapping[str, Any] | None = None,
        raise_errors: bool = False,
        timeout: float = 10.0,
    ) -> None:
        self.app = Grpcflow("testing", set_as_current=False) if app is None else app
        self.raise_errors = raise_errors
        self.timeout = timeout
        self._first: dict[str, Any] = {"concurrency": concurrency, "queues": queues, "pool": pool}
        self._settings = {"data": "", "memory": True, "listen": "127.0.0.1:0", **_PATIENT, **(coordinator or {})}
        self._log = CallLog(self.app)
        self._clock = Clock()
        self.time = Time(self, self._clock)
        self.workers: list[Worker] = []
        self._background: BackgroundLoop | None = None
        self._coordinator: Coordinator | None = None
        self._stillness: Stillness | None = None
        self._saved: SavedSettings | None = None
        #: How many tasks and lines there were when workers were told of them last.
        self._told = (0, 0)

    # --- its life -----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it; ``with`` does that.

        Raises:
            RuntimeError: It runs already.
            Exception: What a module of the app's ``include`` raises.
        """
        if self._background is not None:
            raise RuntimeError("this cluster runs already")
        self._background = BackgroundLoop("grpcflow-testing")
        try:
            self._background.run(self._serve())
            self._saved = self.app.conf.saved()
            self.app.conf.coordinator = self.address
            self.app.load_includes()
            self.app.finalize()
            self._log.connect()
            if self._first["concurrency"] != 0:
                self.worker(**self._first)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it; leaving the ``with`` does that. Running tasks may end, what waits is forgotten.

        Raises:
            TimeoutError: A task runs on and cannot be ended.
        """
        if self._background is None:
            return
        background, workers = self._background, tuple(self.workers)
        try:
            if self._saved is not None:
                connection.discard_connection(self.app.conf.addresses)
                self.app.conf.restore(self._saved)
            background.run(self._end())
        finally:
            self._log.disconnect()
            background.close()
            self.workers.clear()
            self._background = self._coordinator = self._stillness = self._saved = None
        for worker in workers:
            worker.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except TimeoutError as stuck:
            if error is None:
                raise
            # What the test failed with says more than that its task hangs.
            error.add_note(str(stuck))

    async def _serve(self) -> None:
        store = MemoryStore(failpoint=self._written)
        self._coordinator = Coordinator(Config(**self._settings), store, now=self._clock)
        self._stillness = Stillness(self._coordinator.engine)
        await self._coordinator.start()

    async def _end(self) -> None:
        await asyncio.gather(*(worker.leave(self.timeout) for worker in self.workers))
        if self._coordinator is not None:
            await self._coordinator.stop()

    # --- its parts ----------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """``HOST:PORT`` of its coordinator, for other processes."""
        return self._running().address

    @property
    def engine(self) -> Engine:
        """The coordinator's engine; its memory belongs to the cluster's event loop."""
        return self._running().engine

    @property
    def background(self) -> BackgroundLoop:
        """The event loop that all of it runs on."""
        if self._background is None:
            raise RuntimeError("this cluster does not run: use it inside of its with")
        return self._background

    @property
    def stillness(self) -> Stillness:
        """Knows when the coordinator rests."""
        self._running()
        assert self._stillness is not None
        return self._stillness

    def _running(self) -> Coordinator:
        if self._coordinator is None:
            raise RuntimeError("this cluster does not run: use it inside of its with")
        return self._coordinator

    def worker(
        self,
        name: str | None = None,
        *,
        concurrency: int | None = None,
        queues: Sequence[str] | None = None,
        pool: str = "threads",
        **options: Any,
    ) -> Worker:
        """Start one more worker, and return once the coordinator knows it.

        Args:
            name: Its name; None: a new one.
            concurrency: How many tasks it runs at once; None: as for the cluster.
            queues: The queues that it serves; None: every queue that there is.
            pool: threads, solo or asyncio.
            **options: ``time_limit``, ``soft_time_limit``, ``threads``, ``blocked_after``, as for ``grpcflow-worker``.

        Raises:
            ValueError: One of these cannot be used.
            RuntimeError: The worker has ended at once; its log says why.
        """
        names = self._all_queues() if queues is None else tuple(queues)
        config = worker_config(self.address, name or f"worker{next(_NUMBERS)}", concurrency, names, pool, options)
        worker = Worker(self, config, serves_all=queues is None)
        self.background.run(self._hire(worker))
        return worker

    async def _hire(self, worker: Worker) -> None:
        self.workers.append(worker)
        await worker.start()
        sessions, names = self.engine.machine.cluster.sessions, self.engine.machine.cluster.by_name
        deadline = asyncio.get_running_loop().time() + self.timeout
        while (session := sessions.get(names.get(worker.name, b""))) is None or session.stream is None:
            if not worker.is_running or asyncio.get_running_loop().time() > deadline:
                self.workers.remove(worker)
                raise RuntimeError(f"the worker {worker.name} did not arrive; its log says why")
            await self.stillness.next_change()

    def dismiss(self, worker: Worker) -> None:
        """Count a worker that was stopped no more."""
        if worker in self.workers:
            self.workers.remove(worker)

    # --- what tests ask -----------------------------------------------------------------------------------

    def settle(self, timeout: float | None = None) -> None:
        """Wait until it has nothing more to do: nothing runs, and nothing is queued that a worker would take.

        What waits for a time is not waited for (move the ``time``), nor what no worker serves.

        Args:
            timeout: Real seconds; None: as the cluster says.

        Raises:
            TimeoutError: It did not come to rest; the message says what still runs or waits.
            Exception: With ``raise_errors``: what a task raised that failed; several in an ``ExceptionGroup``.
        """
        self.background.run(self.stillness.wait(self.timeout if timeout is None else timeout))
        self.check_errors()

    async def asettle(self, timeout: float | None = None) -> None:
        """The same for a test that is a coroutine: the test's own event loop goes on meanwhile."""
        limit = self.timeout if timeout is None else timeout
        await asyncio.wrap_future(self.background.submit(self.stillness.wait(limit)))
        self.check_errors()

    def calls(self, task: "str | Task[..., Any] | None" = None) -> list[Call]:
        """Return what ran, or runs, one record for each attempt, in the order in which they began.

        The last 10,000 are kept.

        Args:
            task: A task or the name of one; None: of all tasks.
        """
        return self._log.of(task if task is None or isinstance(task, str) else task.name)

    def clear_calls(self) -> None:
        """Forget what ran: for a cluster that serves several tests."""
        self._log.clear()

    def check_errors(self) -> None:
        """Raise what tasks raised since the last time, where the cluster was made with ``raise_errors``."""
        failures = self._log.take_failures() if self.raise_errors else []
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BaseExceptionGroup(f"{len(failures)} tasks failed", failures)

    # --- what workers are told of beside the wire ----------------------------------------------------------

    def _written(self, when: str, batch: Batch) -> None:
        """The coordinator has written: called on its loop, before and after each commit."""
        del batch
        if when != "after" or self._stillness is None:
            return
        self._stillness.touch()
        if self._coordinator is not None and self._told != self._known():
            asyncio.get_running_loop().call_soon(self._tell)

    def _known(self) -> tuple[int, int]:
        return len(self.app.tasks) if self.app.finalized else 0, len(self.engine.machine.cluster.lines.by_key)

    def _all_queues(self) -> tuple[str, ...]:
        lines = self.engine.machine.cluster.lines.by_key
        return tuple(dict.fromkeys([self.app.conf.task_default_queue, *(key.queue for key in list(lines))]))

    def _tell(self) -> None:
        """Let sessions know of tasks and queues that were not there when their workers said hello.

        A worker that is a process imports its tasks before it starts; a test defines them as it goes on.
        """
        if self._coordinator is None:
            return
        self._told = self._known()
        serving_all = {worker.name: worker.serves_all for worker in self.workers}
        tasks, queues = frozenset(self.app.tasks), self._all_queues()
        for session in self.engine.machine.cluster.sessions.values():
            if session.name in serving_all:
                if serving_all[session.name]:
                    session.queues = tuple(dict.fromkeys([*session.queues, *queues]))
                session.facts = replace(session.facts, tasks=tasks, queues=session.queues)
        self.engine.post(Tick())
