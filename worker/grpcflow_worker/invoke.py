"""Runs one attempt: decodes its arguments, calls the task, and says how it ended.

The only place where user code is called. Whatever that code raises comes out as an `Ended`, never as an exception.
It may NOT know processes, threads, sockets or gRPC; protobuf is imported only where a call has inputs or fails.
"""

import logging
import math
from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from grpcflow import codec, errors, ids, signals
from grpcflow.context import Context
from grpcflow.emitting import flushed
from grpcflow.lifecycle import Lifecycle, is_heard, is_logged, log_failure, overrides, send_beside
from grpcflow.task import Task
from grpcflow.tracing import completed, takes_failure
from grpcflow_protos.limits import PAYLOAD_LIMIT
from grpcflow_worker.executor import CallRun, Ended
from grpcflow_worker.log_lines import LogLine
from grpcflow_worker.printed import end_printed_line
from grpcflow_worker.requests import read_headers, request_maker

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow_protos.v1 import value_pb2

#: Runs the attempt at an offset of a run: the value as JSON, or any other end.
Invoke = Callable[[int], bytes | Ended]

#: Stable code of a value that is over the limit.
_TOO_LARGE: Final = "TOO_LARGE"

#: Milliseconds in a second.
_MS: Final = 1000

_log = logging.getLogger("grpcflow.worker")


class Invoker:
    """Runs attempts of the tasks of one app.

    Args:
        app: the app; its tasks must be loaded.
        hostname: name of the worker, for `task.request.hostname`.
        payload_limit: largest value in bytes; a larger one is a failure with the reason TOO_LARGE.
        progress: told of what a running task says by `update_state`: token, state, encoded value and its content
            type; None: nobody hears, and such a task asks the coordinator itself.
        log: told of what a running task prints and logs: token and line; None: nobody keeps it.
    """

    def __init__(
        self,
        app: "Grpcflow",
        *,
        hostname: str,
        payload_limit: int = PAYLOAD_LIMIT,
        progress: Callable[[int, str, bytes, str], None] | None = None,
        log: Callable[[int, LogLine], None] | None = None,
    ) -> None:
        """Take the app and its settings as they are now."""
        self.app = app
        self.hostname = hostname
        self.payload_limit = payload_limit
        self.progress = progress
        self.log = log
        self.tasks: Mapping[str, Task[..., Any]] = app.tasks
        self.accept = frozenset(codec.content_type(name) for name in app.conf.accept_content)
        self.accept_values = frozenset(codec.content_type(name) for name in app.conf.accepted_values)
        self.result_type = codec.content_type(app.conf.result_serializer, app.conf.result_compression)
        self._overriding: dict[str, bool] = {}

    def bind(self, run: CallRun) -> Invoke:
        """Prepare what the attempts of a run share; the function returned runs the one at an offset."""
        task = self.tasks.get(run.call.task)
        if task is not None and (task.batch_size or run.batch):
            from grpcflow_worker.batch_runs import BatchRun

            return BatchRun(self, task, run).invoke
        return self.bind_single(run)

    def bind_single(self, run: CallRun) -> Invoke:
        """The same, whatever the task says of batches."""
        task = self.tasks.get(run.call.task)
        if task is None:
            return lambda offset: self._unregistered(run, offset)
        try:
            bound = Bound(self, task, run)
        except BaseException as error:  # noqa: BLE001 - bad headers or times fail the task, not the process
            failure = capture(error)
            return lambda offset: Ended(run.token + offset, "failure", failure=failure)
        return bound.invoke

    def tells(self, task: Task[..., Any]) -> bool:
        """Return True where somebody wants to hear of its calls that end well: handlers, receivers, the log."""
        overriding = self._overriding.get(task.name)
        if overriding is None:
            overriding = self._overriding[task.name] = overrides(task)
        return overriding or self.app._spans is not None or is_heard()

    def _unregistered(self, run: CallRun, offset: int) -> Ended:
        name = run.call.task
        error = errors.NotRegistered(
            f"no task {name!r} is registered in worker {self.hostname}: is its module imported there, "
            "or named in the app's include?"
        )
        if signals.task_unknown.receivers:
            node = run.id or ids.node_id(run.graph, run.first + offset)
            send_beside(signals.task_unknown, self, name=name, id=node, message=run.call, exc=error)
        return Ended(run.token + offset, "failure", failure=reason_failure(error, "UNREGISTERED"))


