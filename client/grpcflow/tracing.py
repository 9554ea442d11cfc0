"""One call of a task from its beginning to its end: its request, its handlers, its signals, and how it ended.

What a worker and ``apply()`` have in common. It runs what it is given and tells of it; it knows no payloads, no
attempts and no results, and may not import grpc, protobuf or the codec.
"""

import inspect
import logging
import traceback as traceback_module
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from grpcflow import signals
from grpcflow.errors import Ignore, Reject, Retry
from grpcflow.task import Context, Task

__all__ = ["ExceptionInfo", "State", "Traced", "Tracer", "takes_failure"]

State = Literal["SUCCESS", "RETRY", "FAILURE", "IGNORED", "REJECTED"]

_log: Final = logging.getLogger("grpcflow.task")

#: The handlers that a class of tasks may have.
_HANDLERS: Final = ("before_start", "on_success", "on_retry", "on_failure", "after_return")

_SIGNALS: Final = (
    signals.task_prerun,
    signals.task_success,
    signals.task_retry,
    signals.task_failure,
    signals.task_postrun,
)

#: Positional parameters from which on an unbound errback is called with (request, exception, traceback).
_ERRBACK_PARAMETERS: Final = 3

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class ExceptionInfo:
    """What handlers and signals are told of an exception (``einfo``).

    Attributes:
        exception: The exception.
    """

    exception: BaseException

    @property
    def type(self) -> type[BaseException]:
        """Class of the exception."""
        return type(self.exception)

    @property
    def traceback(self) -> str:
        """The traceback as text; without one where the exception's own code fails."""
        try:
            return "".join(traceback_module.format_exception(self.exception))
        except Exception:  # noqa: BLE001 - formatting calls the exception's own code, which may do anything
            return "".join(traceback_module.format_tb(self.exception.__traceback__))

    def __str__(self) -> str:
        return self.traceback


@dataclass(frozen=True, slots=True)
class Traced:
    """How one attempt of a call ended.

    Attributes:
        state: Its state; RETRY where it asks for another attempt.
        value: What the task returned; None where it raised.
        kept: What ``keep`` made of the value.
        error: What the task raised; None where it returned. For RETRY and REJECTED the exception that says so.
    """

    state: State
    value: Any = None
    kept: Any = None
    error: BaseException | None = field(default=None)


class Tracer:
    """Runs calls of one task.

    Args:
        task: The task; which handlers its class overrides is looked up once, now.

    Attributes:
        task: The same.
        function: What runs the body: ``task.run``, or the task where its class has a ``__call__`` of its own.
    """

    def __init__(self, task: Task[..., Any]) -> None:
        self.task = task
        self.function: Callable[..., Any] = task.run if type(task).__call__ is Task.__call__ else task
        self._handlers = {name: handler for name in _HANDLERS if (handler := _own_handler(task, name)) is not None}

    def is_plain(self) -> bool:
        """Return True where the task has no handlers and nobody listens, so that there is nothing but the body."""
        return not self._handlers and not any(signal.receivers for signal in _SIGNALS)

    def trace(
        self,
        request: Context,
        call: Callable[[], Any],
        *,
        keep: Callable[[Any], Any] | None = None,
        catch: type[BaseException] = Exception,
    ) -> Traced:
        """Run one attempt and return how it ended.

        Args:
            request: Its request; current while it runs.
            call: Runs the body.
            keep: Makes of the value what is kept of it, before handlers hear of success; what it raises fails
                the call.
            catch: What the body may raise without ending more than the call. Default Exception, so that an
                interrupt passes; a worker gives BaseException.
        """
        task = self.task
        task.push_request(request)
        traced = Traced("FAILURE")
        try:
            if signals.task_prerun.receivers:
                signals.task_prerun.send(task, task_id=request.id, task=task, args=request.args, kwargs=request.kwargs)
            traced = self._run(request, call, keep, catch)
            self._tell(request, traced, catch)
            return traced
        finally:
            try:
                self._end(request, traced)
            finally:
                task.pop_request()

    def _run(
        self,
        request: Context,
        call: Callable[[], Any],
        keep: Callable[[Any], Any] | None,
        catch: type[BaseException],
    ) -> Traced:
        """Run the body; the exceptions that steer come first."""
        try:
            if (before := self._handlers.get("before_start")) is not None:
                before(request.id, request.args, request.kwargs)
            value = call()
            return Traced("SUCCESS", value, None if keep is None else keep(value))
        except Retry as retry:
            return Traced("RETRY", error=retry)
        except Ignore as ignore:
            return Traced("IGNORED", error=ignore)
        except Reject as reject:
            return Traced("REJECTED", error=reject)
        except catch as error:
            return Traced("FAILURE", error=error)

    def _tell(self, request: Context, traced: Traced, catch: type[BaseException]) -> None:
        """Call the handlers and send the signal of this end."""
        state, error = traced.state, traced.error
        if state in ("IGNORED", "REJECTED"):
            return
        details = (request.id, request.args, request.kwargs)
        if error is None:
            self._handle("on_success", catch, traced.value, *details)
            if signals.task_success.receivers:
                signals.task_success.send(self.task, result=traced.value)
            self._handle("after_return", catch, state, traced.value, *details, None)
            return
        reason = (error.exc or error) if isinstance(error, Retry) else error
        info = ExceptionInfo(reason)
        self._handle("on_retry" if state == "RETRY" else "on_failure", catch, reason, *details, info)
        if state == "RETRY":
            if signals.task_retry.receivers:
                signals.task_retry.send(self.task, request=request, reason=error, einfo=info)
        elif signals.task_failure.receivers:
            signals.task_failure.send(
                self.task,
                task_id=request.id,
                exception=error,
                args=request.args,
                kwargs=request.kwargs,
                traceback=error.__traceback__,
                einfo=info,
            )
        self._handle("after_return", catch, state, reason, *details, info)

    def _handle(self, name: str, catch: type[BaseException], *arguments: Any) -> None:
        """Call a handler; what it raises is told in the log and changes nothing, for the call has ended."""
        handler = self._handlers.get(name)
        if handler is None:
            return
        try:
            handler(*arguments)
        except catch:
            _log.exception("%s of the task %s failed; the task's end stays as it is", name, self.task.name)

    def _end(self, request: Context, traced: Traced) -> None:
        """Send the last signal."""
        if signals.task_postrun.receivers:
            signals.task_postrun.send(
                self.task,
                task_id=request.id,
                task=self.task,
                args=request.args,
                kwargs=request.kwargs,
                retval=traced.value if traced.error is None else traced.error,
                state=traced.state,
            )


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


def _own_handler(task: Task[..., Any], name: str) -> Callable[..., Any] | None:
    """Return a handler that is not the one of ``Task``, which does nothing."""
    handler = getattr(task, name, None)
    if handler is None or getattr(handler, "__func__", handler) is getattr(Task, name, None):
        return None
    found: Callable[..., Any] = handler
    return found
