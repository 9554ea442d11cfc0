"""A simulated worker: it takes messages, runs calls at once and in any order, keeps its reports until they are durable.

It speaks in the coordinator's events, so that what a real worker does with frames and processes is left out; what the
protocol demands of a worker (sessions, held attempts, acknowledgements, draining) is here in its simplest form.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.acting import Actor, Attempt, Done, Finished

from grpcflow_coordinator.core.events import Report, WorkerArrived, WorkerSpoke
from grpcflow_coordinator.core.model import node_id
from grpcflow_coordinator.core.presence import SessionFacts
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2

CAPACITY: Final = 4


@dataclass(slots=True)
class SimulatedWorker:
    """One worker process.

    Attributes:
        name: Its name.
        session: The 16 secret bytes of its session.
        actor: Runs its attempts.
        label: What tells it from another worker of the same name, for people.
    """

    name: str
    session: bytes
    actor: Actor
    queues: tuple[str, ...] = ("default",)
    capacity: int = CAPACITY
    stream: WorkerStream | None = None
    inbox: deque[worker_service_pb2.WorkResponse] = field(default_factory=deque)
    held: dict[int, Attempt] = field(default_factory=dict)
    finished: dict[int, Finished] = field(default_factory=dict)
    #: Attempts that wait for the acceptance of a graph of theirs.
    submitting: dict[int, Attempt] = field(default_factory=dict)
    #: Reports that end nothing; not kept where the stream breaks.
    told: list[worker_service_pb2.Report] = field(default_factory=list)
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
        facts = SessionFacts(self.session, self.name, self.queues, frozenset(self.actor.functions), concurrency=2)
        held = [(one.node, one.token) for one in (*self.held.values(), *self.submitting.values())]
        held += [(finished.node, finished.token) for finished in self.finished.values()]
        return WorkerArrived(stream, facts, self.capacity, tuple(held), self.draining)

    def cut(self) -> WorkerStream | None:
        """Loses its stream, and with it every message under way to it."""
        stream, self.stream, self.welcomed = self.stream, None, False
        self.inbox.clear()
        self.told.clear()
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
        for stop in message.stops:
            attempt = self.held.pop(stop.token, None) or self.submitting.pop(stop.token, None)
            if attempt is not None and not stop.superseded:
                report = worker_service_pb2.Report(token=stop.token, revoked=worker_service_pb2.Revoked())
                self.finished[stop.token] = Finished(attempt.node, stop.token, report=report)
        return self.speak() if message.commands else None

    def _forget(self, tokens: Any) -> None:
        for token in tokens:
            self.held.pop(token, None)
            self.submitting.pop(token, None)
            self.finished.pop(token, None)

    def _take(self, run: worker_service_pb2.AssignedRun, template: graph_pb2.Template) -> None:
        for ahead, payload in enumerate(run.payloads):
            token = run.token + ahead
            node = node_id(run.graph, run.first + ahead)
            inputs = list(run.inputs)
            self.held[token] = Attempt(token, node, template, payload, inputs, run.retries, run.in_chord)

    def run(self, token: int) -> Done:
        """Runs one attempt to its end; what it submits must be accepted before it reports."""
        attempt = self.held.pop(token)
        done = self.actor.run(attempt)
        if done.told is not None and self.stream is not None:
            self.told.append(done.told)
        if done.graph is None:
            self.finished[token] = done.ending
        else:
            self.submitting[token] = attempt
        return done

    def accepted(self, ending: Finished) -> None:
        """Lets an attempt end whose graph was accepted, where it is still this worker's."""
        if self.submitting.pop(ending.token, None) is not None:
            self.finished[ending.token] = ending

    def refused(self, token: int, code: str) -> None:
        """Lets an attempt fail whose graph was refused, where it is still this worker's."""
        attempt = self.submitting.pop(token, None)
        if attempt is not None:
            report = worker_service_pb2.Report(token=token)
            if code == "STALE_ATTEMPT":
                report.lost.message = code  # as the worker says it: it may be the node's attempt again after a crash
            else:
                report.failure.CopyFrom(value_pb2.Failure(type_name="Refused", module="grpcflow.errors", message=code))
            self.finished[token] = Finished(attempt.node, token, report=report)

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
            reports=[self._converted(one.report) for one in finished if one.report is not None],
        )

    def tell(self) -> WorkerSpoke | None:
        """Sends the reports that end nothing; None where there are none."""
        if not self.told or self.stream is None or not self.welcomed:
            return None
        spoke = self.speak(sequenced=True)
        reports = [self._converted(report) for report in self.told]
        self.told.clear()
        return WorkerSpoke(stream=spoke.stream, sequence=spoke.sequence, reports=reports)

    def _converted(self, report: worker_service_pb2.Report) -> Report:
        return convert.report(report, limits.PAYLOAD_LIMIT)

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
            report = worker_service_pb2.Report(token=token, returned=worker_service_pb2.Returned())
            self.finished[token] = Finished(attempt.node, token, report=report)
        self.held.clear()
