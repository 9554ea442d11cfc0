"""The asyncio executor: `async def` tasks run on one event loop in a thread of its own, all other tasks in threads.

The supervisor keeps its own loop to itself: a task that blocks holds up other tasks, and no heartbeat. What an attempt
is and how it ends is `attempt`'s affair; here is when it begins, what interrupts it, and who hears of it.
"""

import asyncio
import contextlib
import contextvars
import functools
import logging
import signal as numbers
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

import msgspec

from grpcflow import errors
from grpcflow.coroutines import is_coroutine_task, report_left
from grpcflow.state import running_task
from grpcflow_worker import attempt as attempts
from grpcflow_worker.attempt import Attempt, CoroutineRun, bind_coroutines
from grpcflow_worker.executor import Call, CallRun, Ended, ExecutorSettings
from grpcflow_worker.executors import pace
from grpcflow_worker.executors.aside import Aside
from grpcflow_worker.executors.frames import SOFT_SIGNAL
from grpcflow_worker.executors.limits import Limits
from grpcflow_worker.executors.line import Line
from grpcflow_worker.executors.threads import Threads
from grpcflow_worker.executors.watch import LoopWatch

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

T = TypeVar("T")

_log: Final = logging.getLogger("grpcflow.worker")

#: Seconds that a cancelled coroutine gets to clean up: after its hard time limit, and after a signal.
LIMIT_PATIENCE: Final = 1.0
SIGNAL_PATIENCE: Final = 5.0

#: Seconds that the loop gets to end, with all that is left on it.
_END: Final = 0.5


