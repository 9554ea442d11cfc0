"""Where durable effects go: to the streams of workers and clients, and to those who watch. Decides nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from grpcflow_coordinator.client_stream import ClientStream
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
from grpcflow_coordinator.core.model import NodeState, Now, Outcome
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.errors import STATUS_OF
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_coordinator.watching import Watchers
from grpcflow_protos.v1 import client_service_pb2, worker_service_pb2

#: How many revoked nodes are remembered, for those who ask which these were.
REVOKED_KEPT: Final = 10_000


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
        log_limit: int = 0,
        now: Callable[[], Now] = system_now,
    ) -> None:
        self.watchers = Watchers()
        self.feed = Feed(now)
        #: Graph, index and user's own id of nodes that were revoked lately.
        self.revoked: deque[tuple[bytes, int, str]] = deque(maxlen=REVOKED_KEPT)
        self._heartbeat, self._silence, self._grace = heartbeat, silence, grace
        self._version, self._payload_limit, self._log_limit = version, payload_limit, log_limit

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
                for stream, nodes in watching.items():
                    if index in nodes:
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
        for stream, nodes in watching.items():
            if index in nodes:
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
        if refused is None and isinstance(client, ClientStream):
            # Who asked for the result of one call with it, and has nothing else on its way, waits for nothing but that.
            waits = client.coming == {send.graph: 1} and self.watchers.has(client, send.graph)
            client.accept(send.graph, waits=waits)
        else:
            _answer(client, send.graph, refused)
        if isinstance(send, Accepted):
            self.watchers.came(send.graph, send.own_ids)
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
                stream.order(worker_service_pb2.ControlCommand(id=0, command="ping", arguments=b"{}"))
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
            log_limit=self._log_limit,
            resumed=send.resumed,
        )


def refusal_message(code: str, message: str) -> client_service_pb2.Refusal:
    """Return a refusal for a stream."""
    number: int = STATUS_OF[code].value[0]
    return client_service_pb2.Refusal(status=number, code=code, message=message)


def _answer(client: object, graph: bytes, refused: Refused | None) -> None:
    """Tell whoever submitted a graph what became of it: a stream that it was refused, or a call that waits."""
    if isinstance(client, ClientStream) and refused is not None:
        refusal = refusal_message(refused.code, refused.message)
        client.refuse(client_service_pb2.Refused(graph=graph, refusal=refusal))
        client.wake()
    elif isinstance(client, asyncio.Future) and not client.done():
        client.set_result(refused)
