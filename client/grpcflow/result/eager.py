"""Results of what ran in this process: always at their end, known to no coordinator.

They answer as the results of a cluster do, and hold values and exceptions as they are. Imports neither grpc,
protobuf nor the codec.
"""

import traceback as traceback_module
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from grpcflow import ids, state
from grpcflow.errors import GrpcflowError, TaskRevokedError
from grpcflow.log_model import LogLine
from grpcflow.result.awaited_eager import AwaitedEagerCall, AwaitedEagerGroup
from grpcflow.result.base import EXCEPTION_STATES, PROPAGATE_STATES, Result
from grpcflow.result.group import GroupResult
from grpcflow.result.single import AsyncResult
from grpcflow.type_parameters import R, R_co

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.graph import Explanation, GraphView
    from grpcflow.lower.model import Outcome
    from grpcflow.task import Context

__all__ = ["EagerGroupResult", "EagerResult", "End", "Ran"]

_Told = TypeVar("_Told", bound=Result)


@dataclass(slots=True)
class End:
    """How one node of a graph ended.

    Attributes:
        state: Its state.
        value: Its value; None where it has none.
        error: The exception that it ended with; None where it ended well.
        request: The request of its last attempt; None where it never ran.
        origin: Id of the node where the failure began, or what was ignored; empty where it has a value.
        fires: True where it failed on its own account, so that errbacks fire.
        hands_on: False where what waits for it gets None, because its value is not kept.
        date_done: When it ended, in UTC.
        items: What it emitted.
    """

    state: str
    value: Any = None
    error: BaseException | None = None
    request: "Context | None" = None
    origin: str = ""
    fires: bool = True
    hands_on: bool = True
    date_done: datetime | None = None
    items: list[Any] = field(default_factory=list)


class Ran:
    """A graph that ran in this process: how its nodes ended, and the results that tell of it.

    Args:
        app: The app that ran it.
        graph: The 12 bytes of its id.

    Attributes:
        ends: How each node ended, by its index.
    """

    def __init__(self, app: "Grpcflow", graph: bytes) -> None:
        self.app = app
        self.graph = graph
        self.ends: list[End] = []
        self._results: dict[int, EagerResult[Any] | EagerGroupResult] = {}

    def result_of(self, outcome: "Outcome") -> "EagerResult[Any] | EagerGroupResult":
        """Return the result for a place in the graph, the same one each time."""
        found = self._results.get(outcome.node)
        if found is None:
            own_id = outcome.id or ids.node_id(self.graph, outcome.node)
            found = self._made(outcome.node, own_id) if outcome.members is None else EagerGroupResult(own_id, ran=self)
            found._bind(self.graph, outcome)
            self._results[outcome.node] = found
        return found

    def member(self, index: int) -> "EagerResult[Any]":
        """Return the result of a member that is a call with nothing around it."""
        found = self._results.get(index)
        if found is None:
            found = self._results[index] = self._made(index, ids.node_id(self.graph, index))
        return cast("EagerResult[Any]", found)

    def _made(self, index: int, task_id: str) -> "EagerResult[Any]":
        """Return a new result of one call."""
        end = self.ends[index]
        made: EagerResult[Any] = EagerResult(
            task_id, end.value if end.error is None else end.error, end.state, app=self.app
        )
        made._ran, made._end = self, end
        return made