class Asyncio(Threads):
    """Runs `concurrency` coroutines on one loop, and other tasks in a few threads; see `Executor` for the contract.

    Args:
        settings: what to run and how much of it.
    """

    kind = "asyncio"
    left_behind: ClassVar = "it still ran when the worker ended"

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the settings; `start` does the rest."""
        super().__init__(settings)
        #: Waits for the loop; the first line is the threads'.
        self._coroutines = Line()
        self._lines = (self._lines[0], self._coroutines)
        self._limits = Limits(settings)
        self._aside = Aside(self._thread_places())
        self._names: frozenset[str] = frozenset()
        self._limited: tuple[Call, Call] | None = None
        # From here on: of the loop's thread alone.
        self._attempts: dict[int, Attempt] = {}
        #: What has ended in this turn, and whether `_fill` will be called in the next.
        self._settled: list[tuple[int, str, bytes | Ended, float]] = []
        self._settling = False
        self._variables = contextvars.copy_context()
        #: True where `_fill` is on its way; guarded by the lock.
        self._filling = False

    def _thread_places(self) -> int:
        return min(self._settings.threads, self._places)

    def _launch(self, app: "Grpcflow") -> None:
        super()._launch(app)
        self._names = frozenset(name for name, task in app.tasks.items() if is_coroutine_task(task))
        self._limits.take_defaults(app.conf.as_dict())
        self._task_loop = asyncio.new_event_loop()
        self._task_loop.set_task_factory(_adopted)
        self._watch = LoopWatch(self._task_loop, self._settings.blocked_after, self._blocked)
        self._loop_thread = threading.Thread(target=self._run_loop, name="grpcflow-asyncio", daemon=True)
        self._loop_thread.start()

    # --- on the supervisor's loop -----------------------------------------------------------------------------

    def _line_of(self, run: CallRun) -> tuple[Line, CallRun]:
        if run.call.task not in self._names:
            return self._lines[0], run
        if self._limited is None or self._limited[0] is not run.call:
            self._limited = run.call, self._limits.of(run.call)
        call = self._limited[1]
        return self._coroutines, run if call is run.call else msgspec.structs.replace(run, call=call)

    def _wake(self, line: Line, count: int) -> None:
        if line is not self._coroutines:
            super()._wake(line, count)
        elif not self._filling:
            self._filling = True
            self._task_loop.call_soon_threadsafe(self._fill)

    def _resized(self) -> None:
        super()._resized()
        if self._coroutines.count and not self._filling:
            self._wake(self._coroutines, self._coroutines.count)

    def _interrupt(self, token: int, number: int) -> bool:
        running = self._active[token]
        if running.run.call.task not in self._names:
            return True
        self._task_loop.call_soon_threadsafe(self._signalled, token, number)
        return number != SOFT_SIGNAL

    async def close(self, *, drain: bool, deadline: float) -> None:
        """See `Executor.close`."""
        await super().close(drain=drain, deadline=deadline)
        await asyncio.to_thread(self._end_loop)

    def _end_loop(self) -> None:
        """End the loop and its thread; one that is blocked is left behind. Blocks."""
        self._watch.end()
        self._aside.close()
        asyncio.run_coroutine_threadsafe(self._end_all(), self._task_loop)
        self._loop_thread.join(2 * _END)
        if self._loop_thread.is_alive():
            _log.warning("the event loop of the tasks is blocked and was left behind")

    # --- the loop's thread ------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        loop = self._task_loop
        with running_task():
            self._variables = contextvars.copy_context()
        if self._settings.blocked_after:
            self._watch.start(threading.get_ident())
        while True:
            try:
                loop.run_forever()
                break
            except BaseException:  # noqa: BLE001 - SystemExit of an asyncio task that a task started, and its like
                _log.exception("an asyncio task that a task had started tried to end the worker")
        loop.close()

    def _fill(self) -> None:
        """Report what has ended, and begin what waits, as far as there are places."""
        self._settling = False
        if self._settled:
            settled, self._settled = self._settled, []
            self._ended(settled)
        while True:
            with self._lock:
                self._filling = False
                free = self._places - len(self._attempts)
                if self._closed or free <= 0 or not self._coroutines.count:
                    break
                run = self._coroutines.take(free, pace.FRAME_BYTES)
                self._begins(run)
            self._begin(run)
        if self._attempts:
            self._watch.busy.set()
        else:
            self._watch.busy.clear()

    def _begin(self, run: CallRun) -> None:
        bound = bind_coroutines(self._invoker, self._invoker.tasks[run.call.task], run)
        for offset in range(len(run.payloads)):
            if not isinstance(bound, CoroutineRun):
                self._note_end(run.token + offset, run.call.task, bound(offset), 0.0)
                continue
            variables = self._variables.copy()
            attempt = self._attempts[run.token + offset] = Attempt(bound, offset, variables)
            attempt.began = time.monotonic()
            if bound.blocks:
                # In the very context of the attempt, which no asyncio task has entered yet: what a receiver sets
                # there, the task finds.
                self._run_aside(variables, bound.open, attempt, self._opened)
            else:
                self._opened(attempt, variables.run(bound.open, attempt))

    def _opened(self, attempt: Attempt, goes_on: bool) -> None:
        """Start the body of an attempt; without one where it has ended already."""
        if not goes_on:
            self._finish(attempt)
            return
        loop, call = self._task_loop, attempt.bound.run.call
        body = self._run_body(attempt)
        attempt.task = asyncio.Task(body, loop=loop, name=call.task, context=attempt.variables)
        attempt.task.add_done_callback(functools.partial(self._done, attempt))
        if call.soft_time_limit is not None:
            text = f"the task ran longer than its soft time limit of {call.soft_time_limit:g} s"
            error = errors.SoftTimeLimitExceeded(text)
            attempt.timers.append(loop.call_later(call.soft_time_limit, attempt.steering.soften, error))
        if call.time_limit is not None:
            exceeded = errors.TimeLimitExceeded(f"TimeLimitExceeded({call.time_limit:g})")
            attempt.timers.append(loop.call_later(call.time_limit, self._cancel, attempt, exceeded, LIMIT_PATIENCE))

    async def _run_body(self, attempt: Attempt) -> None:
        await attempt.bound.body(attempt)
        self._finish(attempt, inside=True)

    def _done(self, attempt: Attempt, task: "asyncio.Task[None]") -> None:
        """Finish an attempt whose asyncio task never began: code of another task cancelled all that it could find."""
        if not attempt.finished:
            attempt.error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self._finish(attempt)

    def _finish(self, attempt: Attempt, *, inside: bool = False) -> None:
        """Say how an attempt ended, once; what it left running ends with it. `inside`: called in its own context."""
        if attempt.finished:
            return  # given up before
        attempt.finished = True
        for timer in attempt.timers:
            timer.cancel()
        if attempt.children is not None and (left := attempt.left()):
            report_left(attempt.name, left)
            for child in left:
                child.cancel()
        if attempt.blocks:
            # In a copy: the asyncio task may still be in the context itself.
            self._run_aside(attempt.variables.copy(), attempt.bound.finish, attempt, self._settle)
        elif inside:
            self._settle(attempt, attempt.bound.finish(attempt))
        else:
            self._settle(attempt, attempt.variables.run(attempt.bound.finish, attempt))

    def _settle(self, attempt: Attempt, end: bytes | Ended) -> None:
        token, seconds = attempt.token, time.monotonic() - attempt.began
        del self._attempts[token]
        attempt.release()
        self._note_end(token, attempt.bound.run.call.task, end, seconds)

    def _note_end(self, token: int, task: str, end: bytes | Ended, seconds: float) -> None:
        """Have it reported with all others that end in this turn of the loop."""
        self._settled.append((token, task, end, seconds))
        if not self._settling:
            self._settling = True
            self._task_loop.call_soon(self._fill)

    def _run_aside(
        self,
        variables: contextvars.Context,
        call: Callable[[Attempt], T],
        attempt: Attempt,
        then: Callable[[Attempt, T], None],
    ) -> None:
        """Make a call that may block in a thread, and go on with what it gave on the loop."""

        def blocking() -> None:
            given = variables.run(call, attempt)
            with contextlib.suppress(RuntimeError):  # the loop was closed: the worker has ended
                self._task_loop.call_soon_threadsafe(then, attempt, given)

        self._aside.run(blocking)

    # --- interruptions, on the loop's thread ------------------------------------------------------------------

    def _signalled(self, token: int, number: int) -> None:
        attempt = self._attempts.get(token)
        if attempt is None:
            return  # it has just ended
        if number == SOFT_SIGNAL:
            attempt.steering.soften(errors.SoftTimeLimitExceeded("the task was told to end"))
            return
        patience = 0.0 if number == numbers.SIGKILL else SIGNAL_PATIENCE
        self._cancel(attempt, errors.TaskRevokedError(f"{attempt.name} was terminated"), patience)

    def _cancel(self, attempt: Attempt, verdict: BaseException, patience: float) -> None:
        attempt.steering.cancel(verdict)
        attempt.timers.append(self._task_loop.call_later(patience, self._give_up, attempt))

    def _give_up(self, attempt: Attempt) -> None:
        """End an attempt that was cancelled and goes on: its coroutine is closed where it stands."""
        if attempt.finished or attempt.task is None:
            return
        _log.warning("%s went on after it was cancelled, and was given up", attempt.name)
        attempt.steering.abandon()
        self._finish(attempt)

    async def _end_all(self) -> None:
        """Cancel all that is left, and stop the loop."""
        loop = self._task_loop
        for attempt in self._attempts.values():
            attempt.steering.cancel(errors.WorkerLostError(self.left_behind))
        left = asyncio.all_tasks(loop) - {asyncio.current_task()}
        for task in left - {attempt.task for attempt in self._attempts.values()}:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_END)
        await loop.shutdown_asyncgens()
        loop.stop()

    # --- in the watch's thread --------------------------------------------------------------------------------

    def _blocked(self, task: "asyncio.Task[Any]", place: str) -> None:
        """Name the task that keeps the loop from going on."""
        name = task.get_name()
        with contextlib.suppress(RuntimeError):  # the loop goes on just now, and what is looked through changes
            for attempt in list(self._attempts.values()):
                if attempt.task is task or task in attempt.left():
                    name = attempt.name
                    break
        _log.warning(
            "%s has blocked the event loop of all tasks for %d ms, at %s. Await instead, use asyncio.to_thread(), or "
            "write the task as a plain def, which runs in a thread",
            name,
            round(self._settings.blocked_after * 1000),
            place,
        )


def _adopted(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> "asyncio.Task[Any]":
    """Make an asyncio task that a task asks for, and note whose it is."""
    task = asyncio.Task(cast("Coroutine[Any, Any, Any]", coroutine), loop=loop, **options)
    attempt = attempts.current.get()
    if attempt is not None:
        attempt.adopt(task)
    return task
