"""The part of ClientService about items: what tasks emit while they run, and whoever reads it.

Items wait on disk, so a reader takes its time and costs no memory. No decision about tasks is made here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from grpcflow_coordinator.core.events import ItemsEmitted
from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, split_node
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.asking import check_room, done
from grpcflow_coordinator.rpc.lookup import Lookup
from grpcflow_coordinator.streams import Stream
from grpcflow_coordinator.watching import Watchers
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2 as pb
from grpcflow_protos.v1 import value_pb2

#: Items of one request, and of one message to a reader.
PAGE: Final = 500

#: Seconds after which a reader looks again, whether it was woken or not.
PATIENCE: Final = 30.0


class Items:
    """Rpcs of ClientService; mixed into it."""

    _engine: Engine
    _watchers: Watchers
    _lookup: Lookup
    _payload_limit: int
    _streams: set[Any]

    async def Emit(self, request: pb.EmitRequest, context: Any) -> pb.EmitResponse:
        """Append items to the stream of a running node."""
        if len(request.node) != GRAPH_ID_BYTES + 4:
            raise Refusal("MALFORMED", f"a node id has 16 bytes, this one {len(request.node)}")
        if not 0 < len(request.items) <= PAGE:
            raise Refusal("MALFORMED", f"{len(request.items)} items were sent; 1 to {PAGE} are allowed at once")
        check_room(self._engine)
        items = tuple(self._item(item) for item in request.items)
        answer = await done(
            self._engine, lambda future: ItemsEmitted(future, request.node, request.token, request.first, items)
        )
        return pb.EmitResponse(count=answer.count)

    def _item(self, item: value_pb2.Value) -> tuple[bytes, str]:
        if item.WhichOneof("kind") != "data":
            raise Refusal("MALFORMED", "an item is not one encoded value: send its bytes as data")
        if len(item.data) > self._payload_limit:
            size = f"an item has {len(item.data)} bytes; {self._payload_limit} are allowed"
            raise Refusal("PAYLOAD_TOO_LARGE", f"{size}: emit smaller ones, or the address of the data")
        return item.data, convert.check_content_type(item.content_type)

    async def ReadItems(self, request: pb.ReadItemsRequest, context: Any) -> AsyncIterator[pb.ReadItemsResponse]:
        """Give the items of a node's stream from one on."""
        node = self._lookup.node(request.id)
        if node is None:
            raise Refusal("UNKNOWN_NODE", f"there is no task {request.id!r}, or its result has expired")
        reader = Stream()
        self._streams.add(reader)
        try:
            async for message in self._read_items(reader, *split_node(node), request):
                yield message
        finally:
            self._streams.discard(reader)
            self._watchers.stop_reading(reader)

    async def _read_items(
        self, reader: Stream, graph: bytes, index: int, request: pb.ReadItemsRequest
    ) -> AsyncIterator[pb.ReadItemsResponse]:
        records = self._engine.committed
        tape = Tape(self._engine, graph, index, request.first)
        self._watchers.read(reader, graph, index)
        while True:
            outcome = records.outcome(graph, index)  # before the items: all of them came before the end
            message = tape.page()
            if message is not None:
                yield message
            elif tape.moved_on():
                self._watchers.read(reader, *tape.node)
            elif outcome is not None or request.no_wait:
                break
            elif reader.closing is not None:
                raise Refusal(*reader.closing)
            elif records.graph(graph) is None:
                raise Refusal("UNKNOWN_NODE", f"the task {request.id!r} has expired while its items were read")
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await reader.wait()
        if outcome is not None and not request.no_wait:
            run = records.run_of(graph, index)
            own_id = "" if run is None else run.own_id
            yield pb.ReadItemsResponse(first=tape.number, end=convert.result(graph, index, own_id, outcome, records))


class Tape:
    """The items of a node, and behind them those of the node that runs in its place, read one after the other.

    Args:
        engine: where they are.
        graph: the node's graph.
        index: the node.
        number: the first item wanted.
    """

    def __init__(self, engine: Engine, graph: bytes, index: int, number: int) -> None:
        self._records = engine.committed
        self.node = (graph, index)
        self.number = number
        #: Items of the nodes before the present one.
        self._before = 0
        self._limit = 1

    def page(self) -> pb.ReadItemsResponse | None:
        """Return the next items; None where there are none at present."""
        found = self._records.items(*self.node, max(0, self.number - self._before), self._limit)
        if not found:
            return None
        message = pb.ReadItemsResponse(first=self.number)
        for data, content_type in found:
            message.items.add(data=data, content_type=content_type)
        self.number += len(found)
        self._limit = max(1, min(PAGE, limits.BATCH_BYTES * len(found) // (message.ByteSize() + 1) // 4))
        return message

    def moved_on(self) -> bool:
        """Go on to the node that runs in the place of this one; False where none does."""
        progress = self._records.progress(*self.node)
        if progress is None or not progress.replaced_by:
            return False
        self._before += self._records.item_count(*self.node)
        self.node = split_node(progress.replaced_by)
        return True
