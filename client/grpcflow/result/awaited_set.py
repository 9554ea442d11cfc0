"""Results of several calls as coroutines see them, and how their ends are waited for: written once, for threads too.

``on_loop`` is as in ``awaited``. Importing this must stay light, as ``base`` is.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, cast

from grpcflow import state
from grpcflow.result.awaited import AwaitedResult
from grpcflow.result.awaited_eager import AwaitedEager
from grpcflow.result.base import PROPAGATE_STATES, READY_STATES, Result
from grpcflow.type_parameters import R

if TYPE_CHECKING:
    from grpcflow.connection import Settled
    from grpcflow.result.single import AsyncResult

__all__ = ["AwaitedSet"]


class AwaitedSet(Result, Generic[R]):
    """The part of ``ResultSet`` and ``GroupResult`` that waits, for coroutines and for threads."""

    _all: "list[Settled] | None"

    if TYPE_CHECKING:  # what the sets have

        @property
        def results(self) -> "list[AsyncResult[R]]":
            """Results of the members."""
            raise NotImplementedError

        def _keys(self) -> list[str]: ...
        def _node_keys(self) -> list[str]: ...
        def _is_plain(self) -> bool: ...
        def _record(self, key: str, found: Settled) -> dict[str, Any]: ...
        def _values(self, everything: Iterable[Settled]) -> list[Any]: ...
        def _calls(self) -> Iterator[Any]: ...
        def _known(self) -> dict[str, Any]: ...
        def _made(self, key: str) -> Any: ...
        def __len__(self) -> int: ...

    # --- for coroutines -----------------------------------------------------------------------------------

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        *,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[R]:
        """Wait for the values of all members on the running event loop; return them in the order of the members.

        Args:
            timeout: Seconds to wait for all of them together; None: without limit.
            propagate: True: raise the exception of the first member, in their order, that failed. False: its
                exception stands in the place of its value.
            callback: Called with id and value of each member, in their order.
            on_message: Called as by ``get``; not awaited.
            disable_sync_subtasks: True: refuse to wait inside a task.

        Raises:
            The errors of ``get``, and ForkedEventLoop: this process was forked while an event loop was connected.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        return await self._waited(timeout, propagate, callback, on_message=on_message, on_loop=True)

    ajoin = aget

    async def aiter(self, timeout: float | None = None) -> "AsyncGenerator[AsyncResult[R], None]":
        """Yield the results of the members in the order in which they end; they come by push.

        What is yielded has ended, well or not: ``await result.aget()`` returns or raises at once. Of a set that holds
        groups the calls in them are yielded.

        Args:
            timeout: Seconds from the first to the last; None: without limit.

        Raises:
            TimeoutError: Not all have ended in time; they go on.
            CoordinatorUnavailable: The coordinator could not be reached.
        """
        for call in () if self._is_plain() else self._calls():
            if isinstance(call, AwaitedEager):  # it has ended long ago
                yield cast("AsyncResult[R]", call)
        keys, known = self._node_keys(), self._known()
        if not keys:
            return
        async with aclosing(self._exchange(True).aarrivals(keys, timeout=timeout)) as coming:
            async for one in coming:
                if one is not None:
                    result: AsyncResult[R] = known.get(one[0]) or self._made(one[0])
                    if isinstance(result, AwaitedResult):  # a member may also be a group, which is no one's call
                        result._settled = one[1]
                    yield result

    async def aready(self) -> bool:
        """Return True where all members have ended, well or not."""
        return all(found in READY_STATES for found in await self._states_now(on_loop=True))

    async def asuccessful(self) -> bool:
        """Return True where all members have ended with a value."""
        return all(found == "SUCCESS" for found in await self._states_now(on_loop=True))

    async def afailed(self) -> bool:
        """Return True where a member has ended with an exception."""
        return any(found == "FAILURE" for found in await self._states_now(on_loop=True))

    async def awaiting(self) -> bool:
        """Return True where a member has not ended."""
        return not await self.aready()

    async def acompleted_count(self) -> int:
        """Return how many members have ended with a value."""
        return sum(found == "SUCCESS" for found in await self._states_now(on_loop=True))

    async def arevoke(
        self, terminate: bool = False, signal: str | None = None, wait: bool = False, timeout: float | None = None
    ) -> None:
        """Give all members up, for good; parameters as in ``revoke``."""
        await self._revoked(self._node_keys(), terminate, signal, wait, timeout, on_loop=True)

    # --- for both -----------------------------------------------------------------------------------------

    async def _waited(
        self,
        timeout: float | None,
        propagate: bool,
        callback: Callable[[str, Any], Any] | None = None,
        *,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        interval: float = 0.5,
        on_loop: bool,
    ) -> list[R]:
        """Wait for all members and return their values, or raise; see ``get``."""
        watch: dict[str, Any] = {
            "on_message": on_message,
            "on_interval": on_interval,
            "interval": interval,
            "on_loop": on_loop,
        }
        if not self._is_plain():
            values = await self._one_by_one(timeout, propagate, watch)
        else:
            if len(self) and self._all is None and (on_message is not None or on_interval is not None):
                everything = await self._watched(timeout, propagate, **watch)
            else:
                everything = await self._all_settled(timeout, to_failure=propagate, on_loop=on_loop)
            if propagate:
                for settled in everything:
                    if settled.state in PROPAGATE_STATES:
                        raise self._value_of(settled)
            values = self._values(everything)
        if callback is not None:
            for result, value in zip(self.results, values, strict=True):
                callback(result.id, value)
        return values

    async def _one_by_one(self, timeout: float | None, propagate: bool, watch: dict[str, Any]) -> list[Any]:
        """Wait for each member by its own means."""
        until = None if timeout is None else time.monotonic() + timeout
        return [
            await result._waited(None if until is None else max(0.0, until - time.monotonic()), propagate, **watch)
            for result in self.results
        ]

    async def _all_settled(self, timeout: float | None, *, to_failure: bool, on_loop: bool) -> "list[Settled]":
        """Wait for all members, or up to the first that failed, and return how each ended."""
        if self._all is not None:
            return self._all
        keys = self._keys()
        if not keys:
            return self._kept([])
        settled = await self._exchange(on_loop).await_settled(keys, timeout=timeout, to_failure=to_failure)
        return self._kept([settled[key] for key in keys if key in settled])

    def _kept(self, everything: "list[Settled]") -> "list[Settled]":
        """Remember how all members ended, where they did, and return what was given."""
        if len(everything) == len(self):
            self._all = everything
        return everything

    async def _watched(
        self,
        timeout: float | None,
        propagate: bool,
        *,
        interval: float,
        on_message: Callable[[dict[str, Any]], Any] | None,
        on_interval: Callable[[], Any] | None,
        on_loop: bool,
    ) -> "list[Settled]":
        """Wait as ``_all_settled`` does, and tell what happens meanwhile."""
        keys = self._keys()
        found: dict[str, Settled] = {}
        first = 0  # the first of which nothing is known
        every = None if on_interval is None else interval
        exchange = self._exchange(on_loop)
        watched = exchange.aarrivals(keys, timeout=timeout, interval=every, progress=on_message is not None)
        async with aclosing(watched) as coming:
            async for one in coming:
                if one is None:
                    if on_interval is not None:
                        on_interval()
                    continue
                if on_message is not None:
                    on_message(self._record(*one))
                if one[1].state in READY_STATES:
                    found[one[0]] = one[1]
                while first < len(keys) and keys[first] in found:
                    if propagate and found[keys[first]].state in PROPAGATE_STATES:
                        return [found[keys[first]]]
                    first += 1
        return self._kept([found[key] for key in keys])

    async def _states_now(self, *, on_loop: bool) -> list[str]:
        """Return the states of all members now."""
        if self._all is not None:
            return [settled.state for settled in self._all]
        if not self._is_plain():
            return [await one._state_now(on_loop=on_loop) for one in self.results]
        keys = self._keys()
        found = await self.app._exchange(on_loop).alookup(keys, states_only=True) if keys else []
        return ["PENDING" if settled is None else settled.state for settled in found]

    async def _state_now(self, *, on_loop: bool) -> str:
        """Return one state for all members."""
        return _as_one(await self._states_now(on_loop=on_loop))


def _as_one(states: Sequence[str]) -> str:
    """Return one state for those of several calls."""
    found = set(states)
    if "FAILURE" in found:
        return "FAILURE"
    if not found <= READY_STATES:
        return "PENDING"
    return "SUCCESS" if found <= {"SUCCESS"} else "REVOKED"
