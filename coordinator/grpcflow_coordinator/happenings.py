"""What an event is while it is kept: plain data. No rule stands here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS


class Happening(NamedTuple):
    """Something that happened, as it is kept.

    The last fields say what the records knew of the nodes. They are filled in what was read from the disk, whose
    records may be gone, and empty in what comes from memory.
    """

    time_ms: int
    kind: int
    graph: bytes = b""
    nodes: Sequence[int] = ()
    worker: str = ""
    detail: str = ""
    type: str = ""
    fields: bytes = b""
    task: str = ""
    queue: str = ""
    own_id: str = ""


#: Events with their offsets, in order.
Numbered = list[tuple[int, Happening]]


def start_of(offset: int) -> int:
    """Return the offset before the first event of the start of the coordinator that an offset is of."""
    return offset >> TOKEN_NUMBER_BITS << TOKEN_NUMBER_BITS


def lost_between(after: int, offset: int) -> int:
    """Return how many events are missing between two that were read one after the other.

    Nobody knows how many an earlier start of the coordinator had after its last one: these are not counted.
    """
    return offset - max(after, start_of(offset)) - 1
