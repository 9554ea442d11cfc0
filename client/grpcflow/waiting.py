"""Who waits for what: pure bookkeeping behind the client's stream.

A waiter names nodes and is told their results; an operation of any kind is waited for through its ``wake``
queue, which is the quickest way to hand a word from one thread to another. Nothing here does I/O, takes a lock
or knows gRPC; the session that owns the registry calls it under its own lock.
"""

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Final

from grpcflow.news import News
from grpcflow.settled import Settled
from grpcflow.states import PROPAGATE_STATES

__all__ = ["NodeWaiter", "NodesWaiter", "Operation", "RangeWaiter", "Waiter"]


#: A value of so many bytes takes a while to be read: better while others are on their way.
LARGE: Final = 256 * 1024


class Operation:
    """Something that one thread waits for.

    Attributes:
        done: True once it came about or failed.
        error: Why it failed; None where it did not.
        wake: Gets an item whenever the waiting thread should look again.
        thread: The waiting thread: after a fork only that of the child's own thread lives on.
    """

    __slots__ = ("done", "error", "thread", "wake")

    def __init__(self, wake: Any = None) -> None:
        self.done = False
        self.error: Exception | None = None
        self.wake: Any = SimpleQueue() if wake is None else wake  # or what a session puts in its place
        self.thread = threading.get_ident()

    def finish(self, error: Exception | None = None) -> None:
        """End it, well or with an error, and wake its thread. Only the first end counts."""
        if not self.done:
            self.error = error
            self.done = True
            self.wake.put(None)


class Waiter(Operation):
    """A thread that waits for nodes to settle. Abstract without ``ABC``, which would be asked at each ``isinstance``.

    Attributes:
        waits_for_submit: True: a node that nobody has submitted yet is waited for and no error.
        wants_news: True: it is told of the states of nodes before their end, too.
    """

    __slots__ = ("waits_for_submit", "wants_news")

    def __init__(self, *, waits_for_submit: bool = False, wake: Any = None) -> None:
        super().__init__(wake)
        self.waits_for_submit = waits_for_submit
        self.wants_news = False

    @abstractmethod
    def graphs(self) -> Iterable[bytes]:
        """Return the graphs of the nodes."""

    @abstractmethod
    def missing(self) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Yield what has not come yet: a graph and its ranges (first, count)."""

    def missing_names(self) -> list[str]:
        """Return what has not come yet of the nodes that are known by the user's own ids only."""
        return []

    @abstractmethod
    def missing_count(self) -> int:
        """Return how many nodes have not settled yet."""

    @abstractmethod
    def wants(self, graph: bytes, first: int, count: int) -> bool:
        """Return whether it waits for a node in this range."""

    @abstractmethod
    def take_values(self, graph: bytes, indexes: Sequence[int], values: Sequence[bytes]) -> None:
        """Take plain values; nodes that it does not wait for, and repeats, are passed over."""

    @abstractmethod
    def take(self, graph: bytes, index: int, settled: Settled) -> None:
        """Take one result, likewise."""

    def take_named(self, name: str, settled: Settled) -> None:
        """Take the result of a node that was waited for by the user's own id, likewise."""

    def take_news(self, graph: bytes, index: int, told: Settled) -> None:
        """Take a state of a node that has not settled, likewise."""


