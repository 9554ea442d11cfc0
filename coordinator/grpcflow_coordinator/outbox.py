"""Where durable effects go: to the streams of workers and clients, and to those who watch. Decides nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

from grpcflow_coordinator.core.effects import (
    Accepted,
    Acknowledge,
    Answer,
    Assign,
    CloseStream,
    Effects,
    Probe,
    Refused,
    RevokeDone,
    Send,
    StopAttempt,
    Welcome,
    WorkerSend,
)
from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, NodeState, Now, Outcome, split_node
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.errors import STATUS_OF
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.streams import ClientStream, Stream, WorkerStream
from grpcflow_protos.v1 import client_service_pb2, worker_service_pb2

#: How many revoked nodes are remembered, for those who ask which these were.
REVOKED_KEPT: Final = 10_000


class Watchers:
    """Who wants to hear of which nodes."""

    def __init__(self) -> None:
        #: graph -> stream -> ranges (first, end).
        self._by_graph: dict[bytes, dict[ClientStream, list[tuple[int, int]]]] = defaultdict(dict)
        #: Those of them who want to hear of nodes on their way, too.
        self._moves: dict[bytes, dict[ClientStream, list[tuple[int, int]]]] = defaultdict(dict)
        #: Who reads the items of which nodes.
        self._readers: dict[bytes, dict[int, set[Stream]]] = defaultdict(dict)
        #: Who waits for ids that no graph has yet, and how such an id is looked up.
        self._expected: list[tuple[ClientStream, str, Callable[[str], bytes | None], bool]] = []

    def watch(self, stream: ClientStream, graph: bytes, first: int, count: int, *, progress: bool = False) -> None:
        """Tell the stream of these nodes as they settle, and of the states they give themselves before that."""
        self._by_graph[graph].setdefault(stream, []).append((first, first + count))
        if progress:
            self._moves[graph].setdefault(stream, []).append((first, first + count))

    def unwatch(self, stream: ClientStream, graph: bytes, first: int, count: int) -> None:
        """No longer tell it of these nodes, where exactly this range was watched."""
        for by_graph in (self._by_graph, self._moves):
            ranges = by_graph.get(graph, {}).get(stream)
            if ranges is not None and (first, first + count) in ranges:
                ranges.remove((first, first + count))
                if not ranges:
                    _drop(by_graph, stream, graph)

    def drop(self, stream: ClientStream, graph: bytes) -> None:
        """The stream wants no more of the graph."""
        _drop(self._by_graph, stream, graph)
        _drop(self._moves, stream, graph)

    def forget(self, stream: ClientStream) -> None:
        """The stream is gone."""
        self._expected = [one for one in self._expected if one[0] is not stream]
        for graph in [graph for graph, streams in self._by_graph.items() if stream in streams]:
            self.drop(stream, graph)

    def read(self, reader: Stream, graph: bytes, index: int) -> None:
        """Wake the reader when there are new items of a node, or it has settled."""
        self._readers[graph].setdefault(index, set()).add(reader)

    @property
    def reading(self) -> bool:
        """True where somebody reads items."""
        return bool(self._readers)

    def stop_reading(self, reader: Stream) -> None:
        """The reader is gone."""
        for graph in [graph for graph, nodes in self._readers.items() if any(reader in one for one in nodes.values())]:
            nodes = {index: readers - {reader} for index, readers in self._readers[graph].items()}
            self._readers[graph] = {index: readers for index, readers in nodes.items() if readers}
            if not self._readers[graph]:
                del self._readers[graph]

    def wake_readers(self, graph: bytes, index: int | None = None) -> None:
        """Wake those who read the items of a node; None: of any node of the graph."""
        for node, readers in self._readers.get(graph, {}).items():
            if index in {None, node}:
                for reader in readers:
                    reader.wake()

    def moved(self, graph: bytes, index: int, state: str) -> None:
        """Tell those who want to know that an unsettled node is in another state."""
        for stream, ranges in self._moves.get(graph, {}).items():
            if any(first <= index < end for first, end in ranges):
                stream.add_move(graph, index, state)
                stream.wake()

    def expect(
        self, stream: ClientStream, text: str, find: Callable[[str], bytes | None], *, progress: bool = False
    ) -> None:
        """The stream waits for a node of a user's own id that nobody has submitted yet."""
        self._expected.append((stream, text, find, progress))

    def came(self, graph: bytes) -> None:
        """A graph was submitted: perhaps it has nodes that somebody waits for by ids of their own."""
        if not self._expected:
            return
        still = []
        for stream, text, find, progress in self._expected:
            node = find(text)
            if node is None or node[:GRAPH_ID_BYTES] != graph:
                still.append((stream, text, find, progress))
            else:
                index = split_node(node)[1]
                self.watch(stream, graph, index, 1, progress=progress)
                stream.backfill.append((graph, index, index + 1))
                stream.wake()
        self._expected = still

    def forget_graph(self, graph: bytes) -> None:
        """Every node of the graph has settled: there is nothing more to tell."""
        self._by_graph.pop(graph, None)
        self._moves.pop(graph, None)

    def of(self, graph: bytes) -> dict[ClientStream, list[tuple[int, int]]] | None:
        """Return who watches nodes of a graph, with the ranges."""
        return self._by_graph.get(graph)


