"""The result of a group: those of its members, as one.

Twenty thousand members are waited for as one range and make no objects of their own until somebody asks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from grpcflow import ids, state
from grpcflow.result.base import EXCEPTION_STATES, READY_STATES, Result
from grpcflow.result.single import AsyncResult

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Settled
    from grpcflow.lower.model import Outcome

__all__ = ["GroupResult"]


class GroupResult(Result):
    """The result of a group: the results of its members, in their order.

    Args:
        id: Id of the group.
        results: Results of the members.
        app: The app whose coordinator knows it; None: the current one.
        parent: The result of what ran before it.

    Attributes:
        id: Id of the group; as an ``AsyncResult`` it gives the list of values.
        parent: The result of what ran before it in its chain; None for the first step.
    """

    def __init__(
        self,
        id: str,
        results: "Sequence[AsyncResult[Any] | GroupResult]" = (),
        *,
        app: "Grpcflow | None" = None,
        parent: "AsyncResult[Any] | GroupResult | None" = None,
    ) -> None:
        super().__init__(id, app=app, parent=parent)
        self._results: list[AsyncResult[Any] | GroupResult] | None = list(results)
        self._all: list[Settled] | None = None
        self._linked: list[AsyncResult[Any] | GroupResult] | None = None

    # --- members ------------------------------------------------------------------------------------------

    def _bind(self, graph: bytes, outcome: "Outcome") -> None:
        super()._bind(graph, outcome)
        self._results = None  # made when somebody asks: twenty thousand objects that nobody may want

    @property
    def _ranges(self) -> "list[Outcome | tuple[int, int]]":
        """The members as they stand in the graph, where that is known."""
        return self._outcome.members or [] if self._outcome is not None else []

    @property
    def results(self) -> "list[AsyncResult[Any] | GroupResult]":
        """Results of the members."""
        if self._results is None:
            self._results = []
            for member in self._ranges:
                if isinstance(member, tuple):
                    self._results.extend(self._plain_member(index) for index in range(member[0], sum(member)))
                else:
                    self._results.append(self._result_of(member))
        return self._results

    def _plain_member(self, index: int) -> AsyncResult[Any]:
        """Return the result of a member that is a call with nothing around it."""
        return AsyncResult(ids.node_id(self._graph, index), app=self._app)

    @property
    def children(self) -> "list[AsyncResult[Any] | GroupResult]":
        """The same as ``results``."""
        return self.results

    @property
    def linked(self) -> "list[AsyncResult[Any] | GroupResult]":
        """Results of what was linked to the group; known where the group was submitted."""
        if self._linked is None:
            callbacks = self._outcome.callbacks if self._outcome is not None else []
            self._linked = [self._result_of(callback) for callback in callbacks]
        return self._linked

    def _keys(self) -> list[str]:
        """Return the ids to ask for, one for each member."""
        if self._results is not None:
            return [result._key for result in self._results]
        keys: list[str] = []
        for member in self._ranges:
            if isinstance(member, tuple):
                keys.extend(ids.node_id(self._graph, index) for index in range(member[0], sum(member)))
            else:
                keys.append(ids.node_id(self._graph, member.node))
        return keys

    def __len__(self) -> int:
        """Return the number of members."""
        if self._results is not None:
            return len(self._results)
        return sum(member[1] if isinstance(member, tuple) else 1 for member in self._ranges)

    def __bool__(self) -> bool:
        # A group has a result also where it has no members.
        return True

    def __iter__(self) -> "Iterator[AsyncResult[Any] | GroupResult]":
        return iter(self.results)

    @overload
    def __getitem__(self, index: int) -> "AsyncResult[Any] | GroupResult": ...
    @overload
    def __getitem__(self, index: slice) -> "list[AsyncResult[Any] | GroupResult]": ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return the result of one member, or those of several."""
        return self.results[index]

    # --- waiting ------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        *,
        interval: float | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any]:
        """Wait for the values of all members and return them in the order of the members.

        Args:
            timeout: Seconds to wait for all of them together; None: without limit.
            propagate: True: raise the exception of the first member, in their order, that failed. False: its
                exception stands in the place of its value.
            interval: Taken for the sake of code written for Celery; nothing polls.
            callback: Called with id and value of each member, in their order.
            disable_sync_subtasks: True: refuse to wait inside a task.

        Raises:
            TimeoutError: Not all have ended in time; they go on.
            RuntimeError: This is called inside a task.
            CoordinatorUnavailable: The coordinator could not be reached.
            Exception: What the member raised, or ``RemoteError`` where that cannot be rebuilt here.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        everything = self._all_settled(timeout)
        if propagate:
            for settled in everything:
                if settled.state in EXCEPTION_STATES:
                    raise self._value_of(settled)
        values = self._values(everything)
        if callback is not None:
            for key, value in zip(self._keys(), values, strict=True):
                callback(key, value)
        return values

    join = get

    def _all_settled(self, timeout: float | None) -> "list[Settled]":
        """Wait for all members, and return how each ended."""
        if self._all is not None:
            return self._all
        ranges = self._ranges
        everything: list[Settled]
        if len(ranges) == 1 and isinstance(ranges[0], tuple):
            everything = self._connection.wait_range(self._graph, *ranges[0], timeout=timeout)
        else:
            keys = self._keys()
            settled = self._connection.wait(keys, timeout=timeout, on_result=None) if keys else {}
            everything = [settled[key] for key in keys]
        self._all = everything
        return everything

    def _values(self, everything: "Iterable[Settled]") -> list[Any]:
        """Return what each member ended with."""
        from grpcflow import codec

        accept = frozenset(codec.content_type(name) for name in self.app.conf.accept_content)
        decode, success = codec.decode, "SUCCESS"
        return [
            decode(settled.data, settled.content_type, accept=accept)
            if settled.data and settled.state == success
            else self._value_of(settled)
            for settled in everything
        ]

    # --- where it stands ----------------------------------------------------------------------------------

    def _states(self) -> list[str]:
        """Return the states of all members now."""
        if self._all is not None:
            return [settled.state for settled in self._all]
        keys = self._keys()
        found = self._connection.lookup(keys, states_only=True) if keys else []
        return ["PENDING" if settled is None else settled.state for settled in found]

    def ready(self) -> bool:
        """Return True where all members have ended, well or not."""
        return all(found in READY_STATES for found in self._states())

    def successful(self) -> bool:
        """Return True where all members have ended with a value."""
        return all(found == "SUCCESS" for found in self._states())

    def failed(self) -> bool:
        """Return True where a member has ended with an exception."""
        return any(found == "FAILURE" for found in self._states())

    def waiting(self) -> bool:
        """Return True where a member has not ended."""
        return not self.ready()

    def completed_count(self) -> int:
        """Return how many members have ended with a value."""
        return sum(found == "SUCCESS" for found in self._states())

    @property
    def state(self) -> str:
        """State of the group as one: SUCCESS once all have values, FAILURE once one failed, before that PENDING."""
        return AsyncResult[Any](self._key, app=self._app).state

    # --- what can be done with it -------------------------------------------------------------------------

    def revoke(self, terminate: bool = False, signal: str | None = None) -> None:
        """Give all members up, for good.

        Args:
            terminate: True: stop those that run. Default False.
            signal: Signal for the processes they run in; None: SIGTERM.
        """
        self._revoke(self._keys(), terminate, signal)

    def maybe_throw(self, propagate: bool = True) -> None:
        """Raise the exception of a member that has failed (with ``propagate``); never wait."""
        for result in self.results:
            result.maybe_throw(propagate)

    def as_tuple(self) -> tuple[Any, Any]:
        """Return its id, those of its parents and of its members as nested tuples, for ``result_from_tuple``."""
        from grpcflow.result.tree import tuple_of

        return tuple_of(self)
