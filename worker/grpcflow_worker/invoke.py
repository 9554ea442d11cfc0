"""Runs one attempt: decodes its arguments, calls the task, and says how it ended.

The only place where user code is called. Whatever that code raises comes out as an `Ended`, never as an exception.
It may NOT know processes, threads, sockets or gRPC; protobuf is imported only where a call has inputs or fails.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from grpcflow import codec, errors
from grpcflow.task import Context, Task
from grpcflow_protos.limits import PAYLOAD_LIMIT
from grpcflow_worker.executor import CallRun, Ended

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow_protos.v1 import value_pb2

#: Runs the attempt at an offset of a run: the value as JSON, or any other end.
Invoke = Callable[[int], bytes | Ended]

#: Positional parameters from which on an unbound errback is called with (request, exception, traceback).
_ERRBACK_PARAMETERS: Final = 3

#: Milliseconds in a second.
_MS: Final = 1000

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Invoker:
    """Runs attempts of the tasks of one app.

    Args:
        app: the app; its tasks must be loaded.
        hostname: name of the worker, for `task.request.hostname`.
        payload_limit: largest value in bytes; a larger one is a failure with the reason TOO_LARGE.
    """

    def __init__(self, app: "Grpcflow", *, hostname: str, payload_limit: int = PAYLOAD_LIMIT) -> None:
        """Take the app and its settings as they are now."""
        self.app = app
        self.hostname = hostname
        self.payload_limit = payload_limit
        self.tasks: Mapping[str, Task[..., Any]] = app.tasks
        self.accept = frozenset(codec.content_type(name) for name in app.conf.accept_content)
        self.result_type = codec.content_type(app.conf.result_serializer)

    def bind(self, run: CallRun) -> Invoke:
        """Prepare what the attempts of a run share; the function returned runs the one at an offset."""
        task = self.tasks.get(run.call.task)
        if task is None:
            return lambda offset: self._unregistered(run, offset)
        try:
            bound = _Bound(self, task, run)
        except BaseException as error:  # noqa: BLE001 - bad headers or times fail the task, not the process
            failure = capture(error)
            return lambda offset: Ended(run.token + offset, "failure", failure=failure)
        return bound.invoke

    def _unregistered(self, run: CallRun, offset: int) -> Ended:
        name = run.call.task
        message = (
            f"no task {name!r} is registered in worker {self.hostname}: is its module imported there, "
            "or named in the app's include?"
        )
        failure = reason_failure(errors.NotRegistered(message), "UNREGISTERED")
        return Ended(run.token + offset, "failure", failure=failure)


class _Bound:
    """The attempts of one run, ready to be called one by one."""

    __slots__ = (
        "accept",
        "content_type",
        "context",
        "function",
        "ignore_result",
        "invoker",
        "prefix",
        "run",
        "task",
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
        # Task.__call__ only calls run(): skip it unless a subclass has its own.
        self.function: Callable[..., Any] = task.run if type(task).__call__ is Task.__call__ else task
        text = run.graph.hex()
        self.prefix = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
        headers = self._headers()
        self.via = headers.get("via", "")
        self.context = self._shared_context(headers)

    def _headers(self) -> dict[str, Any]:
        call = self.run.call
        if not call.headers:
            return {}
        headers = codec.decode(call.headers, call.headers_content_type or codec.JSON, accept=self.accept)
        if not isinstance(headers, dict):
            raise errors.SerializationError("the headers of a call must be a mapping of names to values")
        return headers

    def _shared_context(self, headers: Mapping[str, Any]) -> Callable[..., Context]:
        """Return a function that makes the request of one attempt from its id, args and kwargs."""
        run, call, hostname = self.run, self.run.call, self.invoker.hostname
        name, parent_id, root_id = call.task, call.parent_id or None, call.root_id
        eta = None if call.eta is None else datetime.fromisoformat(call.eta)
        expires = None if call.expires is None else datetime.fromisoformat(call.expires)
        delivery_info = {
            "exchange": "",
            "routing_key": call.queue,
            "queue": call.queue,
            "priority": call.priority,
            "redelivered": run.losses > 0,
        }

        def make(node: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Context:
            return Context(
                id=node,
                task=name,
                args=args,
                kwargs=kwargs,
                root_id=root_id or node,
                parent_id=parent_id,
                retries=run.retries,
                losses=run.losses,
                hostname=hostname,
                eta=eta,
                expires=expires,
                headers=headers,
                delivery_info=delivery_info,
                ignore_result=call.ignore_result,
                called_directly=False,
            )

        return make

    def invoke(self, offset: int) -> bytes | Ended:
        """Run the attempt at `offset`. Raises nothing."""
        run, task = self.run, self.task
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        pushed = False
        try:
            args, kwargs = codec.decode_call(run.payloads[offset], self.content_type, accept=self.accept)
            if run.inputs:
                args = self._with_inputs(args)
            task.push_request(self.context(run.id or f"{self.prefix}{run.first + offset:08x}", args, kwargs))
            pushed = True
            value = self._mapped(args) if self.via else self.function(*args, **kwargs)
            return self._value(offset, value)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: it ends the task, not the process
            return self._ended(offset, error, args, kwargs)
        finally:
            if pushed:
                task.pop_request()

    def _value(self, offset: int, value: Any) -> bytes | Ended:
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
            failure = reason_failure(errors.PayloadTooLarge(message), "TOO_LARGE")
            return Ended(self.token + offset, "failure", failure=failure)
        if invoker.result_type == codec.JSON:
            return data
        return Ended(self.token + offset, "value", data=data, content_type=invoker.result_type)

    def _mapped(self, args: list[Any]) -> list[Any]:
        """Run map or starmap: the task on each item of the one argument, in this one attempt."""
        items = args[0]
        if self.via == "map":
            return [self.function(item) for item in items]
        if self.via == "starmap":
            return [self.function(*item) for item in items]
        raise errors.GrpcflowError(f"the header 'via' of a call is {self.via!r}; it must be 'map' or 'starmap'")

    def _with_inputs(self, args: list[Any]) -> list[Any]:
        """Put the inputs in front of the arguments, one after the other, so that the last one ends up first."""
        from grpcflow_protos.v1 import value_pb2

        for data in self.run.inputs:
            value = value_pb2.Value.FromString(data)
            if value.WhichOneof("kind") == "failed":
                args = [*self._errback_arguments(value.failed, len(args)), *args]
            else:
                args = [codec.decode_value(value, self.accept), *args]
        return args

    def _errback_arguments(self, failed: "value_pb2.FailedNode", given: int) -> list[Any]:
        """What an errback is told: the failed id, or (request, exception, traceback) where it can take three."""
        if self.task.bind or _free_positions(self.task, given) < _ERRBACK_PARAMETERS:
            return [failed.id]
        from grpcflow import failures

        exception = failures.rebuild(failed.failure, self.invoker.app.conf.exception_modules)
        return [Context(id=failed.id, called_directly=False), exception, failed.failure.traceback]

    def _ended(self, offset: int, error: BaseException, args: list[Any], kwargs: dict[str, Any]) -> Ended:
        """Say how an attempt ended that raised. The exceptions that steer come first."""
        token = self.token + offset
        try:
            if isinstance(error, errors.Retry):
                return self._retry(token, error, args, kwargs)
            if isinstance(error, errors.Ignore):
                return Ended(token, "ignored")
            if isinstance(error, errors.Reject):
                return Ended(token, "rejected", requeue=bool(error.requeue), failure=capture(error))
            return Ended(token, "failure", failure=capture(error))
        except BaseException as second:  # noqa: BLE001 - user code again: a broken __str__, arguments that cannot travel
            return Ended(token, "failure", failure=capture(second))

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


def _free_positions(task: Task[..., Any], given: int) -> int:
    """How many positional parameters of a task are still free beside `given` stored arguments."""
    try:
        parameters = inspect.signature(task.run).parameters.values()
    except (TypeError, ValueError):
        return 1  # written in C: the id is what every errback can take
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return _ERRBACK_PARAMETERS
    return sum(parameter.kind in _POSITIONAL for parameter in parameters) - given


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
