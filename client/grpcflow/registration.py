"""From a function to a task: its class, its name, and the options that it may have.

It may not import grpc, protobuf or the codec.
"""

import difflib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from grpcflow.annotations import annotate
from grpcflow.autoretry import with_retries
from grpcflow.errors import ImproperlyConfigured
from grpcflow.limits import check_limits
from grpcflow.task import Task
from grpcflow.task_option_names import TASK_OPTIONS_ELSEWHERE

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["DuplicateTaskName", "check_attributes", "check_options", "main_name", "make_task", "origin", "prepare"]

#: Options of Celery's decorators that change nothing here: a task is made at once, and shared by ``shared_task``.
_TAKEN: Final = frozenset({"lazy", "shared"})


class DuplicateTaskName(UserWarning):
    """Two functions were registered under one name; the later one is called."""


def make_task(
    app: "Grpcflow",
    function: Callable[..., Any],
    bind: bool,
    name: str | None,
    base: type[Task[..., Any]],
    options: Mapping[str, Any],
) -> Task[..., Any]:
    """Return a task whose class is made for this one function; `prepare` makes it one of the app."""
    check_options(function, options, base)
    attributes: dict[str, Any] = {
        **{option: value for option, value in options.items() if option not in _TAKEN},
        "name": name or app.gen_task_name(function.__name__, function.__module__),
        "bind": bind,
        "run": function if bind else staticmethod(function),
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "__wrapped__": staticmethod(function),
    }
    task = cast("Task[..., Any]", type(function.__name__, (base,), attributes)())
    task.__name__ = function.__name__
    return task


def prepare(app: "Grpcflow", task: Task[..., Any]) -> None:
    """Make a task one of ``app``: its name, its annotations, what is wrapped around its ``run``; called to register it.

    Calling it again, for example after ``task_annotations`` changed, does no harm.

    Raises:
        ImproperlyConfigured: An attribute has a value that cannot be honoured.
        ValueError: Its soft time limit is above the hard one, or another limit cannot be.
        ImportError: It wants pydantic models and pydantic is not installed.
    """
    known = task.__dict__.get("app") is app
    task.app = app
    if not task.name:
        task.name = app.gen_task_name(type(task).__name__, type(task).__module__)
    annotate(task, app.annotations)
    check_attributes(task)
    if task.run is not task._wrapped_run:
        task._bare_run = task.run
    run = bare = cast("Callable[..., Any]", task._bare_run)
    if task.pydantic:
        from grpcflow.pydantic_arguments import with_models

        run = with_models(task, run)
    if task.autoretry_for:
        run = with_retries(task, run)
    if run is not bare or task._wrapped_run is not None:
        task.run = task._wrapped_run = run  # type: ignore[method-assign]
        task._check = None
    if not known:
        task.on_bound(app)


def check_attributes(task: Task[..., Any]) -> None:
    """Refuse attributes that could not be honoured, and say what to use instead."""
    check_limits(task)
    for option in ("acks_on_failure", "acks_on_timeout", "acks_on_failure_or_timeout"):
        if not getattr(task, option):
            raise ImproperlyConfigured(
                f"the task {task.name} has {option}=False, but a failure is an end here: for another attempt name the "
                "exceptions in autoretry_for=, or raise Reject(requeue=True)",
                code="UNSUPPORTED_OPTION",
            )
    soft, hard = task.soft_time_limit, task.time_limit
    if soft is not None and hard is not None and soft > hard:
        raise ValueError(f"the task {task.name} has a soft_time_limit of {soft} s above its time_limit of {hard} s")
    if task.max_deliveries is None and False in (task.reject_on_worker_lost, task.retry_on_worker_lost):
        task.max_deliveries = 1


def check_options(function: Callable[..., Any], options: Mapping[str, Any], base: type[Task[..., Any]] = Task) -> None:
    """Refuse options that no task has: one that is silently not heeded is worse than an error."""
    for option in options:
        own = hasattr(base, option) and not hasattr(Task, option)
        if option not in Task.OPTIONS and option not in _TAKEN and not own:
            if reason := TASK_OPTIONS_ELSEWHERE.get(option):
                raise TypeError(f"the task {function.__name__} has Celery's option {option!r}: {reason}")
            near = difflib.get_close_matches(option, Task.OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(Task.OPTIONS))}"
            raise TypeError(f"the task {function.__name__} has the unknown option {option!r}: {hint}")


def origin(task: Task[..., Any]) -> str:
    """Return where a task's function is defined; the same for a module that was imported again."""
    return f"{type(task).__module__}.{type(task).__qualname__}"


def main_name(main: str) -> str:
    """Return what stands for ``__main__`` in names of tasks: the app's name, or else the program's file."""
    if main:
        return main
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    return program.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py") if program else "__main__"
