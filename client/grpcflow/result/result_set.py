"""Results of several calls, as one: what a set made by hand and the result of a group have in common.

Asks the coordinator in one question for all members wherever they are known to it; never one after the other,
but where a member ran in this process or is a set itself. Importing this is light, as ``base`` is.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Self, overload

from grpcflow import state
from grpcflow.blocking import run_here
from grpcflow.errors import GrpcflowError
from grpcflow.result.awaited_set import AwaitedSet
from grpcflow.result.base import READY_STATES, _ended
from grpcflow.result.single import AsyncResult
from grpcflow.type_parameters import R

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Settled
    from grpcflow.result.group import GroupResult

__all__ = ["ResultSet"]

_Member = Any  # AsyncResult[Any] | ResultSet: what is handed out is typed, what is kept need not be


class ResultSet(AwaitedSet[R]):
    """Results of several calls, as one; it has no id of its own.

    Args:
        results: Results of the members; each of them once.
        app: The app whose coordinator knows them; None: the current one.
    """

    def __init__(self, results: "Iterable[AsyncResult[R] | ResultSet]" = (), app: "Grpcflow | None" = None) -> None:
        self._take("", results, app, None)

    def _take(
        self,
        id: str,
        results: Iterable[_Member],
        app: "Grpcflow | None",
        parent: "AsyncResult[Any] | GroupResult | None",
    ) -> None:
        """Begin with these members."""
        super().__init__(id, app=app, parent=parent)
        self._results: list[_Member] | None = list(results)
        self._all: list[Settled] | None = None
        self._by_hand = True  # False: the members are those of a place in a graph

    # --- members ------------------------------------------------------------------------------------------

    @property
    def results(self) -> "list[AsyncResult[R]]":
        """Results of the members; change them by ``add``, ``remove`` and the like."""
        if self._results is None:
            self._results = []
        return self._results

    @property
    def _members(self) -> "list[_Member]":
        """The members as what they are: where one is a set itself, ``results`` calls it a result of its list."""
        return self.results

    def _change(self) -> "list[_Member]":
        """Return the members for being changed; what was known of them as a whole holds no longer."""
        members, self._all, self._by_hand = self.results, None, True
        return members

    def add(self, result: "AsyncResult[R] | ResultSet") -> None:
        """Add a member; one that is there already is not added again.

        What ``then`` still waits for now includes it; where it was called before, a later ``then`` waits for it.
        """
        if result not in self.results:
            self._change().append(result)

    def remove(self, result: "AsyncResult[Any] | ResultSet | str") -> None:
        """Remove a member, named by its result or its id.

        Raises:
            KeyError: It is no member.
        """
        try:
            self._change().remove(result)
        except ValueError:
            raise KeyError(str(result)) from None

    def discard(self, result: "AsyncResult[Any] | ResultSet | str") -> None:
        """Remove a member where it is one."""
        if result in self.results:
            self.remove(result)

    def update(self, results: "Iterable[AsyncResult[R] | ResultSet]") -> None:
        """Add several members; those that are there already are not added again."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Remove all members."""
        self._change().clear()

    def _keys(self) -> list[str]:
        """Return the ids to ask for, one for each member."""
        return [result._key for result in self.results]

    def _is_plain(self) -> bool:
        """Return True where each member is one node of the coordinator's."""
        return self._results is None or all(map(_is_node, self._results))

    def _node_keys(self) -> list[str]:
        """Return the ids of all nodes in it, with those of sets in it; what ran in this process has none."""
        if not self._by_hand or self._is_plain():
            return self._keys()
        return [one._key for one in self._calls() if _is_node(one)]

    def _calls(self) -> Iterator[_Member]:
        """Yield the members, and those of sets in it: one object for each call."""
        waiting: list[_Member] = [self]
        while waiting:
            one = waiting.pop()
            if isinstance(one, ResultSet) and (one is self or not _is_node(one)):
                waiting.extend(reversed(one.results))
            else:
                yield one

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.results)

    def __iter__(self) -> "Iterator[AsyncResult[R]]":
        return iter(self.results)

    @overload
    def __getitem__(self, index: int) -> "AsyncResult[R]": ...
    @overload
    def __getitem__(self, index: slice) -> "list[AsyncResult[R]]": ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return the result of one member, or those of several."""
        return self.results[index]

    def __eq__(self, other: object) -> bool:
        """Sets are equal where their members are, in their order."""
        return isinstance(other, ResultSet) and other.id == self.id and other.results == self.results

    __hash__ = None  # type: ignore[assignment] # it can be changed

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result) for result in self.results)}]>"

    # --- waiting ------------------------------------------------------------------------------------------

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
        """Wait for the values of all members and return them in the order of the members.

        A failure is raised as soon as it is certain that it is the first one in their order: those behind it are
        not waited for.

        Args:
            timeout: Seconds to wait for all of them together; None: without limit.
            propagate: True: raise the exception of the first member, in their order, that failed. False: its
                exception stands in the place of its value.
            interval: Seconds between two calls of ``on_interval``.
            callback: Called with id and value of each member, in their order.
            no_ack: Taken for the sake of code written for Celery.
            on_message: Called with a mapping (``task_id``, ``status``, ``result``, ...) for each member that ends,
                for each state that a member gives itself and for each retry, as they come; see ``AsyncResult.get``.
            disable_sync_subtasks: True: refuse to wait inside a task.
            on_interval: Called once in each interval while it waits.

        Raises:
            TimeoutError: Not all have ended in time; they go on.
            RuntimeError: This is called inside a task.
            CoordinatorUnavailable: The coordinator could not be reached.
            Exception: What the member raised, or ``RemoteError`` where that cannot be rebuilt here.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        waited = self._waited(
            timeout,
            propagate,
            callback,
            on_message=on_message,
            on_interval=on_interval,
            interval=interval,
            on_loop=False,
        )
        return run_here(waited)

    join = get

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[R]:
        """Do the same as ``get``, which comes by push too; the last two parameters change places."""
        return self.get(timeout, propagate, interval, callback, no_ack, on_message, disable_sync_subtasks, on_interval)

    def _known(self) -> dict[str, _Member]:
        """Return the members that have objects of their own, by the ids that are asked for."""
        return {result._key: result for result in self._results or ()}

    def _made(self, key: str) -> AsyncResult[R]:
        """Return a result for the call with this id."""
        return AsyncResult(key, app=self._app)

    def _record(self, key: str, found: "Settled") -> dict[str, Any]:
        """Return how a member stands as Celery's record of a result."""
        return AsyncResult[Any](key, app=self._app)._meta(found)

    def _values(self, everything: "Iterable[Settled]") -> list[Any]:
        """Return what each member ended with."""
        from grpcflow import codec

        accept = frozenset(codec.content_type(name) for name in self.app.conf.accepted_values)
        decode, success = codec.decode, "SUCCESS"
        return [
            settled.ahead.pop()
            if settled.ahead
            else decode(settled.data, settled.content_type, accept=accept)
            if settled.data and settled.state == success
            else self._value_of(settled)
            for settled in everything
        ]

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and record of each member in the order in which they end; they come by push.

        Args:
            timeout: Seconds from the first to the last; None: without limit.
            interval: Seconds between two calls of ``on_interval``.
            no_ack: Taken for the sake of code written for Celery; nothing polls.
            on_message: Called with each record before it is yielded.
            on_interval: Called once in each interval while it waits.

        Raises:
            TimeoutError: Not all have ended in time; they go on.
        """
        keys = self._node_keys()
        every = None if on_interval is None else interval
        for one in self._connection.arrivals(keys, timeout=timeout, interval=every) if keys else ():
            if one is not None:
                record = self._record(*one)
                if on_message is not None:
                    on_message(record)
                yield one[0], record
            elif on_interval is not None:
                on_interval()

    @property
    def supports_native_join(self) -> bool:
        """True: results come by push."""
        return True

    def then(
        self, callback: Callable[[Self], Any], on_error: Callable[[Exception], Any] | None = None, weak: bool = False
    ) -> Self:
        """Have a function called with this set once all members have ended, also those that are added until then.

        Args:
            callback: Called once, as by ``AsyncResult.then``; where nothing is to be waited for, here and now.
            on_error: As by ``AsyncResult.then``.
            weak: As by ``AsyncResult.then``.

        Returns:
            This set.
        """
        hold: Callable[[], ResultSet | None] = weakref.ref(self) if weak else lambda: self
        keys = self._then_keys()
        if keys:
            self._connection.when_settled(keys, partial(_all_there, hold, keys, callback, on_error))
        else:
            _ended(hold, callback, on_error, None)
        return self

    def _then_keys(self) -> list[str]:
        return self._node_keys()

    # --- where it stands ----------------------------------------------------------------------------------

    def _states(self) -> list[str]:
        """Return the states of all members now."""
        return run_here(self._states_now(on_loop=False))

    def _as_one(self) -> str:
        """Return one state for all members."""
        return run_here(self._state_now(on_loop=False))

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

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> None:
        """Raise the exception of a member that has failed (with ``propagate``); never wait.

        Args:
            propagate: True: raise. False: do not.
            callback: Called with id and value of each member that has ended.
        """
        for result in self.results:
            result.maybe_throw(propagate, callback)

    maybe_reraise = maybe_throw

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
        run_here(self._revoked(self._node_keys(), terminate, signal, wait, timeout, on_loop=False))

    def _forget_keys(self) -> list[str]:
        """Return the ids of all nodes in it, and of what ran before them."""
        if not self._by_hand:
            return self._keys()
        keys = self._node_keys()
        for result in self.results:
            for before in result._line():
                keys += before._forget_keys()
        return keys

    def _lose(self) -> None:
        self._all = None
        for result in self._results or ():
            result._lose()


def _is_node(result: Any) -> bool:
    """Return True where a result stands for one node of the coordinator's."""
    from grpcflow.result.eager import EagerGroupResult, EagerResult  # made from these

    if isinstance(result, ResultSet):
        return not result._by_hand and not isinstance(result, EagerGroupResult)
    return not isinstance(result, EagerResult)


def _all_there(
    hold: "Callable[[], ResultSet | None]",
    known: list[str],
    callback: Callable[[Any], Any],
    on_error: Callable[[Exception], Any] | None,
    error: Exception | None,
) -> None:
    """Make the call that ``then`` promised, or wait for what was added meanwhile."""
    result = hold()
    if result is not None and error is None and result._by_hand:
        settled = set(known)
        more = [key for key in result._node_keys() if key not in settled]
        if more:
            call = partial(_all_there, hold, known + more, callback, on_error)
            try:
                result._connection.when_settled(more, call)
            except GrpcflowError as refused:
                _ended(hold, callback, on_error, refused)
            return
    _ended(hold, callback, on_error, error)
