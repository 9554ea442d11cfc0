"""The result of one call as coroutines see it, and how its end is waited for: written once, for threads too.

``on_loop`` says who waits: a coroutine on the running event loop, or a thread, where every await returns at once.
Importing this must stay light, as ``base`` is.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, cast

from grpcflow import ids, state
from grpcflow.errors import GrpcflowError
from grpcflow.result.base import PROPAGATE_STATES, READY_STATES
from grpcflow.result.logs import Logs
from grpcflow.result.streaming import Streamed
from grpcflow.type_parameters import R_co

if TYPE_CHECKING:
    from grpcflow.connection import Settled
    from grpcflow.exchange import Exchange

__all__ = ["AwaitedResult"]


class AwaitedResult(Streamed, Logs, Generic[R_co]):
    """The part of ``AsyncResult`` that waits, for coroutines and for threads.

    What is awaited here may have been submitted anywhere: by another event loop, by a thread, or by another process.
    """

    _settled: "Settled | None"
    _ignored: bool | None

    # --- for coroutines -----------------------------------------------------------------------------------

    def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        *,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        wait_for_submit: bool = False,
    ) -> Coroutine[Any, Any, R_co]:
        """Wait for the value on the running event loop: to be awaited; what is cancelled watches nothing any more.

        Args:
            timeout: Seconds to wait; None: without limit.
            propagate: True: raise the exception of a call that failed. False: return it.
            callback: Called with the id and the value.
            on_message: Called as by ``get``; not awaited.
            disable_sync_subtasks: True: refuse to wait inside a task.
            wait_for_submit: True: wait also where nobody has submitted the call yet. Default False.

        Raises:
            The errors of ``get``, and ForkedEventLoop: this process was forked while an event loop was connected.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        waited = self._waited(
            timeout, propagate, callback, on_message=on_message, wait_for_submit=wait_for_submit, on_loop=True
        )
        return cast("Coroutine[Any, Any, R_co]", waited)

    async def astate(self) -> str:
        """Return what ``state`` tells, asked on the running event loop."""
        return await self._state_now(on_loop=True)

    async def astatus(self) -> str:
        """Return the same as ``astate``."""
        return await self.astate()

    async def aresult(self) -> Any:
        """Return what ``result`` tells, asked on the running event loop."""
        found = await self._looked(on_loop=True)
        return None if found is None else self._shown(found)

    async def ainfo(self) -> Any:
        """Return the same as ``aresult``."""
        return await self.aresult()

    async def aexists(self) -> bool:
        """Return True where the coordinator knows the call."""
        return await self._looked(on_loop=True) is not None

    async def aready(self) -> bool:
        """Return True where the call has ended, well or not."""
        return await self.astate() in READY_STATES

    async def asuccessful(self) -> bool:
        """Return True where the call has ended with a value."""
        return await self.astate() == "SUCCESS"

    async def afailed(self) -> bool:
        """Return True where the call has ended with an exception."""
        return await self.astate() == "FAILURE"

    async def arevoke(
        self, terminate: bool = False, signal: str | None = None, wait: bool = False, timeout: float | None = None
    ) -> None:
        """Give the call up, for good; parameters as in ``revoke``."""
        await self._revoked([self._key], terminate, signal, wait, timeout, on_loop=True)

    # --- for both -----------------------------------------------------------------------------------------

    async def _looked(self, *, on_loop: bool) -> "Settled | None":
        """Return where the call stands now; None where the coordinator does not know it."""
        if self._settled is not None:
            return self._settled
        [found] = await self.app._exchange(on_loop).alookup([self._key])
        if found is not None and found.state in READY_STATES:
            self._settled = found
        return found

    async def _state_now(self, *, on_loop: bool) -> str:
        return _state_of(await self._looked(on_loop=on_loop))

    async def _waited(
        self,
        timeout: float | None,
        propagate: bool,
        callback: Callable[[str, Any], Any] | None = None,
        *,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        interval: float = 0.5,
        wait_for_submit: bool = False,
        on_loop: bool,
    ) -> Any:
        """Wait for the end and return the value, or raise; see ``get``."""
        if self._ignored:
            return None
        settled = self._settled
        if settled is None and on_message is None and on_interval is None:
            settled = self._settled = await self._ending(timeout, wait_for_submit, on_loop)
        elif settled is None:
            coming = self._exchange(on_loop).aarrivals(
                [self._key],
                timeout=timeout,
                interval=None if on_interval is None else interval,
                wait_for_submit=wait_for_submit,
                progress=on_message is not None,
            )
            settled = self._settled = await self._watched(coming, on_message, on_interval)
        value = self._value_of(settled)
        if propagate and settled.state in PROPAGATE_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return value

    def _ending(self, timeout: float | None, wait_for_submit: bool, on_loop: bool) -> "Awaitable[Settled]":
        """Return what waits for the end and for nothing else: the hot path, where thousands may wait at once."""
        exchange, outcome = self._exchange(on_loop), self._outcome
        if outcome is not None:
            return exchange.await_node(self._graph, outcome.node, timeout=timeout, wait_for_submit=wait_for_submit)
        place = ids.parse(self.id)
        if place is not None:
            return exchange.await_node(*place, timeout=timeout, wait_for_submit=wait_for_submit)
        return self._named_end(exchange, timeout, wait_for_submit)

    async def _named_end(self, exchange: "Exchange", timeout: float | None, wait_for_submit: bool) -> "Settled":
        """Wait for the end of a call that is known by the user's own id only."""
        found = await exchange.await_settled([self.id], timeout=timeout, wait_for_submit=wait_for_submit)
        return found[self.id]

    async def _watched(
        self,
        coming: "AsyncGenerator[tuple[str, Settled] | None, None]",
        on_message: Callable[[dict[str, Any]], Any] | None,
        on_interval: Callable[[], Any] | None,
    ) -> "Settled":
        """Wait for the end and tell what happens meanwhile."""
        async with aclosing(coming):
            async for one in coming:
                if one is None:
                    if on_interval is not None:
                        on_interval()
                    continue
                if on_message is not None:
                    on_message(self._meta(one[1]))
                if one[1].state in READY_STATES:
                    return one[1]
        message = f"the wait for {self.id} ended without a result; wait for it again"
        raise GrpcflowError(message)

    # --- how it is shown ----------------------------------------------------------------------------------

    def _meta(self, found: "Settled") -> dict[str, Any]:
        """Return how it stands as Celery's record of a result; ``skipped`` is there where a reader missed states."""
        missed = {"skipped": found.skipped} if found.skipped else {}
        return {
            "task_id": self.id,
            "status": found.custom_state or found.state,
            "result": self._shown(found),
            "traceback": found.failure.traceback if found.failure is not None else None,
            "children": [],
            "date_done": found.settled_at,
            **missed,
        }

    def _shown(self, found: "Settled") -> Any:
        """Return what stands for the value now."""
        from grpcflow import codec, failures

        if found.custom_state and found.meta is not None:
            data, content = found.meta
            return codec.decode(data, content, accept=self.app.conf.accepted_values) if data else None
        if found.state in READY_STATES:
            return self._value_of(found)
        return None if found.failure is None else failures.rebuild(found.failure, self.app.conf.exception_modules)


def _state_of(found: "Settled | None") -> str:
    """Return the word for how a call stands."""
    return "PENDING" if found is None else found.custom_state or found.state