class Bound:
    """The attempts of one run, ready to be called one by one."""

    __slots__ = (
        "accept",
        "content_type",
        "context",
        "function",
        "ignore_result",
        "invoker",
        "run",
        "task",
        "tells",
        "token",
        "via",
    )

    def __init__(self, invoker: Invoker, task: Task[..., Any], run: CallRun) -> None:
        self.invoker = invoker
        self.task = task
        self.run = run
        self.token = run.token
        self.accept = invoker.accept
        self.content_type = run.content_type or run.call.content_type or codec.JSON
        self.ignore_result = run.call.ignore_result
        self.tells = invoker.tells(task)
        # Task.__call__ only calls run(): skip it unless a subclass has its own.
        self.function: Callable[..., Any] = task.run if type(task).__call__ is Task.__call__ else task
        headers = read_headers(run.call, self.accept)
        self.via = headers.get("via", "")
        self.context = request_maker(run, headers, invoker.hostname, invoker.progress, invoker.log)

    def invoke(self, offset: int) -> bytes | Ended:
        """Run the attempt at `offset`. Raises nothing."""
        task = self.task
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        request: Context | None = None
        life: Lifecycle | None = None
        try:
            args, kwargs = self.arguments(offset)
            request = self.context(offset, args, kwargs)
            if signals.task_received.receivers:
                send_beside(signals.task_received, self.invoker, request=request)
            task.push_request(request)
            if self.tells:
                life = Lifecycle(task)
                life.begin(request)
            value = self._mapped(args) if self.via else self.function(*args, **kwargs)
            if type(value) is CoroutineType:
                value = completed(value)
            if request._emits is not None:
                request._emits.flush()
            end = self._value(offset, value)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: it ends the task, not the process
            raised = flushed(request, error) if request is not None and request._emits is not None else error
            end, told = self._ended(offset, raised or error, args, kwargs)
            life = self._tell(life, request, end, told)
        else:
            if life is not None:
                life.succeeded(request, value)
        finally:
            if request is not None:
                self._close(life, request)
        return end

    def arguments(self, offset: int) -> tuple[list[Any], dict[str, Any]]:
        """Return what the attempt at `offset` is called with. Raises what arguments raise that cannot be read."""
        args, kwargs = codec.decode_call(self.run.payloads[offset], self.content_type, accept=self.accept)
        return (self._with_inputs(args) if self.run.inputs else args), kwargs

    def _tell(self, life: Lifecycle | None, request: Context | None, end: Ended, error: BaseException) -> Lifecycle:
        """Tell of an end that is no value; of a call that cannot even be read the log alone is told."""
        if life is None:
            life = Lifecycle(self.task)
        if request is None:
            node = self.run.id or ids.node_id(self.run.graph, self.run.first + end.token - self.token)
            log_failure(self.task, Context(task=self.task.name, id=node), error)
            life.state = "FAILURE"
        elif isinstance(error, errors.Retry) and end.kind == "retry":
            life.retried(request, error)
        elif end.kind == "ignored":
            life.ignored(request, error)
        elif end.kind == "lost":
            life.superseded(request, error)
            return life  # the supervisor's line is wanted as well: it is that of a loss
        elif end.kind == "rejected":
            life.rejected(request, error)
        else:
            life.failed(request, error)
        end.logged = is_logged(life.state)
        return life

    def _close(self, life: Lifecycle | None, request: Context) -> None:
        """End the call, and tell of that."""
        try:
            if life is not None:
                life.close(request)
            end_printed_line()
        finally:
            self.task.pop_request()

    def _value(self, offset: int, value: Any) -> bytes | Ended:
        """Return the value as it is reported; raises where it cannot travel."""
        if self.ignore_result:
            return b""
        invoker = self.invoker
        try:
            data = codec.encode(value, invoker.result_type)
        except errors.SerializationError as error:
            message = f"the value of {self.task.name} cannot be sent: {error}"
            raise errors.SerializationError(message, path=error.path) from None
        if len(data) > invoker.payload_limit:
            message = (
                f"the value of {self.task.name} is {len(data):,} bytes; at most {invoker.payload_limit:,} are taken. "
                "Return a reference to where the data is, or raise the coordinator's payload limit."
            )
            raise errors.PayloadTooLarge(message, code=_TOO_LARGE)
        if invoker.result_type == codec.JSON:
            return data
        return Ended(self.token + offset, "value", data=data, content_type=invoker.result_type)

    def _mapped(self, args: list[Any]) -> list[Any]:
        """Run map or starmap: the task on each item of the one argument, in this one attempt."""
        items = args[0]
        if self.via == "map":
            return [completed(self.function(item)) for item in items]
        if self.via == "starmap":
            return [completed(self.function(*item)) for item in items]
        raise errors.GrpcflowError(f"the header 'via' of a call is {self.via!r}; it must be 'map' or 'starmap'")

    def _with_inputs(self, args: list[Any]) -> list[Any]:
        """Put the inputs in front of the arguments, one after the other, so that the last one ends up first."""
        from grpcflow_protos.v1 import value_pb2

        for data in self.run.inputs:
            value = value_pb2.Value.FromString(data)
            if value.WhichOneof("kind") == "failed":
                args = [*self._errback_arguments(value.failed, len(args)), *args]
            else:
                args = [codec.decode_value(value, self.invoker.accept_values), *args]
        return args

    def _errback_arguments(self, failed: "value_pb2.FailedNode", given: int) -> list[Any]:
        """What an errback is told: the failed id, or (request, exception, traceback) where it can take three."""
        if not takes_failure(self.task, given):
            return [failed.id]
        from grpcflow import failures

        exception = failures.rebuild(failed.failure, self.invoker.app.conf.exception_modules)
        return [Context(id=failed.id, called_directly=False), exception, failed.failure.traceback]

    def _ended(
        self, offset: int, error: BaseException, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[Ended, BaseException]:
        """Say how an attempt ended that raised, and by what in the end. The exceptions that steer come first."""
        token = self.token + offset
        try:
            if isinstance(error, errors.Retry):
                return self._retry(token, error, args, kwargs), error
            if isinstance(error, errors.Ignore):
                return Ended(token, "ignored"), error
            if isinstance(error, errors.Reject):
                return Ended(token, "rejected", requeue=bool(error.requeue), failure=capture(error)), error
            if isinstance(error, errors.StaleAttempt):
                # Another attempt goes on. Should the coordinator have forgotten that, in a crash, this one is lost to
                # it, and the task runs again: that it could not be replaced is no failure of its own.
                return Ended(token, "lost", message=str(error)), error
            if isinstance(error, errors.PayloadTooLarge) and error.code == _TOO_LARGE:
                return Ended(token, "failure", failure=reason_failure(error, _TOO_LARGE)), error
            return Ended(token, "failure", failure=capture(error)), error
        except BaseException as second:  # noqa: BLE001 - user code again: a broken __str__, arguments that cannot travel
            return Ended(token, "failure", failure=capture(second)), second

    def _retry(self, token: int, retry: errors.Retry, args: list[Any], kwargs: dict[str, Any]) -> Ended:
        payload, content_type = b"", ""
        if retry.call_args is not None or retry.call_kwargs is not None:
            new_args = args if retry.call_args is None else list(retry.call_args)
            new_kwargs = kwargs if retry.call_kwargs is None else dict(retry.call_kwargs)
            content_type = self.content_type
            payload = codec.encode_call(new_args, new_kwargs, content_type)
        return Ended(
            token,
            "retry",
            data=payload,
            content_type=content_type,
            failure=capture(retry.exc or retry),
            countdown_ms=max(0, math.ceil(retry.countdown * _MS)),
        )


def call_function(task: Task[..., Any], *arguments: Any) -> Any:
    """Call a task's function, and have a coroutine run to its end. Raises what it raises."""
    function = task.run if type(task).__call__ is Task.__call__ else task
    return completed(function(*arguments))


def request_of(app: "Grpcflow", run: CallRun, hostname: str) -> Context:
    """Return the request of an attempt that does not run, given as a run of one.

    Arguments that cannot be read are left out, and values of earlier steps that have not come.
    """
    try:
        bound = Bound(Invoker(app, hostname=hostname), app.tasks[run.call.task], run)
        return bound.context(0, *bound.arguments(0))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, that it was revoked is to be told
        _log.warning("the call of %s cannot be read", run.call.task, exc_info=True)
        node = run.id or ids.node_id(run.graph, run.first)
        return Context(task=run.call.task, id=node, hostname=hostname, called_directly=False)


def capture(error: BaseException) -> bytes:
    """Return an exception as a serialized `Failure`. Raises nothing: what cannot be told is left out."""
    from grpcflow import failures

    try:
        return failures.capture(error).SerializeToString()
    except BaseException as second:  # noqa: BLE001 - an exception whose own code fails is still a failure
        return _bare(type(error), f"(no more can be told: reading the exception raised {type(second).__name__})", "")


def reason_failure(error: BaseException, reason: str) -> bytes:
    """Return a failure that the worker makes itself, with its stable code and without a traceback."""
    return _bare(type(error), str(error), reason)


def _bare(kind: type[BaseException], message: str, reason: str) -> bytes:
    from grpcflow_protos.v1 import value_pb2

    return value_pb2.Failure(
        type_name=kind.__qualname__, module=kind.__module__, message=message, reason=reason
    ).SerializeToString()
