"""Everything that can happen to the core. Frozen facts; names say what the world did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from grpcflow_coordinator.core.model import Attachment, Failure, Retention, Run, Template
from grpcflow_coordinator.core.planning import Plan
from grpcflow_coordinator.core.presence import Limit, SessionFacts


@dataclass(slots=True, frozen=True)
class ChunkArrived:
    """A client sent a piece of a graph; its shape was checked at the edge."""

    #: Whom to answer; opaque to the core.
    client: object
    graph: bytes
    sequence: int
    last: bool
    node_count: int
    #: In the first piece only.
    templates: tuple[Template, ...]
    #: Each run with its encoded payloads.
    runs: Sequence[tuple[Run, list[bytes]]]
    reject_id_reuse: bool = False
    #: Bytes of the payloads.
    size: int = 0
    #: In the first piece: the attempt that the graph belongs to.
    attachment: Attachment | None = None
    #: In the first piece: index of the node whose value is the value of the whole.
    outcome: int = 0


@dataclass(slots=True, frozen=True)
class ChunkRefused:
    """A client sent a piece that the edge does not take: the whole graph is refused."""

    client: object
    graph: bytes
    code: str
    message: str
    #: True where no piece of the graph comes behind it.
    last: bool


@dataclass(slots=True, frozen=True)
class ClientLeft:
    """A client's stream ended; graphs it had not finished sending are dropped."""

    client: object


@dataclass(slots=True, frozen=True)
class RevokeAsked:
    """Someone wants nodes revoked."""

    client: object
    #: Ids as users know them.
    ids: tuple[str, ...]
    terminate: bool
    signal: str


@dataclass(slots=True, frozen=True)
class StampRevokeAsked:
    """Someone wants every node revoked that bears one of these stamps."""

    client: object
    #: (name, value) of each.
    stamps: tuple[tuple[str, str], ...]
    terminate: bool
    signal: str


@dataclass(slots=True, frozen=True)
class StateUpdateAsked:
    """Someone gives an unsettled node a state of its own."""

    client: object
    id: str
    state: str
    meta: bytes
    meta_type: str


@dataclass(slots=True, frozen=True)
class ForgetAsked:
    """Someone wants results forgotten."""

    client: object
    ids: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class EraseAsked:
    """Someone wants nothing of some graphs, and of single independent calls, to be left."""

    client: object
    #: Each before those that are attached to it.
    graphs: tuple[bytes, ...]
    #: The 16 bytes of each.
    nodes: tuple[bytes, ...]


@dataclass(slots=True, frozen=True)
class GroupSaved:
    """Someone wants the description of a group kept; None: deleted."""

    client: object
    id: str
    data: bytes | None


@dataclass(slots=True, frozen=True)
class CancelAsked:
    """Someone wants everything of a graph ended."""

    client: object
    graph: bytes
    terminate: bool
    signal: str
    #: Index of the node that was named; None: the graph was. Of independent calls only the one that was named ends.
    node: int | None = None


@dataclass(slots=True, frozen=True)
class RetryAsked:
    """Someone wants what did not succeed of a graph to run again."""

    client: object
    graph: bytes
    #: Index of the node that was named; None: the graph was. Of independent calls only the one that was named runs.
    node: int | None = None


@dataclass(slots=True, frozen=True)
class MatchRevokeAsked:
    """Someone wants every call revoked that matches."""

    client: object
    #: Pattern of task names, and name of the queue; empty: any.
    task: str
    queue: str
    terminate: bool
    signal: str


@dataclass(slots=True, frozen=True)
class PurgeAsked:
    """Someone wants everything revoked that stands in a queue."""

    client: object
    queue: str


@dataclass(slots=True, frozen=True)
class PauseAsked:
    """Someone wants nothing of a queue handed out any more, or again."""

    client: object
    queue: str
    paused: bool


@dataclass(slots=True, frozen=True)
class LimitAsked:
    """Someone puts a limit on a task or a queue; None: takes it away."""

    client: object
    scope: Literal["task", "queue"]
    name: str
    limit: Limit | None


@dataclass(slots=True, frozen=True)
class RetentionAsked:
    """Someone says how long what ended is kept of a task or a queue; None: as everything else."""

    client: object
    scope: Literal["task", "queue"]
    name: str
    retention: Retention | None


