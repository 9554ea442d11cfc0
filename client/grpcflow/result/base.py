"""What results of calls and of groups have in common: an id, a place in a graph, and how a value is read.

Importing this must stay light, so the codec and the failures are imported when a value is read.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self, cast

from grpcflow import ids, state
from grpcflow.batch import is_open, refuse_unsent
from grpcflow.errors import GrpcflowError, TaskRevokedError
from grpcflow.states import EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Connection, Settled
    from grpcflow.exchange import Exchange
    from grpcflow.graph import Explanation, GraphView
    from grpcflow.lower.model import Outcome
    from grpcflow.result.group import GroupResult
    from grpcflow.result.single import AsyncResult

__all__ = ["EXCEPTION_STATES", "PROPAGATE_STATES", "READY_STATES", "Result"]

#: Seconds that a revoke waits for its tasks where the caller names no time.
_REVOKE_WAIT: Final = 1.0

#: Most ids that one revoke may name.
_REVOKE_BATCH: Final = 10_000

_UNSET: Final = cast("Any", object())


@cache
def _codec() -> ModuleType:
    """Return what decodes, imported with the first value; to import it with each takes longer than to decode it."""
    from grpcflow import codec

    return codec


class Result:
    """What results of calls and of groups have in common.

    Args:
        id: Id as the user knows it.
        app: The app whose coordinator knows it; None: the current one.
        parent: The result of what ran before it.
    """

    _parent: "AsyncResult[Any] | GroupResult | None"
    #: Where it stands in its graph; nothing where only its id is known.
    _graph = b""
    _outcome: "Outcome | None" = None

    def __init__(
        self,
        id: str,
        *,
        app: "Grpcflow | None" = None,
        parent: "AsyncResult[Any] | GroupResult | None" = None,
    ) -> None:
        self._id = id
        self._app = app
        self._parent = parent

    @classmethod
    def _placed(cls, app: "Grpcflow", graph: bytes, outcome: "Outcome") -> Self:
        """Return the result for a place in a graph, as each submission gives one: quicker than to make and to bind."""
        made = cls.__new__(cls)
        made._id, made._app, made._parent = outcome.id, app, _UNSET
        made._graph, made._outcome = graph, outcome
        return made

    @property
    def id(self) -> str:
        """Id as the user knows it."""
        if not self._id and self._outcome is not None:
            self._id = ids.node_id(self._graph, self._outcome.node)  # most results are never asked for theirs
        return self._id

    @id.setter
    def id(self, value: str) -> None:
        self._id = value

    @property
    def app(self) -> "Grpcflow":
        """The app whose coordinator knows it."""
        return self._app or state.get_current_app()

    @property
    def task_id(self) -> str:
        """The same as ``id``."""
        return self.id

    @property
    def parent(self) -> Any:
        """The result of what ran before it in its chain; None for the first step."""
        # An AsyncResult, a GroupResult or None: whoever walks back knows which, and no checker does.
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

    def _place(self) -> tuple[bytes, int] | None:
        """Return its graph and the index of its node; None where only the user's own id is known."""
        return ids.parse(self.id) if self._outcome is None else (self._graph, self._outcome.node)

    @property
    def _connection(self) -> "Connection":
        """The app's connection, for what would wait: refused where a batch that is open here has not sent it."""
        self._check_sent()
        return self.app.connection

    def _bind(self, graph: bytes, outcome: "Outcome") -> None:
        """Tell it where it stands in its graph."""
        self._graph, self._outcome, self._parent = graph, outcome, _UNSET

    def _exchange(self, on_loop: bool) -> "Exchange":
        """Return what waits for it, on the running event loop or here and now; refused as by ``_connection``."""
        self._check_sent()
        return self.app._exchange(on_loop)

    def _check_sent(self) -> None:
        if is_open():
            refuse_unsent(self._then_keys())

    async def _revoked(
        self,
        keys: Sequence[str],
        terminate: bool,
        signal: str | None,
        wait: bool,
        timeout: float | None,
        *,
        on_loop: bool,
    ) -> None:
        """Revoke nodes, and wait for a while until they have settled where that is asked."""
        for start in range(0, len(keys), _REVOKE_BATCH):
            part = keys[start : start + _REVOKE_BATCH]
            await self._exchange(on_loop).arevoke(part, terminate, signal or "SIGTERM")
        if wait and keys:
            try:
                time_left = _REVOKE_WAIT if timeout is None else timeout
                await self._exchange(on_loop).await_settled(keys, timeout=time_left)
            except TimeoutError:
                return  # the revoke stands; what still runs may take longer to stop than the caller wants to wait

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, str | Sequence[str]],
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Give up all calls that bear one of these stamps, for good; this result's own only where it does.

        Args:
            headers: For each name of a stamp one value or several.
            connection: Taken for the sake of code written for Celery.
            terminate: True: stop those that run. Default False.
            signal: Signal for the processes they run in; None: SIGTERM.
            wait: Taken likewise: the call returns once all of them are revoked.
            timeout: Taken likewise.
        """
        stamps = {
            name: [values] if isinstance(values, str) else [str(value) for value in values]
            for name, values in headers.items()
        }
        self._connection.revoke_by_stamp(stamps, terminate, signal or "SIGTERM")

    def _line(self) -> "list[AsyncResult[Any] | GroupResult]":
        """Return what ran before it, the last first."""
        line: list[AsyncResult[Any] | GroupResult] = []
        before = self.parent
        while before is not None:
            line.append(before)
            before = before.parent
        return line

    def as_list(self) -> list[str]:
        """Return its id and those of its parents, the first step last."""
        return [self.id, *(before.id for before in self._line())]

    def _view(self) -> "GraphView":
        """Return the graph that it is a part of."""
        from grpcflow.graph import GraphView

        return GraphView(self.app, self._key, on_retry=self._lose)

    def explain(self) -> "Explanation":
        """Say why it is where it is: ``str()`` of the answer is a sentence.

        Raises:
            NotFound: The coordinator does not know it, or it has expired.
            CoordinatorUnavailable: It could not be reached.
        """
        return self.app.explain(self._key)

    def _forget_keys(self) -> list[str]:
        """Return the ids of what is forgotten with it."""
        return [self._key]

    def forget(self) -> None:
        """Delete the result, and those of what ran before it: to whoever asks later they are unknown."""
        self._connection.forget(self._forgotten())

    async def aforget(self) -> None:
        """Do what ``forget`` does, on the running event loop."""
        await self._exchange(True).aforget(self._forgotten())

    def _forgotten(self) -> list[str]:
        """Let go of what is known here, and return the ids of what the coordinator is to forget."""
        keys: list[str] = []
        for one in (self, *self._line()):
            keys += one._forget_keys()
            one._lose()
        return keys

    def _lose(self) -> None:
        """Let go of what is known of the end."""

    def then(
        self,
        callback: Callable[[Self], Any],
        on_error: Callable[[Exception], Any] | None = None,
        weak: bool = False,
    ) -> Self:
        """Have a function called with this result once it has ended, well or not; before as well as after.

        Args:
            callback: Called once, in a thread of the connection's that makes all such calls one after the other,
                never in this one: it should be quick and must not wait for results. After a fork only the
                process that asked goes on with it.
            on_error: Called instead with the error that kept the end from being known, or afterwards with what
                ``callback`` raised; None: such errors are logged.
            weak: True: this keeps no hold of the result: where the program lets go of it, nothing is called.

        Returns:
            This result.
        """
        hold: Callable[[], Result | None] = weakref.ref(self) if weak else lambda: self
        self._connection.when_settled(self._then_keys(), partial(_ended, hold, callback, on_error))
        return self

    def _then_keys(self) -> list[str]:
        """Return the ids that have to settle."""
        return [self._key]

    def _value_of(self, settled: "Settled") -> Any:
        """Return the value, or the exception, with which a call ended."""
        if settled.state not in PROPAGATE_STATES:
            accept = self.app.conf.accepted_values
            if settled.value is not None:
                return _codec().decode_value(settled.value, accept)
            # A call whose value is not kept, or that ended with Ignore, has none.
            return _codec().decode(settled.data, settled.content_type, accept=accept) if settled.data else None
        if settled.failure is not None:
            from grpcflow import failures

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


def _ended(
    hold: Callable[[], "Result | None"],
    callback: Callable[[Any], Any],
    on_error: Callable[[Exception], Any] | None,
    error: Exception | None,
) -> None:
    """Make the call that ``then`` promised."""
    result = hold()
    if result is None:
        return
    if error is None:
        try:
            callback(result)
        except Exception as raised:
            if on_error is None:
                raise
            error = raised
    if error is not None:
        if on_error is None:
            raise error
        on_error(error)
