"""What the executors that run tasks inside the worker's own process share: the line, the reports, the end.

User code runs in threads, never on the supervisor's event loop. Importing the app happens in the worker's process
too. How attempts get to run is the derived executor's affair; this file may NOT run any.
"""

import asyncio
import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

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
from grpcflow_worker.executors.frames import News, Preload
from grpcflow_worker.executors.limits import unenforced, unreplaced
from grpcflow_worker.executors.line import Line
from grpcflow_worker.executors.scaling import checked
from grpcflow_worker.executors.wishes import signal_number
from grpcflow_worker.log_lines import Gathered, LogLine

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow


class InProcess:
    """The supervisor's side of an executor without processes; see `Executor` for the contract.

    Args:
        settings: what to run and how much of it.
    """

    kind = ""

    #: Why an attempt is given up that still runs when the worker ends.
    left_behind: ClassVar = "its thread was left behind when the worker ended"

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the settings; `start` does the rest."""
        self._settings = settings
        #: The app itself, where it is at hand; None: `start` finds it by its name.
        self.app: Grpcflow | None = None
        self._places = settings.concurrency
        self._lines: tuple[Line, ...] = (Line(),)
        self._pace = pace.Pace(settings.ran)
        self._pid = os.getpid()
        # Guards the lines, what runs and what is to be reported; never held while user code runs.
        self._lock = threading.Lock()
        #: What runs, by token.
        self._active: dict[int, Running] = {}
        #: Attempts that run and are to end as "revoked" when their code returns, by which signal; None: silently.
        self._stopped: dict[int, int | None] = {}
        self._tokens: list[int] = []
        self._datas: list[bytes] = []
        self._others: list[Ended] = []
        self._started: list[int] = []
        #: By token what a running attempt said last.
        self._progress: dict[int, tuple[str, bytes, str]] = {}
        self._logs = Gathered()
        #: By task how many ended since the last report, and after how many seconds together.
        self._times: dict[str, tuple[int, float]] = {}
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
                settings.log_file,
                settings.log_color,
                log_json=settings.log_json,
            )
            loaded = loading.load(preload, app=self.app)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
                raise
            raise ExecutorError(f"the app cannot be imported:\n{traceback.format_exc()}") from error
        self._herald = ThreadHerald(hooks.WorkerFacts(settings.hostname, loaded.app, self._places))
        self._listens = hooks.listens()
        self._invoker = loading.invoker(loaded.app, preload, self._said, self._logged)
        self._launch(loaded.app)
        warnings = unenforced(self.kind, settings, loaded.app) + unreplaced(self.kind, settings, loaded.conf)
        return Registered(tasks=loaded.tasks, conf=loaded.conf, warnings=warnings)

    # --- what the derived executor does -----------------------------------------------------------------------

    def _launch(self, app: "Grpcflow") -> None:
        """Start what runs tasks."""
        raise NotImplementedError(f"{type(self).__name__} does not say what runs its tasks")

    def _line_of(self, run: CallRun) -> tuple[Line, CallRun]:
        """In which line a run waits, and the run with all that holds for it."""
        return self._lines[0], run

    def _wake(self, line: Line, count: int) -> None:
        """So many attempts came into a line. Called with the lock held."""
        raise NotImplementedError(f"{type(self).__name__} does not say who takes its work")

    def _end_work(self) -> None:
        """Nothing more will come. Called with the lock held."""

    def _resized(self) -> None:
        """The number of places has changed. Called with the lock held."""

    def _interrupt(self, token: int, number: int) -> bool:
        """Do what a signal does to an attempt that runs; False where it only asks, and does not stop it."""
        del token, number
        return True

    # --- from where tasks run ---------------------------------------------------------------------------------

    def _begins(self, run: CallRun) -> None:
        """Note that all attempts of a run begin. Needs the lock."""
        now, pid, active = time.time(), self._pid, self._active
        for offset in range(len(run.payloads)):
            active[run.token + offset] = Running(run.token + offset, run, offset, now, pid)
        if run.call.track_started:
            self._started.extend(range(run.token, run.token + len(run.payloads)))
            self._tell()

    def _ended(self, ends: Iterable[tuple[int, str, bytes | Ended, float]]) -> None:
        """Take how attempts ended: token, name of the task, end, and seconds that it took."""
        with self._lock:
            for token, task, end, seconds in ends:
                self._active.pop(token, None)
                if self._closed:
                    continue  # it was given up as lost
                count, total = self._times.get(task, (0, 0.0))
                self._times[task] = count + 1, total + seconds
                if self._stopped and token in self._stopped:
                    number = self._stopped.pop(token)
                    if number is not None:
                        self._others.append(Ended(token, "revoked", signal=number))
                elif isinstance(end, bytes):
                    self._tokens.append(token)
                    self._datas.append(end)
                else:
                    self._others.append(end)
            if not self._closed:
                self._tell()

    def _said(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """Take the progress of an attempt; dropped where it does not run any more."""
        with self._lock:
            if token in self._active:
                self._progress[token] = (state, data, content_type)
                self._tell()

    def _logged(self, token: int, line: LogLine) -> None:
        """Take a line of an attempt."""
        with self._lock:
            self._logs.add(token, line)
            self._tell()

    def _tell(self) -> None:
        """Have the loop report what was gathered, once for all that comes before it gets there. Needs the lock."""
        if not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._report)

    # --- on the supervisor's loop -----------------------------------------------------------------------------

    def _report(self) -> None:
        with self._lock:
            self._told = False
            tokens, self._tokens = self._tokens, []
            datas, self._datas = self._datas, []
            others, self._others = self._others, []
            started, self._started = self._started, []
            times, self._times = self._times, {}
            progress, self._progress = self._progress, {}
            logs = self._logs.take()
            held = self._held()
        for task, (count, seconds) in times.items():
            self._pace.learn(task, count, seconds)
        if started:
            self._listener.started(started)
        for token, said in progress.items():
            self._listener.progressed(token, *said)
        if logs:
            self._listener.logged(logs)
        if tokens:
            self._listener.values(tokens, datas)
        if others:
            self._listener.ended(others)
        if not held:
            self._emptied.set()

    def put(self, run: CallRun) -> None:
        """See `Executor.put`."""
        with self._lock:
            line, run = self._line_of(run)
            line.put(run)
            self._wake(line, len(run.payloads))

    def capacity(self) -> int:
        """See `Executor.capacity`."""
        return self._pace.capacity(self._places)

    def places(self) -> int:
        """See `Executor.places`."""
        return self._places

    def resize(self, by: int) -> int:
        """See `Executor.resize`."""
        with self._lock:
            self._places = checked(self.kind, self._places, by)
            self._resized()
            return self._places

    def restart(self, *, reload: bool = False, modules: Sequence[str] = ()) -> None:
        """See `Executor.restart`: there is nothing that could be replaced."""
        del reload, modules
        raise ExecutorError(
            f"the {self.kind} executor runs tasks in the worker's own process, which cannot be replaced while it "
            "runs; restart the worker, or use -P prefork"
        )

    def autoscale(self, most: int | None = None, least: int | None = None) -> tuple[int, int]:
        """See `Executor.autoscale`: only processes are worth it."""
        del most, least
        raise ExecutorError(f"the {self.kind} executor has no autoscale; use -P prefork --autoscale MAX,MIN")

    def _waiting(self) -> int:
        return sum(line.count for line in self._lines)

    def _held(self) -> int:
        """Attempts that are not reported yet. Needs the lock."""
        return self._waiting() + len(self._active) + len(self._tokens) + len(self._others)

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
            self._hand_back([token for token in tokens if self._remove(token)])

    def take_back_waiting(self, keep: int = 0) -> None:
        """See `Executor.take_back_waiting`."""
        with self._lock:
            for line in reversed(self._lines):
                surplus = max(0, self._waiting() - keep)
                self._hand_back(line.remove_last(max(0, line.count - surplus)))

    def _remove(self, token: int) -> bool:
        return any(line.remove(token) for line in self._lines)

    def _hand_back(self, tokens: list[int]) -> None:
        if tokens:
            self._others.extend(Ended(token, "returned") for token in tokens)
            self._tell()

    def stop(self, token: int, signal: str | None = None) -> bool:
        """See `Executor.stop`."""
        return self._stop(token, signal_number(signal), report=True)

    def forget(self, token: int) -> bool:
        """See `Executor.forget`."""
        return self._stop(token, signal_number("SIGKILL"), report=False)

    def _stop(self, token: int, number: int | None, *, report: bool) -> bool:
        with self._lock:
            if self._remove(token):
                if report:
                    self._others.append(Ended(token, "revoked"))
                self._tell()
                return True
            held = token in self._active
            if held and number is not None and self._interrupt(token, number):
                self._stopped.setdefault(token, number if report else None)
            return held

    def running(self) -> list[Running]:
        """See `Executor.running`."""
        with self._lock:
            return list(self._active.values())

    def waiting(self, limit: int = 1_000) -> list[Waiting]:
        """See `Executor.waiting`."""
        waiting: list[Waiting] = []
        with self._lock:
            for line in self._lines:
                for run, offset in line:
                    if len(waiting) >= limit:
                        return waiting
                    waiting.append(Waiting(run.token + offset, run, offset))
        return waiting

    def dump_stacks(self) -> None:
        """See `Executor.dump_stacks`: there is no other process."""

    def stats(self) -> dict[str, Any]:
        """See `Executor.stats`."""
        with self._lock:
            return {
                "executor": self.kind,
                "concurrency": self._places,
                "waiting": self._waiting(),
                "held": self._held(),
                "tasks": self._pace.stats(),
            }

    def emit(self, name: str, number: int = 0, *, attempt: CallRun | None = None, expired: bool = False) -> None:
        """See `Executor.emit`."""
        if name in self._listens:
            self._herald.tell(News(name, number, attempt, expired))

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """See `Executor.ask`."""

        def tell(reply: bytes, error: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
                self._loop.call_soon_threadsafe(told, reply, error)

        self._herald.ask(name, data, tell)

    async def close(self, *, drain: bool, deadline: float) -> None:
        """See `Executor.close`."""
        self.take_back_waiting(0)
        with self._lock:
            self._ending = True
            self._end_work()
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
            self._others.extend(
                Ended(token, "lost", message=self.left_behind)
                for token in self._active
                if self._stopped.get(token, 0) is not None
            )
            self._active.clear()
        self._report()
        if self._listens:
            await asyncio.to_thread(self._herald.close)