@dataclass(slots=True, frozen=True)
class FailedPurgeAsked:
    """Someone wants nodes off the list of those that failed for good."""

    client: object
    #: Ids as users know them.
    ids: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class SchedulesPut:
    """Someone adds or changes schedules; with an owner: these are all that it has."""

    client: object
    plans: tuple[Plan, ...]
    owner: str


@dataclass(slots=True, frozen=True)
class SchedulesPauseAsked:
    """Someone lets no tick of some schedules come any more, or again."""

    client: object
    names: tuple[str, ...]
    paused: bool


@dataclass(slots=True, frozen=True)
class ScheduleRunAsked:
    """Someone wants what a schedule submits now."""

    client: object
    name: str


@dataclass(slots=True, frozen=True)
class SchedulesRemoveAsked:
    """Someone wants schedules forgotten."""

    client: object
    names: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class ItemsEmitted:
    """A running task appends items to its stream."""

    client: object
    node: bytes
    token: int
    #: Number of the first item.
    first: int
    #: (data, content type) of each.
    items: tuple[tuple[bytes, str], ...]


@dataclass(slots=True, frozen=True)
class WorkerArrived:
    """A worker's stream opened with a hello."""

    #: The stream; opaque to the core.
    stream: object
    facts: SessionFacts
    capacity: int
    #: (node id, token) of each attempt it holds.
    held: tuple[tuple[bytes, int], ...]
    draining: bool


@dataclass(slots=True, frozen=True)
class StreamBroke:
    """A worker's stream ended without a goodbye."""

    stream: object


@dataclass(slots=True, frozen=True)
class Value:
    """An attempt returned a value that is not plain JSON."""

    token: int
    data: bytes
    content_type: str


@dataclass(slots=True, frozen=True)
class Raised:
    """An attempt raised."""

    token: int
    failure: Failure


@dataclass(slots=True, frozen=True)
class Retried:
    """An attempt asked for another one."""

    token: int
    countdown_ms: int
    failure: Failure
    payload: bytes = b""
    content_type: str = ""


@dataclass(slots=True, frozen=True)
class Progressed:
    """An attempt told how far it is (not an end)."""

    token: int
    state: str
    meta: bytes
    meta_type: str


@dataclass(slots=True, frozen=True)
class Ended:
    """An attempt ended in a way that has no value: how is one of the words below."""

    token: int
    #: "ignored", "rejected", "requeued", "lost", "returned", "revoked" or "started" (not an end).
    how: str
    failure: Failure | None = None


Report: TypeAlias = Value | Raised | Retried | Ended | Progressed


class Logged(NamedTuple):
    """Lines that an attempt printed and logged; the core does not look into them."""

    token: int
    #: Number of the first line.
    first: int
    #: How many there are.
    lines: int
    data: bytes


@dataclass(slots=True, frozen=True)
class WorkerSpoke:
    """A worker sent a message after its hello; an empty one is a heartbeat."""

    stream: object
    sequence: int
    #: Plain JSON values, column by column.
    tokens: Sequence[int] = ()
    values: Sequence[bytes] = ()
    reports: Sequence[Report] = ()
    capacity: int | None = None
    queues: tuple[str, ...] | None = None
    #: Of the new queues; empty: all have the same weight.
    weights: tuple[int, ...] = ()
    #: A new number of tasks that it runs at once; 0: unchanged.
    concurrency: int = 0
    drain: bool = False
    goodbye: bool = False
    #: Said before the reports.
    logs: Sequence[Logged] = ()


@dataclass(slots=True, frozen=True)
class Undeliverable:
    """An attempt's inputs do not fit into a message; it never left the coordinator."""

    token: int
    failure: Failure


@dataclass(slots=True, frozen=True)
class Tick:
    """Time passed; also the end of a batch: due timers fire and ready nodes are handed out."""


Event: TypeAlias = (
    ChunkArrived
    | ChunkRefused
    | ClientLeft
    | RevokeAsked
    | StampRevokeAsked
    | StateUpdateAsked
    | ForgetAsked
    | GroupSaved
    | EraseAsked
    | CancelAsked
    | RetryAsked
    | MatchRevokeAsked
    | PurgeAsked
    | PauseAsked
    | LimitAsked
    | SchedulesPut
    | SchedulesPauseAsked
    | ScheduleRunAsked
    | SchedulesRemoveAsked
    | RetentionAsked
    | FailedPurgeAsked
    | ItemsEmitted
    | WorkerArrived
    | StreamBroke
    | WorkerSpoke
    | Undeliverable
    | Tick
)
