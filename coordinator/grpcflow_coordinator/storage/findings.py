"""What a check of a store knows and finds: the findings, and the indexes as they were read.

`checking` reads the indexes, `checking_graphs` compares them with the graphs. This file decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from grpcflow_coordinator.core.model import LineKey, TimerKind
from grpcflow_coordinator.storage import keys
from grpcflow_coordinator.storage.contract import Store
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records

#: Keys that are read at once.
PAGE: Final = 2_000

#: What people call each kind.
NAMES: Final = {
    keys.META: "epoch",
    keys.GRAPH: "graph",
    keys.RUN: "run",
    keys.STAGED: "staged graph",
    keys.CURSOR: "release cursor",
    keys.LIVE: "tally",
    keys.OUTCOME: "outcome",
    keys.WAITING: "waiting count",
    keys.PROGRESS: "progress",
    keys.ALIAS: "alias",
    keys.LANE: "lane",
    keys.ENTRY: "queue entry",
    keys.MARK: "hand-out mark",
    keys.TIMER: "timer",
    keys.PRUNE: "retention timer",
    keys.SESSION: "session",
    keys.EXTRA: "added member",
    keys.FORGOTTEN: "forgotten result",
    keys.STAMP: "stamp",
    keys.JOB: "job",
    keys.SAVED: "saved group",
    keys.CANCELLED: "cancelled graph",
    keys.RETRIED: "retried graph",
    keys.STRAY: "queued settled nodes",
    keys.PAUSED: "paused queue",
    keys.UNIQUE: "unique key",
    keys.FOLLOWER: "follower",
    keys.PLAN: "plan",
    keys.SCHEDULE: "schedule",
    keys.FAILED: "failed task",
    keys.STRIPPED: "deleted arguments",
    keys.RETENTION: "retention",
    keys.KEPT: "kept graph",
    keys.LIMIT: "limit",
    keys.RATE: "rate",
    keys.ITEM: "item",
    keys.LOG: "log",
}


class Finding(NamedTuple):
    """One thing that does not agree."""

    #: What is wrong is a record of this kind, or the lack of one.
    kind: str
    what: str
    #: False: a trace that normal work leaves too, or may leave; the coordinator passes over it.
    broken: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Neighbouring nodes of a graph that stand in one queue entry or under one timer."""

    first: int
    count: int
    #: Sequence of the entry; -1: a timer.
    sequence: int = -1
    line: LineKey | None = None

    def holds(self, index: int) -> bool:
        """Return whether a node is one of them."""
        return self.first <= index < self.first + self.count


@dataclass(slots=True)
class Indexes:
    """What was read of the indexes, by what the graphs are compared with."""

    store: Store
    now_ms: int
    records: Records
    #: Sequence below which no entry means a graph, by graph.
    retried: dict[bytes, int]
    #: Graphs that jobs are at: each is whole again when its job is done.
    in_work: set[bytes]
    #: Where nodes stand, by graph: queue entries that mean something, and timers of a time to come.
    places: dict[bytes, list[Place]] = field(default_factory=dict)
    #: Timers of expiry, by graph.
    expiries: dict[bytes, list[Place]] = field(default_factory=dict)
    #: Graphs with a timer that deletes them, and when it is due first.
    pruned: dict[bytes, int] = field(default_factory=dict)
    #: Hand-out marks.
    marks: dict[LineKey, int] = field(default_factory=dict)
    #: What is kept by count: (scope, name, kind), with the graphs that are counted and the first end among them.
    kept: dict[tuple[str, str, str], tuple[set[bytes], int]] = field(default_factory=dict)


def open_indexes(store: Store, now_ms: int) -> Indexes:
    """Begin a check."""
    records = Records(Overlay(store))
    in_work: set[bytes] = set()
    for job in records.jobs():
        in_work |= {job.graph, *job.graphs, *job.ready}
    return Indexes(store, now_ms, records, records.retried(), in_work)


def pairs(store: Store, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read all records of a kind, page by page."""
    start = kind
    while page := store.scan(start, keys.after(kind), PAGE):
        yield from page
        start = page[-1][0] + b"\x00"


def is_of_nodes(timer_kind: int) -> bool:
    """Return whether the node of a timer of this kind is one; others name what else is to go."""
    return timer_kind not in (TimerKind.SAVED, TimerKind.UNIQUE)
