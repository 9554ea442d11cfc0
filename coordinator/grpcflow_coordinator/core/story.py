"""What happened lately, to be told when something goes wrong: a bounded ring, searched and never indexed."""

from __future__ import annotations

from collections import deque

from grpcflow_coordinator.core.model import text_id

#: How many happenings are remembered.
LENGTH = 20_000


class Story:
    """The last happenings, one for each run of nodes and cause."""

    __slots__ = ("_ring",)

    def __init__(self, length: int = LENGTH) -> None:
        self._ring: deque[tuple[int, str, bytes, int, int, str]] = deque(maxlen=length)

    def tell(self, wall_ms: int, what: str, graph: bytes, first: int, count: int = 1, detail: str = "") -> None:
        """Remember that something happened to `count` nodes from `first` on."""
        self._ring.append((wall_ms, what, graph, first, count, detail))

    def of(self, graph: bytes, index: int) -> list[str]:
        """Return what happened to one node, oldest first, one line each."""
        return [
            f"{wall_ms} {what} {text_id(graph, index)} {detail}".rstrip()
            for wall_ms, what, owner, first, count, detail in self._ring
            if owner == graph and first <= index < first + count
        ]
