"""Results of calls that left together, asked for before each of them is waited for.

Who waits for one call of a bundle is about to wait for the others: with each that is not on its way yet, the next ones
are asked for too, twice as many as the last time. Where most calls of the bundles before were waited for, all of the
next one are asked for together with it. Pure bookkeeping; the session owns it, under its lock. It may not send
anything, and what it gets wrong may cost a message or a result thrown away, never an answer.
"""

from collections.abc import Sequence
from typing import Final

__all__ = ["Ahead"]

#: Calls of bundles that are remembered, and bytes of results that came before somebody waited for them, at most.
RECENT: Final = 50_000
KEPT_BYTES: Final = 4 << 20

#: Calls by which it is told whether most are waited for.
_LATELY: Final = 5_000

#: Most results that are asked for with one that is waited for.
FARTHEST: Final = 512


class _Bundle:
    """The calls of one bundle: which were asked for, on which link, and what came and was not waited for yet."""

    __slots__ = ("asked", "link", "values", "width")

    def __init__(self, count: int) -> None:
        self.asked = bytearray(count)
        self.link: int | None = None
        self.values: dict[int, bytes] = {}
        self.width = 1


class Ahead:
    """The bundles of one session whose results may still be waited for, the oldest first."""

    def __init__(self) -> None:
        self._bundles: dict[bytes, _Bundle] = {}
        self._count = self._kept = 0
        #: Calls that left lately, and how many of them were waited for.
        self._sent = self._waited = 0
        #: Calls that are taken to be waited for before anything is known.
        self._trust = _LATELY

    def sent(self, graph: bytes, count: int, link: int | None) -> bool:
        """Take in that so many calls leave together; return whether to ask for their results at once.

        Args:
            graph: Their graph.
            count: How many they are.
            link: Number of the link that they leave on; None: there is none now.
        """
        bundle = self._bundles[graph] = _Bundle(count)
        self._count += count
        is_habit = 2 * self._waited + self._trust >= self._sent + count
        self._sent += count
        if self._sent > _LATELY:
            self._sent, self._waited, self._trust = self._sent // 2, self._waited // 2, 0
        if is_habit and link is not None and count <= FARTHEST:
            bundle.link, bundle.asked = link, bytearray(b"\1") * count
        else:
            link = None
        while self._count > RECENT and len(self._bundles) > 1:
            self._forget(next(iter(self._bundles)))
        return is_habit and link is not None

    def _forget(self, graph: bytes) -> None:
        bundle = self._bundles.pop(graph)
        self._count -= len(bundle.asked)
        self._kept -= sum(map(len, bundle.values.values()))

    def take(self, graph: bytes, index: int) -> bytes | None:
        """Return a value that has come, and keep it no longer; None: it has not."""
        bundle = self._bundles.get(graph)
        data = None if bundle is None else bundle.values.pop(index, None)
        if bundle is not None and data is not None:
            self._waited += 1
            self._kept -= len(data)
            bundle.asked[index] = 0  # who waits for it once more asks anew
        return data

    def wanted(self, graph: bytes, index: int, link: int) -> list[tuple[int, int]] | None:
        """Return which nodes to ask for where one is waited for that has not come.

        Args:
            graph: The graph of a bundle.
            index: The node.
            link: Number of the open link; what was asked for on another one does not come.

        Returns:
            Ranges (first, count), none where it is on its way; None: nothing is known of this graph.
        """
        bundle = self._bundles.get(graph)
        if bundle is None or index >= len(bundle.asked):
            return None
        self._waited += 1
        if bundle.link != link:
            bundle.link, bundle.asked = link, bytearray(len(bundle.asked))
        if bundle.asked[index]:
            return []
        asked = bundle.asked
        end = min(index + bundle.width, len(asked))
        later = asked.find(1, index, end)
        end = end if later < 0 else later
        asked[index:end] = b"\1" * (end - index)
        bundle.width = min(bundle.width * 2, FARTHEST)
        return [(index, end - index)]

    def is_coming(self, graph: bytes, index: int, link: int) -> bool:
        """Return whether a node that is waited for now was asked for on the open link, and has not come."""
        bundle = self._bundles.get(graph)
        if bundle is None or bundle.link != link or index >= len(bundle.asked) or not bundle.asked[index]:
            return False
        self._waited += 1
        return True

    def came(self, graph: bytes, indexes: Sequence[int], left: Sequence[tuple[int, bytes]]) -> bool:
        """Take values in, and keep those that nobody waits for yet; False: nothing is known of their graph.

        Args:
            graph: The graph.
            indexes: All nodes whose values came.
            left: Nodes and values that nobody was waiting for.
        """
        bundle = self._bundles.get(graph)
        if bundle is None:
            return False
        asked = bundle.asked
        wanted = [(index, data) for index, data in left if asked[index]]
        for index in indexes:
            asked[index] = 0  # who waits for one once more asks anew
        for index, data in wanted:
            if index not in bundle.values and self._kept + len(data) <= KEPT_BYTES:
                asked[index] = 1
                bundle.values[index] = data
                self._kept += len(data)
        return True

    def missed(self, graph: bytes, index: int) -> None:
        """What was asked for does not come, or was no plain value that could be kept: it is asked for again."""
        bundle = self._bundles.get(graph)
        if bundle is not None and index < len(bundle.asked) and index not in bundle.values:
            bundle.asked[index] = 0
