"""What a graph is to those who look at it: its summary, runs, nodes and edges, and what became of a request.

Plain data with the standard library's types only. It may not import grpc or protobuf: `reading` makes these from
messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final

__all__ = ["Cancelled", "Edge", "Explanation", "Node", "Retried", "Run", "Summary", "Tally"]

#: States and the field of a tally that counts them, in the order in which people are told.
COUNTED: Final[tuple[tuple[str, str], ...]] = (
    ("SUCCESS", "succeeded"),
    ("FAILURE", "failed"),
    ("REVOKED", "revoked"),
    ("REJECTED", "rejected"),
    ("IGNORED", "ignored"),
)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many nodes stand where.

    Attributes:
        nodes: All of them.
        unsettled: Those that have not settled, the running ones included.
        running: Those that a worker holds.
        succeeded: Settled with a value.
        failed: Settled with a failure, their own or one from before them.
        revoked: Revoked, cancelled or expired.
        ignored: Settled without a value and without a failure; errbacks that were not needed are among them.
        rejected: Rejected by their own task.
    """

    nodes: int = 0
    unsettled: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    revoked: int = 0
    ignored: int = 0
    rejected: int = 0

    @property
    def settled(self) -> int:
        """Those that have settled, well or not."""
        return self.nodes - self.unsettled

    @property
    def counts(self) -> dict[str, int]:
        """How many stand in each state, those where any do; RUNNING and WAITING stand for what has not settled."""
        counts = {state: getattr(self, name) for state, name in COUNTED}
        counts |= {"RUNNING": self.running, "WAITING": self.unsettled - self.running}
        return {state: count for state, count in counts.items() if count}

    def __add__(self, other: "Tally") -> "Tally":
        """Return both together."""
        return Tally(
            self.nodes + other.nodes,
            self.unsettled + other.unsettled,
            self.running + other.running,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.revoked + other.revoked,
            self.ignored + other.ignored,
            self.rejected + other.rejected,
        )

    def __str__(self) -> str:
        """Return it as people read it: ``998 SUCCESS, 2 FAILURE``."""
        return ", ".join(f"{count:,} {state}" for state, count in self.counts.items()) or "nothing"


@dataclass(frozen=True, slots=True)
class Summary:
    """A graph in short.

    Attributes:
        graph: Its own id, 24 hexadecimal digits.
        id: Id of the node whose value is the value of the whole.
        state: Where that node stands; before it settles STARTED once anything of the graph runs or has settled.
        created: When it was submitted, UTC.
        settled: When the node of ``id`` settled, UTC; None before.
        ended: True: every node has settled.
        tally: How its nodes stand.
        task: Name of the task of its first call.
        templates: How many kinds of calls it has.
        cancelled: True: somebody cancelled it.
        attached_to: Id of the node that it runs in place of, or was added beside; empty: it stands on its own.
    """

    graph: str
    id: str
    state: str
    created: datetime
    settled: datetime | None
    ended: bool
    tally: Tally
    task: str
    templates: int
    cancelled: bool
    attached_to: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; moments as ISO 8601."""
        return as_dict(self)


@dataclass(frozen=True, slots=True)
class Node:
    """How one node stands.

    Attributes:
        index: Its index in the graph.
        id: Its id, as users know it.
        state: Where it stands, in its task's own words if it has any.
        task: Name of its task; empty: it collects the members of a group, and no worker runs it.
        queue: Name of its queue.
        worker: Name of the worker that holds it, or that settled it.
        started: When its last attempt was handed out, UTC; None: none was, or it is not known.
        settled: When it settled, UTC; None before.
        retries: How often it was retried.
        losses: How often an attempt was lost with its worker.
        error: The failure in short, ``type: message``; empty: none.
        origin: Id of the node where the failure began; empty: here.
        replaced_by: Id of the graph that runs in its place; empty: none.
        due: When it may run at the earliest, UTC; None: it waits for no time.
        waiting: True: other nodes are to settle before it.
    """

    index: int
    id: str
    state: str
    task: str = ""
    queue: str = ""
    worker: str = ""
    started: datetime | None = None
    settled: datetime | None = None
    retries: int = 0
    losses: int = 0
    error: str = ""
    origin: str = ""
    replaced_by: str = ""
    due: datetime | None = None
    waiting: bool = False

    @property
    def seconds(self) -> float | None:
        """How long its last attempt took; None where that is not known."""
        if self.started is None or self.settled is None:
            return None
        return max(0.0, (self.settled - self.started).total_seconds())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; moments as ISO 8601."""
        return as_dict(self)


