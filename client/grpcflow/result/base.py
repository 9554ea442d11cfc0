"""What results of calls and of groups have in common: an id, a place in a graph, and how a value is read.

Importing this must stay light, so the codec and the failures are imported when a value is read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from grpcflow import ids, state
from grpcflow.errors import GrpcflowError, TaskRevokedError

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Connection, Settled
    from grpcflow.lower.model import Outcome
    from grpcflow.result.group import GroupResult
    from grpcflow.result.single import AsyncResult

__all__ = ["EXCEPTION_STATES", "READY_STATES", "Result"]

#: States in which a call is at its end.
READY_STATES: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "IGNORED", "REJECTED"})

#: States at whose end stands an exception.
EXCEPTION_STATES: Final = frozenset({"FAILURE", "REVOKED", "REJECTED"})

#: Most ids that one revoke may name.
_REVOKE_BATCH: Final = 10_000

_UNSET: Final = cast("Any", object())


class Result:
    """What results of calls and of groups have in common.

    Args:
        id: Id as the user knows it.
        app: The app whose coordinator knows it; None: the current one.
        parent: The result of what ran before it.
    """

    def __init__(
        self,
        id: str,
        *,
        app: "Grpcflow | None" = None,
        parent: "AsyncResult[Any] | GroupResult | None" = None,
    ) -> None:
        self.id = id
        self._app = app
        self._parent: AsyncResult[Any] | GroupResult | None = parent
        self._graph = b""
        self._outcome: Outcome | None = None

    @property
    def app(self) -> "Grpcflow":
        """The app whose coordinator knows it."""
        return self._app or state.get_current_app()

    @property
    def task_id(self) -> str:
        """The same as ``id``."""
        return self.id

    @property
    def parent(self) -> "AsyncResult[Any] | GroupResult | None":
        """The result of what ran before it in its chain; None for the first step."""
        if self._parent is _UNSET:
            before = self._outcome.parent if self._outcome is not None else None
            self._parent = None if before is None else self._result_of(before)
        return self._parent

    @parent.setter
    def parent(self, value: "AsyncResult[Any] | GroupResult | None") -> None:
        self._parent = value

    @property
    def _key(self) -> str:
        """The id to ask for: the node's own, since a user's id may go to another call once this one ended."""
        return self.id if self._outcome is None else ids.node_id(self._graph, self._outcome.node)

    @property
    def _connection(self) -> "Connection":
        return self.app.connection

    def _bind(self, graph: bytes, outcome: "Outcome") -> None:
        """Tell it where it stands in its graph."""
        self._graph, self._outcome, self._parent = graph, outcome, _UNSET

    def _revoke(self, keys: Sequence[str], terminate: bool, signal: str | None) -> None:
        """Revoke nodes."""
        for start in range(0, len(keys), _REVOKE_BATCH):
            self._connection.revoke(keys[start : start + _REVOKE_BATCH], terminate, signal or "SIGTERM")

    def _value_of(self, settled: "Settled") -> Any:
        """Return the value, or the exception, with which a call ended."""
        from grpcflow import codec, failures

        if settled.state not in EXCEPTION_STATES:
            accept = self.app.conf.accept_content
            if settled.value is not None:
                return codec.decode_value(settled.value, accept)
            # A call whose value is not kept, or that ended with Ignore, has none.
            return codec.decode(settled.data, settled.content_type, accept=accept) if settled.data else None
        if settled.failure is not None:
            return failures.rebuild(settled.failure, self.app.conf.exception_modules)
        kind = TaskRevokedError if settled.state == "REVOKED" else GrpcflowError
        return kind(f"{self.id} ended as {settled.state}, and the coordinator gave no reason")

    def __eq__(self, other: object) -> bool:
        """Results are equal where their ids are; a group's also equals its id as text."""
        return self.id == (other.id if isinstance(other, Result) else other)

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def _result_of(self, outcome: "Outcome") -> "AsyncResult[Any] | GroupResult":
        """Return the result for another place in the same graph."""
        from grpcflow.result.tree import result_of  # it knows the classes that are made from this one

        return result_of(self.app, self._graph, outcome)
