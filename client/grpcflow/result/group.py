"""The result of a group: those of its members, as one.

Twenty thousand members are waited for as one range and make no objects of their own until somebody asks.
"""

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from grpcflow import ids, state
from grpcflow.blocking import run_here
from grpcflow.errors import GrpcflowError
from grpcflow.result.base import PROPAGATE_STATES, Result
from grpcflow.result.result_set import ResultSet
from grpcflow.result.single import AsyncResult
from grpcflow.type_parameters import R

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Settled
    from grpcflow.graph import GraphView
    from grpcflow.lower.model import Outcome

__all__ = ["GroupResult"]


class GroupResult(ResultSet[R]):
    """The result of a group: the results of its members, in their order.

    Args:
        id: Id of the group.
        results: Results of the members.
        parent: The result of what ran before it.
        app: The app whose coordinator knows it; None: the current one.

    Attributes:
        id: Id of the group; as an ``AsyncResult`` it gives the list of values.
        parent: The result of what ran before it in its chain; None for the first step.
    """

    def __init__(
        self,
        id: str,
        results: "Iterable[AsyncResult[R] | ResultSet]" = (),
        parent: "AsyncResult[Any] | GroupResult | None" = None,
        *,
        app: "Grpcflow | None" = None,
    ) -> None:
        self._take(id, results, app, parent)
        self._linked: list[AsyncResult[Any] | GroupResult] | None = None

    # --- members ------------------------------------------------------------------------------------------

    def _bind(self, graph: bytes, outcome: "Outcome") -> None:
        super()._bind(graph, outcome)
        self._by_hand = False
        self._results = None  # made when somebody asks: twenty thousand objects that nobody may want

    @property
    def _ranges(self) -> "list[Outcome | tuple[int, int]]":
        """The members as they stand in the graph, where that is known."""
        return [] if self._by_hand or self._outcome is None else self._outcome.members or []

    @property
    def results(self) -> "list[AsyncResult[R]]":
        """Results of the members."""
        if self._results is None:
            self._results = []
            for member in self._ranges:
                if isinstance(member, tuple):
                    self._results.extend(self._plain_member(index) for index in range(member[0], sum(member)))
                else:
                    self._results.append(self._result_of(member))
        return self._results

    def _plain_member(self, index: int) -> AsyncResult[R]:
        """Return the result of a member that is a call with nothing around it."""
        return AsyncResult(ids.node_id(self._graph, index), app=self._app)

    @property
    def children(self) -> "list[AsyncResult[R]]":
        """The same as ``results``."""
        return self.results

    @property
    def linked(self) -> "list[AsyncResult[Any] | GroupResult]":
        """Results of what was linked to the group; known where the group was submitted."""
        if self._linked is None:
            callbacks = self._outcome.callbacks if self._outcome is not None else []
            self._linked = [self._result_of(callback) for callback in callbacks]
        return self._linked

    def graph(self) -> "GraphView":
        """Return the graph that the group is a part of, as a thing: to look at, draw, cancel, retry."""
        return self._view()

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
        # It has a result also where it has no members.
        return bool(self.id) or len(self) > 0

    def __eq__(self, other: object) -> bool:
        """Groups are equal where their ids and their members are; one also equals its id as text."""
        if not isinstance(other, GroupResult):
            return self.id == (other.id if isinstance(other, Result) else other)
        if self.id != other.id or len(self) != len(other):
            return False
        # What was submitted under one id is one group: no object needs to be made for a member.
        return not (self._by_hand or other._by_hand) or [each.id for each in self] == [each.id for each in other]

    def __hash__(self) -> int:  # type: ignore[override] # a set has none, as it has no id
        return hash(self.id)

    # --- waiting ------------------------------------------------------------------------------------------

    @property
    def _is_bare(self) -> bool:
        """True where it stands in a graph without members: then its join alone knows how it ended."""
        return not (self._by_hand or self._ranges)

    async def _all_settled(self, timeout: float | None, *, to_failure: bool, on_loop: bool) -> "list[Settled]":
        ranges = self._ranges
        if self._is_bare:
            found = await self._exchange(on_loop).await_settled([self._key], timeout=timeout)
            ended = found[self._key]
            return [ended] if to_failure and ended.state in PROPAGATE_STATES else []
        if self._all is None and len(ranges) == 1 and isinstance(ranges[0], tuple):
            first, count = ranges[0]
            exchange = self._exchange(on_loop)
            return self._kept(
                await exchange.await_range(
                    self._graph, first, count, timeout=timeout, to_failure=to_failure, on_large=self._read_ahead
                )
            )
        return await super()._all_settled(timeout, to_failure=to_failure, on_loop=on_loop)

    def _read_ahead(self, settled: "Settled") -> None:
        """Read a large value while the others are on their way; one that cannot be read is told of with them."""
        from grpcflow import codec

        accept = frozenset(codec.content_type(name) for name in self.app.conf.accepted_values)
        with contextlib.suppress(GrpcflowError):
            settled.ahead = [codec.decode(settled.data or b"", settled.content_type, accept=accept)]

    def _known(self) -> dict[str, Any]:
        # Members that are more than one call have results of their own kinds; those of plain ones are made as they end.
        if self._results is None and not all(isinstance(member, tuple) for member in self._ranges):
            return {result._key: result for result in self.results}
        return super()._known()

    def _then_keys(self) -> list[str]:
        return [self._key] if self._is_bare else super()._then_keys()

    # --- where it stands ----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """State of the group as one: SUCCESS once all have values, FAILURE once one failed, before that PENDING."""
        return run_here(self._group_state(on_loop=False))

    async def astate(self) -> str:
        """Return what ``state`` tells, asked on the running event loop."""
        return await self._group_state(on_loop=True)

    async def astatus(self) -> str:
        """Return the same as ``astate``."""
        return await self.astate()

    async def _group_state(self, *, on_loop: bool) -> str:
        if self._by_hand:
            return await self._state_now(on_loop=on_loop)
        return await self._join()._state_now(on_loop=on_loop)

    def _join(self) -> AsyncResult[Any]:
        """Return the result of the node that collects the members."""
        return AsyncResult(self._key, app=self._app)

    async def _states_now(self, *, on_loop: bool) -> list[str]:
        if self._is_bare:
            return [await self._join()._state_now(on_loop=on_loop)]
        return await super()._states_now(on_loop=on_loop)

    def completed_count(self) -> int:
        """Return how many members have ended with a value."""
        return 0 if self._is_bare else super().completed_count()

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> None:
        """Raise the exception of a member that has failed (with ``propagate``); never wait.

        Args:
            propagate: True: raise. False: do not.
            callback: Called with id and value of each member that has ended.
        """
        if self._is_bare:
            self._join().maybe_throw(propagate)
        super().maybe_throw(propagate, callback)

    maybe_reraise = maybe_throw

    # --- what can be done with it -------------------------------------------------------------------------

    def _forget_keys(self) -> list[str]:
        return [self._key, *super()._forget_keys()]

    def _lose(self) -> None:
        super()._lose()
        if not self._by_hand:
            self._results = None

    def save(self) -> "Self":
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
