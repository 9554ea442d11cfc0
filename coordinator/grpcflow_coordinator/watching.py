"""Who wants to hear of which nodes, in whatever numbers: what one settled node costs does not grow with the watches.

Decides nothing about tasks, and sends nothing: streams are told by the outbox.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, TypeVar

from grpcflow_coordinator.client_stream import ClientStream
from grpcflow_coordinator.streams import Stream

Key = TypeVar("Key")

#: Different ranges of one graph that one stream watches; of more, all from the first node to the last is watched.
WIDE: Final = 64


class Nodes:
    """Nodes of one graph that one stream watches."""

    __slots__ = ("single", "wide")

    def __init__(self) -> None:
        #: How often each was asked for by itself.
        self.single: dict[int, int] = {}
        #: How often each longer range (first, end) was asked for.
        self.wide: dict[tuple[int, int], int] = {}

    def __bool__(self) -> bool:
        return bool(self.single or self.wide)

    def __contains__(self, index: int) -> bool:
        if index in self.single:
            return True
        for first, end in self.wide:  # noqa: SIM110  # a generator costs twice as much, for each result
            if first <= index < end:
                return True
        return False

    def add(self, first: int, count: int) -> None:
        """Watch a range."""
        if count == 1:
            self.single[first] = self.single.get(first, 0) + 1
            return
        key = (first, first + count)
        self.wide[key] = self.wide.get(key, 0) + 1
        if len(self.wide) > WIDE:
            self.wide = {(min(one[0] for one in self.wide), max(one[1] for one in self.wide)): 1}

    def remove(self, first: int, count: int) -> None:
        """Watch a range no longer, where exactly this one was asked for."""
        if count == 1:
            _less(self.single, first)
        else:
            _less(self.wide, (first, first + count))


def _less(counts: dict[Key, int], key: Key) -> None:
    """Count one less, and nothing where none is left."""
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)


class Watchers:
    """Who wants to hear of which nodes."""

    def __init__(self) -> None:
        self._by_graph: dict[bytes, dict[ClientStream, Nodes]] = defaultdict(dict)
        #: Those of them who want to hear of nodes on their way, too.
        self._moves: dict[bytes, dict[ClientStream, Nodes]] = defaultdict(dict)
        #: The graphs of which a stream watches nodes.
        self._graphs: dict[ClientStream, set[bytes]] = {}
        #: Who reads the items of which nodes, and which nodes a reader reads.
        self._readers: dict[bytes, dict[int, set[Stream]]] = defaultdict(dict)
        self._read: dict[Stream, set[tuple[bytes, int]]] = {}
        #: Who waits for ids that no graph has yet, with whether its progress is told, too; and the ids of a stream.
        self._expected: dict[str, dict[ClientStream, bool]] = {}
        self._expects: dict[ClientStream, set[str]] = {}

    def count(self, stream: ClientStream) -> int:
        """Return of how many graphs, and of how many ids that are still to come, the stream wants to hear."""
        return len(self._graphs.get(stream, ())) + len(self._expects.get(stream, ()))

    def watch(self, stream: ClientStream, graph: bytes, first: int, count: int, *, progress: bool = False) -> None:
        """Tell the stream of these nodes as they settle, and of the states they give themselves before that."""
        streams = self._by_graph[graph]
        nodes = streams.get(stream)
        if nodes is None:
            nodes = streams[stream] = Nodes()
            self._graphs.setdefault(stream, set()).add(graph)
        nodes.add(first, count)
        if progress:
            self._moves[graph].setdefault(stream, Nodes()).add(first, count)

    def has(self, stream: ClientStream, graph: bytes) -> bool:
        """Return whether the stream watches something of the graph."""
        watching = self._by_graph.get(graph)
        return watching is not None and stream in watching

    def unwatch(self, stream: ClientStream, graph: bytes, first: int, count: int) -> None:
        """No longer tell it of these nodes, where exactly this range was watched."""
        for by_graph in (self._by_graph, self._moves):
            nodes = by_graph.get(graph, {}).get(stream)
            if nodes is not None:
                nodes.remove(first, count)
                if not nodes:
                    _drop(by_graph, stream, graph)
        if stream not in self._by_graph.get(graph, {}):
            self._let_go(stream, graph)

    def drop(self, stream: ClientStream, graph: bytes) -> None:
        """The stream wants no more of the graph."""
        _drop(self._by_graph, stream, graph)
        _drop(self._moves, stream, graph)
        self._let_go(stream, graph)

    def forget(self, stream: ClientStream) -> None:
        """The stream is gone."""
        for text in self._expects.pop(stream, ()):
            self._expect_no_longer(stream, text)
        for graph in self._graphs.pop(stream, ()):
            _drop(self._by_graph, stream, graph)
            _drop(self._moves, stream, graph)

    def _let_go(self, stream: ClientStream, graph: bytes) -> None:
        graphs = self._graphs.get(stream)
        if graphs is not None:
            graphs.discard(graph)
            if not graphs:
                del self._graphs[stream]

    # --- items ------------------------------------------------------------------------------------------------

    def read(self, reader: Stream, graph: bytes, index: int) -> None:
        """Wake the reader when there are new items of a node, or it has settled."""
        self._readers[graph].setdefault(index, set()).add(reader)
        self._read.setdefault(reader, set()).add((graph, index))

    @property
    def reading(self) -> bool:
        """True where somebody reads items."""
        return bool(self._readers)

    def stop_reading(self, reader: Stream) -> None:
        """The reader is gone."""
        for graph, index in self._read.pop(reader, ()):
            nodes = self._readers[graph]
            nodes[index].discard(reader)
            if not nodes[index]:
                del nodes[index]
            if not nodes:
                del self._readers[graph]

    def wake_readers(self, graph: bytes, index: int | None = None) -> None:
        """Wake those who read the items of a node; None: of any node of the graph."""
        nodes = self._readers.get(graph, {})
        for readers in list(nodes.values()) if index is None else [nodes.get(index, set())]:
            for reader in readers:
                reader.wake()

    # --- what is still to come --------------------------------------------------------------------------------

    def moved(self, graph: bytes, index: int, state: str) -> None:
        """Tell those who want to know that an unsettled node is in another state."""
        for stream, nodes in self._moves.get(graph, {}).items():
            if index in nodes:
                stream.add_move(graph, index, state)
                stream.wake()

    def expect(self, stream: ClientStream, text: str, *, progress: bool = False) -> None:
        """The stream waits for a node of a user's own id that nobody has submitted yet."""
        streams = self._expected.setdefault(text, {})
        streams[stream] = streams.get(stream, False) or progress
        self._expects.setdefault(stream, set()).add(text)

    def expect_no_longer(self, stream: ClientStream, texts: Iterable[str]) -> None:
        """The stream waits for these ids no more; what it does not wait for is passed over."""
        mine = self._expects.get(stream)
        if mine is None:
            return
        for text in texts:
            if text in mine:
                mine.discard(text)
                self._expect_no_longer(stream, text)
        if not mine:
            del self._expects[stream]

    def _expect_no_longer(self, stream: ClientStream, text: str) -> None:
        streams = self._expected[text]
        del streams[stream]
        if not streams:
            del self._expected[text]

    def came(self, graph: bytes, own_ids: Iterable[tuple[str, int]]) -> None:
        """A graph was submitted whose nodes have these ids of users' own: perhaps somebody waits for one of them."""
        if not self._expected:
            return
        for text, index in own_ids:
            for stream, progress in self._expected.pop(text, {}).items():
                mine = self._expects[stream]
                mine.discard(text)
                if not mine:
                    del self._expects[stream]
                self.watch(stream, graph, index, 1, progress=progress)
                stream.backfill.add(graph, index, index + 1)
                stream.wake()

    def forget_graph(self, graph: bytes) -> None:
        """Every node of the graph has settled: there is nothing more to tell."""
        for stream in self._by_graph.pop(graph, ()):
            self._let_go(stream, graph)
        self._moves.pop(graph, None)

    def of(self, graph: bytes) -> dict[ClientStream, Nodes] | None:
        """Return who watches nodes of a graph, with which."""
        return self._by_graph.get(graph)


def _drop(by_graph: dict[bytes, dict[ClientStream, Nodes]], stream: ClientStream, graph: bytes) -> None:
    streams = by_graph.get(graph, {})
    streams.pop(stream, None)
    if not streams:
        by_graph.pop(graph, None)
