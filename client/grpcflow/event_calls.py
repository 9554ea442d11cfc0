"""The feed of events as calls: read along, and publish. Knows the wire's messages.

Written once for threads and event loops, as coroutines; see ``blocking``.
"""

import json
import logging
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from grpcflow.calls import Calls
from grpcflow.event_model import CUSTOM, HEARTBEAT, Event, EventFilter, EventPage
from grpcflow.items import OpenReader, Reader
from grpcflow.session import Session
from grpcflow_protos.v1 import event_service_pb2 as pb
from grpcflow_protos.v1 import event_service_pb2_grpc, load_pb2

__all__ = ["EventCalls", "event_from", "kind_number", "load_fields"]

_log: Final = logging.getLogger("grpcflow.connection")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_START: Final = "EVENT_KIND_"


def kind_number(kind: str) -> pb.EventKind.ValueType:
    """Return how the wire calls a kind of event."""
    return pb.EventKind.Value(_START + kind.upper().replace("-", "_"))


def _kind_name(number: int) -> str:
    """Return the name of a kind; one that this version does not know has its number."""
    known = pb.EventKind.DESCRIPTOR.values_by_number.get(number)
    return f"unknown-{number}" if known is None else known.name.removeprefix(_START).lower().replace("_", "-")


def event_from(message: pb.Event) -> Event:
    """Return an event that came over the wire."""
    kind = _kind_name(message.kind)
    return Event(
        offset=message.offset,
        time=_EPOCH + timedelta(milliseconds=message.time_ms),
        kind=kind,
        type=message.type if kind == CUSTOM else kind,
        id=message.id,
        task=message.task,
        queue=message.queue,
        worker=message.worker,
        detail=message.detail,
        runtime=message.took_ms / 1000 if message.took_ms else None,
        retries=message.retries,
        fields=load_fields(message.load) if kind == HEARTBEAT else json.loads(message.fields or b"{}"),
        count=message.count,
        graph=message.graph,
        nodes=tuple(message.nodes),
    )


def load_fields(load: load_pb2.WorkerLoad) -> dict[str, Any]:
    """Return how busy a worker is under Celery's names."""
    return {
        "active": load.running,
        "processed": load.processed,
        "loadavg": list(load.load_average),
        "freq": load.interval_ms / 1000,
        "sw_ident": "grpcflow",
        "sw_ver": load.version,
        "sw_sys": load.system,
        **({"memory": load.memory} if load.memory else {}),
    }


class _Place:
    """How far the feed was read; pure.

    Args:
        wanted: What is read.

    Attributes:
        reached: True once the coordinator has said something.
    """

    def __init__(self, wanted: EventFilter) -> None:
        self._wanted = wanted
        self._next: int | None = wanted.after
        self._left = wanted.limit
        self.reached = False

    def is_over(self) -> bool:
        """Return True once as many have come as were wanted."""
        return self._left is not None and self._left <= 0

    def request(self) -> pb.ReadEventsRequest:
        """Return the request for all that is still to come."""
        wanted = self._wanted
        since = wanted.since_ms or 0
        if self._next == 0:
            since = 1  # on the wire 0 is no offset; what is meant is all that is kept
        return pb.ReadEventsRequest(
            after=self._next or 0,
            since_ms=0 if self._next else since,
            kinds=[kind_number(kind) for kind in wanted.kinds],
            task=wanted.task,
            queue=wanted.queue,
            worker=wanted.worker,
            id=wanted.id,
            follow=wanted.follow,
            limit=self._left or 0,
            heartbeats=wanted.heartbeats,
        )

    def take(self, message: pb.ReadEventsResponse) -> EventPage:
        """Return what came, and go on behind it."""
        self._next, self.reached = message.next, True
        if self._left is not None:
            self._left -= len(message.events)
        return EventPage(tuple(event_from(one) for one in message.events), message.next, message.missed)


def _asked(request: pb.ReadEventsRequest, channel: Any) -> Any:
    return event_service_pb2_grpc.EventServiceStub(channel).ReadEvents(request)


class EventCalls:
    """Calls to the event service; a part of what is asked of a coordinator."""

    _session: Session
    _calls: Calls
    #: Asks for a stream of answers; set by the side that waits.
    _open_reader: Callable[[OpenReader], Reader]

    async def aread_events(
        self, wanted: EventFilter, *, interval: float | None = None
    ) -> AsyncGenerator[EventPage | None, None]:
        """Yield events as they come, each once, a page at a time; a lost coordinator is asked again for what follows.

        Whoever stops before the end closes the generator, or lets go of it: then nothing is read any more.

        Args:
            wanted: Which.
            interval: Seconds without a message after which None comes, again and again; for threads. None: never.

        Raises:
            NotFound: The coordinator does not know the id that is wanted.
            InvalidRequest: A name or a pattern is too long.
            CoordinatorUnavailable: It could not be reached from the start, by the retry policy, or the connection was
                closed.
        """
        place, failures, began = _Place(wanted), 0, time.monotonic()
        while not place.is_over():
            reader = self._open_reader(partial(_asked, place.request()))
            try:
                while (said := await _next(reader, interval)) is not None:
                    if said is True:
                        yield None
                        continue
                    failures = 0
                    yield place.take(said)
            finally:
                await reader.close()
            if reader.error is not None:
                raise reader.error
            if place.is_over() or (reader.complete and not wanted.follow):
                return
            failures += 1
            if not (place.reached and wanted.follow) and self._session.policy.is_over(failures, began):
                raise self._session.unavailable()
            if failures == 2 and place.reached:
                _log.warning("the events are read on once the coordinator is back")
            await self._calls._pause(self._session.policy.delay(failures))

    async def apublish_event(self, type_name: str, fields: bytes, id: str = "") -> int:
        """Put an event into the feed; return its offset. Where the coordinator is lost meanwhile it may come twice.

        Args:
            type_name: What it is called, at most 255 bytes.
            fields: One JSON object, at most 64 KiB.
            id: Id of the task that publishes it; empty: none.

        Raises:
            InvalidRequest, PayloadTooLarge: The name or the fields cannot be taken.
            CoordinatorUnavailable, TimeoutError: The coordinator could not be reached, or did not answer.
        """
        request = pb.PublishEventRequest(type=type_name, fields=fields, id=id)
        answer = await self._calls.request(
            lambda channel, left: event_service_pb2_grpc.EventServiceStub(channel).PublishEvent(request, timeout=left)
        )
        offset: int = answer.offset
        return offset


async def _next(reader: Reader, interval: float | None) -> Any:
    """Return the next message; True where none came within the interval, None where no more will come."""
    deadline = None if interval is None else time.monotonic() + interval
    message = await reader.next(deadline)
    return True if message is None and not reader.ended else message
