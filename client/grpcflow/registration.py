"""From a function to a task: its class, its name, and the options that it may have.

It may not import grpc, protobuf or the codec.
"""

import difflib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from grpcflow.autoretry import with_retries
from grpcflow.task import Task

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["DuplicateTaskName", "check_options", "main_name", "make_task", "origin"]


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
    """Return a task whose class is made for this one function."""
    check_options(function, options)
    attributes: dict[str, Any] = {
        **options,
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
    if task.autoretry_for:
        task.run = with_retries(task, task.run)  # type: ignore[method-assign]
    return task


def check_options(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that no task has: one that is silently not heeded is worse than an error."""
    for option in options:
        if option not in Task.OPTIONS:
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
