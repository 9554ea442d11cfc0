"""The part of ClientService about logs: what tasks printed and logged, for whoever reads it.

Lines wait on disk, so a reader takes its time and costs no memory. No decision about tasks is made here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Final

from grpcflow_coordinator.core.events import Logged
from grpcflow_coordinator.core.model import split_node, text_id
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.lookup import Lookup
from grpcflow_coordinator.storage.task_logs import LogPiece
from grpcflow_coordinator.streams import Stream
from grpcflow_coordinator.watching import Watchers
from grpcflow_protos import limits
from grpcflow_protos.v1 import log_pb2 as pb

#: Pieces that are read at once.
PAGE: Final = 16

#: Seconds after which a reader looks again, whether it was woken or not.
PATIENCE: Final = 30.0


def logged(message: pb.LoggedLines) -> Logged:
    """Give lines of an attempt to the core.

    Raises:
        Refusal: MALFORMED: there are more than fit.
    """
    data = message.SerializeToString()
    if len(data) > limits.LOG_PIECE_BYTES + limits.LOG_LINE_BYTES:
        told = f"{len(data)} bytes of logs of one attempt come at once; {limits.LOG_PIECE_BYTES} are allowed"
        raise Refusal("MALFORMED", f"{told}: send them in several messages")
    return Logged(message.token, message.first, len(message.lines), data)


class TaskLogs:
    """Rpcs of ClientService; mixed into it."""

    _engine: Engine
    _watchers: Watchers
    _lookup: Lookup
    _streams: set[Any]

    async def ReadLogs(self, request: pb.ReadLogsRequest, context: Any) -> AsyncIterator[pb.ReadLogsResponse]:
        """Give what a node, or every node of its graph, logged."""
        node = self._lookup.node(request.id)
        if node is None:
            raise Refusal("UNKNOWN_NODE", f"there is no task {request.id!r}, or its result has expired")
        if request.whole_graph:
            async for message in self._whole_graph(node):
                yield message
            return
        reader = Stream()
        self._streams.add(reader)
        try:
            async for message in self._of_node(reader, node, request):
                yield message
        finally:
            self._streams.discard(reader)
            self._watchers.stop_reading(reader)

    async def _whole_graph(self, node: bytes) -> AsyncIterator[pb.ReadLogsResponse]:
        graph, _ = split_node(node)
        page = self._engine.committed.graph_logs(graph, None, PAGE)
        while page:
            for piece in page:
                yield self._told(piece)
            await asyncio.sleep(0)  # let others go on between the pages
            page = self._engine.committed.graph_logs(graph, page[-1], PAGE)

    async def _of_node(
        self, reader: Stream, node: bytes, request: pb.ReadLogsRequest
    ) -> AsyncIterator[pb.ReadLogsResponse]:
        records = self._engine.committed
        graph, index = split_node(node)
        self._watchers.read(reader, graph, index)
        tape = LogTape(self._engine, node, request.token, request.first)
        if request.tail:
            for message in self._tail(tape, request.tail):
                yield message
            self._watchers.read(reader, *split_node(tape.node))
        while True:
            outcome = records.outcome(graph, index)  # before the lines: all of them came before the end
            page = tape.page()
            for piece in page:
                yield self._told(piece, tape.wanted(piece))
                tape.has_told(piece)
            if page:
                await asyncio.sleep(0)
            elif tape.moved_on():
                self._watchers.read(reader, *split_node(tape.node))
            elif outcome is not None or not request.follow:
                return
            elif reader.closing is not None:
                raise Refusal(*reader.closing)
            elif records.graph(graph) is None:
                raise Refusal("UNKNOWN_NODE", f"the task {request.id!r} has expired while its log was read")
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await reader.wait()

    def _tail(self, tape: LogTape, most: int) -> Iterator[pb.ReadLogsResponse]:
        """Return the last lines that there are now, and leave the tape behind them."""
        kept: deque[LogPiece] = deque()
        count = 0
        while True:
            for piece in (page := tape.page()):
                kept.append(piece)
                tape.has_told(piece)
                count += piece.end - piece.first
                while count - (kept[0].end - kept[0].first) >= most:
                    oldest = kept.popleft()
                    count -= oldest.end - oldest.first
            if not page and not tape.moved_on():
                break
        for piece in kept:
            over, count = max(0, count - most), min(count, most)
            yield self._told(piece, piece.first + over)

    def _told(self, piece: LogPiece, first: int = 0) -> pb.ReadLogsResponse:
        """Return the lines of a piece, from that number on."""
        records = self._engine.committed
        graph, index = split_node(piece.node)
        root, run = records.graph(graph), records.run_of(graph, index)
        message = pb.ReadLogsResponse(node=piece.node, token=piece.token, first=max(piece.first, first))
        if root is not None and run is not None:
            message.task = root.templates[run.template].task
            message.id = text_id(graph, index, run.own_id)
        lines = pb.LoggedLines.FromString(piece.data).lines
        message.lines.extend(lines[max(0, first - piece.first) :])
        return message


class LogTape:
    """The logs of a node, and behind them those of the node that runs in its place, read one after the other.

    Args:
        engine: where they are.
        node: the 16 bytes of the node.
        token: attempts before this one are passed over.
        first: of the attempt with that token, lines before this one are passed over.
    """

    def __init__(self, engine: Engine, node: bytes, token: int, first: int) -> None:
        self._records = engine.committed
        self.node = node
        self._token, self._first = token, first

    def page(self) -> list[LogPiece]:
        """Return the next pieces; none where there are none at present."""
        return self._records.logs(*split_node(self.node), self._token, self._first, PAGE)

    def wanted(self, piece: LogPiece) -> int:
        """Return the number of the first line of a piece that was not told yet."""
        return self._first if piece.token == self._token else 0

    def has_told(self, piece: LogPiece) -> None:
        """Go on behind a piece."""
        self._token, self._first = piece.token, piece.end

    def moved_on(self) -> bool:
        """Go on to the node that runs in the place of this one; False where none does."""
        progress = self._records.progress(*split_node(self.node))
        if progress is None or not progress.replaced_by:
            return False
        self.node, self._token, self._first = progress.replaced_by, 0, 0
        return True
