"""Tells a task and all who listen what becomes of one call: handlers, signals, and the log.

Workers and eager calls use it alike. A task that overrides no handler, while nobody listens and INFO is off, needs
none: ``lifecycle_of`` returns None, and a call that ends well costs nothing more. It may not import grpc, protobuf or
the codec.

A handler that raises changes nothing about how the call ended, for that has been decided: it is logged, and
``task_internal_error`` is sent; likewise for a receiver of a signal that raises SystemExit. ``before_start`` is the
exception, since nothing has been decided then: what it raises is what the task raised.
"""

import logging
import time
from collections.abc import Callable
from traceback import format_tb
from typing import TYPE_CHECKING, Any, Final

from grpcflow import signals
from grpcflow.einfo import ExceptionInfo
from grpcflow.errors import Retry
from grpcflow.task import Task
from grpcflow_protos.limits import HIDDEN

if TYPE_CHECKING:
    from grpcflow.context import Context
    from grpcflow.spans import OpenSpan

__all__ = ["HANDLERS", "Lifecycle", "is_logged", "lifecycle_of", "send_beside"]

#: Methods that a task may override to hear of its calls also where they end well.
HANDLERS: Final = ("before_start", "on_success", "after_return")

#: Of its own, beside the parent of the users' task loggers: a line for each task is not always wanted.
_log: Final = logging.getLogger("grpcflow.trace")


def lifecycle_of(task: Task[..., Any]) -> "Lifecycle | None":
    """Return what tells of the next call of ``task``, or None where nobody would hear of one that ends well."""
    return Lifecycle(task) if is_heard() or overrides(task) else None


def is_heard() -> bool:
    """Return True where a signal has a receiver that would hear of a call that ends well, or the log shows it."""
    return bool(
        signals.task_prerun.receivers
        or signals.task_postrun.receivers
        or signals.task_success.receivers
        or _log.isEnabledFor(logging.INFO)
    )


def is_logged(state: str) -> bool:
    """Return True where an end with this state is in the log of this process, as far as it is to be in any."""
    return state == "FAILURE" or _log.isEnabledFor(logging.INFO)


def overrides(task: Task[..., Any]) -> bool:
    """Return True where a task has a handler of its own that hears of calls that end well."""
    # An attribute of the instance (an annotation, for example) is not the class's function either.
    return any(getattr(getattr(task, name), "__func__", None) is not getattr(Task, name) for name in HANDLERS)


