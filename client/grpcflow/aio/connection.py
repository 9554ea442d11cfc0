"""The connection of one event loop to the coordinator, and which loop has which.

All that is asked is in ``exchange``, the same for threads. Importing this imports grpc: do it at first use.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc
import grpc.aio

import grpcflow
from grpcflow import errors, forking
from grpcflow.aio.link import was_cancelled
from grpcflow.aio.reading import LoopReader
from grpcflow.aio.session import LoopSession, LoopWaiter
from grpcflow.calls import Calls
from grpcflow.channels import Door
from grpcflow.credentials import Credentials, credentials_of
from grpcflow.exchange import Exchange
from grpcflow.items import OpenReader
from grpcflow.retry_policy import RetryPolicy
from grpcflow.settled import Settled

__all__ = ["LoopConnection", "close_connections", "connection_on_loop"]


class LoopConnection(Exchange):
    """The running event loop's connection to one coordinator; opened at first use and again whenever it breaks.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, tried in turn.
        retry_policy: How unreachable ones are tried again; default 4 tries within 3 seconds.
        connect_timeout: Seconds that a coordinator has to welcome a new stream; default 5.
        credentials: Certificates and token; None: neither.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        *,
        retry_policy: RetryPolicy | None = None,
        connect_timeout: float = 5.0,
        credentials: Credentials | None = None,
    ) -> None:
        self.addresses = tuple(addresses)
        if not self.addresses:
            message = "there is no coordinator's address: name one in app.conf.coordinator or GRPCFLOW_COORDINATOR"
            raise errors.ImproperlyConfigured(message)
        self.credentials = credentials or Credentials()
        self.credentials.check(self.addresses)
        policy, door = retry_policy or RetryPolicy(), Door(self.credentials)
        session = LoopSession(self.addresses, policy, connect_timeout, grpcflow.__version__, door)
        super().__init__(session, _LoopCalls(session))
        self._loop_session = session
        self._home: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self._thread = 0
        self._open_reader = self._reader

    def _reader(self, ask: OpenReader) -> LoopReader:
        return LoopReader(self._loop_session, ask)

    async def aclose(self) -> None:
        """End it; whoever waits on it gets CoordinatorUnavailable. Returns once nothing of it is left on the loop."""
        await self._loop_session.aclose()

    async def await_node(self, graph: bytes, index: int, *, timeout: float | None, wait_for_submit: bool) -> Settled:
        """Wait as said there, in one coroutine and with one future."""
        session = self._loop_session
        data = session.at_hand(graph, index)
        if data is not None:
            return Settled("SUCCESS", data)
        begun = None if wait_for_submit else session.begin_slot(graph, index, timeout)
        if begun is not None:
            slot, turn = begun
            try:
                came = await slot
            finally:
                session.end_slot(graph, index, slot, turn)
            if came is not None and not isinstance(came, LoopWaiter):
                return Settled("SUCCESS", came)
            waiter = came or LoopWaiter(graph, index)
        else:
            waiter = session.begin_wait(graph, index, timeout, waits_for_submit=wait_for_submit)
            try:
                if not waiter.done:
                    await waiter.wake
            finally:
                session.end_wait(waiter)
        if waiter.error is not None:
            raise waiter.error
        settled = waiter.settled
        return settled if settled is not None and settled.data is not None else await self._ended(waiter, timeout)

    @property
    def is_usable_here(self) -> bool:
        """True where it is open, and belongs to the event loop whose task runs here; else that is found the long way.

        Asking for the running loop itself is a system call each time, to see that it is that of no other process.
        """
        loop = None if self._home is None else self._home()
        if loop is None or self._thread != threading.get_ident() or asyncio.current_task(loop) is None:
            return False
        forking.check_usable()
        return not self._session.is_closed

    def settle_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which event loop it is the connection of."""
        self._home = weakref.ref(loop)
        self._thread = threading.get_ident()

    @property
    def is_closed(self) -> bool:
        """True once it was closed, or its loop has cancelled all that ran on it."""
        return self._session.is_closed


class _Cut(grpc.RpcError):
    """A call that ended because its channel was closed."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED


