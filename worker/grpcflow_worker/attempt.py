"""Runs one attempt whose body is a coroutine, on an event loop that others share.

The same steps as `invoke`, cut where the loop gets control: `open`, the body, `finish`. The first and the last call no
coroutine; they may block where somebody listens, so the owner of the loop runs them in a thread then (`blocks`). This
file may NOT know the loop's thread, the supervisor or sockets.
"""

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context as Variables
from contextvars import ContextVar
from types import CoroutineType
from typing import Any, Final

from grpcflow import errors, signals
from grpcflow.context import Context
from grpcflow.emitting import flushed
from grpcflow.lifecycle import Lifecycle, send_beside
from grpcflow.steering import Steering
from grpcflow.task import Task
from grpcflow_worker.executor import CallRun, Ended
from grpcflow_worker.invoke import Bound, Invoke, Invoker, reason_failure

#: The attempt that code runs for; asyncio tasks that it starts inherit it.
current: Final[ContextVar["Attempt | None"]] = ContextVar("grpcflow_attempt", default=None)

#: Methods of a task that are called at the start or the end of an attempt, and may block.
_HANDLERS: Final = ("before_start", "on_success", "on_failure", "on_retry", "after_return")

_SIGNALS: Final = (
    signals.task_received,
    signals.task_prerun,
    signals.task_postrun,
    signals.task_success,
    signals.task_retry,
    signals.task_failure,
    signals.task_rejected,
    signals.task_internal_error,
)


#: The context of attempts that have ended.
_NOTHING: Final = Variables()


class Attempt:
    """One attempt.

    Args:
        bound: what the attempts of its run share.
        offset: its place in the run.
        variables: the context that all of it runs in.

    Attributes:
        steering: interrupts the body.
        task: the asyncio task that runs the body; None: it has not begun.
        finished: True once `finish` was called, or is about to be.
        timers: what is to happen to it at a time; for the owner of the loop.
        began: when it was opened, in seconds of a monotonic clock; for the owner of the loop.
    """

    __slots__ = (
        "args",
        "began",
        "bound",
        "children",
        "error",
        "finished",
        "kwargs",
        "later",
        "life",
        "offset",
        "request",
        "steering",
        "task",
        "timers",
        "value",
        "variables",
    )

    def __init__(self, bound: "CoroutineRun", offset: int, variables: Variables) -> None:
        """Take the parts; nothing runs yet."""
        self.bound = bound
        self.offset = offset
        self.variables = variables
        self.steering = Steering()
        self.task: asyncio.Task[None] | None = None
        self.finished = False
        self.timers: list[asyncio.TimerHandle] = []
        self.began = 0.0
        #: asyncio tasks that the body started.
        self.children: weakref.WeakSet[asyncio.Task[Any]] | None = None
        self.args: list[Any] = []
        self.kwargs: dict[str, Any] = {}
        self.request: Context | None = None
        self.life: Lifecycle | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        #: Submits what the body put in its own place.
        self.later: Callable[[], Any] | None = None

    @property
    def token(self) -> int:
        """Token of the attempt."""
        return self.bound.token + self.offset

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"{self.bound.task.name}[{self.request.id if self.request is not None else self.token}]"

    @property
    def blocks(self) -> bool:
        """True where `finish` may block."""
        emitted = self.request is not None and self.request._emits is not None
        return self.bound.blocks or self.later is not None or emitted

    def submit_later(self, submit: Callable[[], Any]) -> None:
        """Take what submits a replacement; it asks the coordinator, which the loop must not wait for."""
        self.later = submit

    def adopt(self, child: "asyncio.Task[Any]") -> None:
        """Note an asyncio task that the body started."""
        if self.children is None:
            self.children = weakref.WeakSet()
        self.children.add(child)

    def release(self) -> None:
        """Let go of what refers to it in turn: it has ended, and the garbage collector need not find that out."""
        self.task = self.request = self.life = self.later = None
        self.variables = _NOTHING

    def left(self) -> "list[asyncio.Task[Any]]":
        """The asyncio tasks that the body started and that still run."""
        return [] if self.children is None else [child for child in self.children if not child.done()]


