"""The threads and solo executors: tasks run in threads of the worker's own process.

User code runs in these threads, never on the event loop. A thread cannot be stopped from outside, so `stop` of a
running attempt only takes effect when its code returns. Importing the app happens in the worker's process too.
"""

import asyncio
import os
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any, Final

from grpcflow_worker.executor import (
    CallRun,
    Ended,
    ExecutorError,
    ExecutorSettings,
    Listener,
    Registered,
    Running,
    Waiting,
)
from grpcflow_worker.executors import pace
from grpcflow_worker.executors.frames import Preload
from grpcflow_worker.executors.limits import unenforced
from grpcflow_worker.executors.line import Line
from grpcflow_worker.executors.wishes import signal_number

#: Attempts that a thread takes out of the line at once; they can still be taken back one by one.
_TAKE: Final = 1


class _Worker:
    """What one thread runs now."""

    __slots__ = ("run", "started_at", "token")

    def __init__(self) -> None:
        self.token = 0
        self.run: CallRun | None = None
        self.started_at = 0.0


class Threads:
    """Runs tasks in `concurrency` threads; see `Executor` for the contract.

    Args:
        settings: what to run and how much of it.
    """

    kind = "threads"

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the settings; `start` does the rest."""
        self._settings = settings
        self._places = settings.concurrency
        self._line = Line()
        self._pace = pace.Pace()
        # Guards the line, the workers' notes and what is to be reported; never held while user code runs.
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._workers: list[_Worker] = []
        self._threads: list[threading.Thread] = []
        #: Attempts that run and are to end as "revoked" (True: with a report) when their code returns.
        self._stopped: dict[int, bool] = {}
        self._values: list[tuple[int, bytes]] = []
        self._others: list[Ended] = []
        self._started: list[int] = []
        #: By token what a running attempt said last.
        self._progress: dict[int, tuple[str, bytes, str]] = {}
        self._times: list[tuple[str, float]] = []
        self._told = False
        self._ending = False
        self._closed = False
        self._emptied = asyncio.Event()

    async def start(self, listener: Listener) -> Registered:
        """See `Executor.start`."""
        from grpcflow_worker import hooks
        from grpcflow_worker.executors import loading
        from grpcflow_worker.executors.herald import ThreadHerald

        self._listener = listener
        self._loop = asyncio.get_running_loop()
        settings = self._settings
        try:
            preload = Preload(
                [],
                settings.app,
                settings.includes,
                settings.hostname,
                settings.payload_limit,
                self._places,
                settings.log_level,
            )
            loaded = loading.load(preload)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
                raise
            raise ExecutorError(f"the app cannot be imported:\n{traceback.format_exc()}") from error
        self._herald = ThreadHerald(hooks.WorkerFacts(settings.hostname, loaded.app, self._places))
        self._listens = hooks.listens()
        self._invoker = loading.invoker(loaded.app, preload, self._said)
        for number in range(self._places):
            worker = _Worker()
            self._workers.append(worker)
            name = f"grpcflow-{self.kind}-{number}"
            # Daemons: code that never returns must not keep the process from ending.
            thread = threading.Thread(target=self._work_on, args=(worker,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        warnings = unenforced(self.kind, settings, loaded.app)
        return Registered(tasks=loaded.tasks, conf=loaded.conf, warnings=warnings)

    # --- in the threads -------------------------------------------------------------------------------------

    def _work_on(self, worker: _Worker) -> None:
        from grpcflow.state import running_task

        with running_task():
            while (run := self._next(worker)) is not None:
                started = time.monotonic()
                end = self._invoker.bind(run)(0)
                self._ended(worker, run, end, time.monotonic() - started)

    def _next(self, worker: _Worker) -> CallRun | None:
        """Wait for an attempt and note that it runs; None when it is time to end."""
        with self._work:
            while not self._line.count and not self._ending:
                self._work.wait()
            if not self._line.count:
                return None
            run = self._line.take(_TAKE, pace.FRAME_BYTES)
            worker.token, worker.run, worker.started_at = run.token, run, time.time()
            if run.call.track_started:
                self._started.append(run.token)
                self._tell()
            return run

    def _ended(self, worker: _Worker, run: CallRun, end: bytes | Ended, seconds: float) -> None:
        with self._lock:
            worker.run = None
            if self._closed:
                return  # it was given up as lost
            self._times.append((run.call.task, seconds))
            reported = self._stopped.pop(run.token, None)
            if reported is not None:
                if reported:
                    self._others.append(Ended(run.token, "revoked"))
            elif isinstance(end, bytes):
                self._values.append((run.token, end))
            else:
                self._others.append(end)
            self._tell()

    def _said(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """Take the progress of an attempt; dropped where it does not run any more."""
        with self._lock:
            if any(worker.run is not None and worker.token == token for worker in self._workers):
                self._progress[token] = (state, data, content_type)
                self._tell()

    def _tell(self) -> None:
        """Have the loop report what was gathered, once for all that comes before it gets there. Needs the lock."""
        if not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._report)

    # --- on the loop ----------------------------------------------------------------------------------------

    def _report(self) -> None:
        with self._lock:
            self._told = False
            values, self._values = self._values, []
            others, self._others = self._others, []
            started, self._started = self._started, []
            times, self._times = self._times, []
            progress, self._progress = self._progress, {}
            held = self._held()
        for task, seconds in times:
            self._pace.learn(task, 1, seconds)
        if started:
            self._listener.started(started)
        for token, said in progress.items():
            self._listener.progressed(token, *said)
        if values:
            self._listener.values([token for token, _ in values], [data for _, data in values])
        if others:
            self._listener.ended(others)
        if not held:
            self._emptied.set()

    def put(self, run: CallRun) -> None:
        """See `Executor.put`."""
        with self._work:
            self._line.put(run)
            self._work.notify(len(run.payloads))

    def capacity(self) -> int:
        """See `Executor.capacity`."""
        return self._pace.capacity(self._places)

    def _held(self) -> int:
        """Attempts that are not reported yet. Needs the lock."""
        busy = sum(worker.run is not None for worker in self._workers)
        return self._line.count + busy + len(self._values) + len(self._others)

    def held(self) -> int:
        """See `Executor.held`."""
        with self._lock:
            return self._held()

    def idle(self) -> bool:
        """See `Executor.idle`."""
        return not self.held()

    def take_back(self, tokens: Sequence[int]) -> None:
        """See `Executor.take_back`."""
        with self._lock:
            self._hand_back([token for token in tokens if self._line.remove(token)])

    def take_back_waiting(self, keep: int = 0) -> None:
        """See `Executor.take_back_waiting`."""
        with self._lock:
            self._hand_back(self._line.remove_last(keep))

    def _hand_back(self, tokens: list[int]) -> None:
        if tokens:
            self._others.extend(Ended(token, "returned") for token in tokens)
            self._tell()

    def stop(self, token: int, signal: str | None = None) -> bool:
        """See `Executor.stop`."""
        return self._stop(token, running=signal_number(signal) is not None, report=True)

    def forget(self, token: int) -> bool:
        """See `Executor.forget`."""
        return self._stop(token, running=True, report=False)

    def _stop(self, token: int, *, running: bool, report: bool) -> bool:
        with self._lock:
            if self._line.remove(token):
                if report:
                    self._others.append(Ended(token, "revoked"))
                self._tell()
                return True
            held = any(worker.run is not None and worker.token == token for worker in self._workers)
            if held and running:
                self._stopped.setdefault(token, report)
            return held

    def running(self) -> list[Running]:
        """See `Executor.running`."""
        with self._lock:
            pid = os.getpid()
            return [
                Running(worker.token, worker.run, 0, worker.started_at, pid)
                for worker in self._workers
                if worker.run is not None
            ]

    def waiting(self, limit: int = 1_000) -> list[Waiting]:
        """See `Executor.waiting`."""
        waiting: list[Waiting] = []
        with self._lock:
            for run, offset in self._line:
                if len(waiting) >= limit:
                    break
                waiting.append(Waiting(run.token + offset, run, offset))
        return waiting

    def stats(self) -> dict[str, Any]:
        """See `Executor.stats`."""
        with self._lock:
            return {
                "executor": self.kind,
                "concurrency": self._places,
                "threads": [thread.name for thread in self._threads],
                "waiting": self._line.count,
                "held": self._held(),
                "tasks": self._pace.stats(),
            }

    def emit(self, name: str, number: int = 0) -> None:
        """See `Executor.emit`."""
        if name in self._listens:
            self._herald.tell(name, number)

    async def close(self, *, drain: bool, deadline: float) -> None:
        """See `Executor.close`."""
        self.take_back_waiting(0)
        with self._work:
            self._ending = True
            self._work.notify_all()
        await asyncio.sleep(0)
        self._emptied.clear()
        if drain and not self.idle():
            try:
                async with asyncio.timeout(deadline):
                    await self._emptied.wait()
            except TimeoutError:
                pass  # what still runs is given up below
        with self._lock:
            self._closed = True
            message = "its thread was left behind when the worker ended"
            given_up = [worker.token for worker in self._workers if worker.run is not None]
            self._others.extend(
                Ended(token, "lost", message=message) for token in given_up if self._stopped.get(token, True)
            )
            for worker in self._workers:
                worker.run = None
        self._report()
        if self._listens:
            await asyncio.to_thread(self._herald.close)


class Solo(Threads):
    """Runs one task at a time in one thread beside the event loop; see `Threads`."""

    kind = "solo"

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the settings; the concurrency is 1 whatever they say."""
        super().__init__(settings)
        self._places = 1
