"""ClientService: decode, post an event, wait, encode. No decision about tasks is made here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from grpcflow_coordinator import values
from grpcflow_coordinator.client_stream import ClientStream
from grpcflow_coordinator.core.effects import Refused
from grpcflow_coordinator.core.events import ChunkRefused, ClientLeft
from grpcflow_coordinator.core.model import split_node, text_id
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.outbox import refusal_message
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.admission import admitted, check_reading
from grpcflow_coordinator.rpc.gate import Gate, Visitor
from grpcflow_coordinator.rpc.items import Items
from grpcflow_coordinator.rpc.lookup import RANGES_LIMIT, Lookup, made_by_a_client, too_large
from grpcflow_coordinator.rpc.task_logs import TaskLogs
from grpcflow_coordinator.rpc.upkeep import Upkeep
from grpcflow_coordinator.watching import Watchers
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, client_service_pb2_grpc, graph_pb2, value_pb2
from grpcflow_protos.wire_parts import Apart, opened, with_parts

Answer = TypeVar("Answer", client_service_pb2.WatchResponse, client_service_pb2.GetResultsResponse)

#: Stands for the first message of a session that ends without one.
_NOTHING = client_service_pb2.SessionRequest()

#: What is said of nodes that are not there.
_UNKNOWN = "no such task, or its result has expired: check the id, and keep results longer where that is too short"

#: Nodes whose present state is told when they begin to be watched, at most.
MOVES_TOLD = 1_000

#: Watches of one message, and ranges and ids of one of them, after which others have their turn.
WATCHES_AT_ONCE = 200
NAMED_AT_ONCE = 1_000

#: Graphs that one client may watch nodes of.
WATCHED = 1_000_000

#: Seconds after which a watch for which nothing came looks whether its graphs are still there.
LOOK_AGAIN = 10.0

#: Ids that the answer to Submit names at most.
IDS_NAMED = 1_000


class ClientService(Upkeep, Items, TaskLogs, client_service_pb2_grpc.ClientServiceServicer):
    """Takes graphs and gives results."""

    def __init__(
        self, engine: Engine, watchers: Watchers, *, payload_limit: int, node_limit: int, version: str
    ) -> None:
        self._engine = engine
        self._watchers = watchers
        self._lookup = Lookup(engine, payload_limit)
        self._payload_limit, self._node_limit, self._version = payload_limit, node_limit, version
        self._streams: set[ClientStream] = set()
        self._gate = Gate(engine)
        self._visitors: WeakValueDictionary[str, Visitor] = WeakValueDictionary()

    @property
    def connected(self) -> int:
        """How many streams of clients are open."""
        return len(self._streams)

    def stop(self) -> None:
        """End all streams with a status that says to come back."""
        for stream in self._streams:
            stream.close("STOPPING", "the coordinator stops: come back and ask again for what is still open")

    async def Session(
        self, request_iterator: AsyncIterator[client_service_pb2.SessionRequest], context: Any
    ) -> AsyncIterator[client_service_pb2.SessionResponse]:
        """The one stream of a client."""
        first, values = opened(await anext(request_iterator, _NOTHING))
        if not first.HasField("hello"):
            raise Refusal("HELLO_EXPECTED", "the first message of a session holds a hello")
        stream = ClientStream(self._engine.committed)
        stream.welcome = client_service_pb2.ClientWelcome(
            revision=common_revision(first.hello.revision),
            features=sorted(set(first.hello.features) & set(limits.FEATURES)),
            version=self._version,
            payload_limit=self._payload_limit,
            node_limit=self._node_limit,
        )
        reader = asyncio.create_task(self._read(stream, first, values, request_iterator))
        told = False
        self._streams.add(stream)
        try:
            while True:
                parts: list[bytes] = []
                message = stream.take(parts)
                if message is not None:
                    yield with_parts(message, parts)
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
        values: Sequence[bytes],
        requests: AsyncIterator[client_service_pb2.SessionRequest | Apart[client_service_pb2.SessionRequest]],
    ) -> None:
        try:
            await self._take(stream, first, values)
            async for received in requests:
                message, values = opened(received)
                if message.HasField("hello"):
                    raise Refusal("HELLO_EXPECTED", "a session has one hello, in its first message")
                await self._take(stream, message, values)
        finally:
            stream.wake()

    async def _take(
        self, stream: ClientStream, message: client_service_pb2.SessionRequest, values: Sequence[bytes] = ()
    ) -> None:
        """Act on one message of a session; `values`: payloads of its one run that were taken out of it."""
        if stream.is_full:
            await stream.drained()  # who does not read is not read
        async for piece in self._gate.through(stream.visitor, message.submits, sum(map(len, values))):
            try:
                self._submit(stream, piece, values)
                if not piece.sequence:
                    stream.coming[piece.graph] = piece.node_count
            except Refusal as refusal:
                if self._engine.rests and piece.last and not piece.sequence:
                    # There is nothing to forget, and the core would not answer before there is room on the disk.
                    answer = refusal_message(refusal.code, refusal.message)
                    stream.refuse(client_service_pb2.Refused(graph=piece.graph, refusal=answer))
                    stream.wake()
                    continue
                # The core forgets what it has of the graph, and answers: in order with its own answers.
                self._engine.post(ChunkRefused(stream, piece.graph, refusal.code, refusal.message, piece.last))
        if message.watches:
            await self._take_watches(stream, message.watches)
        if message.unwatches:
            async for nodes in _in_parts(message.unwatches):
                self._unwatch(stream, nodes)

    async def _take_watches(self, stream: ClientStream, watches: Sequence[client_service_pb2.NodeSet]) -> None:
        """Watch what one message asks for; what is wrong with one of them is told and hinders no other."""
        async for nodes in _in_parts(watches):
            if stream.is_full:
                await stream.drained()
            try:
                unknown = self._watch(stream, nodes)
                if unknown.ids or unknown.ranges:
                    answer = refusal_message("UNKNOWN_NODE", _UNKNOWN)
                    stream.refuse(client_service_pb2.Refused(nodes=unknown, refusal=answer))
            except Refusal as refusal:
                answer = refusal_message(refusal.code, refusal.message)
                stream.refuse(client_service_pb2.Refused(nodes=nodes, refusal=answer))
            if stream.has_news:  # of what was submitted with it nothing has settled yet
                stream.wake()

    def _submit(self, client: object, piece: graph_pb2.GraphChunk, values: Sequence[bytes] = ()) -> None:
        if self._engine.full and self._engine.records.graph(piece.graph) is None:
            raise Refusal("STORE_FULL", "the coordinator's disk is nearly full: make room, then submit again")
        most = admitted(piece, self._payload_limit, self._node_limit)
        self._engine.post(convert.chunk(client, piece, *most, values))

    def _watch(self, stream: ClientStream, nodes: client_service_pb2.NodeSet) -> client_service_pb2.NodeSet:
        """Register what is watched, then tell what had settled before: so that nothing falls between.

        Returns:
            The nodes that are not known; the others are watched all the same.
        """
        check_reading()
        if self._watchers.count(stream) >= WATCHED:
            told = f"this client watches nodes of {WATCHED:,} graphs already"
            raise Refusal("TOO_MANY_IDS", f"{told}: unwatch some, or wait for them in parts")
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
            if root is not None:  # else nothing of it has settled
                stream.backfill.add(graph, first, first + count)
        return unknown

    def _unwatch(self, stream: ClientStream, nodes: client_service_pb2.NodeSet) -> None:
        """Tell the stream no more of nodes, whether anybody has submitted them or not."""
        found, unknown = self._lookup.ranges(nodes, stream.coming)
        found += [(unknown.graph, one.first, one.count) for one in unknown.ranges]
        minted = [node for text in unknown.ids if (node := made_by_a_client(text)) is not None]
        found += [(*split_node(node), 1) for node in minted]
        for graph, first, count in found:
            self._watchers.unwatch(stream, graph, first, count)
        self._watchers.expect_no_longer(stream, unknown.ids)

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
        never, found = client_service_pb2.NodeSet(), list(found)
        there = self._engine.committed.graph(unknown.graph) is not None if unknown.ranges else False
        for one in unknown.ranges:
            # The graph is there without such nodes, or is none that would be taken: who waits for them waits for ever.
            if there or one.first + one.count > self._node_limit:
                never.graph = unknown.graph
                never.ranges.append(one)
            else:
                found.append((unknown.graph, one.first, one.count))
        for text in unknown.ids:
            node = made_by_a_client(text)
            if node is None:
                self._watchers.expect(stream, text, progress=progress)
            elif self._engine.committed.graph(node[:12]) is None:
                found.append((*split_node(node), 1))
            else:
                never.ids.append(text)
        return found, never

    def _visitor(self, peer: str) -> Visitor:
        """Return the place of whoever makes single calls on a connection: all of them under way share one."""
        return self._visitors.setdefault(peer, Visitor())

    async def Submit(
        self, request: client_service_pb2.SubmitRequest, context: Any
    ) -> client_service_pb2.SubmitResponse:
        """Take one whole graph."""
        if not request.chunks or not request.chunks[-1].last:
            raise Refusal("MALFORMED", "the last piece of the graph is not there, or not marked as the last")
        graph = request.chunks[0].graph
        if any(piece.graph != graph for piece in request.chunks) or any(piece.last for piece in request.chunks[:-1]):
            # With two of them, one could be taken and the other refused, and there is one answer only.
            raise Refusal("MALFORMED", "the pieces are of more than one graph: submit each graph by a call of its own")
        answer: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
        try:
            async for piece in self._gate.through(self._visitor(context.peer()), request.chunks):
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
        found: list[tuple[bytes, int, int]] = []
        async for nodes in _in_parts([request.nodes]):
            some, unknown = self._lookup.ranges(nodes)
            found += some
            if unknown.ids or unknown.ranges:
                raise Refusal("UNKNOWN_NODE", _UNKNOWN)
        total = sum(count for _, _, count in found)
        if total > self._node_limit:
            told = f"{total} nodes are named; {self._node_limit} are allowed at once: watch them in parts"
            raise Refusal("TOO_MANY_IDS", told)
        missing = {(graph, index) for graph, first, count in found for index in range(first, first + count)}
        stream = ClientStream(self._engine.committed)
        self._streams.add(stream)
        try:
            async for nodes in _in_parts([request.nodes]):
                unknown = self._watch(stream, nodes)
                if unknown.ids or unknown.ranges:
                    raise Refusal("UNKNOWN_NODE", _UNKNOWN)  # it has expired this moment
            while missing:
                message = stream.take()
                if message is None:
                    if stream.closing is not None:
                        raise Refusal(*stream.closing)
                    await self._something(stream, missing)
                    continue
                for refused in message.refused:
                    raise Refusal(refused.refusal.code, refused.refusal.message)
                results = [result for result in _results(message) if _strike(missing, result)]
                for result in results:
                    self._open_list(result)
                    yield self._fitting(client_service_pb2.WatchResponse(results=[result]))
        finally:
            self._streams.discard(stream)
            self._watchers.forget(stream)

    async def _something(self, stream: ClientStream, missing: set[tuple[bytes, int]]) -> None:
        """Wait until something is to be told; nothing is, of a graph that expired just before it was looked at."""
        try:
            async with asyncio.timeout(LOOK_AGAIN):
                await stream.wait()
        except TimeoutError:
            if any(self._engine.committed.graph(graph) is None for graph in {graph for graph, _ in missing}):
                raise Refusal("UNKNOWN_NODE", _UNKNOWN) from None

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
        results = await self._lookup.results(request.nodes, states_only=request.states_only, details=request.details)
        return self._fitting(client_service_pb2.GetResultsResponse(results=results))

    def _fitting(self, answer: Answer) -> Answer:
        """Return an answer that a message can hold; refuse another one."""
        size, most = answer.ByteSize(), self._payload_limit + limits.MESSAGE_OVERHEAD
        if size > most:
            raise too_large(size, most)
        return answer


async def _in_parts(watches: Sequence[client_service_pb2.NodeSet]) -> AsyncIterator[client_service_pb2.NodeSet]:
    """Yield sets of nodes, long ones in parts, and let others go on now and then."""
    weight = 0
    for nodes in watches:
        for part in _parts(nodes):
            yield part
            weight += NAMED_AT_ONCE // WATCHES_AT_ONCE + len(part.ranges) + len(part.ids)
            if weight >= NAMED_AT_ONCE:
                weight = 0
                await asyncio.sleep(0)


def _parts(nodes: client_service_pb2.NodeSet) -> Iterable[client_service_pb2.NodeSet]:
    """Return a set of nodes as it is, or a long one in parts; one that is too long is refused as a whole."""
    most = max(len(nodes.ranges), len(nodes.ids))
    if not NAMED_AT_ONCE < most <= RANGES_LIMIT:
        return (nodes,)
    flags: Any = {"wait_for_submit": nodes.wait_for_submit, "progress": nodes.progress}
    return (
        client_service_pb2.NodeSet(
            graph=nodes.graph,
            ranges=nodes.ranges[start : start + NAMED_AT_ONCE],
            ids=nodes.ids[start : start + NAMED_AT_ONCE],
            **flags,
        )
        for start in range(0, most, NAMED_AT_ONCE)
    )


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