class CoroutineRun(Bound):
    """The attempts of one run of an `async def` task.

    Attributes:
        blocks: True where handlers or receivers of signals are told of the attempts, which may take their time.
    """

    __slots__ = ("blocks",)

    def __init__(self, invoker: Invoker, task: Task[..., Any], run: CallRun) -> None:
        """Prepare what the attempts share. Raises what bad headers or times raise."""
        super().__init__(invoker, task, run)
        handled = any(getattr(getattr(task, name), "__func__", None) is not getattr(Task, name) for name in _HANDLERS)
        self.blocks = handled or any(signal.receivers for signal in _SIGNALS)

    def open(self, attempt: Attempt) -> bool:
        """Read the arguments and tell of the start; False where it has ended by that. Raises nothing."""
        current.set(attempt)
        try:
            attempt.args, attempt.kwargs = self.arguments(attempt.offset)
            request = attempt.request = self.context(attempt.offset, attempt.args, attempt.kwargs)
            request._later = attempt.submit_later
            if signals.task_received.receivers:
                send_beside(signals.task_received, self.invoker, request=request)
            self.task.push_request(request)
            if self.tells:
                attempt.life = Lifecycle(self.task)
                attempt.life.begin(request)
        except BaseException as error:  # noqa: BLE001 - as in `invoke`: it ends the task only
            attempt.error = error
            return False
        return True

    async def body(self, attempt: Attempt) -> None:
        """Run the task itself; keeps its value, or what it raised. Raises nothing."""
        try:
            if self.via:
                attempt.value = await attempt.steering.drive(self._mapped_in_turn(attempt.args))
                return
            made = self.function(*attempt.args, **attempt.kwargs)
            # A `__call__` of the user's own may have given the value itself.
            attempt.value = await attempt.steering.drive(made) if type(made) is CoroutineType else made
        except BaseException as error:  # noqa: BLE001 - SystemExit too: in an asyncio task it would end the loop
            attempt.error = error

    async def _mapped_in_turn(self, args: list[Any]) -> list[Any]:
        """Run map or starmap: one after the other, as in any executor."""
        if self.via == "map":
            return [await self._value_of(self.function(item)) for item in args[0]]
        if self.via == "starmap":
            return [await self._value_of(self.function(*item)) for item in args[0]]
        return self._mapped(args)  # which says what is wrong with it

    @staticmethod
    async def _value_of(made: Any) -> Any:
        """What a coroutine gives; a `__call__` of the user's own may have given the value itself."""
        coroutine: Coroutine[Any, Any, Any] | None = made if type(made) is CoroutineType else None
        return made if coroutine is None else await coroutine

    def finish(self, attempt: Attempt) -> bytes | Ended:
        """Say how the attempt ended, and tell who wants to hear of it. Raises nothing."""
        end: bytes | Ended
        life, request, error = attempt.life, attempt.request, self._error(attempt)
        try:
            end = self._value(attempt.offset, attempt.value) if error is None else b""
        except BaseException as unsendable:  # noqa: BLE001 - the value is the user's
            end, error = b"", unsendable
        try:
            if error is None:
                if life is not None:
                    life.succeeded(request, attempt.value)  # type: ignore[arg-type]
            elif isinstance(error, errors.TaskRevokedError) and error is attempt.steering.verdict:
                end = Ended(attempt.token, "revoked")
                if life is not None:
                    life.state, life.outcome = "REVOKED", error
            else:
                end, told = self._judged(attempt, error)
                life = self._tell(life, request, end, told)
        finally:
            if request is not None:
                self._close(life, request)
        return end

    def _judged(self, attempt: Attempt, error: BaseException) -> tuple[Ended, BaseException]:
        if isinstance(error, errors.TimeLimitExceeded) and error is attempt.steering.verdict:
            return Ended(attempt.token, "failure", failure=reason_failure(error, "TIME_LIMIT")), error
        return self._ended(attempt.offset, error, attempt.args, attempt.kwargs)

    @staticmethod
    def _error(attempt: Attempt) -> BaseException | None:
        """What the attempt counts as having raised; submits its replacement, where it asked for one."""
        error = attempt.steering.verdict or flushed(attempt.request, attempt.error)
        if attempt.later is not None and attempt.steering.verdict is None:
            try:
                attempt.later()
            except BaseException as refused:  # noqa: BLE001 - raised by `replace` in any other executor
                return refused
            # As elsewhere: once it is submitted, the call has been given away, whatever its body does then.
            return error if isinstance(error, errors.Ignore) else errors.Ignore("it was replaced")
        return error


def bind_coroutines(invoker: Invoker, task: Task[..., Any], run: CallRun) -> "CoroutineRun | Invoke":
    """Prepare a run of an `async def` task; where its headers cannot be read, what says so for each attempt."""
    try:
        if task.batch_size:
            from grpcflow_worker.batch_attempts import BatchCoroutineRun

            return BatchCoroutineRun(invoker, task, run)
        return CoroutineRun(invoker, task, run)
    except BaseException:  # noqa: BLE001 - `bind` meets the same error, and says how the attempts end by it
        return invoker.bind(run)
