"""Tasks of a module that belongs to no app: every app gets them.

It may not import grpc, protobuf or the codec.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from grpcflow import state
from grpcflow.limits import checked_size
from grpcflow.registration import check_options, main_name, make_task
from grpcflow.task import Task
from grpcflow.type_parameters import P, R

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.task_makers import MakesBatchTask, MakesBoundModelTask, MakesBoundTask, MakesModelTask, MakesTask

__all__ = ["SharedTask", "shared_batch_task", "shared_task"]

_Base = type[Task[..., Any]] | None


class SharedTask:
    """Stands for a shared task: the one of the current app."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(state.get_current_app().task_named(self._name), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here and now."""
        return state.get_current_app().task_named(self._name)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<shared task {self._name}>"


@overload
def shared_task(fun: "Callable[P, R]", /) -> "Task[P, R]": ...
@overload
def shared_task(
    *,
    pydantic: Literal[True],
    bind: Literal[True],
    name: str | None = None,
    base: _Base = None,
    **options: Any,
) -> "MakesBoundModelTask": ...
@overload
def shared_task(
    *,
    pydantic: Literal[True],
    bind: Literal[False] = False,
    name: str | None = None,
    base: _Base = None,
    **options: Any,
) -> "MakesModelTask": ...
@overload
def shared_task(
    *,
    bind: Literal[True],
    name: str | None = None,
    base: _Base = None,
    **options: Any,
) -> "MakesBoundTask": ...
@overload
def shared_task(
    *,
    bind: Literal[False] = False,
    name: str | None = None,
    base: _Base = None,
    **options: Any,
) -> "MakesTask": ...
@overload
def shared_task(
    *,
    bind: bool,
    name: str | None = None,
    base: _Base = None,
    **options: Any,
) -> "Callable[[Callable[..., R]], Task[..., R]]": ...
def shared_task(
    fun: Callable[..., Any] | None = None,
    /,
    *,
    bind: bool = False,
    name: str | None = None,
    base: _Base = None,
    **options: Any,
) -> Any:
    """Make a task of a function for every app, those included that are made later.

    Args:
        fun: The function.
        bind: True: the function gets the task itself as first argument. Default False.
        name: Name of the task; None: the module's and the function's.
        base: Class of the task; None: the ``task_cls`` of each app.
        **options: As for ``Grpcflow.task``.

    Raises:
        TypeError: There is no such option.
    """

    def decorate(function: Callable[..., Any]) -> SharedTask:
        check_options(function, options, base or Task)
        main = state.apps[-1].main if state.apps else ""
        module = main_name(main) if function.__module__ == "__main__" else function.__module__
        chosen = name or f"{module}.{function.__name__}"

        def register(app: "Grpcflow") -> None:
            app.register_task(make_task(app, function, bind, chosen, base or app.task_cls, options))

        state.shared_registrations.append(register)
        for app in state.apps:
            register(app)
        return SharedTask(chosen)

    return decorate if fun is None else decorate(fun)


def shared_batch_task(*, size: int, within: float = 0.5, **options: Any) -> "MakesBatchTask":
    """Make a task of a function that takes many calls at once, for every app; see ``Grpcflow.batch_task``.

    Args:
        size: How many calls the function gets at most; at least 1.
        within: Seconds that the first of them waits for others. Default 0.5; 0: for none.
        **options: As for ``shared_task``.

    Raises:
        ValueError: ``size`` or ``within`` cannot be.
        TypeError: There is no such option.
    """
    options = {"typing": False, **options, "batch_size": checked_size(size), "batch_within": within}
    return cast("MakesBatchTask", shared_task(**options))
