"""The client's session: what was asked and not yet answered, over whichever link is open now.

Knows nothing of graphs' contents and results' meaning. One driver reads the link; when it breaks, the driver opens
another (the next address of the list) and asks again for everything that is still open: the same submissions and what
is missing of the watches. Who waits looks after the link.

All of it is written once, as coroutines. ``threaded`` fills in how a thread waits, by blocking, so that every await
returns at once; ``aio.session`` how an event loop does. This file may neither block nor know a loop.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import grpc

from grpcflow import errors, forking, ids, statuses
from grpcflow.foresight import Foresight
from grpcflow.guards import Lock, Pause
from grpcflow.link import Link
from grpcflow.retry_policy import RetryPolicy
from grpcflow.submission import Submission, Submissions
from grpcflow.waiting import Operation, Waiter, Waiters
from grpcflow.watches import unwatch, watch, watches
from grpcflow_protos.v1 import client_service_pb2

__all__ = ["TICK", "RetryPolicy", "Session"]

_log: Final = logging.getLogger("grpcflow.connection")

#: Comes between the results of a watch at every interval that was asked for.
TICK: Final = object()

#: Seconds of silence after which the coordinator is asked for a sign of life, and how long it has for it.
_SILENCE: Final = 5.0
_PROBE_TIME: Final = 5.0
#: Seconds between two looks at a link that is about to change.
_LOOK: Final = 0.5
#: Seconds between two warnings about the same outage.
_WARN_EVERY: Final = 30.0
#: Seconds before a link that had worked is opened again.
_AGAIN: Final = 0.05


class Session(ABC):
    """All that one thread's side or one event loop has open with one coordinator.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, tried in turn.
        policy: How unreachable ones are tried again.
        connect_timeout: Seconds that a coordinator has to welcome a new link.
        version: Version of the client, for people.
    """

    _changed: Lock
    _pause: Pause

    def __init__(self, addresses: Sequence[str], policy: RetryPolicy, connect_timeout: float, version: str) -> None:
        self.addresses = tuple(addresses)
        self.policy = policy
        self._connect_timeout, self._version = connect_timeout, version
        self._submissions = Submissions()
        self._waiters = Waiters()
        self._opened = 0
        self._failures = 0
        self._last_fault = ""
        self._warned_at = 0.0
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        """Set everything that a new process starts without."""
        self._link: Link | None = None
        self._driven = False
        self._resting = False
        self._borrowed = 0
        self._foresight = Foresight()

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

    @abstractmethod
    async def _wait_for_change(self, seconds: float) -> None:
        """Wait until something of the session has changed, or the time is over. Lock held."""

    @abstractmethod
    def _new_link(self, address: str) -> Link:
        """Open a link."""

    @abstractmethod
    def _begin_driving(self) -> None:
        """Have ``_drive`` run beside whatever else goes on. Lock held."""

    # --- operations ---------------------------------------------------------------------------------------

    async def submit(
        self, graph: bytes, pieces: Sequence[bytes], deadline: float, *, once: bool = False, single: bool = False
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
        posted = self.post([(graph, pieces)], once=once, singles=(graph,) if single else ())
        await self.settle(posted, deadline)
        for submission in posted:
            if submission.error is not None:
                raise submission.error

    def post(
        self, graphs: Iterable[tuple[bytes, Sequence[bytes]]], *, once: bool = False, singles: Collection[bytes] = ()
    ) -> list[Submission]:
        """Send graphs and do not wait; ``settle`` must follow. Arguments are those of ``submit``, for each graph.

        ``singles`` names those of them that are one task, for whose result somebody may be about to wait.

        Raises:
            CoordinatorUnavailable: The connection is closed; nothing was sent.
        """
        posted = [Submission(graph, pieces, once) for graph, pieces in graphs]
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
                        self._link.send(b"".join([*submission.pieces, watch(submission.graph, [(0, 1)])]))
                    else:
                        self._link.send(*submission.pieces)
                for graph in singles if len(posted) > 1 else ():
                    self._foresight.made(graph)
            else:
                self._pause.set()
        return posted

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
                    message = (
                        f"{self._where()} did not acknowledge a graph in time; it may have it all the same: "
                        "submitting the same chunks again is the same submission"
                    )
                    raise errors.TimeoutError(message)
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
            What the waiter puts into its queue, and ``TICK``.

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
        if waiter.error is not None:
            raise waiter.error

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
            further = self._foresight.waits(waiter, None if link is None else link.number)
            if link is not None and further is not None:
                link.send(*watches(waiter), *(watch(graph, [(0, 1)]) for graph in further))

    def end_watch(self, waiter: Waiter) -> None:
        """Tell a waiter nothing any more."""
        with self._changed:
            self._waiters.discard(waiter)
            self._unwatch(waiter)

    @asynccontextmanager
    async def lend(self, deadline: float) -> AsyncIterator[Link]:
        """Lend an open link for one call; the link may break meanwhile, and the call with it.

        Args:
            deadline: Monotonic time to give up at.

        Raises:
            CoordinatorUnavailable: No link could be opened until then, or the connection is closed.
        """
        with self._changed:
            self._ensure_link()
            while self._link is None:
                self._pause.set()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self.unavailable()
                await self._wait_for_change(min(left, _LOOK))
                self._ensure_link()
            link = self._link
            self._borrowed += 1
        changed = self._changed
        try:
            yield link
        finally:
            del link
            with changed:
                if changed is self._changed:  # else: this is a forked child now, which counts anew
                    self._borrowed -= 1
                    changed.notify_all()

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

    def unavailable(self) -> errors.CoordinatorUnavailable:
        """Return the error that names the address and what went wrong."""
        fault = f": {self._last_fault}" if self._last_fault else ""
        message = (
            f"{self._where()} cannot be reached{fault}. Start one with grpcflow-coordinator, "
            "or name its address in GRPCFLOW_COORDINATOR or app.conf.coordinator"
        )
        return errors.CoordinatorUnavailable(message)

    def _where(self) -> str:
        return f"the coordinator at {', '.join(self.addresses)}"

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

    def look_after_link(self) -> float:
        """Open, probe or end the link where that is due; return the seconds until the next look."""
        with self._changed:
            self._ensure_link()
            link = self._link
            if link is None:
                return _LOOK
            now = time.monotonic()
            if link.welcome is None:
                if now < link.welcome_by:
                    return min(link.welcome_by - now, _SILENCE) + 0.001
                link.abort(f"no welcome within {self._connect_timeout:g} s")
                return _LOOK
            if link.probe is not None:
                link.judge()
                return _LOOK
            quiet = now - link.heard
            if quiet < _SILENCE:
                return _SILENCE - quiet + 0.001
            link.ask(_PROBE_TIME)
            return _LOOK

    def _ensure_link(self) -> bool:
        """Open a link where there is none and nobody is about to; False where there is none yet. Lock held.

        Raises:
            CoordinatorUnavailable: The connection is closed.
            ForkedEventLoop: This process was forked while an event loop was connected.
        """
        if self._closed:
            message = "the connection was closed"
            raise errors.CoordinatorUnavailable(message)
        forking.check_usable()
        if self._link is not None:
            return True
        if self._resting:
            return False
        if self._driven:
            return False
        # What this opens sends everything that is open, the caller's own included.
        self._open()
        self._driven = True
        self._begin_driving()
        return False

    # --- the driver ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open a link to the next address and ask for all that is open. Lock held."""
        address = self.addresses[self._opened % len(self.addresses)]
        self._opened += 1
        link = self._new_link(address)
        for submission in self._submissions:
            link.send(*submission.pieces)
        for waiter in self._waiters:
            link.send(*watches(waiter))
        self._link = link
        self._changed.notify_all()

    async def _drive(self) -> None:
        """Read links, one after the other, for as long as anything is open. The driver."""
        while True:
            with self._changed:
                link = self._link
            if link is None:
                return
            error = await link.read(self._receive)
            await link.close()
            with self._changed:
                self._link = None
                delay = self._link_ended(link, error)
                del link, error
                if delay is None:
                    self._driven = False
                    self._changed.notify_all()
                    return
                pause = self._pause
                pause.clear()
            await pause.rest(delay)
            with self._changed:
                if not self._goes_on():
                    self._driven = False
                    self._changed.notify_all()
                    return
                self._open()

    def _goes_on(self) -> bool:
        return not (self._closed or self._resting) and bool(self._submissions or len(self._waiters))

    def _link_ended(self, link: Link, error: grpc.RpcError | None) -> float | None:
        """Decide what a broken link means; return the seconds until the next one, or None for no next one."""
        if self._closed or self._resting:
            return None
        self._last_fault = link.describe(error)
        if error is not None and not link.fault and not statuses.is_passing(error):
            self._fail_all(statuses.error_of_call(error))
            return None
        worked = link.welcome is not None
        self._failures = 0 if worked else self._failures + 1
        self._submissions.link_ended(worked, self.policy, len(self.addresses), self.unavailable)
        if not self._goes_on():
            return None
        self._warn()
        return _AGAIN if worked else self.policy.delay(self._failures)

    def _warn(self) -> None:
        """Say once in a while what is waited for while the coordinator is away."""
        now = time.monotonic()
        if len(self._waiters) == 0 or now - self._warned_at < _WARN_EVERY:
            return
        self._warned_at = now
        missing = sum(waiter.missing_count() for waiter in self._waiters)
        _log.warning("%s is lost (%s); still waiting for %d results", self._where(), self._last_fault, missing)

    # --- what comes in ------------------------------------------------------------------------------------

    def _receive(self, link: Link, message: client_service_pb2.SessionResponse) -> None:
        """Take one message of the coordinator. The driver."""
        with self._changed:
            link.heard = time.monotonic()
            if link.welcome is None and message.HasField("welcome"):
                link.welcome = message.welcome
                self._failures = 0
                self._submissions.welcomed()
            for graph in message.accepted:
                self._submissions.finish(graph, None)
            for refused in message.refused:
                self._take_refusal(refused)
            for told in message.progress:  # before the ends: what a node said stands before its end
                self._waiters.take_progress(told)
            for column in message.successes:
                indexes, values = list(column.indexes), list(column.values)  # plain lists are five times as quick
                waiters = tuple(self._waiters.of(column.graph))
                for waiter in waiters:
                    waiter.take_values(column.graph, indexes, values)
                if not waiters:
                    self._foresight.keep(column.graph, indexes, values)
            for result in message.results:
                self._waiters.take_result(result)
                self._foresight.missed(result.node[: ids.GRAPH_BYTES])

    def _take_refusal(self, refused: client_service_pb2.Refused) -> None:
        error = statuses.error_of_refusal(refused.refusal)
        if refused.graph:
            self._submissions.finish(refused.graph, error)
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
        names = [name for name in waiter.missing_names() if not self._waiters.named(name)]
        if names:
            self._link.send(unwatch(names=names))

    def _fail_all(self, error: Exception) -> None:
        self._submissions.fail_all(error)
        for waiter in self._waiters:
            waiter.finish(error)

    def _stop_link(self, fault: str) -> None:
        """End the link and wake the driver. Lock held."""
        if self._link is not None:
            self._link.abort(fault)
        self._pause.set()
        self._changed.notify_all()


async def _drain(items: AsyncGenerator[object, None]) -> None:
    """Take everything."""
    async with aclosing(items):
        async for _ in items:
            pass
