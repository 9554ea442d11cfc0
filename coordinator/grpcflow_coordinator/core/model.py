"""The nouns of the core. Plain data; no rule stands here, and nothing but the standard library is imported."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from grpcflow_coordinator.core.limits import Gate

#: Bits of an attempt's token that hold its number; the epoch stands above them, as the wire says.
TOKEN_NUMBER_BITS = 40

#: Length of a graph id in bytes; a node id is a graph id and an index of 4 bytes.
GRAPH_ID_BYTES = 12


class Now(NamedTuple):
    """The time of one step: wall clock for ETA, expiry and retention; monotonic for grace and silence."""

    #: Unix time in milliseconds.
    wall_ms: int
    #: Seconds of a clock that never steps.
    monotonic: float
    #: Seconds by which a test has moved the time beside what passed.
    moved: float = 0.0

    @property
    def pace_ms(self) -> float:
        """Milliseconds by which rates and batches are kept: what passed, and what a test moved."""
        return (self.monotonic + self.moved) * 1000


class EdgeMode(IntEnum):
    """How a parent enters the call of its child; the numbers are those of the wire."""

    VALUE = 1
    AFTER = 2
    ERROR = 3
    ERROR_AFTER = 4


class FailureMode(IntEnum):
    """What a failing parent does to its child; the numbers are those of the wire."""

    PASS = 1
    CHORD = 2
    BODY = 3


class Edge(NamedTuple):
    """An edge as its child sees it."""

    parent: int
    mode: EdgeMode
    on_failure: FailureMode


@dataclass(slots=True, frozen=True)
class Template:
    """What many calls of one graph share."""

    task: str
    queue: str
    priority: int = 0
    acks_early: bool = False
    #: Lost attempts allowed; 0: the coordinator's default.
    max_deliveries: int = 0
    ignore_result: bool = False
    #: Milliseconds after release; 0: at once.
    countdown_ms: int = 0
    #: Unix milliseconds; 0: none.
    eta_ms: int = 0
    #: Milliseconds after release; 0: never. A negative number has expired already.
    expires_in_ms: int = 0
    #: Unix milliseconds; 0: never.
    expires_at_ms: int = 0
    track_started: bool = False
    #: The template as it came over the wire, for the worker.
    wire: bytes = b""
    #: Stamps (name, values) by which its calls can be revoked.
    stamps: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: Milliseconds for which a unique key is held at most; 0: calls of this template have none.
    unique_for_ms: int = 0
    #: True: it is held for all that time, also when its node has settled.
    unique_stays: bool = False
    #: True: runs once on each worker that serves the queue.
    broadcast: bool = False
    #: How many nodes with one concurrency key run at once; 0: one.
    per_key: int = 0
    #: Milliseconds from the end of the graph on; 0: as the coordinator says.
    result_expires_ms: int = 0
    failure_expires_ms: int = 0
    #: True: its calls are independent of each other, and share a graph only because they were sent together.
    apart: bool = False

    @property
    def can_expire(self) -> bool:
        """True where a call of this template may be revoked by time."""
        return bool(self.expires_in_ms or self.expires_at_ms)


@dataclass(slots=True)
class Run:
    """Neighbouring nodes that differ in their payload only; the payloads are elsewhere."""

    first: int
    count: int
    template: int
    inputs: tuple[Edge, ...] = ()
    children: tuple[int, ...] = ()
    #: The user's own id, only in a run of one.
    own_id: str = ""
    #: Ranges (first, count) of a join's members in list order; None: a task.
    members: tuple[tuple[int, int], ...] | None = None
    #: The 16 bytes of the join that the nodes are members of, as the client says it for the task's own knowledge;
    #: the place of the first of them in its list; and whether it is the header of a chord.
    group: bytes = b""
    group_index: int = 0
    in_chord: bool = False
    #: Whose nodes these are, what they share a limit with, and what no two of them run for at once; empty: nothing.
    fairness_key: str = ""
    concurrency_key: str = ""
    unique_key: str = ""
    #: The 16 bytes of the node whose payload and inputs these nodes take; empty: their own.
    borrowed: bytes = b""

    @property
    def is_join(self) -> bool:
        """True for a node that no worker runs."""
        return self.members is not None

    @property
    def is_errback(self) -> bool:
        """True for a node that runs when a parent fails."""
        return bool(self.inputs) and self.inputs[0].mode >= EdgeMode.ERROR

    def parents(self) -> int:
        """How many parents must settle before this node can move."""
        return sum(count for _, count in self.members or ()) + len(self.inputs)


class AttachmentKind(IntEnum):
    """What a graph is to the attempt that it was submitted for; the numbers are those of the wire."""

    REPLACE = 1
    MEMBER = 2


class Attachment(NamedTuple):
    """What ties a graph to a node of another one."""

    kind: AttachmentKind
    #: The 16 bytes of the node whose attempt it was submitted for.
    node: bytes
    #: Token of that attempt.
    token: int
    #: Index of the node of the attached graph whose end counts.
    final: int


@dataclass(slots=True)
class Graph:
    """What is known of a graph from its submission on."""

    id: bytes
    node_count: int
    templates: tuple[Template, ...]
    created_ms: int
    attachment: Attachment | None = None
    #: Index of the node whose value is the value of the whole.
    outcome: int = 0

    @property
    def is_bundle(self) -> bool:
        """True where its nodes are calls that have nothing to do with each other."""
        return bool(self.templates) and self.templates[0].apart


class NodeState(IntEnum):
    """Where a node stands. The last five are terminal; their numbers are those of the wire."""

    WAITING = 100
    SCHEDULED = 101
    QUEUED = 102
    HANDED_OUT = 103
    STARTED = 104
    SUCCESS = 5
    FAILURE = 6
    REVOKED = 7
    IGNORED = 8
    REJECTED = 9


class TimerKind(IntEnum):
    """What happens when a timer is due; of one instant the lower number goes first."""

    #: A node that has not started is revoked.
    EXPIRE = 0
    #: A node's time has come: ETA, countdown or retry.
    READY = 1
    #: An ended graph's records are deleted.
    PRUNE = 2
    #: The description of a group that a client saved is deleted.
    SAVED = 3
    #: A unique key is free again, whatever became of the node that held it.
    UNIQUE = 4
    #: An ended graph's arguments are deleted.
    ARGUMENTS = 5


@dataclass(slots=True, frozen=True)
class Failure:
    """Why a node did not succeed."""

    #: Qualified name of the exception's class.
    type_name: str
    #: str() of the exception.
    message: str
    #: Stable code where the coordinator made it; empty for an exception of the task.
    reason: str = ""
    #: Text id of the node that failed first; empty on the node itself.
    origin: str = ""
    #: The failure as the worker sent it; opaque. Empty on every node that it was handed on to: however many those
    #: are, it is kept once.
    raw: bytes = b""
    cause: Failure | None = None
    #: Index of the node whose outcome holds `raw`, plus one; 0: this one, where there is any.
    kept_by: int = 0
    #: The graph of that node; empty: the same graph.
    kept_in: bytes = b""


@dataclass(slots=True)
class Outcome:
    """How a node settled."""

    state: NodeState
    settled_ms: int
    data: bytes = b""
    #: Empty: JSON.
    content_type: str = ""
    failure: Failure | None = None
    #: Token of the attempt that settled it; 0: none did.
    token: int = 0
    worker: str = ""
    retries: int = 0
    #: The 16 bytes of the node whose value this is, where it was replaced; empty: its own.
    source: bytes = b""
    #: Milliseconds from the hand-out of the attempt that settled it; 0: none did, or that was before a restart.
    took_ms: int = 0


@dataclass(slots=True)
class Tally:
    """How the nodes of a graph stand; those that it does not count have succeeded."""

    unsettled: int
    failed: int = 0
    revoked: int = 0
    ignored: int = 0
    rejected: int = 0

    def settled(self, state: NodeState, by: int = 1) -> None:
        """Count a node that settled; `by` -1: one that is to settle again."""
        self.unsettled -= by
        if state is NodeState.FAILURE:
            self.failed += by
        elif state is NodeState.REVOKED:
            self.revoked += by
        elif state is NodeState.IGNORED:
            self.ignored += by
        elif state is NodeState.REJECTED:
            self.rejected += by


@dataclass(slots=True)
class Progress:
    """What a node went through before it settled; only nodes that left the straight path have one."""

    retries: int = 0
    #: Attempts lost so far.
    losses: int = 0
    #: Sequence of the queue entry it stands in now; 0: the one it was first put into; -1: none, it waits
    #: for its time.
    place: int = 0
    #: True while it waits for the time of its next attempt.
    retrying: bool = False
    #: Why it is retried.
    failure: Failure | None = None
    #: New [args, kwargs] of a retry; empty: as submitted.
    payload: bytes = b""
    content_type: str = ""
    #: Token of the hand-out of a node with acks_early; 0: not handed out.
    handed: int = 0
    #: Session that the early node was handed to.
    handed_to: bytes = b""
    #: Index of the parent whose failure released an errback, plus one.
    fired_by: int = 0
    #: "REVOKED" or "EXPIRED" where that came while it ran: it ends so unless its attempt has an end of its own.
    doom: str = ""
    #: Signal to stop it with; empty: only where it has not started.
    stop_signal: str = ""
    #: Token of the last attempt that its worker reported as lost, retried or requeued.
    ended_by: int = 0
    #: The 16 bytes of the node that runs in its place; empty: none. Its `place` is REPLACED then.
    replaced_by: bytes = b""
    #: State that the task gave itself, and what it said with it, encoded.
    custom_state: str = ""
    meta: bytes = b""
    meta_type: str = ""
    #: Unix milliseconds of its next attempt, where it waits for that.
    due_ms: int = 0
    #: The 16 bytes of the node that holds its unique key; empty: none. Its `place` is FOLLOWING_PLACE then.
    follows: bytes = b""


#: Progress.place of a node that another one runs in place of.
REPLACED_PLACE = -2

#: Progress.place of a node that settles as another one with its unique key does.
FOLLOWING_PLACE = -3


@dataclass(slots=True, frozen=True)
class Held:
    """A unique key that is held."""

    #: The 16 bytes of the node that holds it.
    node: bytes
    #: Unix milliseconds at which it is free again at the latest.
    until_ms: int
    #: True: it is held until then, also when the node has settled.
    stays: bool


@dataclass(slots=True, frozen=True)
class Keep:
    """How much is kept of one kind of what ended."""

    #: Milliseconds from the end of the graph on; 0: as everything else.
    age_ms: int = 0
    #: So many graphs at most, the newest; 0: any number.
    count: int = 0


@dataclass(slots=True, frozen=True)
class Retention:
    """What is kept of the graphs of one task or queue that ended: where they succeeded, failed, and their arguments."""

    results: Keep = Keep()
    failures: Keep = Keep()
    arguments: Keep = Keep()


@dataclass(slots=True)
class Job:
    """Work on many nodes that is under way; a record, so that a restart goes on with it."""

    number: int
    #: (name, value) of each stamp, of a revoke by stamp.
    stamps: tuple[tuple[str, str], ...] = ()
    terminate: bool = False
    signal: str = ""
    #: How far it is: index of the stamp, the graph it is at, and the index of the next node there.
    stamp: int = 0
    graph: bytes = b""
    node: int = 0
    #: How many nodes were revoked, or will settle again.
    done: int = 0
    #: "stamp", "cancel", "retry", "match" or "purge".
    kind: str = "stamp"
    #: Graphs that come after the present one.
    graphs: tuple[bytes, ...] = ()
    #: How many nodes run on workers, and were told.
    running: int = 0
    #: Of a retry: graphs whose nodes stand ready to be released, and True once they are being released.
    ready: tuple[bytes, ...] = ()
    releasing: bool = False
    #: Of a retry: (queue, task) of what will run again. Of a match: the one (queue, pattern of tasks) wanted. Of a
    #: purge: (queue, task) of each lane that is still to be gone through.
    calls: tuple[tuple[str, str], ...] = ()
    #: Of a purge: the priority it is at, and the sequences between which entries are still to be gone through.
    priority: int = 9
    sequence: int = 0
    until: int = 0


#: A queue's name and that of a task of which calls stand there.
QueueAndTask: TypeAlias = tuple[str, str]


class LineKey(NamedTuple):
    """A line: the nodes of one lane that share a priority."""

    queue: str
    task: str
    priority: int
    #: Whose nodes they are; lines of one queue and priority take turns by it.
    fairness: str = ""
    #: The concurrency key that they share, and how many with it run at once.
    key: str = ""
    per_key: int = 0

    @property
    def group(self) -> LineKey:
        """What lines have in common of which the same workers can run the nodes, and that are as urgent."""
        return self._replace(fairness="")


def line_of(template: Template, run: Run) -> LineKey:
    """Return the line that the nodes of a run are queued in."""
    if run.fairness_key or run.concurrency_key:
        per_key = (template.per_key or 1) if run.concurrency_key else 0
        return LineKey(template.queue, template.task, template.priority, run.fairness_key, run.concurrency_key, per_key)
    return LineKey(template.queue, template.task, template.priority)


@dataclass(slots=True, eq=False)
class Entry:
    """Neighbouring nodes that were queued together, under one key of the queue's index.

    The key stands in the store until every node of the entry has settled or moved elsewhere; so a
    hand-out writes nothing and a crash forgets nothing.
    """

    line: LineKey
    #: Sequence of the first node; the others follow by one.
    sequence: int
    graph: bytes
    first: int
    count: int
    #: How many were taken from the front.
    taken: int = 0
    #: How many have neither settled nor moved elsewhere.
    remaining: int = 0
    #: The run the nodes belong to; loaded when the first of them is handed out.
    run: Run | None = None
    #: Offsets that must not be handed out: they settled or moved while they were queued.
    gone: set[int] | None = None
    #: Offsets of nodes that left the straight path: each is handed out alone, with what it went through.
    alone: set[int] | None = None
    #: True: it was taken off the disk.
    dropped: bool = False


@dataclass(slots=True, eq=False)
class Attempt:
    """One hand-out of a node to a session."""

    token: int
    graph: bytes
    index: int
    run: Run
    template: Template
    session: bytes
    #: The queue entry the node came from; None until a restart has found it again.
    entry: Entry | None
    retries: int = 0
    state: NodeState = NodeState.HANDED_OUT
    #: Unix milliseconds of the hand-out; 0: before the coordinator's start.
    handed_ms: int = 0
    #: The limits that count it.
    gates: tuple[Gate, ...] = ()
    #: Token of the first attempt of its batch; 0: it runs by itself.
    batch: int = 0


def node_id(graph: bytes, index: int) -> bytes:
    """Return the 16 bytes of a node's id."""
    return graph + index.to_bytes(4, "big")


def split_node(node: bytes) -> tuple[bytes, int]:
    """Return the graph id and the index of a node id."""
    return node[:GRAPH_ID_BYTES], int.from_bytes(node[GRAPH_ID_BYTES:], "big")


def text_id(graph: bytes, index: int, own_id: str = "") -> str:
    """Return a node's id as users know it: their own, or the text form of a UUID."""
    if own_id:
        return own_id
    digits = node_id(graph, index).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
