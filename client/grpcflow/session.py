"""The client's session: what was asked and not yet answered, over whichever link is open now.

Knows nothing of graphs' contents and results' meaning. One driver reads the link; when it breaks, the driver opens
another (the next address of the list) and asks again for everything that is still open: the same submissions and what
is missing of the watches. Who waits looks after the link.

All of it is written once, as coroutines. ``threaded`` fills in how a thread waits, by blocking, so that every await
returns at once; ``aio.session`` how an event loop does. This file may neither block nor know a loop.
"""

import logging
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from grpcflow import errors, ids, statuses
from grpcflow.ahead import Ahead
from grpcflow.driving import Driven
from grpcflow.foresight import Foresight
from grpcflow.link import Link, Received
from grpcflow.pool import Pooled
from grpcflow.retry_policy import RetryPolicy
from grpcflow.submission import Submission
from grpcflow.waiting import NodeWaiter, Operation, Waiter
from grpcflow.watches import unwatch, watch, watches
from grpcflow_protos.v1 import client_service_pb2
from grpcflow_protos.wire_parts import Piece, joined, opened

if TYPE_CHECKING:
    from grpcflow.lower.model import TemplateSpec

__all__ = ["TICK", "RetryPolicy", "Session"]

_log: Final = logging.getLogger("grpcflow.connection")

#: Comes between the results of a watch at every interval that was asked for.
TICK: Final = object()