class Lifecycle:
    """One call of a task, told to those who want to hear of it: `begin`, then one of the ends, and `close` at last.

    Args:
        task: The task.
    """

    __slots__ = ("outcome", "span", "started", "state", "task")

    def __init__(self, task: Task[..., Any]) -> None:
        self.task = task
        self.started = time.monotonic()
        self.state = "PENDING"
        self.outcome: Any = None
        #: Of the call, where it is traced and has begun.
        self.span: OpenSpan | None = None

    def begin(self, request: "Context") -> None:
        """Tell that the call starts. Raises what ``before_start`` raises."""
        task = self.task
        self.started = time.monotonic()
        if task.app._spans is not None:
            self.span = task.app._spans.begin(task, request)
        if signals.task_prerun.receivers:
            signals.task_prerun.send(task, task_id=request.id, task=task, args=request.args, kwargs=request.kwargs)
        task.before_start(_id(request), request.args, request.kwargs)

    def succeeded(self, request: "Context", value: Any) -> None:
        """Tell that the task returned."""
        task = self.task
        seconds = time.monotonic() - self.started
        self.state, self.outcome = "SUCCESS", value
        self._guarded(request, lambda: task.on_success(value, _id(request), request.args, request.kwargs))
        if signals.task_success.receivers:
            self._send(request, signals.task_success, result=value)
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s succeeded after %.6f s with %s", _name(request), seconds, _shown(value, task, request))
        self._after(request, None)

    def retried(self, request: "Context", retry: Retry) -> None:
        """Tell that the task asked for another attempt."""
        task = self.task
        self.state, self.outcome = "RETRY", retry
        reason = retry.exc or retry
        einfo = ExceptionInfo(reason)
        self._guarded(request, lambda: task.on_retry(reason, _id(request), request.args, request.kwargs, einfo))
        if signals.task_retry.receivers:
            self._send(request, signals.task_retry, request=request, reason=retry, einfo=einfo)
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s is tried again in %g s: %s", _name(request), retry.countdown, _shown(reason, task, request))
        self._after(request, einfo)

    def failed(self, request: "Context", error: BaseException) -> None:
        """Tell that the task failed. An error that it expects (``throws``) is logged without its traceback."""
        task = self.task
        self.state, self.outcome = "FAILURE", error
        einfo = ExceptionInfo(error)
        self._guarded(request, lambda: task.on_failure(error, _id(request), request.args, request.kwargs, einfo))
        if signals.task_failure.receivers:
            self._send(
                request,
                signals.task_failure,
                task_id=request.id,
                exception=error,
                args=request.args,
                kwargs=request.kwargs,
                traceback=einfo.tb,
                einfo=einfo,
            )
        log_failure(task, request, error)
        self._after(request, einfo)

    def rejected(self, request: "Context", error: BaseException) -> None:
        """Tell that the task rejected its call."""
        self.state, self.outcome = "REJECTED", error
        if signals.task_rejected.receivers:
            self._send(request, signals.task_rejected, message=request, exc=error)
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s was rejected: %s", _name(request), _shown(error, self.task, request))

    def ignored(self, request: "Context", error: BaseException) -> None:
        """Tell that the task wants no result kept."""
        self.state, self.outcome = "IGNORED", error
        _log.info("%s was ignored", _name(request))

    def superseded(self, request: "Context", error: BaseException) -> None:
        """Tell that another attempt of the call goes on, so that how this one ended means nothing."""
        self.state, self.outcome = "IGNORED", error
        _log.info("%s goes on in another attempt; this one ends without a word: %s", _name(request), error)

    def close(self, request: "Context") -> None:
        """Tell that the call is over, however it ended."""
        if signals.task_postrun.receivers:
            self._send(
                request,
                signals.task_postrun,
                task_id=request.id,
                task=self.task,
                args=request.args,
                kwargs=request.kwargs,
                retval=self.outcome,
                state=self.state,
            )
        span = self.span
        if span is not None:
            self._guarded(request, lambda: span.end(self.state, self.outcome))

    def _send(self, request: "Context", signal: signals.Signal, /, **arguments: Any) -> None:
        """Send a signal of an end that has been decided."""
        self._guarded(request, lambda: signal.send(self.task, **arguments))

    def _after(self, request: "Context", einfo: ExceptionInfo | None) -> None:
        task, state, outcome = self.task, self.state, self.outcome
        self._guarded(
            request, lambda: task.after_return(state, outcome, _id(request), request.args, request.kwargs, einfo)
        )

    def _guarded(self, request: "Context", handler: Callable[[], Any]) -> None:
        """Call a handler, or send a signal; what it raises changes nothing about how the call ended."""
        try:
            handler()
        except BaseException as error:  # a handler is a guest: also its SystemExit is only its own end
            if request.is_eager and isinstance(error, KeyboardInterrupt):
                raise  # it is meant for the program that made the call
            _log.exception("a handler of %s failed; the task's own end (%s) stands", _name(request), self.state)
            internal_error(self.task, request, error)


def send_beside(signal: signals.Signal, sender: Any, /, **arguments: Any) -> None:
    """Send a signal that has no say in how a call ends: also a receiver's SystemExit is logged and goes no further."""
    if signal.receivers:
        try:
            signal.send(sender, **arguments)
        except BaseException:  # noqa: BLE001 - a receiver is a guest
            _log.exception("a receiver of the signal %s failed", signal.name)


def internal_error(task: Task[..., Any], request: "Context", error: BaseException) -> None:
    """Send ``task_internal_error``: something went wrong beside the task."""
    if signals.task_internal_error.receivers:
        send_beside(
            signals.task_internal_error,
            task,
            task_id=request.id,
            args=request.args,
            kwargs=request.kwargs,
            request=request,
            exception=error,
            traceback=error.__traceback__,
            einfo=ExceptionInfo(error),
        )


def log_failure(task: Task[..., Any], request: "Context", error: BaseException) -> None:
    """Log how a task failed: an error that it expects (``throws``) in one line, any other with its traceback."""
    if not isinstance(error, tuple(task.throws)):
        trace = "".join(format_tb(error.__traceback__)) if request.sensitive or task.sensitive else ExceptionInfo(error)
        _log.error("%s failed: %s\n%s", _name(request), _shown(error, task, request), trace)
    elif _log.isEnabledFor(logging.INFO):
        _log.info("%s raised the expected %s", _name(request), _shown(error, task, request))


def _id(request: "Context") -> str:
    """Return the id of the call as handlers get it."""
    return request.id or ""


def _name(request: "Context") -> str:
    """Return what the log calls a call."""
    return f"{request.shadow or request.task}[{request.id}]"


def _shown(value: Any, task: Task[..., Any], request: "Context") -> str:
    """Return a value as the log shows it: cut to ``resultrepr_maxsize``, and never an error; hidden where it may be."""
    if request.sensitive or task.sensitive:
        return f"{type(value).__name__}{HIDDEN}" if isinstance(value, BaseException) else HIDDEN
    try:
        text = repr(value)
    except BaseException as error:  # noqa: BLE001 - the value is the user's, and so is its repr()
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"
    longest = task.resultrepr_maxsize
    return text if len(text) <= longest else f"{text[:longest]}..."
