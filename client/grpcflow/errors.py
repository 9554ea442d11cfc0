"""Every exception that grpcflow raises on purpose, with a stable code and a cure.

Imports nothing beyond the standard library, so that a task module, a worker's child and the command line
may import it at no cost. It may not import grpc, protobuf or any other module of grpcflow.
"""

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "AlreadyExists",
    "ChordError",
    "ContentDisallowed",
    "CoordinatorUnavailable",
    "ForkedEventLoop",
    "GrpcflowError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidRequest",
    "MaxRetriesExceededError",
    "NotFound",
    "NotRegistered",
    "PayloadTooLarge",
    "QueueNotFound",
    "Reject",
    "RemoteError",
    "RequestFailed",
    "Retry",
    "SerializationError",
    "SoftTimeLimitExceeded",
    "StaleAttempt",
    "StillRunning",
    "TaskRevokedError",
    "TimeLimitExceeded",
    "TimeoutError",
    "UnknownDestination",
    "WorkerLostError",
]


class GrpcflowError(Exception):
    """Base of all errors of grpcflow.

    Args:
        message: What went wrong and what to do, for people. Shown by ``str()`` and kept in ``args``.
        code: Stable name of the case for programs, such as ``GRAPH_CYCLE``. Default: the class's own.
        cure: What to do about it, where it is known apart from the message.
    """

    #: Code of errors that were given none.
    default_code: str = "GRPCFLOW"

    def __init__(self, message: object = "", *, code: str = "", cure: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.cure = cure

    def __str__(self) -> str:
        """Return the message as it is, also where a base class such as KeyError would show its repr."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from ``args`` and the attributes, so that copies and pickles keep the code and the cure."""
        return (type(self), self.args, self.__dict__)


# --- the coordinator and its answers ---------------------------------------------------------------------


class CoordinatorUnavailable(GrpcflowError, ConnectionError):
    """No coordinator could be reached, or the connection to it was lost and did not come back in time."""

    default_code = "COORDINATOR_UNAVAILABLE"


class TimeoutError(GrpcflowError, builtins.TimeoutError):  # noqa: A001 - Celery's name, and a subclass of the builtin
    """What was waited for did not come within the time the caller gave; it goes on all the same."""

    default_code = "TIMEOUT"


class ForkedEventLoop(GrpcflowError, RuntimeError):
    """A process would use grpcflow that was forked while an event loop of its parent was connected: that cannot work.

    Let the parent call ``await app.aclose()`` before it forks, or start a new process instead of a fork.
    """

    default_code = "FORKED_EVENT_LOOP"


class RequestFailed(GrpcflowError):
    """The coordinator answered a request with a status that no other class here stands for."""

    default_code = "REQUEST_FAILED"


class InvalidRequest(RequestFailed, ValueError):
    """The coordinator refused a request because it is wrong; sending it again would not help."""

    default_code = "INVALID_ARGUMENT"


class NotFound(RequestFailed, LookupError):
    """The coordinator does not know what was asked for, or no longer."""

    default_code = "NOT_FOUND"


class AlreadyExists(RequestFailed):
    """A task id is held by another submission that has not settled yet."""

    default_code = "ALREADY_EXISTS"


class StaleAttempt(RequestFailed):
    """A task replaced itself, or added to its chord, after its attempt was taken away; another one goes on."""

    default_code = "STALE_ATTEMPT"


class StillRunning(RequestFailed):
    """A graph that has not ended was to be retried: wait for its end, or cancel it, then retry it."""

    default_code = "STILL_RUNNING"


class PayloadTooLarge(RequestFailed, ValueError):
    """Arguments, a value or a message is larger than the coordinator takes."""

    default_code = "PAYLOAD_TOO_LARGE"


class UnknownDestination(NotFound):
    """A control command named a worker that is not connected.

    Args:
        message: What is wrong; names the workers that exist.
        known: Names of the workers that are connected.
    """

    default_code = "UNKNOWN_DESTINATION"

    def __init__(self, message: object = "", *, known: Sequence[str] = (), code: str = "", cure: str = "") -> None:
        super().__init__(message, code=code, cure=cure)
        self.known: tuple[str, ...] = tuple(known)


class IncompleteStream(GrpcflowError):
    """Results were walked through before all of them had ended."""

    default_code = "INCOMPLETE_STREAM"


class ImproperlyConfigured(GrpcflowError):
    """A setting, an option or an app is missing or wrong; the message names it."""

    default_code = "IMPROPERLY_CONFIGURED"


# --- values ----------------------------------------------------------------------------------------------


class SerializationError(GrpcflowError, ValueError):
    """A value cannot travel unchanged.

    Args:
        message: What cannot travel, and why.
        path: Where it stands in the call, such as ``args[0]['when']``; empty for the value as a whole.
    """

    default_code = "NOT_SERIALIZABLE"

    def __init__(self, message: object = "", *, path: str = "", code: str = "", cure: str = "") -> None:
        super().__init__(message, code=code, cure=cure)
        self.path = path


class ContentDisallowed(SerializationError):
    """Data came in a content type that this side does not accept (``app.conf.accept_content``)."""

    default_code = "CONTENT_DISALLOWED"


# --- how tasks end ---------------------------------------------------------------------------------------


class RemoteError(GrpcflowError):
    """A task failed with an exception that cannot be rebuilt here; this tells all that is known of it.

    Args:
        type_name: Qualified name of the exception's class, for example ``Bank.NoFunds``.
        module: Module of that class.
        args: The exception's arguments, or nothing where they could not travel. They are the ``args``
            of this error too.
        traceback: The formatted traceback of the worker.
        cause: What the exception was raised from, rebuilt in the same way.
        message: ``str()`` of the exception.
        exceptions: Members of an exception group, rebuilt in the same way.
    """

    default_code = "REMOTE_ERROR"

    def __init__(
        self,
        type_name: str,
        module: str = "",
        args: Sequence[Any] = (),
        traceback: str = "",
        cause: BaseException | None = None,
        *,
        message: str = "",
        exceptions: Sequence[BaseException] = (),
    ) -> None:
        super().__init__()
        self.args: tuple[Any, ...] = tuple(args)
        self.type_name = type_name
        self.module = module
        self.traceback = traceback
        self.message = message
        self.exceptions: tuple[BaseException, ...] = tuple(exceptions)
        self.cause = cause
        self.__cause__ = cause

    @property
    def remote_args(self) -> tuple[Any, ...]:
        """The exception's arguments: the same as ``args``."""
        return self.args

    def __str__(self) -> str:
        """Return ``module.Type: message``, as a traceback would end."""
        name = self.type_name if self.module in ("", "builtins") else f"{self.module}.{self.type_name}"
        return f"{name}: {self.message}" if self.message else name

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the class's own parameters, since ``args`` are the other exception's."""
        parts = (self.type_name, self.module, self.args, self.traceback, self.cause)
        return (type(self), parts, self.__dict__)


class ChordError(GrpcflowError):
    """A member of a chord's header failed, so its body could not run."""

    default_code = "CHORD"


class TaskRevokedError(GrpcflowError):
    """The task was revoked, or expired, before it ran to its end."""

    default_code = "REVOKED"


class WorkerLostError(GrpcflowError):
    """The process that ran the task died, and the task may not be handed out again."""

    default_code = "WORKER_LOST"


class NotRegistered(GrpcflowError, KeyError):
    """No task of this name is registered."""

    default_code = "UNREGISTERED"


class QueueNotFound(GrpcflowError, KeyError):
    """A call names a queue that is not declared, and ``task_create_missing_queues`` is False."""

    default_code = "QUEUE_NOT_FOUND"


class MaxRetriesExceededError(GrpcflowError):
    """A task asked for one more retry than ``max_retries`` allows."""

    default_code = "MAX_RETRIES"


class TimeLimitExceeded(GrpcflowError):
    """The task ran longer than its hard time limit and was stopped."""

    default_code = "TIME_LIMIT"


class SoftTimeLimitExceeded(GrpcflowError):
    """Raised inside a task that has run longer than its soft time limit, so that it can clean up."""

    default_code = "SOFT_TIME_LIMIT"


# --- what a task raises to say how it ends ---------------------------------------------------------------


class Retry(GrpcflowError):
    """Raised by ``self.retry()``: the task asks for another attempt.

    Args:
        message: Why, for people.
        exc: The exception that led to it.
        countdown: Seconds to wait before the next attempt; default none.
        call_args: New positional arguments; None: as before.
        call_kwargs: New keyword arguments; None: as before.
    """

    default_code = "RETRY"

    def __init__(
        self,
        message: object = "",
        exc: BaseException | None = None,
        countdown: float = 0.0,
        *,
        call_args: Sequence[Any] | None = None,
        call_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.exc = exc
        self.countdown = countdown
        self.call_args = call_args
        self.call_kwargs = call_kwargs


class Ignore(GrpcflowError):
    """Raised by a task that wants no result kept: its state becomes IGNORED."""

    default_code = "IGNORED"


class Reject(GrpcflowError):
    """Raised by a task that will not do this work.

    Args:
        reason: Why, for people.
        requeue: True: hand the task out again. False: its state becomes REJECTED. Default False.
    """

    default_code = "REJECTED"

    def __init__(self, reason: object = "", requeue: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.requeue = requeue
