"""Another attempt of the same call: how long it waits, when there is none, and what it may change.

It may not import grpc, protobuf or the codec.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from grpcflow.errors import ImproperlyConfigured, MaxRetriesExceededError, Retry

if TYPE_CHECKING:
    from grpcflow.context import Context
    from grpcflow.task import Task

__all__ = ["make_retry"]


def make_retry(
    task: "Task[..., Any]",
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    exc: BaseException | None,
    eta: datetime | None,
    countdown: float | None,
    max_retries: int | None,
    options: Mapping[str, Any],
) -> Retry:
    """Return the Retry of ``Task.retry``, and raise what that raises where there is none."""
    request = task.request
    reason = exc or sys.exc_info()[1]
    if request.called_directly:
        raise reason or Retry(f"{task.name} was called in place, so nothing can retry it")
    _refuse_changes(task.name, request, options)
    if max_retries is not None:
        # The limit holds for this call from now on, also where autoretry_for asks next.
        request._max_retries = max_retries
    limit = task.max_retries if max_retries is None else max_retries
    if limit is not None and request.retries >= limit:
        if exc is not None:
            raise exc
        raise MaxRetriesExceededError(f"{task.name}[{request.id}] has used its {limit} retries") from reason
    return Retry(
        f"{task.name}[{request.id}] asks for another attempt: {reason!r}",
        reason,
        _delay(task, eta, countdown),
        call_args=args,
        call_kwargs=kwargs,
    )


def _delay(task: "Task[..., Any]", eta: datetime | None, countdown: float | None) -> float:
    """Return the seconds until the next attempt."""
    if eta is not None:
        aware = eta if eta.tzinfo is not None else eta.replace(tzinfo=task.app.conf.tzinfo)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    return task.default_retry_delay if countdown is None else countdown


#: What the options of a retry are compared with: a retry is the same node, which keeps what it was submitted with.
_AS_SUBMITTED: Final[Mapping[str, "Callable[[Context], Any]"]] = {
    "task_id": lambda request: request.id,
    "queue": lambda request: request.delivery_info.get("queue"),
    "routing_key": lambda request: request.delivery_info.get("queue"),
    "priority": lambda request: request.delivery_info.get("priority"),
    "expires": lambda request: request.expires,
    "time_limit": lambda request: request.time_limit,
    "soft_time_limit": lambda request: request.soft_time_limit,
    "ignore_result": lambda request: request.ignore_result,
    "headers": lambda request: dict(request.headers),
    "shadow": lambda request: request.shadow,
}


def _refuse_changes(name: str, request: "Context", options: Mapping[str, Any]) -> None:
    """Refuse options that would make the next attempt another call than this one."""
    for option, value in options.items():
        current = _AS_SUBMITTED.get(option)
        if value is None or (current is not None and current(request) == value):
            continue
        raise ImproperlyConfigured(
            f"{name}: retry() cannot change the option {option!r} to {value!r}: the next attempt is the same call, "
            "with other arguments at most. Submit a call of its own, or use self.replace(...).",
            code="RETRY_OPTION",
        )
