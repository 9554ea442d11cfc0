"""Independent calls that leave together: one graph of many nodes costs a fraction of as many graphs.

Each call keeps an id, a state and a value of its own; cancelling or retrying one leaves the others alone. Pure
bookkeeping, but for ``encoded``, which alone knows protobuf. It may not send anything, and importing it is light.
"""

from typing import TYPE_CHECKING, Final

from grpcflow import ids

if TYPE_CHECKING:
    from grpcflow.lower.model import LoweredGraph, TemplateSpec

__all__ = ["LARGE", "MOST_BYTES", "MOST_CALLS", "Bundle"]

#: Calls of one bundle at most, and bytes of their arguments; a call with more than ``LARGE`` bytes goes alone.
MOST_CALLS: Final = 500
MOST_BYTES: Final = 200_000
LARGE: Final = 16_384


class Bundle:
    """Calls of one queue, in order.

    Args:
        queue: Name of the queue: what the coordinator says against one queue does not touch calls of another.

    Attributes:
        graph: The 12 bytes of the id of their graph.
        size: Bytes of their arguments.
        count: How many they are.
    """

    __slots__ = ("_last", "_runs", "_templates", "count", "graph", "queue", "size")

    def __init__(self, queue: str) -> None:
        self.graph = ids.mint_graph()
        self.queue = queue
        self.size = self.count = 0
        self._templates: list[TemplateSpec] = []
        self._runs: list[tuple[int, list[bytes]]] = []
        self._last: TemplateSpec | None = None

    @property
    def is_full(self) -> bool:
        """True where no other call may join."""
        return self.count >= MOST_CALLS or self.size >= MOST_BYTES

    def add(self, template: "TemplateSpec", payload: bytes) -> int:
        """Add a call and return the index of its node.

        Args:
            template: What it has in common with others.
            payload: Its encoded arguments.
        """
        if template is not self._last:
            self._begin_run(template)
        self._runs[-1][1].append(payload)
        self.size += len(payload)
        self.count += 1
        return self.count - 1

    def _begin_run(self, template: "TemplateSpec") -> None:
        """Let the next calls be of this template; one that only equals the last one goes on with its run."""
        if self._last != template:
            known = self._templates.index(template) if template in self._templates else len(self._templates)
            if known == len(self._templates):
                self._templates.append(template)
            self._runs.append((known, []))
        self._last = template

    def drop(self, count: int) -> None:
        """Take the last calls out again, fewer than all."""
        self.count -= count
        while count:
            payloads = self._runs[-1][1]
            gone = payloads[-count:]
            del payloads[-count:]
            self.size -= sum(map(len, gone))
            count -= len(gone)
            if not payloads:
                self._runs.pop()
        self._last = None

    def lowered(self) -> "LoweredGraph":
        """Return them as a graph that can be sent."""
        from grpcflow.lower.model import LoweredGraph, Outcome, Run

        runs, first = [], 0
        for template, payloads in self._runs:
            runs.append(Run(first, template, payloads, size=sum(map(len, payloads))))
            first += len(payloads)
        return LoweredGraph(self._templates, runs, self.count, Outcome(0))

    def encoded(self) -> list[bytes]:
        """Return the request that submits them."""
        from grpcflow.lower.chunks import to_chunks
        from grpcflow.submission import encoded

        [chunk] = to_chunks(self.lowered(), self.graph)
        for template in chunk.templates if self.count > 1 else ():
            template.apart = True
        return encoded([chunk])
