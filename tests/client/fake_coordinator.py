"""A coordinator of a few lines for the client's tests: takes graphs, settles them when told to, misbehaves on demand.

It speaks the real wire through grpcio on port 0 of the loopback; nothing is durable and nothing runs.
"""

import json
import queue
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from tests.support.ports import HeldPort

from grpcflow import ids
from grpcflow_protos import limits
from grpcflow_protos.v1 import (
    client_service_pb2,
    client_service_pb2_grpc,
    command_pb2,
    control_service_pb2,
    control_service_pb2_grpc,
    graph_pb2,
    log_pb2,
    value_pb2,
)

#: Seconds that a server may take to stop.
PATIENCE = 30.0
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", limits.MESSAGE_LIMIT),
    ("grpc.max_send_message_length", 4 * limits.MESSAGE_LIMIT),
]


def refuse(context: Any, status: grpc.StatusCode, code: str, message: str) -> None:
    """Ends a call the way the coordinator does: a status with an ErrorInfo."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=code, domain="grpcflow", metadata={"cure": f"cure of {code}"}))
    rich = rpc_status.to_status(status_pb2.Status(code=status.value[0], message=message, details=[detail]))
    context.abort_with_status(rich)


class Stream:
    """One client's stream: what is to be sent on it, and what it watches."""

    def __init__(self) -> None:
        self.out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.watched: set[tuple[bytes, int]] = set()
        self.names: set[str] = set()

    def send(self, **fields: Any) -> None:
        self.out.put(client_service_pb2.SessionResponse(**fields))


