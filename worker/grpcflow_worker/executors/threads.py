"""The threads and solo executors: tasks run in threads of the worker's own process.

A thread cannot be stopped from outside, so `stop` of a running attempt only takes effect when its code returns.
"""

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from grpcflow_worker.executor import CallRun, ExecutorError, ExecutorSettings
from grpcflow_worker.executors import pace
from grpcflow_worker.executors.inside import InProcess
from grpcflow_worker.executors.line import Line

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

#: Attempts that a thread takes out of the line at once; they can still be taken back one by one.
_TAKE: Final = 1


class Threads(InProcess):
    """Runs tasks in `concurrency` threads; see `Executor` for the contract.

    Args:
        settings: what to run and how much of it.
    """

    kind = "threads"

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the settings; `start` does the rest."""
        super().__init__(settings)
        self._work = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._made = 0

    def _thread_places(self) -> int:
        """How many threads there are."""
        return self._places

    def _launch(self, app: "Grpcflow") -> None:
        del app
        with self._lock:
            self._resized()

    def _resized(self) -> None:
        """Start the threads that are missing, and wake those that are too many."""
        while len(self._threads) < self._thread_places():
            name = f"grpcflow-{self.kind}-{self._made}"
            self._made += 1
            # Daemons: code that never returns must not keep the process from ending.
            thread = threading.Thread(target=self._work_on, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.notify_all()

    def _wake(self, line: Line, count: int) -> None:
        del line
        self._work.notify(count)

    def _end_work(self) -> None:
        self._work.notify_all()

    # --- in the threads -------------------------------------------------------------------------------------

    def _work_on(self) -> None:
        from grpcflow.state import running_task

        with running_task():
            while (run := self._next()) is not None:
                started = time.monotonic()
                end = self._invoker.bind(run)(0)
                self._ended([(run.token, run.call.task, end, time.monotonic() - started)])

    def _next(self) -> CallRun | None:
        """Wait for an attempt and note that it runs; None when it is time for this thread to end."""
        line = self._lines[0]
        with self._work:
            while True:
                if len(self._threads) > self._thread_places() and not self._ending:
                    self._threads.remove(threading.current_thread())
                    self._work.notify()  # what woke this thread may have been meant for one that stays
                    return None
                if line.count:
                    break
                if self._ending:
                    return None
                self._work.wait()
            run = line.take(_TAKE, pace.FRAME_BYTES)
            self._begins(run)
            return run

    # --- from anywhere ----------------------------------------------------------------------------------------

    def left(self) -> list[threading.Thread]:
        """The threads that have not ended; after `close`, those that are about to or whose task does not return."""
        return [thread for thread in self._threads if thread.is_alive()]

    # --- on the supervisor's loop -----------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """See `Executor.stats`."""
        return {**super().stats(), "threads": [thread.name for thread in self._threads]}


class Solo(Threads):
    """Runs one task at a time in one thread beside the event loop; see `Threads`."""

    kind = "solo"

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the settings; the concurrency is 1 whatever they say."""
        super().__init__(settings)
        self._places = 1

    def resize(self, by: int) -> int:
        """See `Executor.resize`."""
        del by
        raise ExecutorError("the solo executor runs one task at a time; use -P threads or -P prefork")
