"""Handlers of events in Celery's shape: ``app.events.Receiver``. May not import grpc or protobuf."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from grpcflow import errors, ids
from grpcflow.event_model import CUSTOM, HEARTBEAT, Event, EventFilter, EventPage

if TYPE_CHECKING:
    from grpcflow.control import Connected

__all__ = ["Receiver", "shapes"]

_log: Final = logging.getLogger("grpcflow.events")

#: Seconds between two looks at whether it shall stop.
_LOOK: Final = 1.0

#: How the wire calls the state of a worker whose stream is gone.
_BROKEN: Final = 2

_Handler = Callable[[dict[str, Any]], Any]


def shapes(event: Event, received: float | None = None) -> Iterator[dict[str, Any]]:
    """Yield an event as Celery's dictionaries: one for each task that it tells of.

    Args:
        event: The event.
        received: Unix time in seconds when it arrived; None: the clock.
    """
    shared: dict[str, Any] = {
        "type": event.type,
        "hostname": event.worker,
        "timestamp": event.time.timestamp(),
        "local_received": time.time() if received is None else received,
        "clock": event.offset,
        "offset": event.offset,
        "utcoffset": 0,
    }
    if event.kind == CUSTOM:
        of = {"uuid": event.id} if event.id else {}
        yield {**shared, **of, **event.fields, "type": event.type}
    elif event.kind.startswith("task-"):
        shared.update(_told_of_tasks(event))
        if event.count == 1:
            yield {**shared, "uuid": event.ids[0]}
            return
        for node in event.nodes or range(event.count):
            yield {**shared, "uuid": ids.node_id(event.graph, node)}
    else:
        yield {**shared, **event.fields, **({"reason": event.detail} if event.detail else {})}


def _told_of_tasks(event: Event) -> dict[str, Any]:
    """Return what an event says of each of its tasks. The name of one is not that of all where several have ended."""
    sure = event.count == 1 or event.kind == "task-received"
    told: dict[str, Any] = {"name": event.task if sure else "", "queue": event.queue if sure else ""}
    told["retries"] = event.retries
    if event.kind == "task-succeeded":
        told["runtime"] = event.runtime
    elif event.kind in {"task-failed", "task-retried"}:
        told["exception"] = event.detail
    elif event.kind == "task-progress":
        told["state"] = event.detail
    elif event.detail:
        told["reason"] = event.detail
    return told


class Receiver:
    """Calls handlers with events, as they come; made by ``app.events.Receiver``.

    A lost coordinator is waited for, and read on behind the last event.

    Args:
        app: Whose coordinator is asked.
        handlers: What to call, by type; ``*`` for all that have none.
        wanted: Which events.

    Attributes:
        handlers: The same; may be changed.
        should_stop: Set to True, ``capture`` ends within a second.
        event_count: How many dictionaries were given to handlers.
        offset: Offset of the last event; ``Receiver(after=...)`` goes on there.
        missed: How many events were asked for and are no longer kept.
    """

    def __init__(self, app: "Connected", handlers: Mapping[str, _Handler], wanted: EventFilter) -> None:
        self._app = app
        self._wanted = wanted
        self.handlers = dict(handlers)
        self.should_stop = False
        self.event_count = 0
        self.offset = wanted.after or 0
        self.missed = 0
        self._rest: Iterator[dict[str, Any]] = iter(())

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Call the handlers until the limit is reached, ``should_stop`` is set, or nothing comes any more.

        Args:
            limit: Most dictionaries that handlers get; None: without end.
            timeout: Seconds without an event after which it gives up; None: never.
            wakeup: True: begin with a ``worker-heartbeat`` of each worker that is connected.

        Raises:
            TimeoutError: Nothing came for that long.
            CoordinatorUnavailable: It could not be reached, or the connection was closed.
            BaseException: What a handler raises.
        """
        with closing(self._each(limit, timeout, wakeup)) as coming:
            for _ in coming:
                pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Do what ``capture`` does, and yield each dictionary once its handler has returned; the rest as there."""
        found: Iterator[dict[str, Any]] = self._each(limit, timeout, wakeup)
        return found

    def process(self, type_: str, event: dict[str, Any]) -> None:
        """Call the handler of a type, where there is one; subclasses may override it.

        Args:
            type_: The type.
            event: The dictionary.
        """
        handler = self.handlers.get(type_) or self.handlers.get("*")
        self.event_count += 1
        if handler is not None:
            handler(event)

    def wakeup_workers(self) -> Iterator[dict[str, Any]]:
        """Yield a ``worker-heartbeat`` for each worker that is connected; the coordinator knows them."""
        from grpcflow.event_wire import load_fields  # knows the wire, so it is not loaded before it is needed

        now = time.time()
        for worker in self._app.connection.list_workers():
            if worker.state != _BROKEN:
                yield {
                    **(load_fields(worker.load) if worker.HasField("load") else {}),
                    "type": HEARTBEAT,
                    "hostname": worker.name,
                    "timestamp": now - worker.silent_ms / 1000,
                    "local_received": now,
                    "active": worker.running,
                    "pid": worker.process_id,
                    "utcoffset": 0,
                }

    def _each(self, limit: int | None, timeout: float | None, wakeup: bool) -> Any:
        """Yield dictionaries after their handlers have had them."""
        given = 0
        with closing(self._found(timeout, wakeup)) as found:
            for event in found:
                self.process(event["type"], event)
                yield event
                given += 1
                if given == limit or self.should_stop:
                    return

    def _found(self, timeout: float | None, wakeup: bool) -> Any:
        """Yield dictionaries as they come."""
        wanted = replace(self._wanted, heartbeats=not {HEARTBEAT, "*"}.isdisjoint(self.handlers))
        if self.offset:
            wanted = replace(wanted, after=self.offset)
        look = _LOOK if timeout is None else min(_LOOK, timeout)
        with closing(self._app.connection.read_events(wanted, interval=look)) as pages:
            last, waking = time.monotonic(), wakeup
            yield from self._left_over()
            for page in pages:
                if page is not None and waking:  # it is sure now that nothing is lost between this and what comes
                    waking = False
                    yield from self.wakeup_workers()
                if page is not None:
                    yield from self._given(page)
                if page is not None and page.events:
                    last = time.monotonic()
                elif self.should_stop:
                    return
                elif timeout is not None and time.monotonic() - last >= timeout:
                    raise errors.TimeoutError(f"no event came for {timeout:g} s; capture() again, or wait longer")

    def _given(self, page: EventPage) -> Iterator[dict[str, Any]]:
        """Yield what a page tells, one dictionary after the other, and note how far the feed was read."""
        if page.missed:
            self.missed += page.missed
            _log.warning("%d events are no longer kept, and were missed", page.missed)
        for event in page.events:
            self.offset, self._rest = event.offset, shapes(event)
            yield from self._left_over()
        self.offset = page.next

    def _left_over(self) -> Iterator[dict[str, Any]]:
        """Yield what was not given yet of an event of several tasks; whoever stops goes on here."""
        for one in self._rest:  # noqa: UP028 - "yield from" would end it together with who stops
            yield one