class RangeWaiter(Waiter):
    """Waits for a run of nodes of one graph: the hot path of a group's results. Large ones wake who waits at once.

    Args:
        graph: The graph's id.
        first: Index of the first node.
        count: How many nodes.
        to_failure: True: it is done as soon as a node has failed and all before it have settled.
        waits_for_submit: True: the graph need not be there yet.
    """

    __slots__ = ("count", "failed", "first", "front", "graph", "left", "slots", "to_failure")

    def __init__(
        self, graph: bytes, first: int, count: int, *, to_failure: bool = False, waits_for_submit: bool = False
    ) -> None:
        super().__init__(waits_for_submit=waits_for_submit)
        self.graph, self.first, self.count = graph, first, count
        self.slots: list[Settled | None] = [None] * count
        self.left = count
        self.to_failure = to_failure
        #: Place of the first node that is known to have failed, and of the first one before it that is missing.
        self.failed, self.front = count, 0
        self.done = count == 0

    def graphs(self) -> Iterable[bytes]:
        """Return the one graph."""
        return (self.graph,)

    def missing(self) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Yield the graph with the ranges that have not come yet."""
        if self.left == self.count:
            yield self.graph, [(self.first, self.count)]
        elif self.left:
            yield self.graph, _ranges(self.first + i for i, slot in enumerate(self.slots) if slot is None)

    def missing_count(self) -> int:
        """Return how many have not settled."""
        return self.left

    def wants(self, graph: bytes, first: int, count: int) -> bool:
        """Return whether the ranges overlap and something is missing."""
        return graph == self.graph and first < self.first + self.count and self.first < first + count

    def take_values(self, graph: bytes, indexes: Sequence[int], values: Sequence[bytes]) -> None:
        """Fill the slots of a column."""
        slots, first, count, left = self.slots, self.first, self.count, self.left
        for index, data in zip(indexes, values, strict=False):
            place = index - first
            if 0 <= place < count and slots[place] is None:
                slots[place] = settled = Settled("SUCCESS", data)
                left -= 1
                if len(data) >= LARGE:
                    self.wake.put(settled)
        self.left = left
        self._finish_where_certain()

    def take(self, graph: bytes, index: int, settled: Settled) -> None:
        """Fill one slot."""
        place = index - self.first
        if 0 <= place < self.count and self.slots[place] is None:
            self.slots[place] = settled
            self.left -= 1
            if self.to_failure and place < self.failed and settled.state in PROPAGATE_STATES:
                self.failed = place
            self._finish_where_certain()

    def _finish_where_certain(self) -> None:
        """End it where all have settled, or where nothing that may still come changes which failure is the first."""
        if self.failed < self.count:
            self.front = _front(self.front, self.failed, lambda place: self.slots[place] is not None)
        if self.left == 0 or self.front == self.failed:
            self.finish()

    def results(self) -> list[Settled]:
        """Return all results in order, up to the first failure where that is the end; only once it is done."""
        return [slot for slot in self.slots[: self.failed + 1] if slot is not None]


class NodeWaiter(Waiter):
    """Waits for one node: the hot path of one call's result.

    Args:
        graph: The graph's id.
        index: The node.
        waits_for_submit: True: the graph need not be there yet.
        wake: What wakes who waits; None: a queue of its own.
    """

    __slots__ = ("_data", "_settled", "graph", "index")

    def __init__(self, graph: bytes, index: int, *, waits_for_submit: bool = False, wake: Any = None) -> None:
        # What the classes above would set, at once: each wait for a call makes one of these.
        self.done, self.error, self.thread = False, None, threading.get_ident()
        self.wake = SimpleQueue() if wake is None else wake
        self.waits_for_submit, self.wants_news = waits_for_submit, False
        self.graph, self.index = graph, index
        self._data: bytes | None = None
        self._settled: Settled | None = None

    @property
    def settled(self) -> Settled | None:
        """How it ended; None until it has. Made of a plain value when it is asked for: thousands may come at once."""
        if self._settled is None and self._data is not None:
            self._settled = Settled("SUCCESS", self._data)
        return self._settled

    def graphs(self) -> Iterable[bytes]:
        """Return the one graph."""
        return (self.graph,)

    def missing(self) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Yield the graph with the one node, until it came."""
        if not self.done:
            yield self.graph, [(self.index, 1)]

    def missing_count(self) -> int:
        """Return 1 until it has settled."""
        return int(not self.done)

    def wants(self, graph: bytes, first: int, count: int) -> bool:
        """Return whether the range holds the node."""
        return graph == self.graph and first <= self.index < first + count

    def take_values(self, graph: bytes, indexes: Sequence[int], values: Sequence[bytes]) -> None:
        """Take its value, where that is among these."""
        for index, data in zip(indexes, values, strict=False):
            if index == self.index:
                self.take_value(data)

    def take_value(self, data: bytes) -> None:
        """Take its value."""
        if not self.done:
            self._data = data
            self.finish()

    def take(self, graph: bytes, index: int, settled: Settled) -> None:
        """Take its result."""
        if index == self.index and not self.done:
            self._settled = settled
            self.finish()


