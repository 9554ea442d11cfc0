"""The result of a group: those of its members, as one.

Twenty thousand members are waited for as one range and make no objects of their own until somebody asks.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from grpcflow import ids, state
from grpcflow.result.base import PROPAGATE_STATES, READY_STATES, Result
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
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        *,
        disable_sync_subtasks: bool = True,
    ) -> list[Any]:
        """Wait for the values of all members and return them in the order of the members.

        A failure is raised as soon as it is certain that it is the first one in their order: those behind it are
        not waited for.

        Args:
            timeout: Seconds to wait for all of them together; None: without limit.
            propagate: True: raise the exception of the first member, in their order, that failed. False: its
                exception stands in the place of its value.
            interval: Taken for the sake of code written for Celery; nothing polls.
            no_ack: Taken likewise.
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
        everything = self._all_settled(timeout, to_failure=propagate)
        if propagate:
            for settled in everything:
                if settled.state in PROPAGATE_STATES:
                    raise self._value_of(settled)
        values = self._values(everything)
        if callback is not None:
            for key, value in zip(self._keys(), values, strict=True):
                callback(key, value)
        return values

    join = get

    def _all_settled(self, timeout: float | None, *, to_failure: bool) -> "list[Settled]":
        """Wait for all members, or up to the first that failed, and return how each ended."""
        if self._all is not None:
            return self._all
        ranges = self._ranges
        everything: list[Settled]
        if len(ranges) == 1 and isinstance(ranges[0], tuple):
            everything = self._connection.wait_range(self._graph, *ranges[0], timeout=timeout, to_failure=to_failure)
        else:
            keys = self._keys()
            settled = self._connection.wait(keys, timeout=timeout, to_failure=to_failure) if keys else {}
            everything = [settled[key] for key in keys if key in settled]
        if len(everything) == len(self):
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

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Give all members up, for good; parameters as in ``AsyncResult.revoke``."""
        self._revoke(self._keys(), terminate, signal, wait, timeout)

    def _forget_keys(self) -> list[str]:
        return [self._key, *self._keys()]

    def _lose(self) -> None:
        self._all, self._results = None, None if self._outcome is not None else self._results

    def _then_keys(self) -> list[str]:
        return self._keys()

    def iter_native(
        self, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and record of each member in the order in which they end; they come by push.

        Args:
            timeout: Seconds from the first to the last; None: without limit.
            interval: Taken for the sake of code written for Celery; nothing polls.
            no_ack: Taken likewise.

        Raises:
            TimeoutError: Not all have ended in time; they go on.
        """
        keys = self._keys()
        for one in self._connection.arrivals(keys, timeout=timeout) if keys else ():
            if one is not None:
                yield one[0], AsyncResult[Any](one[0], app=self._app)._meta(one[1])

    @property
    def supports_native_join(self) -> bool:
        """True: results come by push."""
        return True

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> None:
        """Raise the exception of a member that has failed (with ``propagate``); never wait.

        Args:
            propagate: True: raise. False: do not.
            callback: Called with id and value of each member that has ended.
        """
        for result in self.results:
            result.maybe_throw(propagate, callback)

    maybe_reraise = maybe_throw

    def save(self) -> "GroupResult":
        """Keep the description of the group at the coordinator for as long as results are kept; returns this.

        Raises:
            PayloadTooLarge: It has too many members that are not of one submission.
        """
        from grpcflow.result import tree  # it knows this class

        self._connection.save_group(self.id, json.dumps(tree.described(self)).encode())
        return self

    def delete(self) -> None:
        """Delete the description that ``save`` keeps."""
        self._connection.delete_group(self.id)

    @classmethod
    def restore(cls, id: str, *, app: "Grpcflow | None" = None) -> "GroupResult | None":
        """Return the group that was saved under this id; None where there is none, or no longer.

        Args:
            id: The group's id.
            app: The app whose coordinator keeps it; None: the current one.
        """
        from grpcflow.result import tree  # it knows this class

        data = (app or state.get_current_app()).connection.restore_group(id)
        return None if data is None else tree.restored(json.loads(data), app)

    def as_tuple(self) -> tuple[Any, Any]:
        """Return its id, those of its parents and of its members as nested tuples, for ``result_from_tuple``."""
        from grpcflow.result import tree  # it knows this class

        return tree.tuple_of(self)
