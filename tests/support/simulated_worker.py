"""A simulated worker: it takes messages, runs calls at once and in any order, keeps its reports until they are durable.

It speaks in the coordinator's events, so that what a real worker does with frames and processes is left out; what the
protocol demands of a worker (sessions, held attempts, acknowledgements, draining) is here in its simplest form.
"""

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.reference import FAILED_ID, Functions, call_function, describe_call

from grpcflow import codec
from grpcflow_coordinator.core.events import Ended, Raised, Report, Retried, WorkerArrived, WorkerSpoke
from grpcflow_coordinator.core.model import SessionFacts, node_id
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2

CAPACITY: Final = 4


#: The task whose first attempt always asks for another one; how long after that depends on its payload.
AGAIN: Final = "canvases.again"
AGAIN_MS: Final = 5_000


@dataclass(slots=True)
class Attempt:
    """One attempt that the worker was given."""

    token: int
    node: bytes
    template: graph_pb2.Template
    payload: bytes
    inputs: list[value_pb2.Value]
    retries: int = 0


@dataclass(slots=True)
class Finished:
    """An attempt that ended, with its report; kept until the report is durable."""

    node: bytes
    token: int
    value: bytes | None = None
    report: Report | None = None
    #: Number of the message that carried it on the present stream; 0: not sent on it yet.
    sequence: int = 0


@dataclass(slots=True)
class SimulatedWorker:
    """One worker process.

    Attributes:
        name: Its name.
        session: The 16 secret bytes of its session.
        functions: The tasks it registered.
        calls: Counts every call that any worker of the cluster ran.
        label: What tells it from another worker of the same name, for people.
    """

    name: str
    session: bytes
    functions: Functions
    calls: Counter[str]
    queues: tuple[str, ...] = ("default",)
    capacity: int = CAPACITY
    stream: WorkerStream | None = None
    inbox: deque[worker_service_pb2.WorkResponse] = field(default_factory=deque)
    held: dict[int, Attempt] = field(default_factory=dict)
    finished: dict[int, Finished] = field(default_factory=dict)
    draining: bool = False
    label: str = ""
    welcomed: bool = False
    _sequence: int = 0

    def hello(self, stream: WorkerStream) -> WorkerArrived:
        """Opens a stream: all that it holds is named, and what is not durable will be sent again."""
        self.stream, self._sequence, self.welcomed = stream, 0, False
        self.inbox.clear()
        for finished in self.finished.values():
            finished.sequence = 0
        facts = SessionFacts(self.session, self.name, self.queues, frozenset(self.functions), concurrency=2)
        held = [(attempt.node, attempt.token) for attempt in self.held.values()]
        held += [(finished.node, finished.token) for finished in self.finished.values()]
        return WorkerArrived(stream, facts, self.capacity, tuple(held), self.draining)

    def cut(self) -> WorkerStream | None:
        """Loses its stream, and with it every message under way to it."""
        stream, self.stream = self.stream, None
        self.inbox.clear()
        return stream

    def read(self) -> WorkerSpoke | None:
        """Takes one message; returns an answer where one is due."""
        message = self.inbox.popleft()
        if message.HasField("welcome"):
            self.welcomed = True
            self._forget(message.welcome.superseded)
        self._forget(message.superseded)
        if message.acknowledged:
            durable = [one.token for one in self.finished.values() if 0 < one.sequence <= message.acknowledged]
            self._forget(durable)
        for run in message.runs:
            self._take(run, message.templates[run.template])
        stopped = [stop for stop in message.stops if stop.token in self.held]
        for stop in stopped:
            attempt = self.held.pop(stop.token)
            if not stop.superseded:
                report = Ended(stop.token, "revoked")
                self.finished[stop.token] = Finished(attempt.node, stop.token, report=report)
        return self.speak() if message.commands else None

    def _forget(self, tokens: Any) -> None:
        for token in tokens:
            self.held.pop(token, None)
            self.finished.pop(token, None)

    def _take(self, run: worker_service_pb2.AssignedRun, template: graph_pb2.Template) -> None:
        for ahead, payload in enumerate(run.payloads):
            token = run.token + ahead
            node = node_id(run.graph, run.first + ahead)
            self.held[token] = Attempt(token, node, template, payload, list(run.inputs), run.retries)

    def run(self, token: int) -> None:
        """Runs one attempt to its end."""
        attempt = self.held.pop(token)
        if attempt.template.task == AGAIN and not attempt.retries:
            self.finished[token] = Finished(attempt.node, token, report=_retry(attempt))
            return
        args, kwargs = codec.decode(attempt.payload, codec.JSON)
        for value in attempt.inputs:
            args = [plain(value), *args]
        headers = codec.decode(attempt.template.headers, codec.JSON) if attempt.template.headers else {}
        via = headers.get("via", "")
        self.calls[describe_call(attempt.template.task, args, kwargs, via)] += 1
        finished = self.finished[token] = Finished(attempt.node, token)
        try:
            value = call_function(self.functions, attempt.template.task, args, kwargs, via)
            finished.value = json.dumps(value).encode()
        except Exception as error:
            failure = value_pb2.Failure(type_name=type(error).__name__, module="builtins", message=str(error))
            finished.report = Raised(token, convert.failure(failure))

    def unsent(self) -> list[Finished]:
        """Returns what it has not reported on the present stream."""
        return [finished for finished in self.finished.values() if not finished.sequence]

    def report(self, finished: list[Finished]) -> WorkerSpoke:
        """Sends reports in one message."""
        spoke = self.speak(sequenced=True)
        for one in finished:
            one.sequence = spoke.sequence
        plain_ones = [one for one in finished if one.value is not None]
        return WorkerSpoke(
            stream=spoke.stream,
            sequence=spoke.sequence,
            tokens=[one.token for one in plain_ones],
            values=[one.value for one in plain_ones if one.value is not None],
            reports=[one.report for one in finished if one.report is not None],
        )

    def speak(self, *, sequenced: bool = False, drain: bool = False, goodbye: bool = False) -> WorkerSpoke:
        """Sends a message without reports: a sign of life, a wish to drain, or a goodbye."""
        assert self.stream is not None
        self._sequence += sequenced
        return WorkerSpoke(
            stream=self.stream, sequence=self._sequence if sequenced else 0, drain=drain, goodbye=goodbye
        )

    def give_back(self) -> None:
        """Ends every attempt that has not started by handing it back, as a draining worker does."""
        for token, attempt in self.held.items():
            self.finished[token] = Finished(attempt.node, token, report=Ended(token, "returned"))
        self.held.clear()


def _retry(attempt: Attempt) -> Retried:
    """Returns the wish of an attempt to be tried again, at once or later."""
    failure = value_pb2.Failure(type_name="RetryAsked", message="not yet")
    return Retried(attempt.token, AGAIN_MS * (len(attempt.payload) % 2 == 0), convert.failure(failure))


def plain(value: value_pb2.Value) -> Any:
    """Returns an input as a task gets it; a failed node as the word that the reference evaluator uses."""
    which = value.WhichOneof("kind")
    if which == "failed":
        return FAILED_ID
    if which == "list":
        return [plain(item) for item in value.list.values]
    return codec.decode(value.data, value.content_type or codec.JSON)
