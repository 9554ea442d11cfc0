"""Which results are asked for together with the submission, since they are about to be waited for.

A program that calls and waits, again and again, pays for a message that asks for each result. One that has done so is
taken to go on: the question then travels with the call. Pure bookkeeping; the session owns it, under its lock. It may
not send anything, and what it gets wrong may cost a message or a result thrown away, never an answer.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from grpcflow.waiting import Waiter

__all__ = ["Foresight"]

#: Calls that are remembered until somebody waits for them.
RECENT: Final = 1_024

#: How many of them must have been waited for in a row before the next one is taken to be; and the most that counts.
HABIT: Final = 2

#: Bytes of results that are kept for those who will wait for them.
KEPT_BYTES: Final = 1 << 20


class _Call:
    """One call of a single task: whether its result was asked for on a link, and the value, once it has come."""

    __slots__ = ("link", "value")

    def __init__(self) -> None:
        self.link: object = None
        self.value: bytes | None = None


class Foresight:
    """The calls of one session that nobody has waited for yet."""

    def __init__(self) -> None:
        self._calls: OrderedDict[bytes, _Call] = OrderedDict()
        self._habit = 0
        self._kept = 0

    def expects(self, graph: bytes, link: object) -> bool:
        """Take in that a graph of one node is submitted; return whether to ask for its result at once.

        Args:
            graph: The graph's id.
            link: What it is sent on; a result that was asked for on another one does not come.
        """
        if len(self._calls) >= RECENT:
            _, unwanted = self._calls.popitem(last=False)
            self._let_go(unwanted)
            self._habit = 0
        call = self._calls[graph] = _Call()
        if self._habit < HABIT:
            return False
        call.link = link
        return True

    def keep(self, graph: bytes, indexes: Sequence[int], values: Sequence[bytes]) -> None:
        """Take values that nobody waits for yet; what there is no room for is asked for again."""
        call = self._calls.get(graph)
        if call is None or call.value is not None or list(indexes) != [0]:
            return
        if self._kept + len(values[0]) > KEPT_BYTES:
            call.link = None
            return
        call.value = values[0]
        self._kept += len(values[0])

    def missed(self, graph: bytes) -> None:
        """A result came that was no plain value, and nobody waits for it: it is asked for again."""
        call = self._calls.get(graph)
        if call is not None:
            call.link = None

    def serves(self, waiter: Waiter, link: object) -> bool:
        """Take in that somebody waits; return whether nothing need be asked for: it has come, or is on its way.

        Args:
            waiter: Who waits; a value that has come is given to it.
            link: The open link, None where there is none.
        """
        graphs = tuple(waiter.graphs())
        calls = [call for graph in graphs if (call := self._calls.pop(graph, None)) is not None]
        for call in calls:
            self._let_go(call)
            self._habit = min(self._habit + 1, HABIT)
        if len(graphs) != 1 or not calls or waiter.wants_news or waiter.missing_count() != 1:
            return False
        value = calls[0].value
        if value is not None:
            waiter.take_values(graphs[0], (0,), (value,))
            return waiter.done
        return link is not None and calls[0].link is link and waiter.wants(graphs[0], 0, 1)

    def _let_go(self, call: _Call) -> None:
        if call.value is not None:
            self._kept -= len(call.value)