class _LoopCalls(Calls):
    """Makes calls over the session's links, from coroutines."""

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _one(self, call: Callable[[], Any]) -> Any:
        return await _taken(call, _awaited)

    async def _all(self, call: Callable[[], Any]) -> list[Any]:
        found: list[Any] = await _taken(call, _collected)
        return found


async def _awaited(call: Any) -> Any:
    return await call


async def _collected(call: Any) -> list[Any]:
    return [message async for message in call]


async def _taken(call: Callable[[], Any], take: Callable[[Any], Any]) -> Any:
    """Take the answer of a call; where its channel is closed meanwhile, fail as a call of a thread does."""
    try:
        return await take(call())
    except grpc.aio.UsageError as error:
        raise ValueError(str(error)) from None
    except asyncio.CancelledError:
        if was_cancelled():
            raise
        raise _Cut from None


#: Seconds that grpc has for what it does at the end of calls.
_LAST_WORDS: Final = 1.0


# --- one for each event loop and address ---------------------------------------------------------------------


#: Addresses, and what is shown there.
_Key = tuple[tuple[str, ...], Credentials]


class _Loops:
    """The connections of this process by their event loops, addresses and credentials."""

    def __init__(self) -> None:
        self.renew()
        self.connections: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, LoopConnection]] = (
            weakref.WeakKeyDictionary()
        )

    def renew(self) -> None:
        """Take a free lock: another thread may have held it when this process was forked."""
        self.lock = threading.Lock()

    def of(self, loop: asyncio.AbstractEventLoop) -> dict[_Key, LoopConnection]:
        """Return those of one loop; with its first, those of loops that are closed are let go."""
        mine = self.connections.get(loop)
        if mine is not None:
            return mine
        with self.lock:
            for other in [one for one in self.connections if one.is_closed()]:
                del self.connections[other]
            return self.connections.setdefault(loop, {})


_LOOPS: Final = _Loops()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LOOPS.renew)


def connection_on_loop(addresses: Iterable[str], credentials: Credentials | None = None) -> LoopConnection:
    """Return the running event loop's connection to these addresses; one that was closed is replaced.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, in the order in which they are tried.
        credentials: Certificates and token; None: those that the environment names.

    Raises:
        ForkedEventLoop: This process was forked while an event loop was connected.
        ImproperlyConfigured: There is no address.
        RuntimeError: No event loop runs here.
    """
    loop = asyncio.get_running_loop()
    forking.check_usable()
    shown = credentials_of({}) if credentials is None else credentials
    mine, key = _LOOPS.of(loop), (tuple(addresses), shown)
    connection = mine.get(key)
    if connection is None or connection.is_closed:
        connection = mine[key] = LoopConnection(key[0], credentials=shown)
        connection.settle_on(loop)
    return connection


async def close_connections(addresses: Iterable[str] | None = None) -> None:
    """Close connections of the running event loop, where there are any; the next call opens a new one.

    Args:
        addresses: Of which coordinator; None: all.
    """
    mine = _LOOPS.connections.get(asyncio.get_running_loop(), {})
    asked = None if addresses is None else tuple(addresses)
    wanted = [key for key in mine if asked in (None, key[0])]
    for key in wanted:
        connection = mine.pop(key, None)
        if connection is not None:
            await connection.aclose()
    if wanted and not mine:
        await _last_words()


async def _last_words() -> None:
    """Let grpc end what it still does on this loop for calls whose channel is closed: it does not say when it has.

    Whoever has calls of grpc's own on the loop beside ours waits in vain, and shortly.
    """
    left = [task for task in asyncio.all_tasks() if _is_of_a_call(task)]
    if left:
        await asyncio.wait(left, timeout=_LAST_WORDS)


def _is_of_a_call(task: "asyncio.Task[Any]") -> bool:
    return getattr(task.get_coro(), "__qualname__", "").startswith("_AioCall.")
