"""A task: a function that is called elsewhere, and the request that one call of it runs with.

Knows how a call is described and what a running call may ask for. It may not import grpc, protobuf or the
codec: sending is the app's affair.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar

from grpcflow import state
from grpcflow.arguments import ArgumentCheck
from grpcflow.canvas.mapping import chunks, xmap, xstarmap
from grpcflow.canvas.signature import Signature, call_of
from grpcflow.errors import MaxRetriesExceededError, Retry
from grpcflow.state import running_task

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.result import AsyncResult

__all__ = ["Context", "Task", "running_task"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Context:
    """What one running call knows about itself (``self.request``), under Celery's names.

    Attributes:
        id: Id of the call as users know it; None where the function was called in place.
        task: Name of the task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        root_id: Id of the first call of the work that this one belongs to.
        parent_id: Id of the call that submitted this one; None outside of a task.
        retries: How often it was retried.
        losses: How many attempts of it were lost with their worker.
        hostname: Name of the worker.
        eta: When it was to start; None: at once.
        expires: When it would have been given up; None: never.
        headers: Headers that travelled with the call.
        delivery_info: Where it came from: ``queue``, ``priority`` and ``redelivered``.
        ignore_result: True where its value is not kept.
        called_directly: True where the function was called in place, not by a worker.
        is_eager: True where it runs in the caller's process by ``apply()``.
        origin: Name of the process that sent it, where known.
        children: Results of the calls that it submitted, in their order.
    """

    id: str | None = None
    task: str = ""
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    root_id: str | None = None
    parent_id: str | None = None
    retries: int = 0
    losses: int = 0
    hostname: str | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    delivery_info: Mapping[str, Any] = field(default_factory=dict)
    ignore_result: bool = False
    called_directly: bool = True
    is_eager: bool = False
    origin: str | None = None
    children: list[Any] = field(default_factory=list)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field by its name, or ``default`` where there is no such field."""
        return getattr(self, name, default)


