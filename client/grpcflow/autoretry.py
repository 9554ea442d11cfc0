"""Retries that a task asks for by its options, without a word in its body.

Wraps a task's function; it may import nothing of grpcflow but its errors.
"""

import functools
import inspect
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from grpcflow.errors import Ignore, Reject, Retry

if TYPE_CHECKING:
    from grpcflow.task import Task

__all__ = ["backoff", "with_retries"]


def with_retries(task: "Task[..., Any]", run: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``run`` with a retry for the exceptions that ``task.autoretry_for`` names.

    ``Ignore``, ``Reject`` and ``Retry`` pass, and so does what ``task.dont_autoretry_for`` names.
    """
    passing: tuple[type[Exception], ...] = (Ignore, Reject, Retry, *task.dont_autoretry_for)
    wanted: tuple[type[Exception], ...] = tuple(task.autoretry_for)

    def ask_again(error: Exception) -> Retry:
        """Return the Retry; raises the error itself where the retries are used up."""
        request = task.request
        options = dict(task.retry_kwargs)
        if task.retry_backoff:
            options["countdown"] = backoff(task, request.retries)
        # A limit that the body gave to retry() holds for the whole call, also where its error ends up here.
        override = task.override_max_retries if request._max_retries is None else request._max_retries
        if override is not None:
            options["max_retries"] = override
        return task.retry(**{**options, "exc": error, "throw": False})

    if inspect.iscoroutinefunction(run):

        @functools.wraps(run)
        async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
            try:
                return await run(*args, **kwargs)
            except passing:
                raise
            except wanted as error:
                raise ask_again(error) from error

        return run_coroutine

    @functools.wraps(run)
    def run_function(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except passing:
            raise
        except wanted as error:
            raise ask_again(error) from error

    return run_function


def backoff(task: "Task[..., Any]", retries: int) -> float:
    """Return the seconds before the next attempt: the factor doubled for each retry, up to the maximum.

    With ``retry_jitter`` it is a random length from 0 to that.
    """
    factor = 1.0 if task.retry_backoff is True else float(task.retry_backoff)
    longest = min(task.retry_backoff_max, factor * 2.0 ** min(retries, 64))
    return random.uniform(0, longest) if task.retry_jitter else longest