class NodesWaiter(Waiter):
    """Waits for any nodes, each known to its caller by a text.

    Args:
        nodes: For each text the graph and the index of its node. Several texts may mean one node.
        names: Texts whose nodes are not known yet: the users' own ids of calls that nobody has submitted.
        arrivals: True: each result is put into ``wake`` as (text, Settled) the moment it comes.
        found: What has settled already, by its text.
        order: All texts in order, where it is to be done as soon as one has failed and all before it have
            settled; None: it waits for all.
        waits_for_submit: True: the nodes need not be there yet.
        news: Keeps the states of nodes before their end; (text, None) in ``wake`` says that there is one to take.
            None: they are not told.
    """

    __slots__ = ("arrivals", "failed", "found", "front", "names", "news", "order", "places", "wanted")

    def __init__(
        self,
        nodes: Iterable[tuple[str, bytes, int]],
        names: Iterable[str] = (),
        *,
        arrivals: bool = False,
        found: Mapping[str, Settled] | None = None,
        order: Sequence[str] | None = None,
        waits_for_submit: bool = False,
        news: News | None = None,
    ) -> None:
        super().__init__(waits_for_submit=waits_for_submit)
        self.news = news
        self.wants_news = news is not None
        self.found: dict[str, Settled] = dict(found or {})
        self.arrivals = arrivals
        self.names: set[str] = set(names)
        self.wanted: dict[bytes, dict[int, list[str]]] = {}
        for text, graph, index in nodes:
            self.wanted.setdefault(graph, {}).setdefault(index, []).append(text)
        self.order: list[str] = list(dict.fromkeys(order or ()))
        self.places = {text: place for place, text in enumerate(self.order)}
        #: Place of the first node that is known to have failed, and of the first one before it that is missing.
        self.failed, self.front = len(self.order), 0
        for text, settled in self.found.items():
            self._note(text, settled)
        self._finish_where_certain()

    def graphs(self) -> Iterable[bytes]:
        """Return the graphs that something is missing of."""
        return tuple(self.wanted)

    def missing(self) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Yield each graph with the ranges that have not come yet."""
        for graph, wanted in self.wanted.items():
            yield graph, _ranges(sorted(wanted))

    def missing_names(self) -> list[str]:
        """Return the users' own ids of what has not come yet."""
        return sorted(self.names)

    def missing_count(self) -> int:
        """Return how many nodes have not settled."""
        return len(self.names) + sum(len(wanted) for wanted in self.wanted.values())

    def wants(self, graph: bytes, first: int, count: int) -> bool:
        """Return whether a node of this range is missing."""
        wanted = self.wanted.get(graph)
        return wanted is not None and any(first <= index < first + count for index in wanted)

    def take_values(self, graph: bytes, indexes: Sequence[int], values: Sequence[bytes]) -> None:
        """Take the values of a column that it waits for."""
        for index, data in zip(indexes, values, strict=False):
            wanted = self.wanted.get(graph)
            if wanted is None:
                return
            if index in wanted:
                self.take(graph, index, Settled("SUCCESS", data))

    def take(self, graph: bytes, index: int, settled: Settled) -> None:
        """Take one result."""
        wanted = self.wanted.get(graph)
        texts = wanted.pop(index, None) if wanted is not None else None
        if wanted is None or texts is None:
            return
        if not wanted:
            del self.wanted[graph]
        for text in texts:
            self._found(text, settled)
        self._finish_where_certain()

    def take_named(self, name: str, settled: Settled) -> None:
        """Take the result of a node that was waited for by the user's own id."""
        if name in self.names:
            self.names.remove(name)
            self._found(name, settled)
            self._finish_where_certain()

    def take_news(self, graph: bytes, index: int, told: Settled) -> None:
        """Keep the state of a node that has not settled, where it is the newest."""
        for text in self.wanted.get(graph, {}).get(index, ()):
            if self.news is not None and self.news.put(text, told):
                self.wake.put((text, None))

    def _found(self, text: str, settled: Settled) -> None:
        self.found[text] = settled
        if self.news is not None:
            self.news.forget(text)
        self._note(text, settled)
        if self.arrivals:
            self.wake.put((text, settled))

    def _note(self, text: str, settled: Settled) -> None:
        """Keep in mind where the first failure stands, where that matters."""
        if settled.state in PROPAGATE_STATES:
            self.failed = min(self.failed, self.places.get(text, len(self.order)))

    def _finish_where_certain(self) -> None:
        """End it where all have settled, or where nothing that may still come changes which failure is the first."""
        if self.failed < len(self.order):
            self.front = _front(self.front, self.failed, lambda place: self.order[place] in self.found)
            if self.front == self.failed:
                self.finish()
        if not (self.wanted or self.names):
            self.finish()


def _front(start: int, end: int, has: Callable[[int], bool]) -> int:
    """Return the first place from ``start`` on that has nothing yet; ``end`` where there is none before it."""
    while start < end and has(start):
        start += 1
    return start


def _ranges(indexes: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending indexes as ranges (first, count)."""
    ranges: list[tuple[int, int]] = []
    first = last = -2
    for index in indexes:
        if index != last + 1:
            if last >= 0:
                ranges.append((first, last - first + 1))
            first = index
        last = index
    if last >= 0:
        ranges.append((first, last - first + 1))
    return ranges