class Task(Generic[P, R]):
    """A registered task.

    Made by ``@app.task``; subclasses given as ``base=`` may set the attributes below and override ``run``.

    Attributes:
        name: Name under which it is registered.
        app: The app that it belongs to.
        bind: True: the function gets the task itself as first argument.
        queue: Queue of its calls; None: the route's, or the default.
        priority: 0 to 9, higher first; None: the route's, or the default.
        ignore_result: True: values are not kept; None: as ``task_ignore_result`` says.
        acks_late: False: never run twice; None: as ``task_acks_late`` says.
        max_retries: How often ``retry()`` may ask for another attempt; None: without limit. Default 3.
        default_retry_delay: Seconds between attempts where ``retry()`` names none. Default 180.
        expires: Seconds or a time after which a call that has not started is revoked; None: never.
        serializer: Codec of its arguments; None: as ``task_serializer`` says.
        track_started: True: the worker reports the start; None: as ``task_track_started`` says.
        typing: True: wrong arguments raise TypeError where the call is made. Default True.
    """

    name: str = ""
    app: "Grpcflow"
    bind: bool = False
    queue: str | None = None
    priority: int | None = None
    ignore_result: bool | None = None
    acks_late: bool | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 180
    expires: float | timedelta | datetime | None = None
    serializer: str | None = None
    track_started: bool | None = None
    typing: bool = True
    autoretry_for: tuple[type[Exception], ...] = ()
    dont_autoretry_for: tuple[type[Exception], ...] = ()
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter: bool = True

    #: Names of the attributes that ``@app.task`` takes as options.
    OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {
            *("queue", "priority", "ignore_result", "acks_late", "max_retries", "default_retry_delay", "expires"),
            *("serializer", "track_started", "typing", "autoretry_for", "dont_autoretry_for", "retry_backoff"),
            *("retry_backoff_max", "retry_jitter"),
        }
    )

    #: Name of the function, and the function itself; only of tasks that ``@app.task`` made.
    __name__: str
    __wrapped__: Callable[..., Any]

    _check: ArgumentCheck | None = None

    # --- in the worker ------------------------------------------------------------------------------------

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The body of the task; ``@app.task`` puts the function here."""
        raise NotImplementedError(f"the task {self.name} has no run()")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now."""
        return self.run(*args, **kwargs)

    @property
    def request(self) -> Context:
        """The request of the call that runs here; an empty one where the function was called in place."""
        return state.request_of(self) or Context(task=self.name)

    def push_request(self, request: Context) -> None:
        """Begin a call with ``request`` in this thread or coroutine; for workers."""
        state.push(self, request)

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
    ) -> Retry:
        """Ask for another attempt of this call, under the same id.

        Args:
            args: New positional arguments; None: the same.
            kwargs: New keyword arguments; None: the same.
            exc: Why; raised itself once the retries are used up. None: the exception being handled.
            throw: True: raise the Retry. False: return it, for the caller to raise.
            eta: Not before this time; naive: in the time zone of the app.
            countdown: Not before this many seconds from now; None: ``default_retry_delay``.
            max_retries: Another limit for this call.

        Raises:
            Retry: Always, unless ``throw`` is False.
            MaxRetriesExceededError: The retries are used up and there is no ``exc``.
            BaseException: ``exc``, where the retries are used up or the task was called in place.
        """
        request = self.request
        reason = exc or sys.exc_info()[1]
        if request.called_directly:
            raise reason or Retry(f"{self.name} was called in place, so nothing can retry it")
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries >= limit:
            if exc is not None:
                raise exc
            message = f"{self.name}[{request.id}] has used its {limit} retries"
            raise MaxRetriesExceededError(message) from reason
        retry = Retry(
            f"{self.name}[{request.id}] asks for another attempt: {reason!r}",
            reason,
            self._retry_delay(eta, countdown),
            call_args=args,
            call_kwargs=kwargs,
        )
        if throw:
            raise retry from reason
        return retry

    def _retry_delay(self, eta: datetime | None, countdown: float | None) -> float:
        """Return the seconds until the next attempt."""
        if eta is not None:
            aware = eta if eta.tzinfo is not None else eta.replace(tzinfo=self.app.conf.tzinfo)
            return max(0.0, (aware - datetime.now(UTC)).total_seconds())
        return self.default_retry_delay if countdown is None else countdown

    # --- at the caller ------------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> "AsyncResult[R]":
        """Submit a call with these arguments and return its result once the call is durable.

        Raises:
            TypeError: The task does not take these arguments.
            SerializationError: An argument cannot travel.
            CoordinatorUnavailable: No coordinator could be reached.
        """
        result: AsyncResult[R] = self.app.submit(call_of(self, args, kwargs))
        return result

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "AsyncResult[R]":
        """Submit a call and return its result once the call is durable.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            **options: ``countdown`` (seconds), ``eta`` (datetime), ``expires`` (seconds, timedelta or
                datetime), ``queue``, ``priority`` (0 to 9), ``task_id``, ``link``, ``link_error`` (one signature
                or several), ``ignore_result``, ``acks_late``, ``max_deliveries``, ``serializer``, ``headers``,
                ``track_started``.

        Raises:
            TypeError: The task does not take these arguments, or an option does not exist.
            SerializationError: An argument cannot travel.
            PayloadTooLarge: The encoded arguments are over the limit.
            AlreadyExists: The ``task_id`` belongs to a call that has not settled.
            CoordinatorUnavailable: No coordinator could be reached.
        """
        call = call_of(self, tuple(args or ()), dict(kwargs or {}))
        result: AsyncResult[R] = self.app.submit(call, options=options)
        return result

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: int = 0) -> None:
        """Raise TypeError where the task does not take these arguments (unless ``typing`` is False).

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            inputs: How many values will be put in front of ``args`` later.
        """
        if self.typing:
            check = self._check
            if check is None:
                check = self._check = ArgumentCheck(self.name, self.run)
            check.check(args, kwargs, inputs)

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature with these arguments; arguments may be missing that a call adds later."""
        return call_of(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Return an immutable signature: it takes nothing from what ran before it."""
        return call_of(self, args, kwargs, immutable=True)

    def signature(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **more: Any,
    ) -> Signature:
        """Return a signature.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            options: Options as in ``apply_async``.
            immutable: True: it takes nothing from what ran before it.
            **more: More options; these win.
        """
        call = call_of(self, tuple(args or ()), dict(kwargs or {}), immutable=immutable)
        call["options"] = {**(options or {}), **more}
        return call

    subtask = signature

    def map(self, it: Iterable[Any]) -> xmap:
        """Return one call that applies this task to each item in turn and gives the list of values."""
        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Iterable[Any]]) -> xstarmap:
        """Return one call that applies this task to each item's parts in turn and gives the list of values."""
        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Iterable[Any]], n: int) -> chunks:
        """Return a group of ``starmap`` calls with ``n`` items each."""
        return chunks(self.s(), it, n, app=self.app)

    def AsyncResult(self, task_id: str) -> "AsyncResult[R]":  # noqa: N802 - Celery's name
        """Return the result of the call with this id."""
        return self.app.AsyncResult(task_id)

    def __repr__(self) -> str:
        return f"<task {self.name} of {self.app.main or '(no name)'}>"
