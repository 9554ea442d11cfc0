"""Erase: finds everything of some tasks, graphs and stamps, ends it, and has it deleted; says what may still hold it.

The core deletes the records, the feed what it remembers. Nothing is decided here about tasks that are not named.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from grpcflow_coordinator.core.events import CancelAsked, EraseAsked, GroupSaved
from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, Graph, node_id, split_node
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.event_erasing import Erasure
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.rpc.asking import done
from grpcflow_protos.v1 import control_service_pb2 as pb

#: Graphs that are looked at before others have their turn.
_PAGE: Final = 500

#: Seconds in which deleted graphs must be gone, and between two looks.
_GONE: Final = 20.0
_LOOK: Final = 0.01

#: What the coordinator cannot reach.
_LEFT: Final = (
    "backups and exports that were made before: delete them, or restore and erase there too",
    "free pages of the database, and its journal, until they are written over: `grpcflow-coordinator compact`",
    "logs of workers and of the coordinator, and the audit log, which hold ids and what was logged",
    "whoever has fetched a result, and what the tasks themselves wrote elsewhere",
)


@dataclass
class _Found:
    """What is to be erased."""

    graphs: dict[bytes, None] = field(default_factory=dict)
    #: Single ones of independent calls.
    nodes: dict[bytes, None] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Eraser:
    """Erases.

    Args:
        engine: the engine.
        feed: remembers what happened.
        revoked: graph, index and own id of nodes that were revoked lately.
    """

    def __init__(self, engine: Engine, feed: Feed, revoked: deque[tuple[bytes, int, str]]) -> None:
        self._engine, self._feed, self._revoked = engine, feed, revoked

    async def erase(self, ids: Iterable[str], stamps: Iterable[tuple[str, str]]) -> pb.EraseResponse:
        """Erase; where something still runs it is told to stop, nothing is erased yet, and the answer says so."""
        found = self._find(ids)
        await self._add_stamped(found, stamps)
        await self._add_attached(found)
        running = await self._end(found)
        answer = pb.EraseResponse(unknown=found.unknown, running=running)
        if running:
            return answer
        graphs, nodes = tuple(found.graphs), tuple(found.nodes)
        erasure = Erasure(frozenset(graphs), frozenset(split_node(node) for node in nodes))
        # Events go first: of what has no records any more nobody can ask again, should this come to no end.
        failed = await self._feed.erase(erasure)
        self._forget_revoked(erasure)
        if graphs or nodes:
            await done(self._engine, lambda client: EraseAsked(client, graphs, nodes))
            await self._wait_until_gone(graphs)
            for graph in {*graphs, *(split_node(node)[0] for node in nodes)}:
                self._engine.committed.let_go(graph)
        for name in found.groups:
            await done(self._engine, lambda client, name=name: GroupSaved(client, name, None))  # type: ignore[misc]
        answer.graphs, answer.nodes, answer.groups = len(graphs), len(nodes), len(found.groups)
        answer.left.extend((*failed, *_LEFT))
        return answer

    def _forget_revoked(self, erasure: Erasure) -> None:
        kept = [one for one in self._revoked if one[0] not in erasure.graphs and one[:2] not in erasure.nodes]
        self._revoked.clear()
        self._revoked.extend(kept)

    # --- what is meant -----------------------------------------------------------------------------------------

    def _find(self, ids: Iterable[str]) -> _Found:
        found, records = _Found(), self._engine.committed
        for text in ids:
            node = self._node(text)
            is_group = records.saved_group(text) is not None
            if is_group:
                found.groups.append(text)
            if node is None and not is_group:
                found.unknown.append(text)
            elif node is not None:
                graph = records.graph(split_node(node)[0])
                assert graph is not None
                if graph.is_bundle and graph.node_count > 1 and len(text) != 2 * GRAPH_ID_BYTES:
                    found.nodes[node] = None
                else:
                    found.graphs[self._top(graph).id] = None
        return found

    async def _add_stamped(self, found: _Found, stamps: Iterable[tuple[str, str]]) -> None:
        """Add the graphs that bear one of the stamps."""
        records = self._engine.committed
        for stamp in stamps:
            after = b""
            while page := records.stamped_graphs(*stamp, after, _PAGE):
                after = page[-1]
                for graph_id in page:
                    if (graph := records.graph(graph_id)) is not None:
                        found.graphs[self._top(graph).id] = None
                await asyncio.sleep(0)

    def _node(self, text: str) -> bytes | None:
        """Return the node that an id means; of a graph's own id its first one. Also one that was forgotten."""
        records = self._engine.committed
        node = records.alias(text)
        if node is None:
            try:
                data = bytes.fromhex(text.replace("-", ""))
            except ValueError:
                return None
            if len(data) == GRAPH_ID_BYTES and len(text) == 2 * GRAPH_ID_BYTES:
                data = node_id(data, 0)
            node = data if len(data) == GRAPH_ID_BYTES + 4 else None
        if node is None:
            return None
        graph = records.graph(split_node(node)[0])
        return node if graph is not None and split_node(node)[1] < graph.node_count else None

    def _top(self, graph: Graph) -> Graph:
        """Return the graph that a graph belongs to in the end: values were handed up to it."""
        while graph.attachment is not None:
            above = self._engine.committed.graph(split_node(graph.attachment.node)[0])
            if above is None or (above.is_bundle and above.node_count > 1):
                return graph
            graph = above
        return graph

    async def _add_attached(self, found: _Found) -> None:
        """Add what ran in the place of what is named, behind it: in one look at all graphs."""
        records, after = self._engine.committed, b""
        attached: dict[bytes, list[tuple[bytes, bytes]]] = {}
        while page := records.graphs_after(after, _PAGE):
            after = page[-1]
            for graph_id in page:
                graph = records.graph(graph_id)
                if graph is not None and graph.attachment is not None:
                    above = split_node(graph.attachment.node)[0]
                    attached.setdefault(above, []).append((graph.attachment.node, graph_id))
            await asyncio.sleep(0)
        queue = list(found.graphs)
        for node in found.nodes:
            queue += [graph_id for at, graph_id in attached.get(split_node(node)[0], ()) if at == node]
        for graph_id in queue:  # which grows meanwhile
            found.graphs.pop(graph_id, None)
            found.graphs[graph_id] = None  # behind what it belongs to
            queue += [below for _, below in attached.get(graph_id, ())]

    # --- its end -----------------------------------------------------------------------------------------------

    async def _end(self, found: _Found) -> int:
        """Cancel what has not ended; return of how much it is still to come."""
        left = 0
        for graph_id in found.graphs:
            graph = self._engine.committed.graph(graph_id)
            if graph is not None and not self._engine.committed.has_ended(graph):
                await self._cancel(graph_id, None)
                left += not self._engine.committed.has_ended(graph)
        for node in found.nodes:
            if self._engine.committed.outcome(*split_node(node)) is None:
                await self._cancel(*split_node(node))
                left += self._engine.committed.outcome(*split_node(node)) is None
        return left

    async def _cancel(self, graph: bytes, node: int | None) -> None:
        try:
            await done(self._engine, lambda client: CancelAsked(client, graph, True, "SIGTERM", node))
        except Refusal as refusal:
            if refusal.code != "UNKNOWN_GRAPH":  # else it is gone, and that was wanted
                raise

    async def _wait_until_gone(self, graphs: tuple[bytes, ...]) -> None:
        try:
            async with asyncio.timeout(_GONE):
                for graph in graphs:
                    # Nobody is told of records that are deleted.
                    while self._engine.committed.graph(graph) is not None:  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK)
        except TimeoutError:
            told = "the records are being deleted, and there are many: ask again in a while, until nothing is known"
            raise Refusal("RECOVERING", told) from None
