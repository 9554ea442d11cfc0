"""Events as messages of the wire, and back: the one module of events that knows protobuf.

Imported when events are read or published, and not before. It may not make a call.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from grpcflow.event_model import CUSTOM, HEARTBEAT, Event, EventFilter, EventPage
from grpcflow_protos.v1 import event_service_pb2 as pb
from grpcflow_protos.v1 import load_pb2

__all__ = ["Place", "event_from", "kind_number", "load_fields", "publishing"]

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


class Place:
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


def publishing(type_name: str, fields: bytes, id: str) -> pb.PublishEventRequest:
    """Return the request that puts an event into the feed; the arguments are those of ``apublish_event``."""
    return pb.PublishEventRequest(type=type_name, fields=fields, id=id)
