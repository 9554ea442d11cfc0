"""All who wait for results of one session, found by what they wait for.

Pure bookkeeping behind the client's stream: no I/O, no lock; the session that owns it calls it under its own lock.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from grpcflow.settled import FIRST_SETTLED, Settled, settled_from, told_from
from grpcflow.waiting import NodeWaiter, Waiter

if TYPE_CHECKING:
    from grpcflow_protos.v1 import client_service_pb2, value_pb2

__all__ = ["Slot", "Waiters"]


class Slot(Protocol):
    """What stands for who waits for one node, where there may be thousands: a future of asyncio's, for one.

    It gets the bytes of the value. Whatever else becomes of the node is told to a waiter that is made of it then.
    """

    def done(self) -> bool:
        """Return whether it has got something, or nobody waits any more."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Get it."""
        ...


#: Who waits for one node: one, or several; one is kept without a list.
_Held = NodeWaiter | list[Waiter] | Slot


class Waiters:
    """All waiters of one session, found by graph or by a user's own id.

    Args:
        stand_in: Makes a waiter of a graph, an index and a slot; None: slots are not used here.
    """

    def __init__(self, stand_in: Callable[[bytes, int, Any], NodeWaiter] | None = None) -> None:
        self._stand_in = stand_in
        self._by_graph: dict[bytes, list[Waiter]] = {}
        #: Those who wait for one node each, of which a graph of independent calls may have thousands.
        self._by_node: dict[bytes, dict[int, _Held]] = {}
        self._by_name: dict[str, list[Waiter]] = {}
        self._of_nodes = 0
        #: Each of the others with the graphs and the ids that it was added with.
        self._others: dict[Waiter, tuple[tuple[bytes, ...], tuple[str, ...]]] = {}

    def __len__(self) -> int:
        return len(self._others) + self._of_nodes

    def __iter__(self) -> Iterator[Waiter]:
        graphs = list(self._by_node)
        return iter((*self._others, *(one for graph in graphs for one in self._of_nodes_of(graph))))

    def add(self, waiter: Waiter) -> None:
        """Begin to tell it results."""
        if isinstance(waiter, NodeWaiter):
            self._of_nodes += 1
            nodes = self._by_node.setdefault(waiter.graph, {})
            others = nodes.get(waiter.index)
            nodes[waiter.index] = (
                waiter if others is None else [*self._listed(waiter.graph, waiter.index, others), waiter]
            )
            return
        graphs, names = tuple(waiter.graphs()), tuple(waiter.missing_names())
        self._others[waiter] = (graphs, names)
        for graph in graphs:
            self._by_graph.setdefault(graph, []).append(waiter)
        for name in names:
            self._by_name.setdefault(name, []).append(waiter)

    def add_slot(self, graph: bytes, index: int, slot: Slot) -> bool:
        """Begin to tell a slot the value of a node; False where somebody waits for that already: it is not added."""
        nodes = self._by_node.setdefault(graph, {})
        if index in nodes:
            return False
        nodes[index] = slot
        self._of_nodes += 1
        return True

    def drop_slot(self, graph: bytes, index: int, slot: Slot) -> None:
        """Forget a slot that got no value, and the waiter that was made of it."""
        held = self._by_node.get(graph, {}).get(index)
        if held is slot:
            self._take_out(graph, index)
        elif isinstance(held, list):
            for made in [one for one in held if one.wake is slot]:
                self.discard(made)

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
        held = self._by_node.get(waiter.graph, {}).get(waiter.index)
        if held is waiter:  # nearly always
            self._take_out(waiter.graph, waiter.index)
        elif isinstance(held, list) and waiter in held:
            held.remove(waiter)
            self._of_nodes -= 1
            if not held:
                self._take_out(waiter.graph, waiter.index, count=0)

    def _take_out(self, graph: bytes, index: int, count: int = 1) -> None:
        """Take out who waits for a node; `count`: how many that are."""
        nodes = self._by_node[graph]
        del nodes[index]
        self._of_nodes -= count
        if not nodes:
            del self._by_node[graph]

    def _listed(self, graph: bytes, index: int, held: _Held) -> Sequence[Waiter]:
        """Return who waits for a node as waiters."""
        if isinstance(held, list):
            return held
        if isinstance(held, Waiter):
            return (held,)
        assert self._stand_in is not None
        return (self._stand_in(graph, index, held),)

    def _of_nodes_of(self, graph: bytes) -> list[Waiter]:
        nodes = self._by_node.get(graph, {})
        return [one for index, held in nodes.items() for one in self._listed(graph, index, held)]

    def of(self, graph: bytes) -> Sequence[Waiter]:
        """Return the waiters of one graph."""
        several = self._by_graph.get(graph, ())
        return [*several, *self._of_nodes_of(graph)] if graph in self._by_node else several

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
            if isinstance(held, NodeWaiter):
                held.take_value(data)
            elif held is None:
                if not several:
                    left.append((index, data))
            elif isinstance(held, list):
                settled = Settled("SUCCESS", data)
                for one in held:
                    one.take(graph, index, settled)
            else:
                self._fill(graph, index, held, data)
        return left

    def _fill(self, graph: bytes, index: int, slot: Slot, data: bytes) -> None:
        """Give a slot its value, and forget it."""
        self._take_out(graph, index)
        if not slot.done():
            slot.set_result(data)

    def _at(self, graph: bytes, index: int) -> tuple[Waiter, ...]:
        """Return who may wait for one node."""
        held = self._by_node.get(graph, {}).get(index)
        return (*self._by_graph.get(graph, ()), *(() if held is None else self._listed(graph, index, held)))

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


def _strike(listed: dict[Any, list[Waiter]], key: bytes | str, waiter: Waiter) -> None:
    """Take a waiter off one list, and the list away where it was the last."""
    waiters = listed.get(key)
    if waiters is not None and waiter in waiters:
        waiters.remove(waiter)
        if not waiters:
            del listed[key]
