"""A task: a function that is called elsewhere.

Knows how a call is described and sent; what a running call may do is in ``running``. It may not import grpc, protobuf
or the codec: sending is the app's affair.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

from grpcflow.arguments import ArgumentCheck
from grpcflow.batch import is_open
from grpcflow.canvas.mapping import chunks, xmap, xstarmap
from grpcflow.canvas.signature import Signature, call_of
from grpcflow.context import Context
from grpcflow.running import RunningTask
from grpcflow.state import running_task
from grpcflow.type_parameters import Method, P, R_co, T

if TYPE_CHECKING:
    from grpcflow.result import AsyncResult
    from grpcflow.result.eager import EagerResult

__all__ = ["Context", "Task", "running_task"]

#: The class under a name that the method does not hide.
_Chunks = chunks


class Task(RunningTask, Generic[P, R_co]):
    """A registered task: takes ``P``, and what its function returns is an ``R_co``.

    Called in place, the task of an ``async def`` gives a coroutine; submitted, what that returns: hence two overloads
    of most methods. Where nobody said what a function returns, both say the same.

    Made by ``@app.task``, or a subclass with ``run`` that is given to ``app.register_task``. Subclasses, also those
    given as ``base=``, may set the attributes below and override the handlers.

    Attributes:
        name: Name under which it is registered.
        app: The app that it belongs to.
        bind: True: the function gets the task itself as first argument.
        queue: Queue of its calls; None: the route's, or the default.
        priority: 0 to 9, higher first; None: the route's, or the default.
        ignore_result: True: values are not kept; None: as ``task_ignore_result`` says. Errors are always kept.
        store_errors_even_if_ignored: Taken for the sake of code written for Celery: errors are always kept.
        acks_late: False: never run twice; None: as ``task_acks_late`` says.
        acks_on_failure: True, the only value: a failure is an end. For another attempt there is ``autoretry_for``.
        acks_on_timeout: The same for a failure by a time limit.
        acks_on_failure_or_timeout: The same for both.
        reject_on_worker_lost: False: a call whose worker was lost fails at once, as ``max_deliveries=1``. True or
            None: it is handed out again, ``max_deliveries`` times in all.
        retry_on_worker_lost: The same.
        max_deliveries: How many attempts may be lost with their worker; None: as ``task_max_deliveries`` says.
        max_retries: How often ``retry()`` may ask for another attempt; None: without limit. Default 3.
        default_retry_delay: Seconds between attempts where ``retry()`` names none. Default 180.
        override_max_retries: Another limit for ``autoretry_for``; None: ``max_retries``.
        expires: Seconds or a time after which a call that has not started is revoked; None: never.
        time_limit: Seconds after which its process is killed and the call fails; None: never.
        soft_time_limit: Seconds after which ``SoftTimeLimitExceeded`` is raised in it; None: never.
        rate_limit: Starts in the whole cluster: ``"10/s"``, ``"100/m"``, ``"3/h"``, a number for so many a second; 0:
            no limit; None: as ``task_default_rate_limit`` says.
        concurrency_limit: How many of its calls run at once in the whole cluster; None: no limit.
        concurrency_key: Name of an argument, or a tuple of names: calls that have the same there wait for each other.
        concurrency_per_key: How many of those run at once. Default 1.
        fairness_key: Name of an argument, or a tuple of names: of those waiting in a queue each value has its turn.
        unique_for: Seconds or a timedelta: meanwhile a call like one that has not ended does not run, and ends as that
            one does. None: every call runs.
        unique_on: Names of the arguments in which such calls are alike; None: all arguments.
        unique_stays: True: also like one that has ended. Default False.
        result_expires: Seconds or a timedelta for which records are kept after the end; None: as the setting says.
        result_failure_expires: The same where the call failed.
        batch_size: At most so many calls are given to the function at once, as a list; see ``app.batch_task``. 0: one.
        batch_within: Seconds that the first of them waits for others.
        serializer: Codec of its arguments; None: as ``task_serializer`` says.
        track_started: True: the worker reports the start; None: as ``task_track_started`` says.
        sensitive: True: nobody is shown its arguments, nor its value in logs and events. Default: not so.
        trail: True: what a call submits is noted in ``request.children``. Default True.
        resultrepr_maxsize: Longest text of a value in the log, in characters. Default 1024.
        throws: Exceptions that it is expected to raise: failures as any, but logged at INFO without a traceback.
        typing: True: wrong arguments raise TypeError where the call is made. Default True.
        autoretry_for: Exceptions after which another attempt is asked for.
        dont_autoretry_for: Exceptions among these after which none is.
        retry_kwargs: More arguments of that ``retry()``: ``max_retries``, ``countdown``.
        retry_backoff: True, or the seconds before the first retry, which double each time. False: no backoff.
        retry_backoff_max: Longest such delay in seconds. Default 600.
        retry_jitter: True: a random part of the delay is waited. Default True.
        pydantic: True: arguments annotated with a model are made into one, and a returned model into a mapping.
        pydantic_strict: ``strict`` of the validation; None: as the model says.
        pydantic_context: ``context`` of the validation; ``grpcflow_app`` and ``grpcflow_task_name`` are added.
        pydantic_dump_kwargs: Arguments of ``model_dump``; None: ``mode="json"``.
    """

    name: str = ""
    bind: bool = False
    queue: str | None = None
    priority: int | None = None
    ignore_result: bool | None = None
    store_errors_even_if_ignored: bool = True
    acks_late: bool | None = None
    acks_on_failure: bool = True
    acks_on_timeout: bool = True
    acks_on_failure_or_timeout: bool = True
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    max_deliveries: int | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 180
    override_max_retries: int | None = None
    expires: float | timedelta | datetime | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    rate_limit: str | float | None = None
    concurrency_limit: int | None = None
    concurrency_key: str | tuple[str, ...] | None = None
    concurrency_per_key: int = 1
    fairness_key: str | tuple[str, ...] | None = None
    unique_for: float | timedelta | None = None
    unique_on: str | tuple[str, ...] | None = None
    unique_stays: bool = False
    result_expires: float | timedelta | None = None
    result_failure_expires: float | timedelta | None = None
    batch_size: int = 0
    batch_within: float = 0.5
    serializer: str | None = None
    track_started: bool | None = None
    sensitive: bool | None = None
    trail: bool = True
    resultrepr_maxsize: int = 1024
    throws: tuple[type[BaseException], ...] = ()
    typing: bool = True
    autoretry_for: tuple[type[Exception], ...] = ()
    dont_autoretry_for: tuple[type[Exception], ...] = ()
    retry_kwargs: Mapping[str, Any] = MappingProxyType({})
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    pydantic: bool = False
    pydantic_strict: bool | None = None
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None

    #: Names of the attributes that ``@app.task`` takes as options.
    OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {
            *("queue", "priority", "ignore_result", "store_errors_even_if_ignored", "acks_late", "acks_on_failure"),
            *("acks_on_timeout", "acks_on_failure_or_timeout", "reject_on_worker_lost", "retry_on_worker_lost"),
            *("max_deliveries", "max_retries", "default_retry_delay", "override_max_retries", "expires", "time_limit"),
            *("soft_time_limit", "rate_limit", "serializer", "track_started", "trail", "resultrepr_maxsize", "throws"),
            *("typing", "autoretry_for", "dont_autoretry_for", "retry_kwargs", "retry_backoff", "retry_backoff_max"),
            *("retry_jitter", "pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs"),
            *("before_start", "on_success", "on_failure", "on_retry", "after_return", "on_replace", "on_bound"),
            *("concurrency_limit", "concurrency_key", "concurrency_per_key", "fairness_key", "unique_for", "unique_on"),
            *("unique_stays", "result_expires", "result_failure_expires", "batch_size", "batch_within", "shadow_name"),
            "sensitive",
        }
    )

    #: Name of the function, and the function itself; only of tasks that ``@app.task`` made.
    __name__: str
    __wrapped__: Callable[..., Any]

    #: Whether its class says itself how calls are sent: then no call is sent otherwise.
    _sends_itself: ClassVar[bool] = False
    _sends_itself_on_loop: ClassVar[bool] = False

    _check: ArgumentCheck | None = None
    #: ``run`` before anything was wrapped around it, and what was made of it; see ``registration``.
    _bare_run: Callable[..., Any] | None = None
    _wrapped_run: Callable[..., Any] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Look once for what each call would have to look for."""
        super().__init_subclass__(**options)
        cls._sends_itself = cls.apply_async is not Task.apply_async
        cls._sends_itself_on_loop = cls.aapply_async is not Task.aapply_async

    # --- in the worker ------------------------------------------------------------------------------------

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The body of the task; ``@app.task`` puts the function here."""
        raise NotImplementedError(f"the task {self.name} has no run()")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function here and now."""
        return self.run(*args, **kwargs)

    # --- at the caller ------------------------------------------------------------------------------------

    @overload
    def delay(
        self: "Task[Method, Coroutine[Any, Any, T]]", *args: Method.args, **kwargs: Method.kwargs
    ) -> "AsyncResult[T]": ...
    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> "AsyncResult[R_co]": ...
    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Submit a call with these arguments and return its result once the call is durable; as ``apply_async``.

        Raises:
            TypeError: The task does not take these arguments.
            SerializationError: An argument cannot travel.
            CoordinatorUnavailable: No coordinator could be reached.
        """
        if self._sends_itself:
            return self.apply_async(args, kwargs)
        if is_open():
            collected = self.app._collected(self, args, kwargs)
            if collected is not None:
                return collected
        return self.app.submit(self._call(args, kwargs), options=self._own_options(args, kwargs, {}))

    @overload
    def apply_async(
        self: "Task[..., Coroutine[Any, Any, T]]",
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "AsyncResult[T]": ...
    @overload
    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "AsyncResult[R_co]": ...
    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Submit a call and return its result once the call is durable.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            **options: ``countdown`` (seconds), ``eta`` (datetime), ``expires`` (seconds, timedelta or
                datetime), ``queue``, ``priority`` (0 to 9), ``task_id``, ``link``, ``link_error`` (one signature
                or several), ``ignore_result``, ``acks_late``, ``max_deliveries``, ``serializer``, ``headers``,
                ``track_started``, ``time_limit`` and ``soft_time_limit`` (seconds), ``fairness_key`` and
                ``concurrency_key`` (text that is the key), ``concurrency_per_key``, ``idempotency_key``,
                ``unique_for``, ``unique_on``, ``unique_stays``, ``result_expires`` and ``result_failure_expires``.

        Raises:
            TypeError: The task does not take these arguments, or an option does not exist.
            SerializationError: An argument cannot travel.
            PayloadTooLarge: The encoded arguments are over the limit.
            AlreadyExists: The ``task_id`` belongs to a call that has not settled.
            QueueNotFound: The queue is not declared, and ``task_create_missing_queues`` is False.
            CoordinatorUnavailable: No coordinator could be reached.
        """
        positional, named = tuple(args or ()), dict(kwargs or {})
        call = self._call(positional, named)
        return self.app.submit(call, options=self._own_options(positional, named, options))

    @overload
    def adelay(
        self: "Task[Method, Coroutine[Any, Any, T]]", *args: Method.args, **kwargs: Method.kwargs
    ) -> "Coroutine[Any, Any, AsyncResult[T]]": ...
    @overload
    def adelay(self, *args: P.args, **kwargs: P.kwargs) -> "Coroutine[Any, Any, AsyncResult[R_co]]": ...
    def adelay(self, *args: Any, **kwargs: Any) -> Any:
        """Submit as ``delay`` does, on the running event loop: to be awaited; arguments and errors are the same."""
        if self._sends_itself_on_loop:
            return self.aapply_async(args, kwargs)
        return self.app._acalled(self, args, kwargs)

    @overload
    def aapply_async(
        self: "Task[..., Coroutine[Any, Any, T]]",
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "Coroutine[Any, Any, AsyncResult[T]]": ...
    @overload
    def aapply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "Coroutine[Any, Any, AsyncResult[R_co]]": ...
    def aapply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Submit as ``apply_async`` does, on the running event loop: to be awaited; options and errors are the same."""
        positional, named = tuple(args or ()), dict(kwargs or {})
        call = self._call(positional, named)
        return self.app.asubmit(call, options=self._own_options(positional, named, options))

    @overload
    def apply(
        self: "Task[..., Coroutine[Any, Any, T]]",
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "EagerResult[T]": ...
    @overload
    def apply(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "EagerResult[R_co]": ...
    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run a call here and now, with retries and handlers as a worker would, and return its result.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            **options: As ``grpcflow.eager.apply_task`` takes them: ``task_id``, ``retries``, ``throw``, ``link``,
                ``link_error``, ``headers`` and more.
        """
        from grpcflow.eager import apply_task

        positional, named = tuple(args or ()), dict(kwargs or {})
        call = self._call(positional, named)
        return apply_task(self, call.args, call.kwargs, **options)

    def _call(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, immutable: bool = False) -> Signature:
        """Return the signature of a call; models among its arguments become what can travel."""
        if self.pydantic:
            from grpcflow.pydantic_arguments import as_plain

            args, kwargs = as_plain(self, args, kwargs)
        return call_of(self, args, kwargs, immutable=immutable)

    @property
    def _is_plain(self) -> bool:
        """True where nothing of this task says by the arguments what a call of it is."""
        return not self.pydantic and getattr(self.shadow_name, "__func__", None) is Task.shadow_name

    def _own_options(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a call with the name that ``shadow_name`` gives it, where it gives one."""
        if getattr(self.shadow_name, "__func__", None) is Task.shadow_name:
            return options
        shadow = self.shadow_name(args, kwargs, options)
        if not shadow or "shadow" in options:
            return options
        return {**options, "shadow": shadow}

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

    # Anything may be missing from a partial signature, and stand in front of it later: its arguments cannot be checked.
    # Nothing is put in front of an immutable one, so all must be there.

    @overload
    def s(self: "Task[..., Coroutine[Any, Any, T]]", *args: Any, **kwargs: Any) -> Signature[T]: ...
    @overload
    def s(self, *args: Any, **kwargs: Any) -> Signature[R_co]: ...
    def s(self, *args: Any, **kwargs: Any) -> Any:
        """Return a signature with these arguments; arguments may be missing that a call adds later."""
        return self._call(args, kwargs)

    @overload
    def si(
        self: "Task[Method, Coroutine[Any, Any, T]]", *args: Method.args, **kwargs: Method.kwargs
    ) -> Signature[T]: ...
    @overload
    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R_co]: ...
    def si(self, *args: Any, **kwargs: Any) -> Any:
        """Return an immutable signature: it takes nothing from what ran before it."""
        return self._call(args, kwargs, immutable=True)

    @overload
    def signature(
        self: "Task[..., Coroutine[Any, Any, T]]",
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **more: Any,
    ) -> Signature[T]: ...
    @overload
    def signature(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **more: Any,
    ) -> Signature[R_co]: ...
    def signature(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **more: Any,
    ) -> Any:
        """Return a signature.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            options: Options as in ``apply_async``.
            immutable: True: it takes nothing from what ran before it.
            **more: More options; these win.
        """
        call = self._call(tuple(args or ()), dict(kwargs or {}), immutable=immutable)
        call["options"] = {**(options or {}), **more}
        return call

    subtask = signature

    @overload
    def map(self: "Task[..., Coroutine[Any, Any, T]]", it: Iterable[Any]) -> xmap[T]: ...
    @overload
    def map(self, it: Iterable[Any]) -> xmap[R_co]: ...
    def map(self, it: Iterable[Any]) -> Any:
        """Return one call that applies this task to each item in turn and gives the list of values."""
        return xmap(self.s(), it, app=self.app)

    @overload
    def starmap(self: "Task[..., Coroutine[Any, Any, T]]", it: Iterable[Iterable[Any]]) -> xstarmap[T]: ...
    @overload
    def starmap(self, it: Iterable[Iterable[Any]]) -> xstarmap[R_co]: ...
    def starmap(self, it: Iterable[Iterable[Any]]) -> Any:
        """Return one call that applies this task to each item's parts in turn and gives the list of values."""
        return xstarmap(self.s(), it, app=self.app)

    @overload
    def chunks(self: "Task[..., Coroutine[Any, Any, T]]", it: Iterable[Iterable[Any]], n: int) -> "_Chunks[T]": ...
    @overload
    def chunks(self, it: Iterable[Iterable[Any]], n: int) -> "_Chunks[R_co]": ...
    def chunks(self, it: Iterable[Iterable[Any]], n: int) -> Any:
        """Return a group of ``starmap`` calls with ``n`` items each."""
        return chunks(self.s(), it, n, app=self.app)

    @overload
    def AsyncResult(self: "Task[..., Coroutine[Any, Any, T]]", task_id: str) -> "AsyncResult[T]": ...
    @overload
    def AsyncResult(self, task_id: str) -> "AsyncResult[R_co]": ...
    def AsyncResult(self, task_id: str) -> Any:  # noqa: N802 - Celery's name
        """Return the result of the call with this id."""
        return self.app.AsyncResult(task_id)

    def __repr__(self) -> str:
        return f"<task {self.name} of {self.app.main or '(no name)'}>"