class Session(Driven):
    """All that one thread's side or one event loop has open with one coordinator.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, tried in turn.
        policy: How unreachable ones are tried again.
        connect_timeout: Seconds that a coordinator has to welcome a new link.
        version: Version of the client, for people.
        door: Opens channels.
    """

    def _begin(self) -> None:
        super()._begin()
        self._foresight, self._ahead = Foresight(), Ahead()

    # --- how one waits ------------------------------------------------------------------------------------

    @abstractmethod
    def _prepare(self, operation: Operation) -> None:
        """Get an operation ready for being waited for here."""

    @abstractmethod
    def _look(self) -> float:
        """See to it that the link is looked after while somebody waits; return the seconds until the next look."""

    @abstractmethod
    async def _next(self, operation: Operation, seconds: float) -> object:
        """Wait for the next item that an operation is woken with; None where none came in time."""

    # --- operations ---------------------------------------------------------------------------------------

    async def submit(
        self, graph: bytes, pieces: Sequence[Piece], deadline: float, *, once: bool = False, single: bool = False
    ) -> None:
        """Send a graph and wait until it is durable.

        Args:
            graph: The graph's id.
            pieces: Encoded ``SessionRequest`` messages, one for each chunk.
            deadline: Monotonic time to give up at.
            once: True: give up as soon as no address could be reached.
            single: True: it is one task, for whose result somebody may be about to wait.

        Raises:
            GrpcflowError: The coordinator refused it, could not be reached, or did not answer in time.
        """
        posted = [Submission(graph, pieces, once)]
        self.post(posted, singles=(graph,) if single else ())
        await self.settle(posted, deadline)
        if posted[0].error is not None:
            raise posted[0].error

    @abstractmethod
    def submit_call(self, template: "TemplateSpec", payload: bytes, deadline: float) -> Awaitable[tuple[bytes, int]]:
        """Send one plain call, with others of this moment; to be awaited: until it is durable.

        Returns:
            Its graph, and the index of its node.

        Raises:
            The errors of ``submit``.
        """

    def _send_pooled(self, pooled: Pooled) -> None:
        """Send what has gathered; where that cannot be, who waits is told."""
        count = pooled.bundle.count
        try:
            pooled.pieces = pooled.bundle.encoded()
            if count == 1:
                self.post([pooled], singles=(pooled.graph,))
            else:
                self.post([pooled], bundles={pooled.graph: count})
        except errors.GrpcflowError as error:
            pooled.finish(error)

    def _give_up(self, pooled: Pooled) -> None:
        """Tell those who wait that nobody answered in time."""
        with self._changed:
            self._submissions.discard(pooled)
            pooled.finish(self._unacknowledged())

    def post(
        self,
        posted: Sequence[Submission],
        *,
        singles: Collection[bytes] = (),
        bundles: Mapping[bytes, int] = MappingProxyType({}),
    ) -> None:
        """Send graphs and do not wait; ``settle`` must follow.

        Args:
            posted: The graphs.
            singles: Those of them that are one task, for whose result somebody may be about to wait.
            bundles: Those of them that are independent calls, and how many these are.

        Raises:
            CoordinatorUnavailable: The connection is closed; nothing was sent.
        """
        with self._changed:
            for submission in posted:
                self._prepare(submission)
                self._submissions.add(submission)
            try:
                open_now = self._ensure_link()
            except errors.GrpcflowError:
                for submission in posted:
                    self._submissions.discard(submission)
                raise
            if open_now and self._link is not None:
                for submission in posted:
                    if singles and len(posted) == 1 and self._foresight.expects(submission.graph, self._link.number):
                        # Encoded messages one after the other are one message.
                        self._link.send(b"".join([*map(joined, submission.pieces), watch(submission.graph, [(0, 1)])]))
                    else:
                        self._link.send(*submission.pieces)
                for graph in singles if len(posted) > 1 else ():
                    self._foresight.made(graph)
            else:
                self._pause.set()
            link = self._link if open_now else None
            for graph, count in bundles.items():
                if self._ahead.sent(graph, count, None if link is None else link.number) and link is not None:
                    link.send(watch(graph, [(0, count)]))

    async def settle(self, posted: Sequence[Submission], deadline: float) -> None:
        """Wait until graphs that were posted are durable; what went wrong with one is its ``error``.

        Args:
            posted: What ``post`` returned.
            deadline: Monotonic time to give up at.

        Raises:
            TimeoutError: They were not all acknowledged in time.
            CoordinatorUnavailable: The connection was closed.
        """
        try:
            for submission in posted:
                if not submission.done:
                    await _drain(self._items(submission, deadline))
                if not submission.done:
                    raise self._unacknowledged()
        finally:
            with self._changed:
                for submission in posted:
                    self._submissions.discard(submission)

    async def arrivals(
        self, waiter: Waiter, deadline: float | None, interval: float | None = None
    ) -> AsyncGenerator[object, None]:
        """Watch nodes until the waiter has them all (then it is ``done``), the deadline comes, or who iterates stops.

        Args:
            waiter: Names the nodes and takes the results.
            deadline: Monotonic time to give up at; None: never, though warnings say what is waited for.
            interval: Seconds after which ``TICK`` comes, again and again; None: never.

        Yields:
            What the waiter puts into its queue, and ``TICK``. All that has come when the deadline does, too.

        Raises:
            GrpcflowError: The coordinator refused the watch, or the connection was closed.
        """
        try:
            # Inside, since an interrupt may come at any moment.
            self.begin_watch(waiter)
            async with aclosing(self._items(waiter, deadline, interval)) as items:
                async for item in items:
                    yield item
        finally:
            self.end_watch(waiter)
        # From here on it is told nothing more: what is there is what came before the end, and has an end.
        while not waiter.wake.empty():
            item = waiter.wake.get_nowait()
            if item is not None:
                yield item
        if waiter.error is not None:
            raise waiter.error

    async def wait_for(self, waiter: NodeWaiter, deadline: float | None) -> None:
        """Wait until a node has settled, or the deadline comes; the short way of ``arrivals``.

        Raises:
            The errors of ``arrivals``.
        """
        try:
            self.begin_watch(waiter)
            while not waiter.done:
                pause = self._look()
                if deadline is not None:
                    pause = min(pause, deadline - time.monotonic())
                    if pause <= 0:
                        break
                await self._next(waiter, pause)
        finally:
            self.end_watch(waiter)
        if waiter.error is not None:
            raise waiter.error

    def at_hand(self, graph: bytes, index: int) -> bytes | None:
        """Return the value of a node of a bundle that has come already, once; None: it is to be waited for."""
        with self._changed:
            return self._ahead.take(graph, index)

    def begin_watch(self, waiter: Waiter) -> None:
        """Ask for a waiter's nodes, now and again whenever a link was opened anew.

        Raises:
            CoordinatorUnavailable: The connection is closed.
        """
        with self._changed:
            self._prepare(waiter)
            self._waiters.add(waiter)
            open_now = self._ensure_link()
            link = self._link if open_now else None
            if link is not None and isinstance(waiter, NodeWaiter):
                data = self._ahead.take(waiter.graph, waiter.index)
                if data is not None:
                    waiter.take_values(waiter.graph, (waiter.index,), (data,))
                    return
                ranges = self._ahead.wanted(waiter.graph, waiter.index, link.number)
                if ranges is not None:
                    if ranges:  # mostly it is on its way
                        link.send(*(watch(waiter.graph, [one]) for one in ranges))
                    return
            further = self._foresight.waits(waiter, None if link is None else link.number)
            if link is not None and further is not None:
                link.send(*watches(waiter), *(watch(graph, [(0, 1)]) for graph in further))

    def end_watch(self, waiter: Waiter) -> None:
        """Tell a waiter nothing any more."""
        with self._changed:
            self._waiters.discard(waiter)
            if not (waiter.done and isinstance(waiter, NodeWaiter)):
                self._unwatch(waiter)

    @property
    def is_closed(self) -> bool:
        """True once ``close`` was called."""
        return self._closed

    def close(self) -> None:
        """End the session: whoever waits is told, and no new operation is taken. May be called again."""
        with self._changed:
            self._closed = True
            self._fail_all(errors.CoordinatorUnavailable("the connection was closed"))
            self._stop_link("closed")

    # --- who waits ----------------------------------------------------------------------------------------

    async def _items(
        self, operation: Operation, deadline: float | None, interval: float | None = None
    ) -> AsyncGenerator[object, None]:
        """Yield what an operation is woken with until it is done, or the deadline comes."""
        tick = None if interval is None else time.monotonic() + interval
        while not (operation.done and operation.wake.empty()):
            pause = self._look()
            now = time.monotonic()
            if deadline is not None:
                if now >= deadline:
                    return
                pause = min(pause, deadline - now)
            if tick is not None:
                pause = min(pause, max(0.0, tick - now))
            item = await self._next(operation, pause)
            if item is not None:
                yield item
            if tick is not None and interval is not None and time.monotonic() >= tick:
                tick = time.monotonic() + interval
                yield TICK

    # --- what comes in ------------------------------------------------------------------------------------

    def _receive(self, link: Link, received: Received) -> None:
        """Take one message of the coordinator. The driver."""
        message, apart = opened(received)
        with self._changed:
            link.heard = time.monotonic()
            if link.welcome is None and message.HasField("welcome"):
                link.welcome = message.welcome
                self._failures, self._refusal = 0, None
                self._submissions.welcomed()
            for graph in message.accepted:
                self._submissions.finish(graph, None)
            for refused in message.refused:
                self._take_refusal(refused)
            for told in message.progress:  # before the ends: what a node said stands before its end
                self._waiters.take_progress(told)
            for column in message.successes:
                # Plain lists are five times as quick; there is one column where values are apart.
                indexes, values = list(column.indexes), apart or list(column.values)
                left = self._waiters.take_values(column.graph, indexes, values)
                if self._ahead.came(column.graph, indexes, left):
                    continue
                if left:
                    self._foresight.keep(column.graph, left)
                else:  # who waited before has it: who waits next must ask
                    self._foresight.missed(column.graph)
            for result in message.results:
                self._waiters.take_result(result)
                graph = result.node[: ids.GRAPH_BYTES]
                self._foresight.missed(graph)
                self._ahead.missed(graph, int.from_bytes(result.node[ids.GRAPH_BYTES :], "big"))

    def _take_refusal(self, refused: client_service_pb2.Refused) -> None:
        error = statuses.error_of_refusal(refused.refusal)
        if refused.graph:
            self._submissions.finish(refused.graph, error)
        self._foresight.missed(refused.nodes.graph)  # nothing comes of what was asked for ahead
        for one in refused.nodes.ranges:
            for index in range(one.first, one.first + one.count):
                self._ahead.missed(refused.nodes.graph, index)
        for waiter in self._waiters.meant_by(refused.nodes):
            # The same nodes may be asked for by one who waits for them to be submitted and one who does not.
            if not (waiter.waits_for_submit and error.code == "UNKNOWN_NODE"):
                waiter.finish(error)

    def _unwatch(self, waiter: Waiter) -> None:
        """Tell the coordinator that results are no longer wanted, where no other waiter wants them."""
        if self._link is None:
            return
        for graph, ranges in waiter.missing():
            if not self._waiters.wanted(graph, ranges):
                self._link.send(unwatch(graph, ranges))
                if isinstance(waiter, NodeWaiter):
                    self._ahead.missed(graph, waiter.index)
        names = [name for name in waiter.missing_names() if not self._waiters.named(name)]
        if names:
            self._link.send(unwatch(names=names))


async def _drain(items: AsyncGenerator[object, None]) -> None:
    """Take everything."""
    async with aclosing(items):
        async for _ in items:
            pass
