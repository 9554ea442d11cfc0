"""ClientService: decode, post an event, wait, encode. No decision about tasks is made here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from grpcflow_coordinator import values
from grpcflow_coordinator.core.effects import Refused
from grpcflow_coordinator.core.events import ChunkRefused, ClientLeft
from grpcflow_coordinator.core.model import text_id
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.outbox import Watchers, refusal_message
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.items import Items
from grpcflow_coordinator.rpc.lookup import Lookup, made_by_a_client
from grpcflow_coordinator.rpc.upkeep import Upkeep
from grpcflow_coordinator.streams import ClientStream
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, client_service_pb2_grpc, graph_pb2, value_pb2

Answer = TypeVar("Answer", client_service_pb2.WatchResponse, client_service_pb2.GetResultsResponse)

#: What is said of nodes that are not there.
_UNKNOWN = "no such task, or its result has expired: check the id, and keep results longer where that is too short"

#: Nodes whose present state is told when they begin to be watched, at most.
MOVES_TOLD = 1_000

#: What a run of a piece weighs beside its nodes, and what is read in one go.
_RUN_WEIGHT = 4
_UNHURRIED = 2_000

#: Ids that the answer to Submit names at most.
IDS_NAMED = 1_000


class ClientService(Upkeep, Items, client_service_pb2_grpc.ClientServiceServicer):
    """Takes graphs and gives results."""

    def __init__(
        self, engine: Engine, watchers: Watchers, *, payload_limit: int, node_limit: int, version: str
    ) -> None:
        self._engine = engine
        self._watchers = watchers
        self._lookup = Lookup(engine, payload_limit)
        self._payload_limit, self._node_limit, self._version = payload_limit, node_limit, version
        self._streams: set[ClientStream] = set()

    def stop(self) -> None:
        """End all streams with a status that says to come back."""
        for stream in self._streams:
            stream.close("STOPPING", "the coordinator stops: come back and ask again for what is still open")

    async def Session(
        self, request_iterator: AsyncIterator[client_service_pb2.SessionRequest], context: Any
    ) -> AsyncIterator[client_service_pb2.SessionResponse]:
        """The one stream of a client."""
        first = await anext(request_iterator, None)
        if first is None or not first.HasField("hello"):
            raise Refusal("HELLO_EXPECTED", "the first message of a session holds a hello")
        stream = ClientStream(self._engine.committed)
        stream.welcome = client_service_pb2.ClientWelcome(
            revision=common_revision(first.hello.revision),
            features=sorted(set(first.hello.features) & set(limits.FEATURES)),
            version=self._version,
            payload_limit=self._payload_limit,
            node_limit=self._node_limit,
        )
        reader = asyncio.create_task(self._read(stream, first, request_iterator))
        told = False
        self._streams.add(stream)
        try:
            while True:
                message = stream.take()
                if message is not None:
                    yield message
                elif reader.done():
                    reader.result()
                    if told:
                        return
                    await self._engine.flushed()  # what it submitted before it closed its end is answered
                    told = True
                elif stream.closing is not None:
                    raise Refusal(*stream.closing)
                else:
                    await stream.wait()
        finally:
            reader.cancel()
            self._streams.discard(stream)
            self._watchers.forget(stream)
            self._engine.post(ClientLeft(stream))

    async def _read(
        self,
        stream: ClientStream,
        first: client_service_pb2.SessionRequest,
        requests: AsyncIterator[client_service_pb2.SessionRequest],
    ) -> None:
        try:
            await self._take(stream, first)
            async for message in requests:
                if message.HasField("hello"):
                    raise Refusal("HELLO_EXPECTED", "a session has one hello, in its first message")
                await self._take(stream, message)
        finally:
            stream.wake()

    async def _take(self, stream: ClientStream, message: client_service_pb2.SessionRequest) -> None:
        """Act on one message of a session."""
        async for piece in _unhurried(message.submits):
            try:
                self._submit(stream, piece)
                stream.coming[piece.graph] = piece.node_count
            except Refusal as refusal:
                # The core forgets what it has of the graph, and answers: in order with its own answers.
                self._engine.post(ChunkRefused(stream, piece.graph, refusal.code, refusal.message, piece.last))
        for nodes in message.watches:
            try:
                unknown = self._watch(stream, nodes)
                if unknown.ids or unknown.ranges:
                    answer = refusal_message("UNKNOWN_NODE", _UNKNOWN)
                    stream.refused.append(client_service_pb2.Refused(nodes=unknown, refusal=answer))
            except Refusal as refusal:
                answer = refusal_message(refusal.code, refusal.message)
                stream.refused.append(client_service_pb2.Refused(nodes=nodes, refusal=answer))
            stream.wake()
        for nodes in message.unwatches:
            for graph, first, count in self._lookup.ranges(nodes, stream.coming)[0]:
                self._watchers.unwatch(stream, graph, first, count)

    def _submit(self, client: object, piece: graph_pb2.GraphChunk) -> None:
        if self._engine.full:
            raise Refusal("STORE_FULL", "the coordinator's disk is nearly full: make room, then submit again")
        self._engine.post(convert.chunk(client, piece, self._payload_limit, self._node_limit))

    def _watch(self, stream: ClientStream, nodes: client_service_pb2.NodeSet) -> client_service_pb2.NodeSet:
        """Register what is watched, then tell what had settled before: so that nothing falls between.

        Returns:
            The nodes that are not known; the others are watched all the same.
        """
        found, unknown = self._lookup.ranges(nodes, stream.coming)
        if nodes.wait_for_submit:
            found, unknown = self._expect(stream, found, unknown, progress=nodes.progress)
        for graph, first, count in found:
            root = self._engine.committed.graph(graph)
            if root is None or not self._engine.committed.has_ended(root):
                self._watchers.watch(stream, graph, first, count, progress=nodes.progress)
                if nodes.progress:
                    for index, progress in self._engine.committed.told_progress(graph, first, count, MOVES_TOLD):
                        stream.recall_move(graph, index, progress.custom_state)
            if root is not None or graph not in stream.coming:  # of what comes only now nothing has settled
                stream.backfill.append((graph, first, first + count))
        return unknown

    def _expect(
        self,
        stream: ClientStream,
        found: list[tuple[bytes, int, int]],
        unknown: client_service_pb2.NodeSet,
        *,
        progress: bool,
    ) -> tuple[list[tuple[bytes, int, int]], client_service_pb2.NodeSet]:
        """Watch, beside what is found, nodes that nobody has submitted yet.

        Returns:
            What is watched by graph, and what can never be submitted.
        """
        never = client_service_pb2.NodeSet()
        if unknown.ranges and self._engine.committed.graph(unknown.graph) is not None:
            never.graph = unknown.graph
            never.ranges.extend(unknown.ranges)  # the graph is there and has no such nodes
        else:
            found = found + [(unknown.graph, one.first, one.count) for one in unknown.ranges]
        for text in unknown.ids:
            node = made_by_a_client(text)
            if node is None:
                self._watchers.expect(stream, text, self._lookup.node, progress=progress)
            elif self._engine.committed.graph(node[:12]) is None:
                found = [*found, (node[:12], int.from_bytes(node[12:], "big"), 1)]
            else:
                never.ids.append(text)
        return found, never

    async def Submit(
        self, request: client_service_pb2.SubmitRequest, context: Any
    ) -> client_service_pb2.SubmitResponse:
        """Take one whole graph."""
        if not request.chunks or not request.chunks[-1].last:
            raise Refusal("MALFORMED", "the last piece of the graph is not there, or not marked as the last")
        answer: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
        try:
            async for piece in _unhurried(request.chunks):
                self._submit(answer, piece)
            refused = await answer
        finally:
            self._engine.post(ClientLeft(answer))
        if refused is not None:
            raise Refusal(refused.code, refused.message)
        return client_service_pb2.SubmitResponse(ids=_ids(request.chunks))

    async def Watch(
        self, request: client_service_pb2.WatchRequest, context: Any
    ) -> AsyncIterator[client_service_pb2.WatchResponse]:
        """Tell the results of nodes as they settle."""
        found, unknown = self._lookup.ranges(request.nodes)
        if unknown.ids or unknown.ranges:
            raise Refusal("UNKNOWN_NODE", _UNKNOWN)
        missing = {(graph, index) for graph, first, count in found for index in range(first, first + count)}
        stream = ClientStream(self._engine.committed)
        self._watch(stream, request.nodes)
        self._streams.add(stream)
        try:
            while missing:
                message = stream.take()
                if message is None:
                    if stream.closing is not None:
                        raise Refusal(*stream.closing)
                    await stream.wait()
                    continue
                results = [result for result in _results(message) if _strike(missing, result)]
                for result in results:
                    self._open_list(result)
                    yield self._fitting(client_service_pb2.WatchResponse(results=[result]))
        finally:
            self._streams.discard(stream)
            self._watchers.forget(stream)

    def _open_list(self, result: value_pb2.Result) -> None:
        """Give the result of a join its list."""
        if result.state == value_pb2.STATE_SUCCESS and not result.HasField("value"):
            graph, index = result.node[:12], int.from_bytes(result.node[12:], "big")
            try:
                room = values.Room(self._payload_limit)
                result.value.CopyFrom(values.read_value(self._engine.committed, graph, index, room))
            except values.TooLarge:
                result.value_apart = True

    async def GetResults(
        self, request: client_service_pb2.GetResultsRequest, context: Any
    ) -> client_service_pb2.GetResultsResponse:
        """Tell how nodes stand now."""
        results = self._lookup.results(request.nodes, states_only=request.states_only, details=request.details)
        return self._fitting(client_service_pb2.GetResultsResponse(results=results))

    def _fitting(self, answer: Answer) -> Answer:
        """Return an answer that a message can hold; refuse another one."""
        size, most = answer.ByteSize(), self._payload_limit + limits.MESSAGE_OVERHEAD
        if size > most:
            raise Refusal(
                "MESSAGE_TOO_LARGE",
                f"the answer has {size} bytes; {most} are allowed: ask for fewer nodes, or for a join's members",
            )
        return answer


async def _unhurried(pieces: Iterable[graph_pb2.GraphChunk]) -> AsyncIterator[graph_pb2.GraphChunk]:
    """Yield the pieces of one message, and let others have their turn between large ones."""
    weight = 0
    for piece in pieces:
        weight += sum(_RUN_WEIGHT + run.count for run in piece.runs)
        if weight > _UNHURRIED:
            await asyncio.sleep(0)
            weight = 0
        yield piece


def common_revision(theirs: int) -> int:
    """Return the protocol revision that both sides speak.

    Raises:
        Refusal: REVISION_UNKNOWN, for none and for one from beyond the next.
    """
    if not 1 <= theirs <= limits.REVISION + 1:
        raise Refusal(
            "REVISION_UNKNOWN",
            f"the hello speaks revision {theirs}; this coordinator speaks {limits.REVISION}: use a newer coordinator",
        )
    return min(theirs, limits.REVISION)


def _ids(chunks: Any) -> list[str]:
    ids: list[str] = []
    for piece in chunks:
        for run in piece.runs:
            for index in range(run.first, run.first + run.count):
                if len(ids) >= IDS_NAMED:
                    return ids
                ids.append(text_id(piece.graph, index, run.id))
    return ids


def _results(message: client_service_pb2.SessionResponse) -> list[value_pb2.Result]:
    """Return all results of a message, one by one."""
    results = list(message.results)
    for column in message.successes:
        for index, data in zip(column.indexes, column.values, strict=True):
            node = column.graph + index.to_bytes(4, "big")
            value = value_pb2.Value(data=data)
            results.append(value_pb2.Result(node=node, state=value_pb2.STATE_SUCCESS, value=value, known=True))
    return results


def _strike(missing: set[tuple[bytes, int]], result: value_pb2.Result) -> bool:
    """Take a result off the list of those that are missing; False where it had come already."""
    key = (result.node[:12], int.from_bytes(result.node[12:], "big"))
    if key in missing:
        missing.remove(key)
        return True
    return False
