"""Workers as the core knows them: what one says of itself, and its presence. Plain data; no rule stands here."""

from __future__ import annotations

from dataclasses import dataclass, field

from grpcflow_coordinator.core import turns


@dataclass(slots=True, frozen=True)
class Limit:
    """Bounds how often, and how many at once, something is handed out; an empty one bounds nothing."""

    #: So many starts in each period of so many milliseconds, evenly spread; 0: no rate.
    rate_count: int = 0
    rate_period_ms: int = 0
    #: So many at once; 0: any number.
    concurrency: int = 0


@dataclass(slots=True, frozen=True)
class TaskFacts:
    """What a worker's code says of a task beyond its name."""

    task: str
    limit: Limit = Limit()
    #: At least 1: it takes so many calls at once at most, and the first waits so many milliseconds for others.
    batch_size: int = 0
    batch_within_ms: int = 0


@dataclass(slots=True, frozen=True)
class CommandFacts:
    """A command of remote control: one of our own, or one that a worker's app defines."""

    name: str
    #: True: it changes something; false: it only tells.
    control: bool = False
    help: str = ""
    #: Name, type, and whether it may be left out, of each argument in order.
    arguments: tuple[tuple[str, str, bool], ...] = ()
    #: Name of the argument that takes all that are left; empty: none.
    variadic: str = ""
    #: Milliseconds that a caller waits who does not say how long; 0: not said.
    default_timeout_ms: int = 0
    #: True: no list shows it.
    hidden: bool = False


@dataclass(slots=True, frozen=True)
class SessionFacts:
    """What a worker said of itself in its hello."""

    id: bytes
    name: str
    queues: tuple[str, ...]
    tasks: frozenset[str]
    host: str = ""
    process_id: int = 0
    concurrency: int = 1
    executor: str = ""
    version: str = ""
    task_facts: tuple[TaskFacts, ...] = ()
    queue_facts: tuple[tuple[str, Limit], ...] = ()
    #: Of each queue; empty: all have the same.
    weights: tuple[int, ...] = ()
    #: By which commands can reach it.
    labels: tuple[str, ...] = ()
    #: Those that its app defines.
    commands: tuple[CommandFacts, ...] = ()


@dataclass(slots=True, eq=False)
class Session:
    """One worker's presence; outlives a broken stream for the grace period."""

    facts: SessionFacts
    queues: tuple[str, ...]
    capacity: int
    #: The stream that speaks for it; None: broken, until `deadline`.
    stream: object | None
    last_heard: float
    #: Monotonic end of the grace; meaningful while stream is None.
    deadline: float = 0.0
    draining: bool = False
    #: Tokens of its attempts.
    attempts: set[int] = field(default_factory=set)
    #: Tokens it named at its return that had settled already: reports of these are acknowledged again.
    settled: set[int] = field(default_factory=set)
    #: The queues in the order in which they have their turns, and which of them is next.
    ring: tuple[str, ...] = ()
    turn: int = 0
    #: What its code says of tasks that take many calls at once.
    batching: dict[str, TaskFacts] = field(default_factory=dict)
    #: How many of its attempts share a place with another one of their batch.
    sharing: int = 0
    #: By batch: how many of its attempts have not ended.
    batches: dict[int, int] = field(default_factory=dict)

    def serve(self, queues: tuple[str, ...], weights: tuple[int, ...] = ()) -> None:
        """Serve these queues from now on, with these weights; empty: all have the same."""
        self.queues = queues
        self.ring = turns.ring(self.name, queues, weights)

    @property
    def id(self) -> bytes:
        """The 16 secret bytes of the session."""
        return self.facts.id

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.facts.name

    @property
    def free(self) -> int:
        """How many more attempts it takes now."""
        if self.stream is None or self.draining:
            return 0
        return self.capacity - len(self.attempts) + self.sharing
