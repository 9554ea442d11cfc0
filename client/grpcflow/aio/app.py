"""What an app has for coroutines: the loop's own connection, submitting, and closing it.

Importing it must stay light: it may import neither asyncio nor grpc.
"""

import weakref
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from grpcflow.batch import is_open

if TYPE_CHECKING:
    from grpcflow.aio.connection import LoopConnection
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.signature import Signature
    from grpcflow.exchange import Exchange
    from grpcflow.graph.model import Cancelled, Explanation, Retried, Summary
    from grpcflow.result import AsyncResult
    from grpcflow.task import Task

__all__ = ["AwaitableApp"]


class AwaitableApp:
    """The app's methods for event loops.

    Each running loop has a connection of its own, made at the first call there. ``asyncio.run`` ends it; a loop that is
    closed by hand wants ``await app.aclose()`` before, or ``async with app:``.
    """

    _connected_on_loop: "tuple[object, weakref.ref[LoopConnection] | None]" = (None, None)

    @property
    def _app(self) -> "Grpcflow":
        return self  # type: ignore[return-value]  # of which this is a part; a cast costs a call at each use

    @property
    def loop_connection(self) -> "LoopConnection":
        """The running event loop's connection to the coordinator, opened at first use.

        Raises:
            ForkedEventLoop: This process was forked while an event loop was connected.
            RuntimeError: No event loop runs here.
        """
        # As for threads; neither the loop nor what belongs to it is kept alive by that.
        conf = self._app.conf
        said, found = self._connected_on_loop
        connection = None if found is None else found()
        if connection is not None and said == conf.said and connection.is_usable_here:
            return connection
        from grpcflow.aio.connection import connection_on_loop

        connection = connection_on_loop(conf.addresses, conf.credentials)
        self._connected_on_loop = conf.said, weakref.ref(connection)
        return connection

    def _exchange(self, on_loop: bool) -> "Exchange":
        """Return what asks the coordinator: on the running event loop, or here and now."""
        return self.loop_connection if on_loop else self._app.connection

    async def asubmit(
        self,
        canvas: "Signature",
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Submit a canvas as one graph, on the running event loop; parameters, result and errors as in ``submit``."""
        return await self._app._submitted(canvas, args, kwargs, options, on_loop=True)

    async def _acalled(self, task: "Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Submit a call with these arguments, on the running event loop, the short way where there is one."""
        waiting = self._leaving(task, args, kwargs)
        if waiting is None:
            return await task.aapply_async(args, kwargs)
        del args, kwargs  # thousands may wait here at once: less for the collector of garbage to look at
        return self._app._made_plain(await waiting, None)

    def _leaving(
        self, task: "Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> "Awaitable[tuple[bytes, int]] | None":
        """Send a call with others of this moment, and return what gives its place in their graph; None: it may not."""
        plain = None if is_open() else self._app._plain_call(task, args, kwargs)
        return None if plain is None else self.loop_connection.asubmit_call(*plain)

    async def asend_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "AsyncResult[Any]":
        """Submit a call by the name of its task, on the running event loop; the rest as in ``send_task``."""
        app = self._app
        made: AsyncResult[Any] = await app._send(app._named(name, args, kwargs), (), None, options, on_loop=True)
        return made

    async def aexplain(self, id: str) -> "Explanation":
        """Say why a task is where it is, on the running event loop; the rest as in ``explain``."""
        from grpcflow.graph import reading

        return reading.explanation(await self.loop_connection.aexplain(id), id)

    async def acancel_graph(self, id: str, terminate: bool = False, signal: str = "SIGTERM") -> "Cancelled":
        """End everything of a graph that has not settled, on the running event loop; as ``graph(id).cancel``."""
        from grpcflow.graph import reading

        return reading.cancelled(await self.loop_connection.acancel_graph(id, terminate, signal))

    async def aretry_graph(self, id: str) -> "Retried":
        """Run again what did not succeed of a graph, on the running event loop; as ``graph(id).retry``."""
        from grpcflow.graph import reading

        return reading.retried(await self.loop_connection.aretry_graph(id))

    async def agraph_summary(self, id: str) -> "Summary":
        """Return a graph in short, on the running event loop; as ``graph(id).summary``."""
        from grpcflow.graph import reading

        return reading.summary(await self.loop_connection.agraph_summary(id))

    async def aclose(self) -> None:
        """End the running event loop's connection; who waits on it is told, and the next call opens a new one."""
        from grpcflow.aio.connection import close_connections

        await close_connections(self._app.conf.addresses)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the running event loop's connection; unlike ``with app:``, the app itself stays as it is."""
        await self.aclose()
