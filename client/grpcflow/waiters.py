"""All who wait for results of one session, found by what they wait for.

Pure bookkeeping behind the client's stream: no I/O, no lock; the session that owns it calls it under its own lock.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from grpcflow.settled import FIRST_SETTLED, Settled, settled_from, told_from
from grpcflow.waiting import NodeWaiter, Waiter

if TYPE_CHECKING:
    from grpcflow_protos.v1 import client_service_pb2, value_pb2

__all__ = ["Waiters"]


class Waiters:
    """All waiters of one session, found by graph or by a user's own id."""

    def __init__(self) -> None:
        self._by_graph: dict[bytes, list[Waiter]] = {}
        #: Those who wait for one node each, of which a graph of independent calls may have thousands.
        self._by_node: dict[bytes, dict[int, NodeWaiter | list[Waiter]]] = {}
        self._by_name: dict[str, list[Waiter]] = {}
        self._of_nodes = 0
        #: Each of the others with the graphs and the ids that it was added with.
        self._others: dict[Waiter, tuple[tuple[bytes, ...], tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return len(self._others) + self._of_nodes

    def __iter__(self) -> Iterator[Waiter]:
        of_nodes = (one for nodes in self._by_node.values() for held in nodes.values() for one in _listed(held))
        return iter((*self._others, *of_nodes))

    def add(self, waiter: Waiter) -> None:
        """Begin to tell it results."""
        if isinstance(waiter, NodeWaiter):
            self._of_nodes += 1
            nodes = self._by_node.setdefault(waiter.graph, {})
            others = nodes.get(waiter.index)
            nodes[waiter.index] = waiter if others is None else [*_listed(others), waiter]
            return
        graphs, names = tuple(waiter.graphs()), tuple(waiter.missing_names())
        self._others[waiter] = (graphs, names)
        for graph in graphs:
            self._by_graph.setdefault(graph, []).append(waiter)
        for name in names:
            self._by_name.setdefault(name, []).append(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Forget it."""
        if isinstance(waiter, NodeWaiter):
            self._discard_node(waiter)
            return
        known = self._others.pop(waiter, None)
        if known is None:
            return
        graphs, names = known
        for graph in graphs:
            _strike(self._by_graph, graph, waiter)
        for name in names:
            _strike(self._by_name, name, waiter)

    def _discard_node(self, waiter: NodeWaiter) -> None:
        nodes = self._by_node.get(waiter.graph, {})
        held = nodes.pop(waiter.index, ())
        if held is waiter:  # nearly always
            self._of_nodes -= 1
        else:
            left = [one for one in _listed(held) if one is not waiter]
            self._of_nodes -= len(_listed(held)) - len(left)
            if left:
                nodes[waiter.index] = left
        if not nodes:
            self._by_node.pop(waiter.graph, None)

    def of(self, graph: bytes) -> Sequence[Waiter]:
        """Return the waiters of one graph."""
        several = self._by_graph.get(graph, ())
        nodes = self._by_node.get(graph)
        return several if nodes is None else [*several, *(one for held in nodes.values() for one in _listed(held))]

    def take_values(self, graph: bytes, indexes: Sequence[int], values: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Hand plain values to those who wait for them; return those that nobody was waiting for.

        Whoever waits for several nodes of the graph is taken to wait for all of these.
        """
        several = tuple(self._by_graph.get(graph, ()))
        for waiter in several:
            waiter.take_values(graph, indexes, values)
        nodes = self._by_node.get(graph)
        if nodes is None:
            return [] if several else list(zip(indexes, values, strict=False))
        left = []
        for index, data in zip(indexes, values, strict=False):
            held = nodes.get(index)
            if isinstance(held, NodeWaiter):  # nearly always
                held.take_value(data)
            elif held is not None:
                settled = Settled("SUCCESS", data)
                for one in held:
                    one.take(graph, index, settled)
            elif not several:
                left.append((index, data))
        return left

    def _at(self, graph: bytes, index: int) -> tuple[Waiter, ...]:
        """Return who may wait for one node."""
        held = self._by_node.get(graph, {}).get(index)
        return (*self._by_graph.get(graph, ()), *(() if held is None else _listed(held)))

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
        several, nodes = self._by_graph.get(graph, ()), self._by_node.get(graph, {})
        if any(waiter.wants(graph, first, count) for waiter in several for first, count in ranges):
            return True
        return any(index in nodes for first, count in ranges for index in range(first, first + count) if nodes)

    def take_result(self, result: "value_pb2.Result") -> None:
        """Hand one result to those who wait for it; a state that is no end is passed over."""
        if result.state < FIRST_SETTLED:
            return
        graph, index = result.node[:12], int.from_bytes(result.node[12:], "big")
        settled = settled_from(result)
        for waiter in self._at(graph, index):
            waiter.take(graph, index, settled)
        for waiter in tuple(self.named(result.id)):
            waiter.take_named(result.id, settled)

    def take_progress(self, progress: "client_service_pb2.Progress") -> None:
        """Hand the news of a node that has not settled to those who want them."""
        graph, index = progress.node[:12], int.from_bytes(progress.node[12:], "big")
        told = told_from(progress)
        for waiter in self._at(graph, index):
            waiter.take_news(graph, index, told)


def _listed(held: "Waiter | Sequence[Waiter]") -> Sequence[Waiter]:
    """Return who waits for a node; one is kept without a list, since there may be thousands of them."""
    return (held,) if isinstance(held, Waiter) else held


def _strike(listed: dict[Any, list[Waiter]], key: bytes | str, waiter: Waiter) -> None:
    """Take a waiter off one list, and the list away where it was the last."""
    waiters = listed.get(key)
    if waiters is not None and waiter in waiters:
        waiters.remove(waiter)
        if not waiters:
            del listed[key]
