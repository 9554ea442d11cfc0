"""What a step asks for. The order is a promise: writes commit first, then the sends leave, in this order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from grpcflow_coordinator.core.model import Outcome, Run, Template


@dataclass(slots=True, frozen=True)
class Accepted:
    """To a client: the graph is durable; nodes of it have these ids of users' own."""

    client: object
    graph: bytes
    own_ids: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True, frozen=True)
class Refused:
    """To a client: the graph was not taken."""

    client: object
    graph: bytes
    code: str
    message: str


@dataclass(slots=True, frozen=True)
class RevokeDone:
    """To whoever asked: what the revoke did."""

    client: object
    revoked: int
    unknown: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Answer:
    """To whoever asked: it is done, or why not."""

    client: object
    #: One of the refusals' codes; empty: done.
    code: str = ""
    message: str = ""
    #: How many nodes it was done to, and ids or tasks that are not known.
    count: int = 0
    unknown: tuple[str, ...] = ()
    #: Of a cancelled graph: how many nodes run, and were told; and whether there was nothing left to cancel.
    running: int = 0
    had_ended: bool = False
    #: Of schedules: names that were added, changed, removed; of one that was run: the text id of what it submitted.
    names: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True, frozen=True)
class Welcome:
    """To a worker: its hello was taken."""

    stream: object
    epoch: int
    resumed: bool
    superseded: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Assign:
    """To a worker: neighbouring nodes of one run, with tokens that follow by one.

    The edge loads the payloads and the inputs after the commit and sends them.
    """

    stream: object
    graph: bytes
    run: Run
    template: Template
    first: int
    count: int
    token: int
    #: Of a run of one that left the straight path: retries and losses so far.
    retries: int = 0
    losses: int = 0
    #: Token of the first attempt of the batch that they belong to; 0: none.
    batch: int = 0
    #: Of a run of one: token of its last attempt whose end was told; 0: none.
    after: int = 0


@dataclass(slots=True, frozen=True)
class Acknowledge:
    """To a worker: everything up to its message `sequence` is durable."""

    stream: object
    sequence: int
    #: Tokens of reports that were not taken.
    superseded: tuple[int, ...]
    #: False: the worker has nothing to do until it is given something, and may hear of it then.
    pressing: bool = True


@dataclass(slots=True, frozen=True)
class StopAttempt:
    """To a worker: stop this attempt."""

    stream: object
    token: int
    terminate: bool
    signal: str
    superseded: bool
    #: True: nobody revoked it; it is too late for it to start.
    expired: bool = False


@dataclass(slots=True, frozen=True)
class Probe:
    """To a worker: answer at once, if you live."""

    stream: object


@dataclass(slots=True, frozen=True)
class CloseStream:
    """To a worker: the stream ends with this code."""

    stream: object
    code: str
    message: str


#: What goes to a worker's stream.
WorkerSend: TypeAlias = Welcome | Assign | Acknowledge | StopAttempt | Probe | CloseStream

Send: TypeAlias = Accepted | Refused | RevokeDone | Answer | WorkerSend


@dataclass(slots=True)
class Effects:
    """The fruit of one step.

    The step's writes stand in its `Loaded`; the engine commits them before it releases anything below.
    """

    sends: list[Send] = field(default_factory=list)
    #: Plain JSON values that settled, for those who watch: (graph, index, data).
    values: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    #: All other nodes that settled: (graph, index, own id, outcome).
    settled: list[tuple[bytes, int, str, Outcome]] = field(default_factory=list)
    #: Unsettled nodes that are in another state now than before: (graph, index, state).
    moved: list[tuple[bytes, int, str]] = field(default_factory=list)
    #: Nodes whose streams have new items, or whose logs have new lines.
    emitted: list[tuple[bytes, int]] = field(default_factory=list)
    #: Graphs of which every node has settled now.
    ended: list[bytes] = field(default_factory=list)
    #: Graphs that became real.
    made: list[bytes] = field(default_factory=list)
    #: Workers that came and went: ("online", "broken", "back" or "offline"; name; why).
    presence: list[tuple[str, str, str]] = field(default_factory=list)
    #: True where there is more to do at once: step a Tick again.
    again: bool = False


@dataclass(slots=True)
class Wake:
    """When the core wants its next Tick at the latest."""

    #: Unix milliseconds; None: no timer is set.
    wall_ms: int | None
    #: Monotonic seconds; None: no session to look after.
    monotonic: float | None
