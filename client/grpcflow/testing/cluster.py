"""The cluster: a coordinator with its store in memory and workers with threads, all in this process.

Nothing is replaced by a double: requests go over real sockets of the loopback, through the real codec, lowering, engine
and supervisor. What is missing is the disk and the processes. Only this package may import all four others.
"""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from grpcflow import connection, lower
from grpcflow.app import Grpcflow
from grpcflow.testing.calls import Call
from grpcflow.testing.clock import Time
from grpcflow.testing.inside import Inside
from grpcflow.testing.worker import Hand, Worker, worker_config
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
        settings = {"data": "", "memory": True, "listen": "127.0.0.1:0", **_PATIENT, **(coordinator or {})}
        self._inside = Inside(self.app, settings, timeout, raise_errors)
        self._first: dict[str, Any] = {"concurrency": concurrency, "queues": queues, "pool": pool}
        self._workers: dict[Hand, Worker] = {}
        self._saved: SavedSettings | None = None
        self.time = Time(self._inside)

    # --- its life -----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it; ``with`` does that.

        Raises:
            RuntimeError: It runs already.
            Exception: What a module of the app's ``include`` raises.
        """
        if self._inside.is_open:
            raise RuntimeError("this cluster runs already")
        try:
            self._inside.open()
            self._saved = self.app.conf.saved()
            self.app.conf.coordinator = self.address
            self.app.load_includes()
            self.app.finalize()
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
        if self._saved is not None:
            connection.discard_connection(self.app.conf.addresses)
            self.app.conf.restore(self._saved)
            self._saved = None
        self._workers.clear()
        if self._inside.is_open:
            self._inside.close()

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

    # --- its parts ----------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """``HOST:PORT`` of its coordinator, for other processes."""
        return self._inside.address

    @property
    def timeout(self) -> float:
        """Real seconds that each wait may take where it says nothing itself; may be set."""
        return self._inside.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._inside.timeout = seconds

    @property
    def workers(self) -> list[Worker]:
        """The workers that were started and not stopped."""
        return [self._workers[hand] for hand in self._inside.hands]

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
        if name is not None and name in [worker.name for worker in self.workers]:
            raise ValueError(f"a worker named {name} is there already: choose another name")
        names = self._inside.queues() if queues is None else tuple(queues)
        config = worker_config(self.address, name or f"worker{next(_NUMBERS)}", concurrency, names, pool, options)
        hand = Hand(self.app, config, serves_all=queues is None)
        self._workers[hand] = Worker(self._inside, hand)
        self._inside.hire(hand)
        return self._workers[hand]

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
        self._inside.background.run(self._inside.stillness.wait(self.timeout if timeout is None else timeout))
        self._inside.check_errors()

    async def asettle(self, timeout: float | None = None) -> None:
        """The same for a test that is a coroutine: the test's own event loop goes on meanwhile."""
        waiting = self._inside.stillness.wait(self.timeout if timeout is None else timeout)
        await asyncio.wrap_future(self._inside.background.submit(waiting))
        self._inside.check_errors()

    def calls(self, task: "str | Task[..., Any] | None" = None) -> list[Call]:
        """Return what ran, or runs, one record for each attempt, in the order in which they began.

        The last 10,000 are kept.

        Args:
            task: A task or the name of one; None: of all tasks.
        """
        return self._inside.log.of(task if task is None or isinstance(task, str) else task.name)

    def clear_calls(self) -> None:
        """Forget what ran: for a cluster that serves several tests."""
        self._inside.log.clear()

    def __repr__(self) -> str:
        return f"<Cluster of {self.app!r}{f' at {self.address}' if self._inside.is_open else ', not running'}>"