def _drop(by_graph: dict[bytes, dict[ClientStream, list[tuple[int, int]]]], stream: ClientStream, graph: bytes) -> None:
    streams = by_graph.get(graph, {})
    streams.pop(stream, None)
    if not streams:
        by_graph.pop(graph, None)


class StreamOutbox:
    """The outbox of a serving coordinator."""

    def __init__(
        self,
        *,
        heartbeat: float,
        silence: float,
        grace: float,
        version: str,
        payload_limit: int,
        now: Callable[[], Now] = system_now,
    ) -> None:
        self.watchers = Watchers()
        self.feed = Feed(now)
        #: Graph, index and user's own id of nodes that were revoked lately.
        self.revoked: deque[tuple[bytes, int, str]] = deque(maxlen=REVOKED_KEPT)
        self._heartbeat, self._silence, self._grace = heartbeat, silence, grace
        self._version, self._payload_limit = version, payload_limit

    def deliver(self, effects: Effects) -> None:
        """Pass a step's fruit on, in order."""
        self.feed.take(effects)
        for send in effects.sends:
            self._send(send)
        if self.watchers.reading:
            for graph in {found[0] for found in effects.values} | {found[0] for found in effects.settled}:
                self.watchers.wake_readers(graph)
        for graph, index, data in effects.values:
            watching = self.watchers.of(graph)
            if watching is not None:
                for stream, ranges in watching.items():
                    if any(first <= index < end for first, end in ranges):
                        stream.add_value(graph, index, data)
                        stream.wake()
        for graph, index, own_id, outcome in effects.settled:
            self._tell_settled(graph, index, own_id, outcome)
        for graph, index, state in effects.moved:
            self.watchers.moved(graph, index, state)
        for graph, index in effects.emitted:
            self.watchers.wake_readers(graph, index)
        for graph in effects.ended:
            self.watchers.forget_graph(graph)

    def _tell_settled(self, graph: bytes, index: int, own_id: str, outcome: Outcome) -> None:
        if outcome.state is NodeState.REVOKED:
            self.revoked.append((graph, index, own_id))
        watching = self.watchers.of(graph)
        if watching is None:
            return
        for stream, ranges in watching.items():
            if any(first <= index < end for first, end in ranges):
                if outcome.state is NodeState.SUCCESS and outcome.data and not (outcome.content_type or own_id):
                    stream.add_value(graph, index, outcome.data)
                else:
                    stream.add_outcome(graph, index, own_id, outcome)
                stream.wake()

    def _send(self, send: Send) -> None:
        if not isinstance(send, Accepted | Refused | RevokeDone | Answer):
            if not isinstance(send.stream, WorkerStream):
                raise TypeError(f"nobody takes {type(send).__name__} for {send.stream!r}")
            self._tell_worker(send.stream, send)
            return
        client = send.client
        if isinstance(send, RevokeDone | Answer):
            if isinstance(client, asyncio.Future) and not client.done():
                client.set_result(send)
            return
        refused = send if isinstance(send, Refused) else None
        _answer(client, send.graph, refused)
        if refused is None:
            self.watchers.came(send.graph)
        if isinstance(client, ClientStream) and client.coming.pop(send.graph, None) is not None and refused:
            self.watchers.drop(client, send.graph)

    def _tell_worker(self, stream: WorkerStream, send: WorkerSend) -> None:
        match send:
            case Assign():
                stream.assigned.append(send)
            case Acknowledge():
                stream.acknowledge(send.sequence, send.superseded, pressing=send.pressing)
                return
            case StopAttempt():
                stop = worker_service_pb2.Stop(token=send.token, terminate=send.terminate, signal=send.signal)
                stop.superseded, stop.expired = send.superseded, send.expired
                stream.stops.append(stop)
            case Welcome():
                stream.welcome = self._welcome(send, stream)
            case Probe():
                stream.commands.append(worker_service_pb2.ControlCommand(id=0, command="ping", arguments=b"{}"))
            case CloseStream():
                stream.close(send.code, send.message)
        stream.wake()

    def _welcome(self, send: Welcome, stream: WorkerStream) -> worker_service_pb2.WorkerWelcome:
        return worker_service_pb2.WorkerWelcome(
            revision=stream.revision,
            features=stream.features,
            version=self._version,
            epoch=send.epoch,
            heartbeat_ms=int(self._heartbeat * 1000),
            silence_ms=int(self._silence * 1000),
            grace_ms=int(self._grace * 1000),
            superseded=send.superseded,
            payload_limit=self._payload_limit,
            resumed=send.resumed,
        )


def refusal_message(code: str, message: str) -> client_service_pb2.Refusal:
    """Return a refusal for a stream."""
    number: int = STATUS_OF[code].value[0]
    return client_service_pb2.Refusal(status=number, code=code, message=message)


def _answer(client: object, graph: bytes, refused: Refused | None) -> None:
    """Tell whoever submitted a graph what became of it: a stream, or a call that waits."""
    if isinstance(client, ClientStream):
        if refused is None:
            client.accepted.append(graph)
        else:
            refusal = refusal_message(refused.code, refused.message)
            client.refused.append(client_service_pb2.Refused(graph=graph, refusal=refusal))
        asyncio.get_running_loop().call_soon(client.wake)  # what it set going leaves before the answer does
    elif isinstance(client, asyncio.Future) and not client.done():
        client.set_result(refused)
