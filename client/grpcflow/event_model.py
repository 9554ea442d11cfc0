"""Events as users see them: what happened, which of it is wanted, and how it arrives. Pure.

It may not import grpc or protobuf; what reads the wire is in ``event_wire``.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from grpcflow import ids
from grpcflow.lengths import parse_length

__all__ = ["CUSTOM", "HEARTBEAT", "KINDS", "Event", "EventFilter", "EventPage", "since_when", "wanted_kinds"]

#: What kind an event has that a task or somebody else publishes; its ``type`` says what it is.
CUSTOM: Final = "custom"

#: What kind an event has in which a worker says how busy it is.
HEARTBEAT: Final = "worker-heartbeat"

#: What can happen, under Celery's names where it has one.
KINDS: Final = (
    "task-sent",
    "task-received",
    "task-started",
    "task-succeeded",
    "task-failed",
    "task-rejected",
    "task-revoked",
    "task-retried",
    "task-ignored",
    "task-progress",
    "worker-online",
    "worker-broken",
    "worker-back",
    "worker-offline",
    HEARTBEAT,
    CUSTOM,
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; to one task, to several of one graph at once, or to a worker.

    Attributes:
        offset: Its place in the feed; later ones have higher ones. ``read(after=offset)`` goes on behind it. A
            heartbeat has that of the event before it.
        time: When, UTC.
        kind: One of ``KINDS``: ``task-succeeded``, ``worker-online``, and ``custom`` for what somebody published.
        type: The same, or what the publisher calls it.
        id: Id of the task; of several that of the one whose value is the value of the graph; empty: of none.
        task: Name of the task; of several different ones that of the first.
        queue: Its queue.
        worker: Name of the worker.
        detail: Of a failure class and message, of a progress the state, of a worker that is gone why.
        runtime: Seconds from the hand-out to the end of one task; None: not known.
        retries: How often that one was retried.
        fields: What a publisher said with it; of a ``worker-heartbeat`` Celery's ``active``, ``processed``,
            ``loadavg``, ``freq``, ``sw_ident``, ``sw_ver`` and ``sw_sys``, and ``memory`` in bytes where it is known.
        count: How many tasks it tells of; 0: of none.
        graph: The 12 bytes of their graph.
        nodes: Their numbers in the graph; of ``task-sent`` empty, as all of the graph are meant.
    """

    offset: int
    time: datetime
    kind: str
    type: str
    id: str = ""
    task: str = ""
    queue: str = ""
    worker: str = ""
    detail: str = ""
    runtime: float | None = None
    retries: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    count: int = 0
    graph: bytes = field(default=b"", repr=False)
    nodes: tuple[int, ...] = field(default=(), repr=False)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all tasks that it tells of, made when they are asked for; a single one has the user's own id."""
        if self.count == 1:
            return (self.id or ids.node_id(self.graph, self.nodes[0] if self.nodes else 0),)
        return tuple(ids.node_id(self.graph, node) for node in self.nodes or range(self.count))

    def to_dict(self) -> dict[str, Any]:
        """Return it in types that JSON has; ids of a graph that was sent are left out, as that is all of it."""
        told = {name: getattr(self, name) for name in _PLAIN}
        listed = list(self.ids) if self.nodes else [self.id] if self.id else []
        return {**told, "time": self.time.isoformat(timespec="milliseconds"), "ids": listed, "fields": {**self.fields}}


_PLAIN: Final = (
    "offset",
    "time",
    "kind",
    "type",
    "id",
    "ids",
    "count",
    "task",
    "queue",
    "worker",
    "detail",
    "runtime",
    "retries",
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted.

    Attributes:
        after: Only those behind this offset; None: see ``since_ms``.
        since_ms: Only those from this Unix time in milliseconds on; None, and no ``after``: all that are kept, or with
            ``follow`` those that are still to come.
        kinds: Any of these; empty: all.
        task: Pattern of task names; empty: any.
        queue: Name of the queue; empty: any.
        worker: Pattern of worker names; empty: any.
        id: Id of a task: only events of its graph; empty: any.
        follow: True: go on as they happen.
        limit: Most events; None: any number.
        heartbeats: True: heartbeats of workers too; without it they come only where ``kinds`` names them.
    """

    after: int | None = None
    since_ms: int | None = None
    kinds: tuple[str, ...] = ()
    task: str = ""
    queue: str = ""
    worker: str = ""
    id: str = ""
    follow: bool = False
    limit: int | None = None
    heartbeats: bool = False


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events that came together.

    Attributes:
        events: The events, in order; none where the coordinator only said that it is there.
        next: Offset to read on behind.
        missed: How many before these were asked for and are no longer kept.
    """

    events: tuple[Event, ...]
    next: int
    missed: int


def wanted_kinds(kinds: str | Collection[str]) -> tuple[str, ...]:
    """Return kinds as a tuple.

    Args:
        kinds: One of ``KINDS``, or several.

    Raises:
        ValueError: There is no such kind; the message names the nearest, or all.
    """
    named = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in named:
        if kind not in KINDS:
            near = difflib.get_close_matches(str(kind), KINDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
            raise ValueError(f"{kind!r} is no kind of event; {hint} Those that somebody publishes are {CUSTOM!r}")
    return named


def since_when(since: datetime | timedelta | str | None) -> int | None:
    """Return a moment as Unix time in milliseconds.

    Args:
        since: A moment with a time zone, how long ago, or either as text: ``10m``, ``2030-01-31T12:00Z``; None: none.

    Raises:
        ValueError: It is none of these, or has no time zone.
    """
    if since is None:
        return None
    moment = _moment(since)
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError(f"since is {since!r}; give a datetime with a time zone, a timedelta, or text such as '10m'")
    return max(1, round(moment.timestamp() * 1000))


def _moment(since: datetime | timedelta | str) -> Any:
    if isinstance(since, str):
        try:
            return datetime.fromisoformat(since)
        except ValueError:
            return datetime.now(UTC) - parse_length(since)
    return datetime.now(UTC) - since if isinstance(since, timedelta) else since
