"""What ran on a cluster: one record for each attempt, in the order in which they began.

Listens to the signals that every worker sends. It may not change how anything runs.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from grpcflow import signals

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.task import Task

__all__ = ["Call", "CallLog"]

#: Most records that are kept; the oldest go first.
MOST: Final = 10_000


@dataclass
class Call:
    """One attempt of a task that ran, or runs.

    Attributes:
        task: Name of the task.
        id: Id of the call; the same for all attempts of it.
        args: Positional arguments as the task got them.
        kwargs: Keyword arguments.
        retries: How often it had been retried before.
        worker: Name of the worker.
        state: STARTED while it runs; then SUCCESS, FAILURE, RETRY, IGNORED, REJECTED or REVOKED.
        value: What the task returned; None where it has not.
        error: The exception that it raised, the very object; None where it raised none.
    """

    task: str
    id: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    worker: str = ""
    state: str = "STARTED"
    value: Any = None
    error: BaseException | None = None


class CallLog:
    """The records of the tasks of one app.

    Args:
        app: The app.
    """

    def __init__(self, app: "Grpcflow") -> None:
        self._app = app
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=MOST)
        #: What runs, by the identity of its request.
        self._open: dict[int, Call] = {}
        #: Exceptions of tasks that failed, until somebody takes them.
        self._failures: list[BaseException] = []

    def connect(self) -> None:
        """Begin to listen."""
        signals.task_prerun.connect(self._begun, weak=False)
        signals.task_postrun.connect(self._ended, weak=False)

    def disconnect(self) -> None:
        """Listen no more."""
        signals.task_prerun.disconnect(self._begun)
        signals.task_postrun.disconnect(self._ended)

    def of(self, name: str | None) -> list[Call]:
        """Return the records of one task, or of all."""
        with self._lock:
            return [call for call in self._calls if name is None or call.task == name]

    def clear(self) -> None:
        """Forget the records."""
        with self._lock:
            self._calls.clear()
            self._failures.clear()

    def take_failures(self) -> list[BaseException]:
        """Return the exceptions of tasks that failed since the last time."""
        with self._lock:
            taken, self._failures = self._failures, []
            return taken

    # --- in the threads of the workers --------------------------------------------------------------------

    def _is_ours(self, task: "Task[..., Any]") -> bool:
        # Signals are the process's: other clusters run here too, and so do eager calls.
        return self._app.tasks.get(task.name) is task and not task.request.is_eager

    def _begun(self, sender: "Task[..., Any]", task_id: str, args: Any, kwargs: Any, **_: Any) -> None:
        if not self._is_ours(sender):
            return
        request = sender.request
        call = Call(sender.name, task_id, tuple(args), dict(kwargs), request.retries, request.hostname or "")
        with self._lock:
            self._calls.append(call)
            self._open[id(request)] = call

    def _ended(self, sender: "Task[..., Any]", retval: Any, state: str, **_: Any) -> None:
        if not self._is_ours(sender):
            return
        with self._lock:
            call = self._open.pop(id(sender.request), None)
            if call is None:
                return
            call.state = state
            if state == "SUCCESS":
                call.value = retval
            elif isinstance(retval, BaseException):
                call.error = retval
            if state == "FAILURE" and call.error is not None:
                self._failures.append(call.error)