class EagerResult(AwaitedEagerCall, AsyncResult[R_co]):
    """The result of a call that ran in this process.

    Args:
        id: Id of the call.
        ret_value: Its value, or the exception that it ended with.
        state: Its state.
        traceback: The traceback as text; None: that of the exception.
        name: Name of the task.
        app: The app that ran it; None: the current one.
        parent: The result of what ran before it.
    """

    def __init__(
        self,
        id: str,
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
        *,
        app: "Grpcflow | None" = None,
        parent: "AsyncResult[Any] | GroupResult | None" = None,
    ) -> None:
        super().__init__(id, app=app, parent=parent)
        self._ret_value = ret_value
        self._state = state
        self._traceback = traceback
        self._name = name
        self._ran: Ran | None = None
        self._end: End | None = None

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: Collection[str] = EXCEPTION_STATES,  # noqa: N803 - Celery's name
        PROPAGATE_STATES: Collection[str] = PROPAGATE_STATES,  # noqa: N803 - Celery's name
        *,
        wait_for_submit: bool = False,
    ) -> R_co:
        """Return the value; nothing is waited for.

        Args:
            timeout: Taken as by ``AsyncResult.get``, and of no effect, as all that is about waiting.
            propagate: True: raise the exception of a call that failed. False: return it.
            interval: Taken, and of no effect.
            no_ack: The same.
            follow_parents: The same: behind a failure all steps have its exception.
            callback: Called with the id and the value.
            on_message: The same as ``interval``.
            on_interval: The same.
            disable_sync_subtasks: True: refuse inside a task, as on a worker.
            EXCEPTION_STATES: The same as ``interval``.
            PROPAGATE_STATES: States whose exception is raised.
            wait_for_submit: The same as ``interval``.

        Raises:
            RuntimeError: This is called inside a task.
            TaskRevokedError: ``revoke()`` was called.
            Exception: What the task raised, itself.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        if self._ignored:
            return cast("R_co", None)
        value = self._ret_value
        if propagate and self._state in PROPAGATE_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return cast("R_co", value)

    wait = get

    def stream(self, timeout: float | None = None, propagate: bool = True, *, first: int = 0) -> Iterator[Any]:
        """Yield what the call has emitted, all of it at once; parameters and errors as in ``AsyncResult.stream``."""
        state.check_join_allowed()
        return self._items(propagate, first)

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Iterator[LogLine]:
        """Yield nothing: what the call logged went where this process logs."""
        del follow, tail
        return iter(())

    def _items(self, propagate: bool, first: int) -> Iterator[Any]:
        yield from self._end.items[first:] if self._end is not None else ()
        if propagate and self._state in PROPAGATE_STATES:
            raise self._ret_value

    # --- where it stands ----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """SUCCESS, FAILURE, REVOKED, IGNORED or REJECTED."""
        return self._state

    @property
    def status(self) -> str:
        """The same as ``state``."""
        return self._state

    def exists(self) -> bool:
        """Return True."""
        return True

    def ready(self) -> bool:
        """Return True."""
        return True

    @property
    def result(self) -> Any:
        """The value, or the exception it ended with."""
        return self._ret_value

    @property
    def info(self) -> Any:
        """The same as ``result``."""
        return self._ret_value

    @property
    def traceback(self) -> str | None:
        """The traceback of the exception, as text; None where there is none."""
        if self._traceback is None and self._state in PROPAGATE_STATES:
            self._traceback = "".join(traceback_module.format_exception(self._ret_value))
        return self._traceback

    @property
    def date_done(self) -> datetime | None:
        """When the call ended, in UTC."""
        return None if self._end is None else self._end.date_done

    @property
    def name(self) -> str | None:
        """Name of the task; None where the call did not run."""
        return self._name or (None if self._request is None else self._request.task)

    @property
    def args(self) -> list[Any] | None:
        """Positional arguments that it ran with; None where it did not run."""
        return None if self._request is None else list(self._request.args)

    @property
    def kwargs(self) -> dict[str, Any] | None:
        """Keyword arguments that it ran with; None where it did not run."""
        return None if self._request is None else dict(self._request.kwargs)

    @property
    def worker(self) -> str | None:
        """Name of this machine; None where the call did not run."""
        return None if self._request is None else self._request.hostname

    @property
    def queue(self) -> str | None:
        """The queue that it would have waited in; None where the call did not run."""
        return None if self._request is None else self._request.delivery_info.get("queue")

    @property
    def retries(self) -> int:
        """How often it was retried."""
        return 0 if self._request is None else self._request.retries

    @property
    def group_id(self) -> str | None:
        """Id of the group that it is a member of; None: of none."""
        return None if self._request is None else self._request.group

    @property
    def parent_id(self) -> str | None:
        """Id of the task that it was called in; None outside of a task."""
        return None if self._request is None else self._request.parent_id

    @property
    def _request(self) -> "Context | None":
        return None if self._end is None else self._end.request

    # --- what can be done with it -------------------------------------------------------------------------

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Return the value, or raise where the call failed (with ``propagate``)."""
        return self.get(propagate=propagate, callback=callback, disable_sync_subtasks=False)

    maybe_reraise = maybe_throw

    def _view(self) -> "GraphView":
        """Refuse: no coordinator knows it.

        Raises:
            GrpcflowError: Always.
        """
        raise _unknown(self.id)

    def explain(self) -> "Explanation":
        """Refuse: it ran here and now, which explains where it is.

        Raises:
            GrpcflowError: Always.
        """
        raise _unknown(self.id)

    def forget(self) -> None:
        """Do nothing: there is no record of it but this object."""

    def revoke(self, *_args: Any, **_options: Any) -> None:
        """Count as revoked from now on, so that ``get()`` raises; what the call did stays done."""
        self._state = "REVOKED"
        self._ret_value = TaskRevokedError(f"{self.id} was revoked")
        self._traceback = None

    def then(
        self, callback: Callable[[Self], Any], on_error: Callable[[Exception], Any] | None = None, weak: bool = False
    ) -> Self:
        """Call a function with this result, at once; returns this.

        Args:
            callback: Called here and now, well or not as the call ended.
            on_error: Called with what ``callback`` raises; None: that is raised.
            weak: Taken, and of no effect.
        """
        return _told(self, callback, on_error)

    def _result_of(self, outcome: "Outcome") -> "AsyncResult[Any] | GroupResult":
        return super()._result_of(outcome) if self._ran is None else self._ran.result_of(outcome)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it came to, without what ran before and after it."""
        return (EagerResult, (self.id, self._ret_value, self._state, self.traceback, self.name))

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"


class EagerGroupResult(AwaitedEagerGroup, GroupResult[R]):
    """The result of a group that ran in this process.

    Args:
        id: Id of the group.
        results: Results of the members.
        app: The app that ran it; None: the current one.
        parent: The result of what ran before it.
        ran: The graph that it is a part of; None: it stands alone.
    """

    def __init__(
        self,
        id: str,
        results: "Sequence[AsyncResult[R] | GroupResult]" = (),
        *,
        app: "Grpcflow | None" = None,
        parent: "AsyncResult[Any] | GroupResult | None" = None,
        ran: Ran | None = None,
    ) -> None:
        super().__init__(id, results, app=app if ran is None else ran.app, parent=parent)
        self._ran = ran

    def _result_of(self, outcome: "Outcome") -> "AsyncResult[Any] | GroupResult":
        return super()._result_of(outcome) if self._ran is None else self._ran.result_of(outcome)

    @property
    def _end(self) -> End | None:
        """How the group ended as one, where that is known."""
        return None if self._ran is None or self._outcome is None else self._ran.ends[self._outcome.node]

    def _plain_member(self, index: int) -> AsyncResult[R]:
        return super()._plain_member(index) if self._ran is None else self._ran.member(index)

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[R]:
        """Return the values of all members in their order; nothing is waited for.

        Args:
            timeout: Taken as by ``GroupResult.get``, and of no effect, as all that is about waiting.
            propagate: True: raise the exception of the first member that failed. False: it stands in its place.
            interval: Taken, and of no effect.
            callback: Called with id and value of each member.
            no_ack: The same as ``interval``.
            on_message: The same as ``interval``.
            disable_sync_subtasks: True: refuse inside a task, as on a worker.
            on_interval: The same as ``interval``.

        Raises:
            RuntimeError: This is called inside a task.
            Exception: What a member raised, itself.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        values = [member.get(propagate=propagate, disable_sync_subtasks=False) for member in self.results]
        end = self._end
        if propagate and end is not None and end.error is not None:
            raise end.error  # no member failed: what ran before the group did, or a member that was added to it
        if callback is not None:
            for member, value in zip(self.results, values, strict=True):
                callback(member.id, value)
        return values

    join = get

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and record of each member, in their order; parameters as in ``GroupResult.iter_native``."""
        for member in self._members:
            result = None if isinstance(member, GroupResult) else member.result
            yield member.id, {"task_id": member.id, "status": member.state, "result": result}

    def then(
        self, callback: Callable[[Self], Any], on_error: Callable[[Exception], Any] | None = None, weak: bool = False
    ) -> Self:
        """Call a function with this result, at once; as ``EagerResult.then``."""
        return _told(self, callback, on_error)

    async def _states_now(self, **_options: Any) -> list[str]:
        return [member.state for member in self.results]

    @property
    def state(self) -> str:
        """SUCCESS, or FAILURE where a member did not end well, or what it waited for."""
        if self._end is not None and not self._results:
            return self._end.state
        return "FAILURE" if any(found != "SUCCESS" for found in self._states()) else "SUCCESS"

    def _view(self) -> "GraphView":
        """Refuse: no coordinator knows it.

        Raises:
            GrpcflowError: Always.
        """
        raise _unknown(self.id)

    def explain(self) -> "Explanation":
        """Refuse: it ran here and now, which explains where it is.

        Raises:
            GrpcflowError: Always.
        """
        raise _unknown(self.id)

    def forget(self) -> None:
        """Do nothing: there is no record of it but these objects."""

    def revoke(self, *_args: Any, **_options: Any) -> None:
        """Let all members count as revoked from now on."""
        for member in self.results:
            member.revoke()

    def save(self) -> Self:
        """Refuse: what ran in this process is known to no coordinator, so nothing could be restored.

        Raises:
            GrpcflowError: Always.
        """
        raise GrpcflowError("a group that ran by apply() lives in this process only; keep its values instead")

    def __repr__(self) -> str:
        return f"<EagerGroupResult: {self.id} of {len(self)}>"


def _told(result: _Told, callback: Callable[[_Told], Any], on_error: Callable[[Exception], Any] | None) -> _Told:
    """Call a function with a result and return the result."""
    try:
        callback(result)
    except Exception as error:
        if on_error is None:
            raise
        on_error(error)
    return result


def _unknown(id: str) -> GrpcflowError:
    message = f"{id} ran in this process, and no coordinator knows its graph; submit the call with delay() instead"
    return GrpcflowError(message)
