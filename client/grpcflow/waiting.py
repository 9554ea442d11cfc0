"""Who waits for what: pure bookkeeping behind the client's stream.

A waiter names nodes and is told their results; an operation of any kind is waited for through its ``wake``
queue, which is the quickest way to hand a word from one thread to another. Nothing here does I/O, takes a lock
or knows gRPC; the session that owns the registry calls it under its own lock.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from grpcflow.news import News
from grpcflow.settled import FIRST_SETTLED, Settled, settled_from, told_from
from grpcflow.states import PROPAGATE_STATES

if TYPE_CHECKING:
    from grpcflow_protos.v1 import client_service_pb2, value_pb2

__all__ = ["NodesWaiter", "Operation", "RangeWaiter", "Waiter", "Waiters"]


class Operation:
    """Something that one thread waits for.

    Attributes:
        done: True once it came about or failed.
        error: Why it failed; None where it did not.
        wake: Gets an item whenever the waiting thread should look again.
        thread: The waiting thread: after a fork only that of the child's own thread lives on.
    """

    __slots__ = ("done", "error", "thread", "wake")

    def __init__(self) -> None:
        self.done = False
        self.error: Exception | None = None
        self.wake: SimpleQueue[Any] = SimpleQueue()
        self.thread = threading.get_ident()

    def finish(self, error: Exception | None = None) -> None:
        """End it, well or with an error, and wake its thread. Only the first end counts."""
        if not self.done:
            self.error = error
            self.done = True
            self.wake.put(None)


class Waiter(Operation, ABC):
    """A thread that waits for nodes to settle.

    Attributes:
        waits_for_submit: True: a node that nobody has submitted yet is waited for and no error.
        wants_news: True: it is told of the states of nodes before their end, too.
    """

    __slots__ = ("waits_for_submit", "wants_news")

    def __init__(self, *, waits_for_submit: bool = False) -> None:
        super().__init__()
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
    """Waits for a run of nodes of one graph: the hot path of a group's results.

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
                slots[place] = Settled("SUCCESS", data)
                left -= 1
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


class Waiters:
    """All waiters of one session, found by graph or by a user's own id."""

    def __init__(self) -> None:
        self._by_graph: dict[bytes, list[Waiter]] = {}
        self._by_name: dict[str, list[Waiter]] = {}
        #: Each with the graphs and the ids that it was added with.
        self._all: dict[Waiter, tuple[tuple[bytes, ...], tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(tuple(self._all))

    def add(self, waiter: Waiter) -> None:
        """Begin to tell it results."""
        graphs, names = tuple(waiter.graphs()), tuple(waiter.missing_names())
        self._all[waiter] = (graphs, names)
        for graph in graphs:
            self._by_graph.setdefault(graph, []).append(waiter)
        for name in names:
            self._by_name.setdefault(name, []).append(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Forget it."""
        graphs, names = self._all.pop(waiter, ((), ()))
        for graph in graphs:
            _strike(self._by_graph, graph, waiter)
        for name in names:
            _strike(self._by_name, name, waiter)

    def of(self, graph: bytes) -> Sequence[Waiter]:
        """Return the waiters of one graph."""
        return self._by_graph.get(graph, ())

    def named(self, name: str) -> Sequence[Waiter]:
        """Return who waits for a node by the user's own id."""
        return self._by_name.get(name, ())

    def meant_by(self, nodes: "client_service_pb2.NodeSet") -> list[Waiter]:
        """Return who waits for one of these nodes."""
        meant = [
            waiter
            for waiter in self.of(nodes.graph)
            if any(waiter.wants(nodes.graph, one.first, one.count) for one in nodes.ranges)
        ]
        return meant + [waiter for name in nodes.ids for waiter in self.named(name)]

    def wanted(self, graph: bytes, ranges: Sequence[tuple[int, int]]) -> bool:
        """Return whether any waiter waits for a node in these ranges."""
        return any(waiter.wants(graph, first, count) for waiter in self.of(graph) for first, count in ranges)

    def take_result(self, result: "value_pb2.Result") -> None:
        """Hand one result to those who wait for it; a state that is no end is passed over."""
        if result.state < FIRST_SETTLED:
            return
        graph, index = result.node[:12], int.from_bytes(result.node[12:], "big")
        settled = settled_from(result)
        for waiter in tuple(self.of(graph)):
            waiter.take(graph, index, settled)
        for waiter in tuple(self.named(result.id)):
            waiter.take_named(result.id, settled)

    def take_progress(self, progress: "client_service_pb2.Progress") -> None:
        """Hand the news of a node that has not settled to those who want them."""
        graph, index = progress.node[:12], int.from_bytes(progress.node[12:], "big")
        told = told_from(progress)
        for waiter in tuple(self.of(graph)):
            waiter.take_news(graph, index, told)


def _strike(listed: dict[Any, list[Waiter]], key: bytes | str, waiter: Waiter) -> None:
    """Take a waiter off one list, and the list away where it was the last."""
    waiters = listed.get(key)
    if waiters is not None and waiter in waiters:
        waiters.remove(waiter)
        if not waiters:
            del listed[key]


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