class Fake(client_service_pb2_grpc.ClientServiceServicer, control_service_pb2_grpc.ControlServiceServicer):
    """The servicer and its switches.

    Attributes:
        acks: how often each graph is acknowledged (2: duplicates; 0: never).
        break_every: end the stream after so many messages received; 0: never.
        refusals: graph id -> (status, code, message).
        answer: gives a node's value at once when it is watched; None (also returned): it comes from `settle`.
        on_graph: called with the number of nodes of each graph that is taken.
        welcomes: False: streams are taken and nothing is ever said.
        stream_error: ends each new stream with this status and code.
        holds_calls: True: single calls are not answered for as long as their link is there.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.acks = 1
        self.break_every = 0
        self.refusals: dict[bytes, tuple[int, str, str]] = {}
        self.answer: Callable[[bytes, int], bytes | None] | None = None
        self.on_graph: Callable[[int], None] = lambda nodes: None
        self.welcomes = True
        self.stream_error: tuple[grpc.StatusCode, str] | None = None
        self.control_error: tuple[grpc.StatusCode, str] | None = None
        self.graphs: Counter[bytes] = Counter()
        self.node_counts: dict[bytes, int] = {}
        self.settled: dict[tuple[bytes, int], value_pb2.Result] = {}
        self.aliases: dict[str, bytes] = {}
        self.unwatched: list[client_service_pb2.NodeSet] = []
        self.streams: list[Stream] = []
        self.opened = threading.Semaphore(0)
        self.watch_seen = threading.Semaphore(0)
        self.unwatch_seen = threading.Semaphore(0)
        self.graph_seen = threading.Semaphore(0)
        self.messages = 0
        self.received = 0
        self.requests: list[Any] = []
        self.large_answers = 0
        self.parts: dict[str, list[value_pb2.ValuePart]] = {}
        self.groups: dict[str, bytes] = {}
        self.call_error: tuple[grpc.StatusCode, str] | None = None
        self.holds_calls = False
        self.progress_watched = 0
        self.items: dict[str, list[bytes]] = {}
        self.ends: dict[str, value_pb2.Result] = {}
        self.emit_errors: list[tuple[grpc.StatusCode, str]] = []
        self.reads: list[int] = []
        self.read_limit = 0
        #: By id the lines of each attempt, by token; and what was asked for.
        self.logs: dict[str, dict[int, list[str]]] = {}
        self.log_requests: list[log_pb2.ReadLogsRequest] = []
        self.items_sent = 0
        self.item_came = threading.Condition()

    # --- the session ---

    def Session(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        if self.stream_error is not None:
            refuse(context, *self.stream_error, "go away")
        stream = Stream()
        with self.lock:
            self.streams.append(stream)
        threading.Thread(target=self._read, args=(requests, stream), daemon=True).start()
        context.add_callback(lambda: stream.out.put(None))
        self.opened.release()
        while (message := stream.out.get()) is not None:
            yield message
        with self.lock:
            self.streams.remove(stream)
        if self.break_every:
            context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")

    def _read(self, requests: Iterator[Any], stream: Stream) -> None:
        received = 0
        try:
            for request in requests:
                received += 1
                self.messages += 1
                with self.lock:
                    self._take(request, stream)
                if self.break_every and received >= self.break_every:
                    stream.out.put(None)
                    return
        except grpc.RpcError:
            pass
        stream.out.put(None)

    def _take(self, request: Any, stream: Stream) -> None:
        if request.HasField("hello") and self.welcomes:
            stream.send(welcome=client_service_pb2.ClientWelcome(revision=1))
        # Noted before anything of the message is answered: a test may look when it has the answer.
        self.unwatched.extend(request.unwatches)
        if request.unwatches:
            self.unwatch_seen.release()
        for chunk in request.submits:
            self.received += 1
            self.node_counts[chunk.graph] = chunk.node_count
            if chunk.last:
                self._finish(chunk.graph, stream)
        for nodes in request.watches:
            self._watch(nodes, stream)

    def _finish(self, graph: bytes, stream: Stream) -> None:
        self.graphs[graph] += 1
        self._answer(graph, stream)
        self.graph_seen.release()  # now, since a test may then ask for other answers

    def _answer(self, graph: bytes, stream: Stream) -> None:
        if graph in self.refusals:
            status, code, message = self.refusals[graph]
            refusal = client_service_pb2.Refusal(status=status, code=code, message=message)
            stream.send(refused=[client_service_pb2.Refused(graph=graph, refusal=refusal)])
            return
        for _ in range(self.acks):
            stream.send(accepted=[graph])
        self.on_graph(self.node_counts[graph])

    def _watch(self, nodes: Any, stream: Stream) -> None:
        self.progress_watched += nodes.progress
        for name in nodes.ids:
            stream.names.add(name)
        if nodes.wait_for_submit and nodes.graph not in self.node_counts:
            stream.watched.update(
                (nodes.graph, i) for one in nodes.ranges for i in range(one.first, one.first + one.count)
            )
            self.watch_seen.release()
            return
        if nodes.graph not in self.node_counts:
            refusal = client_service_pb2.Refusal(status=5, code="UNKNOWN_NODE", message="no such node")
            stream.send(refused=[client_service_pb2.Refused(nodes=nodes, refusal=refusal)])
            return
        column = client_service_pb2.Successes(graph=nodes.graph)
        for one in nodes.ranges:
            for index in range(one.first, one.first + one.count):
                value = None if self.answer is None else self.answer(nodes.graph, index)
                if value is not None:
                    column.indexes.append(index)
                    column.values.append(value)
                elif (nodes.graph, index) in self.settled:
                    stream.send(results=[self.settled[nodes.graph, index]])
                else:
                    stream.watched.add((nodes.graph, index))
        if column.indexes:
            stream.send(successes=[column])
        self.watch_seen.release()

    def settle(self, graph: bytes, index: int, value: Any = None, **fields: Any) -> None:
        """Settles one node and tells those who watch it."""
        result = value_pb2.Result(node=ids.node_bytes(graph, index), known=True, state=value_pb2.STATE_SUCCESS)
        if fields:
            result.MergeFrom(value_pb2.Result(**fields))
        else:
            result.value.data = json.dumps(value).encode()
        with self.lock:
            self.settled[graph, index] = result
            for stream in self.streams:
                if (graph, index) in stream.watched or result.id in stream.names:
                    stream.send(results=[result])

    def settle_watched(self) -> None:
        """Settles every node that anybody watches."""
        for graph, index in {key for stream in self.streams for key in stream.watched} - set(self.settled):
            self.settle(graph, index, "late")

    def break_streams(self) -> None:
        """Ends every stream, as a coordinator does that stops."""
        with self.lock:
            for stream in self.streams:
                stream.out.put(None)

    def Submit(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the sync client uses the stream")

    def Watch(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the sync client uses the stream")

    def GetResults(self, request: Any, context: Any) -> Any:
        names = list(request.nodes.ids)
        answer = client_service_pb2.GetResultsResponse()
        for text in names:
            parsed = ids.parse(text)
            node = self.aliases.get(text) or (ids.node_bytes(*parsed) if parsed else b"")
            key = (node[:12], int.from_bytes(node[12:], "big"))
            if key in self.settled:
                answer.results.append(self.settled[key])
                answer.results[-1].value.data += b" " * self.large_answers
            elif node and key[0] in self.node_counts:
                answer.results.add(node=node, known=True, state=value_pb2.STATE_PENDING)
            else:
                answer.results.add(state=value_pb2.STATE_PENDING)
        return answer

    # --- what is kept ---

    def _asked(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        if self.holds_calls:
            ended = threading.Event()
            if context.add_callback(ended.set):
                ended.wait(PATIENCE)
        if self.call_error is not None:
            refuse(context, *self.call_error, "refused on purpose")

    def FetchValue(self, request: Any, context: Any) -> Iterator[Any]:
        self._asked(request, context)
        for part in self.parts[request.id]:
            yield client_service_pb2.FetchValueResponse(parts=[part])

    def UpdateState(self, request: Any, context: Any) -> Any:
        self._asked(request, context)
        return client_service_pb2.UpdateStateResponse()

    def Forget(self, request: Any, context: Any) -> Any:
        self._asked(request, context)
        for text in request.ids:
            parsed = ids.parse(text)
            if parsed is not None:
                self.settled.pop(parsed, None)
                self.node_counts.pop(parsed[0], None)
        return client_service_pb2.ForgetResponse(forgotten=len(request.ids))

    def SaveGroup(self, request: Any, context: Any) -> Any:
        self._asked(request, context)
        self.groups[request.id] = request.data
        return client_service_pb2.SaveGroupResponse()

    def RestoreGroup(self, request: Any, context: Any) -> Any:
        self._asked(request, context)
        if request.id not in self.groups:
            refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_GROUP", "no such group")
        return client_service_pb2.RestoreGroupResponse(data=self.groups[request.id])

    def DeleteGroup(self, request: Any, context: Any) -> Any:
        self._asked(request, context)
        self.groups.pop(request.id, None)
        return client_service_pb2.DeleteGroupResponse()

    # --- items ---

    def Emit(self, request: Any, context: Any) -> Any:
        with self.item_came:
            self.requests.append(request)
            if self.emit_errors:
                refuse(context, *self.emit_errors.pop(0), "refused on purpose")
            node = ids.node_id(request.node[:12], int.from_bytes(request.node[12:], "big"))
            items = self.items.setdefault(node, [])
            items.extend(item.data for item in request.items[len(items) - request.first :])
            self.item_came.notify_all()
            return client_service_pb2.EmitResponse(count=len(items))

    def emit(self, text: str, *values: Any) -> None:
        """Adds items to a stream, as a task does."""
        with self.item_came:
            self.items.setdefault(text, []).extend(json.dumps(value).encode() for value in values)
            self.item_came.notify_all()

    def end_items(self, text: str, **fields: Any) -> None:
        """Ends a stream with a result of its node; success where nothing is said."""
        with self.item_came:
            self.ends[text] = value_pb2.Result(**{"known": True, "state": value_pb2.STATE_SUCCESS, **fields})
            self.item_came.notify_all()

    def ReadItems(self, request: Any, context: Any) -> Iterator[Any]:
        self.reads.append(request.first)
        if request.id not in self.items:
            refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_NODE", "no such node")
        number, given = request.first, 0
        context.add_callback(self._wake_readers)
        while context.is_active():
            with self.item_came:
                items = self.items[request.id][number : number + 2]
                if not items and request.id in self.ends:
                    yield client_service_pb2.ReadItemsResponse(first=number, end=self.ends[request.id])
                    return
                if not items:
                    self.item_came.wait(1.0)
                    continue
            values = [value_pb2.Value(data=data) for data in items]
            yield client_service_pb2.ReadItemsResponse(first=number, items=values)
            number += len(items)
            given += len(items)
            self.items_sent += len(items)
            if self.read_limit and given >= self.read_limit:
                refuse(context, grpc.StatusCode.UNAVAILABLE, "STOPPING", "broken on purpose")

    def ReadLogs(self, request: Any, context: Any) -> Iterator[Any]:
        self.log_requests.append(log_pb2.ReadLogsRequest.FromString(request.SerializeToString()))
        if request.id not in self.logs:
            refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_NODE", "no such node")
        given = 0
        for token, texts in self.logs[request.id].items():
            first = request.first if token == request.token else 0
            for number, text in enumerate(texts):
                if token < request.token or number < first:
                    continue
                if self.read_limit and given >= self.read_limit:
                    refuse(context, grpc.StatusCode.UNAVAILABLE, "STOPPING", "broken on purpose")
                given += 1
                line = log_pb2.LogLine(time_ms=1_000, level="INFO", logger="shop", text=text)
                yield log_pb2.ReadLogsResponse(id=request.id, task="t", token=token, first=number, lines=[line])

    def _wake_readers(self) -> None:
        with self.item_came:
            self.item_came.notify_all()

    # --- control ---

    def RevokeByStamp(self, request: Any, context: Any) -> Any:
        self._asked(request, context)
        return control_service_pb2.RevokeByStampResponse(revoked=len(request.stamps))

    def Inspect(self, request: Any, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        if self.control_error is not None:
            refuse(context, *self.control_error, "refused on purpose")
        answered = control_service_pb2.REPLY_STATUS_ANSWERED
        yield control_service_pb2.InspectResponse(worker="a@h", status=answered, reply=b'{"ok": "pong"}')
        yield control_service_pb2.InspectResponse(worker="b@h", status=control_service_pb2.REPLY_STATUS_NO_REPLY)
        yield control_service_pb2.InspectResponse(worker="c@h", status=answered, reply=b"{")

    def Control(self, request: Any, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        if self.control_error is not None:
            refuse(context, *self.control_error, "refused on purpose")
        answered = control_service_pb2.REPLY_STATUS_ANSWERED
        yield control_service_pb2.ControlResponse(worker="a@h", status=answered, reply=b'{"ok": "done"}')

    def Revoke(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.RevokeResponse(revoked=len(request.ids), unknown=["x"])

    def PurgeQueue(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.PurgeQueueResponse(revoked=3)

    def PauseQueue(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.PauseQueueResponse()

    def ResumeQueue(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.ResumeQueueResponse()

    def RevokeMatching(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.RevokeMatchingResponse(revoked=2)

    def ListCommands(self, request: Any, context: Any) -> Any:
        own = command_pb2.CommandInfo(name="ping", help="Who is there.")
        count = command_pb2.CommandArgument(name="n", type="int", optional=True)
        theirs = command_pb2.CommandInfo(name="cache_size", help="How large the cache is.", arguments=[count])
        known = [(own, []), (theirs, ["a@h"])]
        commands = [control_service_pb2.AvailableCommand(command=one, workers=workers) for one, workers in known]
        return control_service_pb2.ListCommandsResponse(commands=commands)

    def ListWorkers(self, request: Any, context: Any) -> Any:
        workers = [control_service_pb2.WorkerInfo(name="a@h"), control_service_pb2.WorkerInfo(name="b@h")]
        return control_service_pb2.ListWorkersResponse(workers=workers)

    def ListQueues(self, request: Any, context: Any) -> Any:
        lane = control_service_pb2.LaneInfo(queue="q", task="t", waiting=3)
        return control_service_pb2.ListQueuesResponse(lanes=[lane], scheduled=1)

    def SetLimit(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.SetLimitResponse(limit=request.limit)

    def ListLimits(self, request: Any, context: Any) -> Any:
        return control_service_pb2.ListLimitsResponse()

    def SetRetention(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.SetRetentionResponse()

    def ListRetention(self, request: Any, context: Any) -> Any:
        return control_service_pb2.ListRetentionResponse()

    def Erase(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return control_service_pb2.EraseResponse()


class FakeCoordinator:
    """The fake behind a real port; it can be stopped and started again there."""

    def __init__(self, *services: Callable[[Any], None]) -> None:
        """Takes what adds more services to a server."""
        self.fake = Fake()
        self._services = services
        self._server: Any = None
        self._held = HeldPort()
        self.port = self._held.number
        self.address = self._held.address
        self.start()

    def start(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(32), options=_OPTIONS)
        client_service_pb2_grpc.add_ClientServiceServicer_to_server(self.fake, self._server)
        control_service_pb2_grpc.add_ControlServiceServicer_to_server(self.fake, self._server)
        for add in self._services:
            add(self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self.fake.break_streams()
            assert self._server.stop(0).wait(PATIENCE), "the fake coordinator did not stop"
            self._server = None

    def close(self) -> None:
        """Stops it for good."""
        self.stop()
        self._held.close()


class SilentPort:
    """A port that takes connections and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()


def chunk(graph: bytes, nodes: int = 1, payload: bytes = b"[[],{}]") -> list[graph_pb2.GraphChunk]:
    """Returns the one piece of a small graph."""
    run = graph_pb2.NodeRun(first=0, count=nodes, payloads=[payload] * nodes)
    template = graph_pb2.Template(task="t")
    return [graph_pb2.GraphChunk(graph=graph, last=True, node_count=nodes, templates=[template], runs=[run])]
