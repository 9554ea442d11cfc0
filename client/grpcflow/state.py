"""Which app and which task are current in this thread or coroutine.

The one place with state that belongs to no app. It may import nothing of grpcflow at run time, so that
every other module may import it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpcflow.app import Grpcflow
    from grpcflow.task import Context, Task

__all__ = [
    "allow_join_result",
    "check_join_allowed",
    "current_app",
    "current_request",
    "current_task",
    "denied_join_result",
    "forget_app",
    "get_current_app",
    "get_current_task",
    "in_task",
    "running_task",
]

#: What runs here, outermost first: tasks with their requests.
_running: ContextVar[tuple[tuple["Task[..., Any]", "Context"], ...]] = ContextVar("grpcflow_running", default=())

#: True where waiting for a result could starve the worker that this code runs in.
_join_denied: ContextVar[bool] = ContextVar("grpcflow_join_denied", default=False)

_current_app: "Grpcflow | None" = None

#: Calls that register a shared task with an app, in the order of their definition.
shared_registrations: Final["list[Callable[[Grpcflow], Any]]"] = []

#: Every app of this process that registers shared tasks, in the order of their making.
apps: Final["list[Grpcflow]"] = []


def get_current_app() -> "Grpcflow":
    """Return the app that was made last with ``set_as_current``; one named "default" where there is none."""
    if _current_app is None:
        from grpcflow.app import Grpcflow

        return Grpcflow("default")
    return _current_app


def set_current_app(app: "Grpcflow") -> None:
    """Make ``app`` the one that is used where none is named, in all threads of this process."""
    global _current_app
    _current_app = app


def exchange_current_app(app: "Grpcflow | None") -> "Grpcflow | None":
    """Make ``app`` the current one, None for none, and return the one before it, None where there was none."""
    global _current_app
    before, _current_app = _current_app, app
    return before


def forget_app(app: object) -> None:
    """Give an app up: it gets no shared tasks any more, and is no longer current."""
    global _current_app
    apps[:] = [known for known in apps if known is not app]
    if _current_app is app:
        _current_app = None


def push(task: "Task[..., Any]", request: "Context") -> None:
    """Note that ``task`` starts to run here with ``request``."""
    _running.set((*_running.get(), (task, request)))


def pop() -> None:
    """Note that what was pushed last has ended."""
    _running.set(_running.get()[:-1])


def request_of(task: "Task[..., Any]") -> "Context | None":
    """Return the request that ``task`` runs with here, or None where it does not run."""
    for running, request in _running.get()[::-1]:
        if running is task:
            return request
    return None


def current_request() -> "Context | None":
    """Return the request of the task that runs here, or None outside of a task."""
    running = _running.get()
    return running[-1][1] if running else None


def logging_request() -> "Context | None":
    """Return the innermost request here whose attempt keeps what it logs, or None."""
    for _, request in _running.get()[::-1]:
        if request._log is not None:
            return request
    return None


def get_current_task() -> "Task[..., Any] | None":
    """Return the task that runs here, or None outside of a task."""
    running = _running.get()
    return running[-1][0] if running else None


@contextmanager
def running_task() -> Iterator[None]:
    """Mark what runs inside as a task, so that waiting for a result raises RuntimeError; for workers."""
    token = _join_denied.set(True)
    try:
        yield
    finally:
        _join_denied.reset(token)


#: The same under the name that Celery gives it.
denied_join_result = running_task


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let code inside a task wait for results all the same.

    Whoever does this must know that a worker which waits for its own work may wait for ever.
    """
    token = _join_denied.set(False)
    try:
        yield
    finally:
        _join_denied.reset(token)


def in_task() -> bool:
    """Return True inside a task that may not wait for results."""
    return _join_denied.get()


def check_join_allowed() -> None:
    """Raise RuntimeError inside a task.

    Raises:
        RuntimeError: This code runs in a task and is not inside ``allow_join_result()``.
    """
    if _join_denied.get():
        raise RuntimeError(
            "get() was called inside a task: a worker that waits for other tasks can starve them. Compose the "
            "work with chain, group or chord instead, or wrap the call in allow_join_result()."
        )


class _CurrentApp:
    """Stands for the current app, whichever that is at the moment of use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(get_current_app(), name)

    def __repr__(self) -> str:
        return repr(get_current_app())


class _CurrentTask:
    """Stands for the task that runs here; false outside of a task."""

    def __getattr__(self, name: str) -> Any:
        task = get_current_task()
        if task is None:
            raise AttributeError(f"no task runs here, so current_task has no {name!r}")
        return getattr(task, name)

    def __bool__(self) -> bool:
        return get_current_task() is not None

    def __repr__(self) -> str:
        return repr(get_current_task())


current_app: "Grpcflow" = cast("Grpcflow", _CurrentApp())
current_task: "Task[..., Any]" = cast("Task[..., Any]", _CurrentTask())
