"""The nouns of schedules. Plain data; no rule stands here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple, TypeAlias

from grpcflow_coordinator.core.model import Graph, Run
from grpcflow_coordinator.core.ticks import Times

Overlap: TypeAlias = Literal["allow", "skip", "queue_one"]

#: Past ticks that are kept.
HISTORY = 20


class TickOutcome(IntEnum):
    """What became of a tick; the numbers are those of the wire."""

    FIRED = 1
    SKIPPED = 2
    MISSED = 3
    QUEUED = 5


class PastTick(NamedTuple):
    """A time that came."""

    time_ms: int
    outcome: TickOutcome
    #: The 16 bytes of the node whose value is the value of what it submitted; empty: nothing.
    node: bytes


@dataclass(slots=True, frozen=True)
class Plan:
    """What was put of a schedule."""

    name: str
    times: Times
    #: What it submits; its id is of no meaning.
    graph: Graph
    runs: tuple[tuple[Run, list[bytes]], ...]
    overlap: Overlap = "allow"
    #: A tick that is later than so many milliseconds is missed.
    catch_up_ms: int = 86_400_000
    #: True: each tick that came while the coordinator was down fires; false: the last one of them.
    catch_up_all: bool = False
    #: Whose code declares it; empty: it was added by hand.
    owner: str = ""
    #: The schedule as it came over the wire.
    wire: bytes = b""


@dataclass(slots=True)
class Schedule:
    """A schedule as it stands."""

    plan: Plan
    #: Unix milliseconds at which its times were put: where its intervals count from.
    put_ms: int
    #: The last tick that came; no tick up to this one comes any more.
    last_ms: int
    paused: bool = False
    #: How many ticks fired, runs by hand included, and how many came to nothing.
    fired: int = 0
    passed: int = 0
    #: The graph that was submitted last, and the tick that waits for its end; empty and 0: none.
    running: bytes = b""
    waiting_ms: int = 0
    #: The newest first.
    history: list[PastTick] = field(default_factory=list)
    #: The next tick; None: none will come. Worked out from the rest.
    next_ms: int | None = None
