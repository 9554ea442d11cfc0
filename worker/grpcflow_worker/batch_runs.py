"""Runs a batch: one call of a task's function with a list of calls, each of which keeps its own end.

An executor takes a batch for one attempt, whose payload holds the members; how each of them ended travels back in one
`Ended` of the kind "batch". What a batch is to the coordinator stands in `batches`. It may NOT know processes, threads,
sockets or gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpcflow import errors, signals
from grpcflow.batching import BatchCall, each_end
from grpcflow.lifecycle import Lifecycle, send_beside
from grpcflow_worker.executor import CallRun, Ended
from grpcflow_worker.executors.frames import decode_members, encode_ends
from grpcflow_worker.invoke import Bound, Invoke, Invoker, call_function, reason_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grpcflow.context import Context
    from grpcflow.spans import OpenSpan
    from grpcflow.task import Task


class _Member:
    """One call of a batch."""

    __slots__ = ("args", "bound", "end", "kwargs", "life", "offset", "request")

    def __init__(self, bound: Bound, offset: int) -> None:
        self.bound = bound
        self.offset = offset
        self.args: list[Any] = []
        self.kwargs: dict[str, Any] = {}
        self.request: Context | None = None
        self.life: Lifecycle | None = None
        self.end: bytes | Ended | None = None

    def open(self) -> None:
        """Read the arguments and tell of the start; an end where that fails."""
        bound = self.bound
        try:
            self.args, self.kwargs = bound.arguments(self.offset)
            self.request = bound.context(self.offset, self.args, self.kwargs)
            if signals.task_received.receivers:
                send_beside(signals.task_received, bound.invoker, request=self.request)
            if bound.tells:
                self.life = Lifecycle(bound.task)
                self.life.begin(self.request)
        except BaseException as error:  # noqa: BLE001 - as in `invoke`: it ends this call only
            self.fail(error)

    def calls(self) -> list[BatchCall]:
        """What the function is given: one call; of one that is mapped, one for each item."""
        request, via = self.request, self.bound.via
        assert request is not None
        if not via:
            return [BatchCall(self.args, self.kwargs, request.id or "", request)]
        try:
            items = list(self.args[0])
        except (IndexError, TypeError) as error:
            self.fail(error)
            return []
        return [BatchCall([item] if via == "map" else item, {}, request.id or "", request) for item in items]

    def settle(self, outcomes: Sequence[Any]) -> None:
        """End as the function said for these calls of it."""
        failed = next((outcome for outcome in outcomes if isinstance(outcome, BaseException)), None)
        if failed is not None:
            self.fail(failed)
        else:
            self.succeed(list(outcomes) if self.bound.via else outcomes[0])

    def succeed(self, value: Any) -> None:
        """End with a value, or with the error that it cannot travel."""
        try:
            self.end = self.bound._value(self.offset, value)
        except BaseException as error:  # noqa: BLE001 - the value is the user's
            self.fail(error)
            return
        if self.life is not None and self.request is not None:
            self.life.succeeded(self.request, value)

    def fail(self, error: BaseException) -> None:
        """End as an exception says: as a failure, or by one of those that steer."""
        end, told = self._judged(error)
        self.life = self.bound._tell(self.life, self.request, end, told)
        self.end = end

    def _judged(self, error: BaseException) -> tuple[Ended, BaseException]:
        if isinstance(error, errors.TimeLimitExceeded):
            token = self.bound.token + self.offset
            return Ended(token, "failure", failure=reason_failure(error, "TIME_LIMIT")), error
        if isinstance(error, errors.Retry) and (error.call_args is not None or error.call_kwargs is not None):
            error = TypeError("the calls of a batch are tried again as they are: leave args and kwargs out of retry()")
        return self.bound._ended(self.offset, error, self.args, self.kwargs)

    def closed(self) -> Ended:
        """Tell that it is over, and return how it ended."""
        if self.life is not None and self.request is not None:
            self.life.close(self.request)
        end = self.end
        if isinstance(end, bytes):
            return Ended(self.bound.token + self.offset, "value", data=end)
        assert end is not None
        return end


class OpenBatch:
    """The members of a batch, from the first to the last word about them.

    Args:
        invoker: of the app.
        task: the task.
        runs: the members.
    """

    def __init__(self, invoker: Invoker, task: Task[..., Any], runs: Sequence[CallRun]) -> None:
        self._task = task
        self._members: list[_Member] = []
        #: How those ended that cannot even be prepared.
        self._refused: list[Ended] = []
        for run in runs:
            try:
                bound = Bound(invoker, task, run)
            except BaseException:  # noqa: BLE001 - `bind_single` meets the same error, and says how they end by it
                self._refused += _refusals(invoker, run)
                continue
            self._members += [_Member(bound, offset) for offset in range(len(run.payloads))]
        #: Those that the function is called for, each with how many calls it makes of it.
        self._open: list[tuple[_Member, int]] = []
        #: Of the function, where it is traced and runs.
        self._span: OpenSpan | None = None

    def open(self) -> list[BatchCall]:
        """Read and announce the members; returns the calls for the function, which is called where it has `begun`."""
        for member in self._members:
            member.open()
        calls: list[BatchCall] = []
        for member in self._members:
            mine = member.calls() if member.end is None else []
            if member.end is None:
                self._open.append((member, len(mine)))
                calls += mine
        if self.begun:
            # The function's own `self.request` is that of the first call.
            self._task.push_request(self.first)
            spans = self._task.app._spans
            if spans is not None:
                lives = [member.life for member, _ in self._open]
                self._span = spans.begin_batch(self._task, [life.span for life in lives if life and life.span])
        return calls

    @property
    def begun(self) -> bool:
        """True where the function is to be called."""
        return any(calls for _, calls in self._open)

    @property
    def first(self) -> Context:
        """The request of the first call that is given to the function."""
        request = self._open[0][0].request
        assert request is not None
        return request

    def settle(self, returned: Any, error: BaseException | None) -> list[Ended]:
        """Say how each member ended.

        Args:
            returned: what the function gave.
            error: what it raised; None: nothing.
        """
        begun = self.begun
        if self._span is not None:
            self._span.end(_state(error), error)
        self._settle_open(returned, error)
        if begun:
            self._task.pop_request()
        return [member.closed() for member in self._members] + self._refused

    def _settle_open(self, returned: Any, error: BaseException | None) -> None:
        count = sum(calls for _, calls in self._open)
        outcomes: list[Any] = []
        if error is None:
            try:
                outcomes = each_end(returned, count)
            except TypeError as wrong:
                error = wrong
        at = 0
        for member, calls in self._open:
            if error is not None:
                member.fail(error)
            else:
                member.settle(outcomes[at : at + calls])
            at += calls

    def flush(self) -> None:
        """Write out what calls emit. Raises where that fails."""
        for member, _ in self._open:
            if member.request is not None and member.request._emits is not None:
                member.request._emits.flush()


class BatchRun:
    """Batches of one run, ready to be called one by one.

    Args:
        invoker: of the app.
        task: the task.
        run: one batch, or attempts of a batch task that came one by one: each is a batch of its own.
    """

    def __init__(self, invoker: Invoker, task: Task[..., Any], run: CallRun) -> None:
        self._invoker = invoker
        self._task = task
        self._run = run

    def invoke(self, offset: int) -> Ended:
        """Run the batch at `offset`. Raises nothing."""
        task, token = self._task, self._run.token + offset
        runs = members_of(self._run, offset)
        if not task.batch_size:
            return packed(token, _one_by_one(self._invoker, runs))
        batch = OpenBatch(self._invoker, task, runs)
        returned, raised = None, None
        calls = batch.open()
        if batch.begun:
            try:
                returned = call_function(task, calls)
                batch.flush()
            except BaseException as error:  # noqa: BLE001 - also SystemExit: it ends the calls, not the process
                raised = error
        return packed(token, batch.settle(returned, raised))


def _state(error: BaseException | None) -> str:
    """The state that the function of a batch came to."""
    if error is None:
        return "SUCCESS"
    steering = {errors.Retry: "RETRY", errors.Ignore: "IGNORED", errors.Reject: "REJECTED"}
    return next((state for kind, state in steering.items() if isinstance(error, kind)), "FAILURE")


def members_of(run: CallRun, offset: int) -> list[CallRun]:
    """The members of the batch at an offset of a run; the attempt itself where it came by itself."""
    return decode_members(run.payloads[offset]) if run.batch else [run.part(offset, offset + 1)]


def packed(token: int, ends: list[Ended]) -> Ended:
    """The end of a batch: those of its members."""
    return Ended(token, "batch", data=encode_ends(ends))


def _refusals(invoker: Invoker, run: CallRun) -> list[Ended]:
    return _ends_of(invoker.bind_single(run), run)


def _one_by_one(invoker: Invoker, runs: Sequence[CallRun]) -> list[Ended]:
    """Run calls that were gathered for a task that takes them one by one, as another version of the app says."""
    return [end for run in runs for end in _ends_of(invoker.bind_single(run), run)]


def _ends_of(invoke: Invoke, run: CallRun) -> list[Ended]:
    ends: list[Ended] = []
    for offset in range(len(run.payloads)):
        end = invoke(offset)
        ends.append(Ended(run.token + offset, "value", data=end) if isinstance(end, bytes) else end)
    return ends
