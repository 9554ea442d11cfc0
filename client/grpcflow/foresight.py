"""Which results are asked for before anybody waits for them, since somebody is about to.

Two habits are worth a message. Who calls and waits, again and again, asks for the result together with the call. Who
calls many times and then waits for one result after the other asks, with the first of them, for the next ones too: as
many more each time as the last ones were really waited for. Pure bookkeeping; the session owns it, under its lock. It
may not send anything, and what it gets wrong may cost a message or a result thrown away, never an answer.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from grpcflow.waiting import Waiter

__all__ = ["Foresight"]

#: Calls that are remembered until somebody waits for them; about 150 bytes each.
RECENT: Final = 20_000

#: How many calls must have been waited for one by one before the next is taken to be; and how many may be on their way
#: at a time for that, from several threads.
HABIT: Final = 2
AT_ONCE: Final = 64

#: Most results that are asked for ahead of the one that is waited for.
FARTHEST: Final = 512

#: Results that were asked for and not waited for yet, and bytes of them, at most.
ASKED: Final = 4_096
KEPT_BYTES: Final = 1 << 20


class _Asked:
    """A result that was asked for on a link: the value, once it has come."""

    __slots__ = ("link", "value")

    def __init__(self, link: int | None) -> None:
        self.link = link
        self.value: bytes | None = None


class Foresight:
    """The calls of single tasks of one session that nobody has waited for yet, by graph, in order."""

    def __init__(self) -> None:
        self._calls: dict[bytes, None] = {}
        self._asked: dict[bytes, _Asked] = {}
        self._habit = self._running = 0
        self._kept = 0
        #: How many were asked for ahead the last time, and how many of them were waited for since.
        self._ahead = self._hits = 0

    def expects(self, graph: bytes, link: int) -> bool:
        """Take in that a graph of one node is submitted; return whether to ask for its result at once.

        Args:
            graph: The graph's id.
            link: Number of the link that it is sent on; a result that was asked for on another one does not come. Not
                the link: what is kept of grpc would outlive its channel, and no fork could wait for its end.
        """
        self._running += 1
        if self._running > AT_ONCE:
            self._habit = 0
        if self._habit < HABIT:
            self.made(graph)
            return False
        self._ask(graph, link)
        return True

    def made(self, graph: bytes) -> None:
        """Take in that a graph of one node is submitted with many others."""
        if len(self._calls) >= RECENT:
            del self._calls[next(iter(self._calls))]
        self._calls[graph] = None

    def keep(self, graph: bytes, left: Sequence[tuple[int, bytes]]) -> None:
        """Take values, by their nodes, that nobody waits for yet; what there is no room for is asked for again."""
        asked = self._asked.get(graph)
        if asked is None or asked.value is not None or len(left) != 1 or left[0][0]:
            return
        data = left[0][1]
        if self._kept + len(data) > KEPT_BYTES:
            asked.link = None
            return
        asked.value = data
        self._kept += len(data)

    def missed(self, graph: bytes) -> None:
        """A result came that was no plain value, and nobody waits for it: it is asked for again."""
        asked = self._asked.get(graph)
        if asked is not None:
            asked.link = None

    def waits(self, waiter: Waiter, link: int | None) -> list[bytes] | None:
        """Take in that somebody waits; return whose results to ask for, too, or None where there is nothing to ask.

        Args:
            waiter: Who waits; a value that has come is given to it.
            link: Number of the open link, None where there is none.

        Returns:
            Graphs whose one node is to be watched on that link, too; None where what is waited for has come or is on
            its way.
        """
        graphs = tuple(waiter.graphs())
        before = len(self._calls)
        asked = [one for graph in graphs if (one := self._waited_for(graph)) is not None]
        if len(graphs) != 1 or waiter.wants_news or waiter.missing_count() != 1 or not waiter.wants(graphs[0], 0, 1):
            return []
        if not asked:
            return self._further(link) if len(self._calls) < before and link is not None else []
        value = asked[0].value
        if value is not None:
            waiter.take_values(graphs[0], (0,), (value,))
            return None
        return None if link is not None and asked[0].link is link else []

    def _further(self, link: int) -> list[bytes]:
        """Return whose results to ask for with one that was not foreseen: those of the oldest calls."""
        well_done = self._hits * 2 >= self._ahead
        self._ahead = min(max(1, self._ahead * 2), FARTHEST) if well_done else self._ahead // 2
        self._hits = 0
        graphs = list(islice(self._calls, self._ahead))
        for graph in graphs:
            del self._calls[graph]
            self._ask(graph, link)
        return graphs

    def _ask(self, graph: bytes, link: int) -> None:
        if len(self._asked) >= ASKED:
            self._let_go(self._asked.pop(next(iter(self._asked))))
        self._asked[graph] = _Asked(link)

    def _waited_for(self, graph: bytes) -> _Asked | None:
        """Take a call off the list; return the result that was asked for, None where it was not."""
        asked = self._asked.pop(graph, None)
        if asked is not None:
            self._let_go(asked)
            self._hits += 1
        elif graph in self._calls:
            del self._calls[graph]
        else:
            return None
        self._habit = min(self._habit + 1, HABIT)
        self._running = 0
        return asked

    def _let_go(self, asked: _Asked) -> None:
        if asked.value is not None:
            self._kept -= len(asked.value)
