"""The state that the core keeps in memory, and the context of one step. No rule stands here.

What is here can be made again from the records, and the workers' hellos, after a crash.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from grpcflow_coordinator.core.effects import Effects
from grpcflow_coordinator.core.events import ChunkArrived, WorkerArrived
from grpcflow_coordinator.core.limits import Gates
from grpcflow_coordinator.core.lines import Lines
from grpcflow_coordinator.core.loaded import Loaded
from grpcflow_coordinator.core.model import (
    Attachment,
    Attempt,
    Entry,
    Graph,
    Job,
    LineKey,
    Now,
    Outcome,
    QueueAndTask,
    Retention,
    Run,
    Tally,
    Template,
    TimerKind,
)
from grpcflow_coordinator.core.planning import Schedule
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.core.story import Story

#: Graphs whose templates are kept decoded.
GRAPH_CACHE = 4096

#: Waiting nodes whose counts are kept in memory.
WAITING_CACHE = 65_536


@dataclass(slots=True, frozen=True)
class Limits:
    """Numbers that rule the core; all durations in milliseconds or seconds as named."""

    #: How long a broken stream's session is kept, in seconds.
    grace: float = 10.0
    #: Silence of this many seconds is death.
    silence: float = 15.0
    #: How long a live session has to answer a probe, in seconds.
    probe: float = 3.0
    #: Lost attempts after which a task fails, where its template does not say.
    max_deliveries: int = 3
    #: How long results are kept after the end of their graph.
    result_expires_ms: int = 86_400_000
    #: Most nodes in one graph.
    node_limit: int = 200_000
    #: Bytes that are kept of what an attempt prints and logs; 0: none.
    log_limit: int = 128 * 1024
    #: Work of one step that is bounded: timers fired, records pruned, runs queued.
    batch: int = 1000


@dataclass(slots=True, eq=False)
class Waiting:
    """A node some of whose parents have settled."""

    run: Run
    count: int
    #: True where `count` is not written yet.
    dirty: bool = False


@dataclass(slots=True)
class Staging:
    """A graph whose pieces are still arriving."""

    client: object
    node_count: int
    graph: Graph
    next_sequence: int
    next_index: int
    #: Sums over the edges as parents and as children declare them; equal at the end.
    declared_by_parents: int
    declared_by_children: int
    own_ids: list[tuple[str, int]]
    #: Joins with no members: they settle as soon as the graph is real.
    empty_joins: list[int]
    #: Those of all pieces so far.
    templates: list[Template] = field(default_factory=list)
    #: Their bytes, and how many values of stamps they have.
    template_bytes: int = 0
    stamps: int = 0
    attachment: Attachment | None = None


@dataclass(slots=True)
class Probing:
    """A newcomer that waits for the holder of its name to answer or not."""

    newcomer: WorkerArrived
    holder: bytes
    asked_at: float


@dataclass(slots=True)
class Recovery:
    """After a start: recorded sessions that have not come back, and what their return brought."""

    missing: set[bytes]
    #: Sessions that came back and said what they hold.
    returned: set[bytes] = field(default_factory=set)
    #: Entries below the marks, by graph: their nodes may be running on workers that are on their way back.
    handed: dict[bytes, list[Entry]] = field(default_factory=dict)
    #: Resumed attempts by (graph, index); their entries are found when recovery ends.
    resumed: dict[tuple[bytes, int], Attempt] = field(default_factory=dict)


@dataclass(slots=True)
class Sweeps:
    """What is to be swept, what is being swept, and how far that is."""

    #: What is to be swept, with the sequence below which.
    asked: dict[QueueAndTask, int] = field(default_factory=dict)
    #: The calls that are being swept, and below which sequence; None: none are.
    calls: QueueAndTask | None = None
    below: int = 0
    #: Its lines that are still to be gone through, the present one last; and how far that one was read.
    lines: list[LineKey] = field(default_factory=list)
    sequence: int = -1
    #: Below which sequence there is nothing left to sweep.
    swept: dict[QueueAndTask, int] = field(default_factory=dict)
    #: Nodes that settled while they were queued, since the last sweep began.
    strays: dict[QueueAndTask, int] = field(default_factory=dict)


@dataclass(slots=True)
class Cluster:
    """All that is in memory."""

    limits: Limits
    epoch: int = 0
    next_number: int = 1
    sessions: dict[bytes, Session] = field(default_factory=dict)
    by_name: dict[str, bytes] = field(default_factory=dict)
    by_stream: dict[int, bytes] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    #: Attempts by node, of which some are over, and until when they are kept: see `running`.
    known: dict[bytes, Attempt] = field(default_factory=dict)
    known_until: float = 0.0
    lines: Lines = field(default_factory=Lines)
    #: What bounds the hand-outs.
    gates: Gates = field(default_factory=Gates)
    graphs: dict[bytes, Graph] = field(default_factory=dict)
    #: How the nodes of graphs stand that have more than one, where some of them have settled and some not.
    live: dict[bytes, Tally] = field(default_factory=dict)
    waiting: dict[tuple[bytes, int], Waiting] = field(default_factory=dict)
    staging: dict[bytes, Staging] = field(default_factory=dict)
    #: Graphs that were refused before their last piece, with who sends them: the rest is dropped unanswered.
    refused: dict[bytes, list[object]] = field(default_factory=dict)
    probing: dict[str, Probing] = field(default_factory=dict)
    #: Monotonic seconds at which sessions are to be looked at again, at the latest; 0: now.
    look_at: float = 0.0
    recovery: Recovery | None = None
    #: Unix milliseconds of the earliest timer; None: none.
    next_timer: int | None = None
    #: Unix milliseconds at which the earliest ended graph is to be deleted; None: none.
    next_prune: int | None = None
    #: Last pieces of whole graphs whose attempt may be on its way back with its worker, with their staging.
    parked: list[tuple[ChunkArrived, Staging]] = field(default_factory=list)
    #: Graphs that were staged and will never be real, in order: what is left of them is deleted piece by piece.
    abandoned: dict[bytes, None] = field(default_factory=dict)
    #: True where graphs wait for their ready nodes to be queued.
    releasing: bool = False
    #: Work on many nodes that is under way, with whoever asked; None: that was before a restart.
    jobs: dict[int, tuple[Job, object]] = field(default_factory=dict)
    #: Of each purge that is under way: the lines of its present lane that are still to be gone through.
    purging: dict[int, list[LineKey]] = field(default_factory=dict)
    #: Queues of which nothing is handed out.
    paused: set[str] = field(default_factory=set)
    #: Nodes that settled and are followed by more than one step moves.
    followed: dict[bytes, None] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    #: A heap of what comes next of them: (Unix milliseconds, name, tick); some of it is no longer so.
    alarms: list[tuple[int, str, int]] = field(default_factory=list)
    #: Names of schedules with a tick that waits for the end of the one before.
    queueing: set[str] = field(default_factory=set)
    #: How long, and how many, is kept of the ended graphs of tasks and queues, by scope and name.
    retention: dict[tuple[str, str], Retention] = field(default_factory=dict)
    #: How many of them are counted, by scope, name and kind, as far as that was needed.
    kept: dict[tuple[str, str, str], int] = field(default_factory=dict)
    sweeps: Sweeps = field(default_factory=Sweeps)
    #: Graphs that are being cancelled: nothing spreads in them and nothing of them is handed out.
    cancelling: set[bytes] = field(default_factory=set)
    story: Story = field(default_factory=Story)


@dataclass(slots=True)
class Step:
    """One step: what it sees, when it is, what it asks for."""

    cluster: Cluster
    loaded: Loaded
    now: Now
    effects: Effects
    #: Graphs of more than one node whose tally changed.
    touched: dict[bytes, Tally] = field(default_factory=dict)
    #: Waiting nodes whose count changed.
    counted: set[tuple[bytes, int]] = field(default_factory=set)
    #: Ends of attached graphs that are still to be told to the nodes that wait for them: (graph, index, outcome).
    handed_up: list[tuple[Graph, int, Outcome]] = field(default_factory=list)
    #: Nodes with a unique key that settled in this step.
    unlocked: list[tuple[Graph, Run, Outcome]] = field(default_factory=list)

    def graph(self, graph: bytes) -> Graph | None:
        """Return a graph, from memory where it was used lately."""
        cache = self.cluster.graphs
        found = cache.get(graph)
        if found is None:
            found = self.loaded.graph(graph)
            if found is not None:
                self.keep_graph(found)
        return found

    def keep_graph(self, graph: Graph) -> None:
        """Keep a graph in memory, in the place of the one that has been there longest."""
        cache = self.cluster.graphs
        if len(cache) >= GRAPH_CACHE:
            del cache[next(iter(cache))]
        cache[graph.id] = graph

    def set_timer(self, due_ms: int, kind: TimerKind, node: bytes, count: int = 1, made_ms: int = 0) -> None:
        """Set a timer for a node and the `count` - 1 ones after it.

        Args:
            due_ms: Unix milliseconds.
            kind: what happens then.
            node: the node, or what else it names.
            count: for how many nodes it is.
            made_ms: when their graph was made: it means no other one that bears the same id later.
        """
        self.loaded.put_timer(due_ms, kind, node, count, made_ms)
        if kind >= TimerKind.PRUNE:
            self.cluster.next_prune = min(due_ms, self.cluster.next_prune or due_ms)
        elif self.cluster.next_timer is None or due_ms < self.cluster.next_timer:
            self.cluster.next_timer = due_ms
