"""What had settled before a client watched it, and is still to be told: which nodes, each once however often asked for.

Knows no records and no wire, and decides nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from operator import itemgetter

_first, _end = itemgetter(0), itemgetter(1)


class _Spans:
    """Nodes of one graph: ranges (first, end) in order that do not touch, and the node to go on with."""

    __slots__ = ("at", "spans")

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.at = 0

    def add(self, first: int, end: int) -> None:
        """Join a range to those that it touches."""
        low = bisect_left(self.spans, first, key=_end)
        high = bisect_right(self.spans, end, key=_first)
        if low < high:
            first, end = min(first, self.spans[low][0]), max(end, self.spans[high - 1][1])
        self.spans[low:high] = [(first, end)]

    def take(self, most: int) -> tuple[int, int]:
        """Take the next nodes, at most so many; behind the last one it goes on with the first.

        So what is asked for again and again keeps nobody from the end of a long range.
        """
        low = bisect_right(self.spans, self.at, key=_end)
        if low == len(self.spans):
            low = self.at = 0
        first, end = self.spans[low]
        start = max(first, self.at)
        self.at = stop = min(end, start + most)
        self.spans[low : low + 1] = [span for span in ((first, start), (stop, end)) if span[0] < span[1]]
        return start, stop


class Backfill:
    """Nodes of which a client is still to be told whether they had settled."""

    def __init__(self) -> None:
        #: Nodes that were watched by themselves, perhaps by an id of their own, which is told of those only.
        self._single: OrderedDict[tuple[bytes, int], None] = OrderedDict()
        self._graphs: OrderedDict[bytes, _Spans] = OrderedDict()
        self._spans = 0

    def __len__(self) -> int:
        """How many ranges wait."""
        return len(self._single) + self._spans

    def add(self, graph: bytes, first: int, end: int) -> None:
        """Add nodes; those that wait already are told once.

        Args:
            graph: the graph.
            first: its first node that is meant.
            end: the one behind the last.
        """
        if end - first == 1:
            self._single[graph, first] = None
        elif first < end:
            spans = self._graphs.setdefault(graph, _Spans())
            self._spans -= len(spans.spans)
            spans.add(first, end)
            self._spans += len(spans.spans)

    def take(self, most: int) -> tuple[bytes, int, int]:
        """Take some nodes of one graph out: the graph, the first one and the one behind the last; graphs take turns.

        Args:
            most: how many nodes at most.

        Raises:
            KeyError: nothing waits.
        """
        if self._single:
            (graph, index), _ = self._single.popitem(last=False)
            return graph, index, index + 1
        graph, spans = self._graphs.popitem(last=False)
        self._spans -= len(spans.spans)
        first, end = spans.take(most)
        self._spans += len(spans.spans)
        if spans.spans:
            self._graphs[graph] = spans
        return graph, first, end
