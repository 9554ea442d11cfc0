"""What a canvas is lowered to: nodes in runs, edges, templates, and the shape of its result.

Plain data; imports nothing of grpcflow but keys. The numbers of the enumerations are those of ``graph.proto``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from grpcflow.lower.keys import NO_KEYS, Keys

if TYPE_CHECKING:
    from grpcflow.lower.keys import KeyPlan

__all__ = ["Attachment", "EdgeSpec", "LoweredGraph", "Mode", "OnFailure", "Outcome", "Run", "TemplateSpec"]


class Mode(IntEnum):
    """How a parent enters the call of its child; see EdgeMode in graph.proto."""

    VALUE = 1
    AFTER = 2
    ERROR = 3
    ERROR_AFTER = 4


class OnFailure(IntEnum):
    """What a failing parent does to its child; see FailureMode in graph.proto."""

    PASS = 1
    CHORD = 2
    BODY = 3


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """An edge from a parent to the node that holds it.

    Attributes:
        parent: Index of the parent.
        mode: How the parent enters the call.
        on_failure: What a failing parent does.
    """

    parent: int
    mode: Mode
    on_failure: OnFailure = OnFailure.PASS


@dataclass(frozen=True)
class TemplateSpec:
    """What many calls of one graph share; the fields are those of Template in graph.proto.

    Attributes:
        keys: How the keys of its calls are made; None: of none but those that a call is given. Does not travel.
    """

    # Without slots, for the sake of ``delayed`` and ``is_tied``.

    task: str
    queue: str = ""
    priority: int = 0
    acks_early: bool = False
    max_deliveries: int = 0
    ignore_result: bool = False
    content_type: str = ""
    countdown: timedelta | None = None
    eta: datetime | None = None
    expires_in: timedelta | None = None
    expires_at: datetime | None = None
    headers: bytes = b""
    parent_id: str = ""
    root_id: str = ""
    track_started: bool = False
    sensitive: bool = False
    stamps: tuple[tuple[str, tuple[str, ...]], ...] = ()
    replaced_nesting: int = 0
    time_limit: timedelta | None = None
    soft_time_limit: timedelta | None = None
    unique_for: timedelta | None = None
    unique_stays: bool = False
    broadcast: bool = False
    concurrency_per_key: int = 0
    result_expires: timedelta | None = None
    failure_expires: timedelta | None = None
    keys: "KeyPlan | None" = None

    @cached_property
    def is_tied(self) -> bool:
        """True where its calls wait for a time, are spread, or have to do with others by their keys."""
        return bool(self.keys or self.countdown or self.eta or self.broadcast or self.unique_for)

    def delayed(self, countdown: timedelta | None) -> "TemplateSpec":
        """Return the same with another countdown; the short way, for a group may have a hundred thousand of them."""
        made: TemplateSpec = object.__new__(TemplateSpec)
        made.__dict__.update(self.__dict__, countdown=countdown)
        made.__dict__.pop("is_tied", None)  # that of another countdown
        return made


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a graph is to the running attempt that submits it; see Attachment in graph.proto.

    Attributes:
        kind: ``replace``: the graph runs in the place of the attempt's node; ``member``: it is one more member of
            the join that the node is a member of.
        node: The 16 bytes of the running node.
        token: Token of its attempt.
        group: The 16 bytes of the join that the end of the graph is a member of then; empty: of none.
        group_index: Its place in that join's list.
        in_chord: True where that join is the header of a chord.
        nesting: How many replacements lie above the calls of the graph.
    """

    kind: Literal["replace", "member"]
    node: bytes
    token: int
    group: bytes = b""
    group_index: int = 0
    in_chord: bool = False
    nesting: int = 0


@dataclass(slots=True)
class Run:
    """A run of neighbouring nodes that differ in their payload only.

    Attributes:
        first: Index of the first node.
        template: Index into the graph's templates; -1 for a join.
        payloads: For each node its encoded call; empty for a join.
        inputs: The edges to the parents; only in a run of one.
        children: Indexes of the nodes that have one of these as parent or member.
        id: The user's own id; only in a run of one.
        members: For a join its members as (first, count); None for calls.
        size: Bytes of the payloads.
        group: Index of the join that these are members of; -1: of none.
        group_index: Place of the first node in that join's list.
        in_chord: True where that join is the header of a chord.
        keys: The keys of its nodes; one with a unique key has one node.
    """

    first: int
    template: int
    payloads: list[bytes] = field(default_factory=list)
    inputs: tuple[EdgeSpec, ...] = ()
    children: list[int] = field(default_factory=list)
    id: str = ""
    members: list[tuple[int, int]] | None = None
    size: int = 0
    group: int = -1
    group_index: int = 0
    in_chord: bool = False
    keys: Keys = NO_KEYS

    @property
    def count(self) -> int:
        """How many nodes it has."""
        return len(self.payloads) if self.members is None else 1


#: Outcomes of plain calls by their nodes, and how many are kept.
_PLAIN: "dict[int, Outcome]" = {}
_MOST_PLAIN: Final = 1_000


@dataclass(slots=True, eq=False)
class Outcome:
    """Where the result of a canvas, or of a part of it, is found in the graph.

    Attributes:
        node: Index of the node whose value it is.
        id: The user's own id of that node; empty: the text form of its 16 bytes.
        parent: The outcome that came before it in its chain.
        members: For a group its members in order, plain calls as (first, count); None for a call.
        callbacks: Outcomes of what was linked to it.
    """

    node: int
    id: str = ""
    parent: "Outcome | None" = None
    members: "list[Outcome | tuple[int, int]] | None" = None
    callbacks: "list[Outcome]" = field(default_factory=list)

    @classmethod
    def at(cls, node: int) -> "Outcome":
        """Return that of a plain call, which is the same in every bundle."""
        known = _PLAIN.get(node)
        if known is None:
            known = cls(node)
            if len(_PLAIN) < _MOST_PLAIN:
                _PLAIN[node] = known
        return known

    def first(self) -> "Outcome":
        """Return the first outcome of the chain that leads to this one."""
        current = self
        while current.parent is not None:
            current = current.parent
        return current


@dataclass(slots=True)
class LoweredGraph:
    """A whole canvas as a graph, not yet sent.

    Attributes:
        templates: What calls share.
        runs: The nodes in the order of their indexes.
        node_count: How many nodes there are.
        outcome: Where the result of the whole is.
    """

    templates: list[TemplateSpec]
    runs: list[Run]
    node_count: int
    outcome: Outcome

    def edges(self) -> Iterator[tuple[int, int]]:
        """Yield every edge as (parent, child), members of joins included."""
        for run in self.runs:
            for edge in run.inputs:
                yield edge.parent, run.first
            for first, count in run.members or ():
                for member in range(first, first + count):
                    yield member, run.first
