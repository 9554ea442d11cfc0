"""Who waits for what: pure bookkeeping behind the client's stream.

A waiter names nodes and is told their results; an operation of any kind is waited for through its ``wake``
queue, which is the quickest way to hand a word from one thread to another. Nothing here does I/O, takes a lock
or knows gRPC; the session that owns the registry calls it under its own lock.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from grpcflow_protos.v1 import value_pb2

__all__ = ["NodesWaiter", "Operation", "RangeWaiter", "Settled", "Waiter", "Waiters", "settled_from"]

#: States of the wire by number, in Celery's words.
_STATES: Final = (
    "UNKNOWN",
    "PENDING",
    "RECEIVED",
    "STARTED",
    "RETRY",
    "SUCCESS",
    "FAILURE",
    "REVOKED",
    "IGNORED",
    "REJECTED",
)
_FIRST_SETTLED: Final = 5


@dataclass(slots=True)
class Settled:
    """How a node stands; mostly how it ended.

    Attributes:
        state: Celery's word: ``SUCCESS``, ``FAILURE``, ``REVOKED``, ... or ``PENDING`` and the like in a lookup.
        data: The encoded value of a success; None where it is a list (``value``) or there is none.
        content_type: Content type of ``data``; empty means JSON.
        value: The value of a join, a list of values that the coordinator collected.
        failure: Why it did not succeed.
        settled_at: When it ended (UTC), where the coordinator told.
        worker: Name of the worker that settled it; empty where none did or the coordinator did not tell.
        retries: How often it was retried.
    """

    state: str
    data: bytes | None = None
    content_type: str = ""
    value: "value_pb2.Value | None" = None
    failure: "value_pb2.Failure | None" = None
    settled_at: datetime | None = None
    worker: str = ""
    retries: int = 0


def settled_from(result: "value_pb2.Result") -> Settled:
    """Return a result of the wire as Settled."""
    number = result.state
    settled = Settled(
        _STATES[number] if number < len(_STATES) else "UNKNOWN", worker=result.worker, retries=result.retries
    )
    if result.HasField("value"):
        kind = result.value.WhichOneof("kind")
        if kind == "data":
            settled.data, settled.content_type = result.value.data, result.value.content_type
        elif kind is not None:
            settled.value = result.value
    if result.HasField("failure"):
        settled.failure = result.failure
    if result.settled_at_ms:
        settled.settled_at = datetime.fromtimestamp(result.settled_at_ms / 1000, UTC)
    return settled


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
    """A thread that waits for nodes to settle."""

    __slots__ = ()

    @abstractmethod
    def graphs(self) -> Iterable[bytes]:
        """Return the graphs of the nodes."""

    @abstractmethod
    def missing(self) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Yield what has not come yet: a graph and its ranges (first, count)."""

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


class RangeWaiter(Waiter):
    """Waits for a run of nodes of one graph: the hot path of a group's results.

    Args:
        graph: The graph's id.
        first: Index of the first node.
        count: How many nodes.
    """

    __slots__ = ("count", "first", "graph", "left", "slots")

    def __init__(self, graph: bytes, first: int, count: int) -> None:
        super().__init__()
        self.graph, self.first, self.count = graph, first, count
        self.slots: list[Settled | None] = [None] * count
        self.left = count
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
        if left == 0:
            self.finish()

    def take(self, graph: bytes, index: int, settled: Settled) -> None:
        """Fill one slot."""
        place = index - self.first
        if 0 <= place < self.count and self.slots[place] is None:
            self.slots[place] = settled
            self.left -= 1
            if self.left == 0:
                self.finish()

    def results(self) -> list[Settled]:
        """Return all results in order; only once it is done."""
        return [slot for slot in self.slots if slot is not None]


class NodesWaiter(Waiter):
    """Waits for any nodes, each known to its caller by a text.

    Args:
        nodes: For each text the graph and the index of its node. Several texts may mean one node.
        arrivals: True: each result is put into ``wake`` as (text, Settled) the moment it comes.
    """

    __slots__ = ("arrivals", "found", "wanted")

    def __init__(self, nodes: Iterable[tuple[str, bytes, int]], *, arrivals: bool = False) -> None:
        super().__init__()
        self.found: dict[str, Settled] = {}
        self.arrivals = arrivals
        self.wanted: dict[bytes, dict[int, list[str]]] = {}
        for text, graph, index in nodes:
            self.wanted.setdefault(graph, {}).setdefault(index, []).append(text)
        self.done = not self.wanted

    def graphs(self) -> Iterable[bytes]:
        """Return the graphs that something is missing of."""
        return tuple(self.wanted)

    def missing(self) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Yield each graph with the ranges that have not come yet."""
        for graph, wanted in self.wanted.items():
            yield graph, _ranges(sorted(wanted))

    def missing_count(self) -> int:
        """Return how many nodes have not settled."""
        return sum(len(wanted) for wanted in self.wanted.values())

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
            self.found[text] = settled
            if self.arrivals:
                self.wake.put((text, settled))
        if not self.wanted:
            self.finish()


class Waiters:
    """All waiters of one session, found by graph."""

    def __init__(self) -> None:
        self._by_graph: dict[bytes, list[Waiter]] = {}
        self._all: set[Waiter] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(tuple(self._all))

    def add(self, waiter: Waiter) -> None:
        """Begin to tell it results."""
        self._all.add(waiter)
        for graph in waiter.graphs():
            self._by_graph.setdefault(graph, []).append(waiter)

    def discard(self, waiter: Waiter, graphs: Iterable[bytes]) -> None:
        """Forget it, under the graphs that it was added with."""
        self._all.discard(waiter)
        for graph in graphs:
            listed = self._by_graph.get(graph)
            if listed is not None and waiter in listed:
                listed.remove(waiter)
                if not listed:
                    del self._by_graph[graph]

    def of(self, graph: bytes) -> Sequence[Waiter]:
        """Return the waiters of one graph."""
        return self._by_graph.get(graph, ())

    def wanted(self, graph: bytes, ranges: Sequence[tuple[int, int]]) -> bool:
        """Return whether any waiter waits for a node in these ranges."""
        return any(waiter.wants(graph, first, count) for waiter in self.of(graph) for first, count in ranges)

    def take_result(self, result: "value_pb2.Result") -> None:
        """Hand one result to those who wait for it; a state that is no end is passed over."""
        if result.state < _FIRST_SETTLED:
            return
        graph, index = result.node[:12], int.from_bytes(result.node[12:], "big")
        settled = settled_from(result)
        for waiter in tuple(self.of(graph)):
            waiter.take(graph, index, settled)


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
