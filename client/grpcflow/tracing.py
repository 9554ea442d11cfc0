"""One attempt of a call in this process: its request, its body, those who hear of it, and how it ended.

It knows no payloads and no results, and may not import grpc, protobuf or the codec.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Final

from grpcflow.context import Context
from grpcflow.errors import Ignore, Reject, Retry
from grpcflow.lifecycle import Lifecycle
from grpcflow.task import Task

__all__ = ["Traced", "completed", "takes_failure", "trace"]

#: Positional parameters from which on an unbound errback is called with (request, exception, traceback).
_ERRBACK_PARAMETERS: Final = 3

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Traced:
    """How an attempt ended.

    Attributes:
        state: SUCCESS, FAILURE, IGNORED or REJECTED; RETRY where it asks for another attempt.
        value: What the task returned; None where it raised.
        error: What the task raised; None where it returned.
    """

    state: str
    value: Any = None
    error: BaseException | None = None


def trace(task: Task[..., Any], request: Context, call: Callable[[], Any]) -> Traced:
    """Run one attempt and return how it ended.

    Only an Exception ends the call and nothing more: an interrupt passes through.

    Args:
        task: The task.
        request: The request of the attempt; current while it runs.
        call: Runs the body.
    """
    life = Lifecycle(task)
    task.push_request(request)
    try:
        traced = _run(life, request, call)
        _tell(life, request, traced)
        return traced
    finally:
        try:
            life.close(request)
        finally:
            task.pop_request()


def _run(life: Lifecycle, request: Context, call: Callable[[], Any]) -> Traced:
    """Run the body; the exceptions that steer come first."""
    try:
        life.begin(request)
        return Traced("SUCCESS", call())
    except Retry as retry:
        return Traced("RETRY", error=retry)
    except Ignore as ignore:
        return Traced("IGNORED", error=ignore)
    except Reject as reject:
        return Traced("REJECTED", error=reject)
    except Exception as error:  # noqa: BLE001 - whatever a task raises is its end
        return Traced("FAILURE", error=error)


def _tell(life: Lifecycle, request: Context, traced: Traced) -> None:
    """Tell those who want to hear of this end."""
    error = traced.error
    if error is None:
        life.succeeded(request, traced.value)
    elif isinstance(error, Retry):
        life.retried(request, error)
    elif isinstance(error, Ignore):
        life.ignored(request, error)
    elif isinstance(error, Reject):
        life.rejected(request, error)
    else:
        life.failed(request, error)


def completed(value: Any) -> Any:
    """Return what the body of a task gave; where that is a coroutine, run it to its end on this thread's own loop."""
    if type(value) is CoroutineType:
        from grpcflow import coroutines

        return coroutines.run(value)
    return value


def takes_failure(task: Task[..., Any], given: int) -> bool:
    """Return True for an errback that is told (request, exception, traceback), False where it is told the id.

    Args:
        task: The errback's task; a bound one is always told the id.
        given: How many positional arguments its signature has already.
    """
    if task.bind:
        return False
    try:
        parameters = inspect.signature(task.run).parameters.values()
    except (TypeError, ValueError):
        return False  # written in C: the id is what every errback can take
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    return sum(parameter.kind in _POSITIONAL for parameter in parameters) - given >= _ERRBACK_PARAMETERS
