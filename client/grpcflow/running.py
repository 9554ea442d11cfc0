"""What a task may do while it runs: retry, put other work in its place, tell how far it is.

The part of ``Task`` for the inside of a call. It may not import grpc, protobuf or the codec; what needs one of them
imports it when it is called.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from grpcflow import errors, state
from grpcflow.context import Context
from grpcflow.handlers import Handlers

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.signature import Signature
    from grpcflow.task import Task

__all__ = ["RequestStack", "RunningTask"]

#: States that end a call: only its own end may say so.
_ENDS: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "IGNORED", "REJECTED"})


class RequestStack:
    """The requests of the calls of one task that run in this thread or coroutine, as Celery shows them.

    Args:
        task: The task.
    """

    def __init__(self, task: "Task[..., Any]") -> None:
        self._task = task

    @property
    def top(self) -> Context | None:
        """The request of the innermost call; None where none runs."""
        return state.request_of(self._task)

    def push(self, request: Context) -> None:
        """Begin a call; as ``Task.push_request``."""
        self._task.push_request(request)

    def pop(self) -> None:
        """End the call that ``push`` began."""
        self._task.pop_request()


class RunningTask(Handlers):
    """The inside of a task; see ``grpcflow.task.Task``, which is the class to derive from."""

    app: "Grpcflow"
    name: str

    #: Celery's way to name the error of a task that has used up its retries.
    MaxRetriesExceededError: ClassVar[type[errors.MaxRetriesExceededError]] = errors.MaxRetriesExceededError

    @property
    def request(self) -> Context:
        """The request of the call that runs here; an empty one where the function was called in place."""
        return state.request_of(_task(self)) or Context(task=self.name)

    @property
    def request_stack(self) -> RequestStack:
        """The requests of the calls of this task that run here."""
        return RequestStack(_task(self))

    def push_request(self, request: Context) -> None:
        """Begin a call with ``request`` in this thread or coroutine; for workers."""
        state.push(_task(self), request)

    def pop_request(self) -> None:
        """End the call that ``push_request`` began."""
        state.pop()

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> errors.Retry:
        """Ask for another attempt of this call, under the same id.

        Args:
            args: New positional arguments; None: the same.
            kwargs: New keyword arguments; None: the same.
            exc: Why; raised itself once the retries are used up. None: the exception being handled.
            throw: True: raise the Retry. False: return it, for the caller to raise.
            eta: Not before this time; naive: in the time zone of the app.
            countdown: Not before this many seconds from now; None: ``default_retry_delay``.
            max_retries: Another limit for this call.
            **options: Options as in ``Task.apply_async``. A retry is the same call, so they must be as they are.

        Raises:
            Retry: Always, unless ``throw`` is False.
            MaxRetriesExceededError: The retries are used up and there is no ``exc``.
            ImproperlyConfigured: An option would change the call.
            BaseException: ``exc``, where the retries are used up or the task was called in place.
        """
        from grpcflow.retrying import make_retry

        retry = make_retry(_task(self), args, kwargs, exc, eta, countdown, max_retries, options)
        if throw:
            raise retry from retry.exc
        return retry

    def replace(self, sig: Mapping[str, Any]) -> Any:
        """Run ``sig`` in the place of this call: its value or error becomes that of this call, for all who wait.

        Args:
            sig: Any canvas; the value of a group is the list of its members' values.

        Returns:
            Nothing, unless ``on_replace`` was overridden to return something: it raises, in an eager call too.

        Raises:
            Ignore: It was submitted; let it pass.
            ImproperlyConfigured: ``sig`` is an empty chain, or has the option ``chord``.
            RuntimeError: The task was called in place.
        """
        from grpcflow.replacing import replacement

        return self.on_replace(replacement(_task(self), sig))

    def on_replace(self, sig: "Signature") -> Any:
        """Called by ``replace`` with what is to run; an override must ``return super().on_replace(sig)``."""
        from grpcflow.replacing import send_replacement

        return send_replacement(_task(self), sig)

    def add_to_chord(self, sig: Mapping[str, Any], lazy: bool = False) -> Any:
        """Add ``sig`` to the group that this call is a member of: its value becomes the last of the group's list.

        Args:
            sig: Any canvas.
            lazy: False: submit it now. True: return a signature that is added when it is sent, which must be while
                this task runs.

        Returns:
            The result of ``sig``, or with ``lazy`` the signature.

        Raises:
            ValueError: The call is no member of a group or of a chord.
            RuntimeError: The task was called in place.
        """
        from grpcflow.replacing import add_member

        return add_member(_task(self), sig, lazy)

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **options: Any
    ) -> None:
        """Give a call that has not ended a state of your own, with some value; durable as soon as this returns.

        In an eager call, which no coordinator knows, it does nothing without a ``task_id``.

        Args:
            task_id: Id of the call; None: this one. Of another call the coordinator is told at once.
            state: Name of the state, for example ``PROGRESS``; not one that ends a call.
            meta: What ``AsyncResult.info`` gives meanwhile; any value that can travel.
            **options: Taken for the sake of code written for Celery; none means anything.

        Raises:
            ValueError: The state ends a call or is none, or the task was called in place and no id is given.
            SerializationError: ``meta`` cannot travel.
            CoordinatorUnavailable: No coordinator could be reached.
        """
        if not state or state in _ENDS:
            raise ValueError(
                f"update_state() cannot set the state {state!r}: name one of your own, such as 'PROGRESS'; a call "
                "ends by what its task returns or raises"
            )
        request = self.request
        if task_id is None and request.called_directly and not request.is_eager:
            raise ValueError(f"{self.name} was called in place, so it has no state to set: pass task_id=")
        from grpcflow import codec

        content_type = codec.content_type(self.app.conf.result_serializer)
        data = codec.encode(meta, content_type, path="meta")
        if task_id not in (None, request.id):
            self.app.connection.update_state(task_id, state, data, content_type)
        elif request._progress is not None:
            request._progress(state, data, content_type)
        elif not request.is_eager and request.id is not None:
            self.app.connection.update_state(request.id, state, data, content_type)

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """Put an event of your own about this call into the feed, for ``app.events`` and ``grpcflow events``.

        It is there as soon as this returns. In an eager call, which no coordinator knows, it does nothing.

        Args:
            type_: What it is called, at most 255 bytes.
            retry: Taken for the sake of code written for Celery: a coordinator that is away is tried again.
            retry_policy: The same.
            **fields: What it says; values that JSON has, at most 64 KiB.

        Raises:
            SerializationError: A field has a value that JSON has not.
            InvalidRequest, PayloadTooLarge: The name is empty or too long, or the fields are too large.
            CoordinatorUnavailable: No coordinator could be reached.
        """
        request = self.request
        if not request.is_eager:
            self.app.events.publish(type_, uuid=request.id or "", **_by(request, fields))

    async def asend_event(self, type_: str, **fields: Any) -> None:
        """Do what ``send_event`` does, on the running event loop; for ``async def`` tasks."""
        request = self.request
        if not request.is_eager:
            await self.app.events.apublish(type_, uuid=request.id or "", **_by(request, fields))

    def emit(self, value: Any) -> None:
        """Give an item to whoever reads the stream of this call, ``AsyncResult.stream()``, while it goes on running.

        Items arrive in order, each once, and stay for as long as the result does. They leave in batches; all are
        durable before the call ends. A task that runs again, after a retry or with its worker lost, must emit the same
        items again: those that the stream holds already are passed over by their number. It waits where it is much
        faster than the coordinator; in a coroutine, ``await self.aemit(value)`` lets others run meanwhile.

        Args:
            value: Any value that can travel, at most 4 MiB of it.

        Raises:
            RuntimeError: No worker and no eager call runs this code as a task.
            SerializationError: The value cannot travel.
            PayloadTooLarge: It is too large.
            StaleAttempt: Another attempt of this call goes on: end.
            RequestFailed: The coordinator takes no more; ``code`` is TOO_MANY_ITEMS from 1,000,000 items on.
        """
        from grpcflow.emitting import emit

        emit(_task(self), value)

    async def aemit(self, value: Any) -> None:
        """Do what ``emit`` does, and let the event loop go on where it has to wait; for ``async def`` tasks.

        Args:
            value: As for ``emit``.

        Raises:
            Exception: Those of ``emit``.
        """
        from grpcflow.emitting import aemit

        await aemit(_task(self), value)

    def add_trail(self, result: Any) -> Any:
        """Note the result of a call that this one submitted in ``request.children``, and return it."""
        task = _task(self)
        if task.trail and (request := state.request_of(task)) is not None:
            request.children.append(result)
        return result

    def signature_from_request(
        self,
        request: Context | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        **extra_options: Any,
    ) -> "Signature":
        """Return the signature of the running call, or of another: same arguments, options and id.

        Args:
            request: The request of the call; None: of the one that runs.
            args: Other positional arguments; None: the same.
            kwargs: Other keyword arguments; None: the same.
            queue: Another queue; None: the same.
            **extra_options: Options as in ``Task.apply_async``; these win.
        """
        chosen = self.request if request is None else request
        options = {**chosen.as_execution_options(), **({} if queue is None else {"queue": queue}), **extra_options}
        return _task(self).signature(
            chosen.args if args is None else args, chosen.kwargs if kwargs is None else kwargs, options
        )


def _by(request: Context, fields: dict[str, Any]) -> dict[str, Any]:
    """Return what an event says, and which worker says it."""
    return fields if request.hostname is None else {"hostname": request.hostname, **fields}


def _task(running: RunningTask) -> "Task[..., Any]":
    """Return a task as what it is: nothing else is derived from ``RunningTask``."""
    return cast("Task[..., Any]", running)
