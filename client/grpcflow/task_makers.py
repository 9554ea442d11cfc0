"""What ``@app.task`` and ``@shared_task`` return where they are given options, for checkers of types alone.

Protocols and not ``Callable``, since one function can have several shapes. No program imports this when it runs.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Protocol, overload

from grpcflow.batching import BatchCall
from grpcflow.task import Task
from grpcflow.type_parameters import P, R

__all__ = [
    "Dumped",
    "MakesBatchTask",
    "MakesBoundBatchTask",
    "MakesBoundModelTask",
    "MakesBoundTask",
    "MakesModelTask",
    "MakesTask",
]


class MakesTask(Protocol):
    """Makes a task that takes what its function takes."""

    def __call__(self, fun: Callable[P, R], /) -> Task[P, R]:
        """Make a task of a function and register it."""
        ...


class MakesBoundTask(Protocol):
    """Makes a task of a function whose first parameter is the task itself: callers do not give it."""

    def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]:
        """Make a task of a function and register it."""
        ...


class MakesBatchTask(Protocol):
    """Makes a task whose function takes many calls at once; callers make each with any arguments."""

    def __call__(self, fun: Callable[[list[BatchCall]], Any], /) -> Task[..., Any]:
        """Make a task of a function and register it."""
        ...


class MakesBoundBatchTask(Protocol):
    """The same for a function whose first parameter is the task itself."""

    def __call__(self, fun: Callable[[Any, list[BatchCall]], Any], /) -> Task[..., Any]:
        """Make a task of a function and register it."""
        ...


class Dumped(Protocol):
    """A pydantic model, by what is done with one that a task returns; pydantic need not be installed."""

    def model_dump(self) -> dict[str, Any]:
        """Return the model as a mapping."""
        ...


class MakesModelTask(Protocol):
    """Makes a task with ``pydantic=True``: where its function returns a model, callers get a mapping."""

    @overload
    def __call__(self, fun: Callable[P, None], /) -> Task[P, None]: ...
    @overload
    def __call__(self, fun: Callable[P, Dumped], /) -> Task[P, dict[str, Any]]: ...
    @overload
    def __call__(self, fun: Callable[P, Dumped | None], /) -> Task[P, dict[str, Any] | None]: ...
    @overload
    def __call__(
        self, fun: Callable[P, Coroutine[Any, Any, Dumped]], /
    ) -> Task[P, Coroutine[Any, Any, dict[str, Any]]]: ...
    @overload
    def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...


class MakesBoundModelTask(Protocol):
    """The same for a function whose first parameter is the task itself."""

    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], None], /) -> Task[P, None]: ...
    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], Dumped], /) -> Task[P, dict[str, Any]]: ...
    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], Dumped | None], /) -> Task[P, dict[str, Any] | None]: ...
    @overload
    def __call__(
        self, fun: Callable[Concatenate[Any, P], Coroutine[Any, Any, Dumped]], /
    ) -> Task[P, Coroutine[Any, Any, dict[str, Any]]]: ...
    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...