@dataclass(frozen=True, slots=True)
class Edge:
    """What waits for what: each of the children for each of the parents.

    Attributes:
        parents: Indexes of the nodes that are waited for.
        children: Indexes of the nodes that wait.
        kind: ``value`` (the parent's value goes into the call), ``after`` (its success is waited for, its value
            is not taken), ``error`` and ``error_after`` (runs where the parent fails), ``member`` (is collected);
            ``unknown-`` and a number where a newer coordinator has others.
        on_failure: ``pass``, ``chord`` or ``body``: what a failing parent does; empty for members and errbacks.
    """

    parents: range
    children: range
    kind: str
    on_failure: str = ""

    @property
    def is_error(self) -> bool:
        """True: the child runs only where the parent fails."""
        return self.kind.startswith("error")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; a range as ``[first, count]``."""
        return as_dict(self)


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring nodes that differ in their arguments only.

    Attributes:
        first: Index of the first one.
        count: How many.
        task: Name of the task; empty for a join.
        queue: Name of the queue.
        priority: 0 to 9.
        join: True: one node that collects its members into a list, and that no worker runs.
        edges: What its nodes wait for.
        tally: How its nodes stand.
        nodes: Of a run of many those that did not succeed, the first 10; else all that were asked for.
        id: The user's own id of a run of one; empty: it has none.
    """

    first: int
    count: int
    task: str
    queue: str
    priority: int
    join: bool
    edges: tuple[Edge, ...]
    tally: Tally
    nodes: tuple[Node, ...] = field(default=(), repr=False)
    id: str = ""

    def __str__(self) -> str:
        """Return it on one line: ``add x 1,000: 998 SUCCESS, 2 FAILURE``."""
        name = "join" if self.join else self.task
        return f"{name} x {self.count:,}: {self.tally}" if self.count > 1 else f"{name}: {self.tally}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; moments as ISO 8601."""
        return as_dict(self)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a cancel.

    Attributes:
        cancelled: How many nodes were revoked.
        running: How many ran on workers, and were told.
        had_ended: True: the graph had ended before, and nothing was done.
    """

    cancelled: int
    running: int
    had_ended: bool

    def __str__(self) -> str:
        """Return it in a sentence."""
        if self.had_ended:
            return "The graph had ended already; nothing was done."
        told = f", {self.running:,} of them on workers" if self.running else ""
        return f"Cancelled: {_tasks(self.cancelled + self.running)}{told}."


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a retry.

    Attributes:
        retried: How many nodes will settle once more; 0: all had succeeded.
        unknown_tasks: Names of tasks among them that no connected worker of their queue knows.
    """

    retried: int
    unknown_tasks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in a sentence or two."""
        if not self.retried:
            return "Everything had succeeded; nothing runs again."
        text = f"Runs again: {_tasks(self.retried)}."
        if self.unknown_tasks:
            text += (
                f" No connected worker knows {', '.join(self.unknown_tasks)}: those wait until one does. "
                "Start a worker whose app has them, or cancel the graph."
            )
        return text


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task is where it is.

    Attributes:
        id: Id of the task.
        code: Stable code for programs, such as ``WAITING_FOR_PARENTS`` or ``UNKNOWN_TASK``.
        sentence: The same for people; ``str()`` gives it.
        state: Where it stands.
        task: Name of its task; empty: it collects the members of a group.
        queue: Name of its queue.
        worker: Name of the worker that holds it or settled it.
        waits_for: Ids that it waits for, the first 10.
        waiting_count: How many it waits for.
        due: When it may run at the earliest, UTC; None: it waits for no time.
        ahead: How many tasks stand before it in its line, at most.
    """

    id: str
    code: str
    sentence: str
    state: str
    task: str = ""
    queue: str = ""
    worker: str = ""
    waits_for: tuple[str, ...] = ()
    waiting_count: int = 0
    due: datetime | None = None
    ahead: int = 0

    def __str__(self) -> str:
        """Return the sentence."""
        return self.sentence

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; moments as ISO 8601."""
        return as_dict(self)


def as_dict(value: Any) -> dict[str, Any]:
    """Return the fields of one of these as JSON has them."""
    return {one.name: plain(getattr(value, one.name)) for one in fields(value)}


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def plain(value: Any) -> Any:
    """Return one of these, or what is in them, as JSON has it."""
    if isinstance(value, range):
        return [value.start, len(value)]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return as_dict(value)
    return value
