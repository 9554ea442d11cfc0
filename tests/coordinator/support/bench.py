"""The core on a bench: machine, records and a store in memory, a clock that is moved by hand, workers of cardboard.

After every step the invariants are checked over the whole state. What the core sends to a worker reaches the
cardboard worker; everything else stands in `sent` and must be taken by the test: `close` refuses leftovers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.coordinator.support.graphs import Sketch

from grpcflow_coordinator.core import invariants
from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.effects import (
    Accepted,
    Acknowledge,
    Assign,
    CloseStream,
    Effects,
    Refused,
    RevokeDone,
    Send,
    StopAttempt,
    Welcome,
)
from grpcflow_coordinator.core.events import (
    Ended,
    Event,
    Raised,
    Report,
    RevokeAsked,
    StreamBroke,
    Tick,
    WorkerArrived,
    WorkerSpoke,
)
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Failure, NodeState, Now, Outcome, node_id, text_id
from grpcflow_coordinator.core.presence import Limit, SessionFacts, TaskFacts
from grpcflow_coordinator.storage.checking import check
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records

Kind = TypeVar("Kind")

_sessions = itertools.count(1)

BOOM = Failure("ValueError", "boom", raw=b"")


class Pipe:
    """A stream as the core sees it: an object with an identity."""

    def __init__(self, worker: Puppet) -> None:
        self.worker = worker


@dataclass(eq=False)
class Puppet:
    """A worker that does what the test says and remembers what it was given."""

    name: str = "w@host"
    queues: tuple[str, ...] = ("default",)
    tasks: frozenset[str] = frozenset({"t"})
    capacity: int = 100
    concurrency: int = 1
    session: bytes = b""
    stream: Pipe | None = None
    #: What it holds: token -> (graph, index), in the order of the hand-outs.
    held: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    #: All it was ever given.
    given: list[tuple[bytes, int]] = field(default_factory=list)
    welcome: Welcome | None = None
    sequence: int = 0
    weights: tuple[int, ...] = ()
    task_facts: tuple[TaskFacts, ...] = ()
    queue_facts: tuple[tuple[str, Limit], ...] = ()

    def __post_init__(self) -> None:
        self.session = self.session or next(_sessions).to_bytes(16, "big")

    @property
    def facts(self) -> SessionFacts:
        return SessionFacts(
            self.session,
            self.name,
            self.queues,
            self.tasks,
            concurrency=self.concurrency,
            weights=self.weights,
            task_facts=self.task_facts,
            queue_facts=self.queue_facts,
        )

    def token(self, graph: bytes, index: int) -> int:
        """Return the token under which it holds a node."""
        return next(token for token, node in self.held.items() if node == (graph, index))

    def indexes(self) -> list[int]:
        """Return the indexes of what it holds, in the order of the hand-outs."""
        return [index for _, index in self.held.values()]


class Bench:
    """A cluster in the hand."""

    def __init__(self, limits: Limits | None = None, store: MemoryStore | None = None) -> None:
        self.limits = limits or Limits()
        self.store = store or MemoryStore()
        self.wall_ms = 1_000_000
        self.monotonic = 500.0
        self.sent: list[Send] = []
        self.values: dict[tuple[bytes, int], bytes] = {}
        self.settled: dict[tuple[bytes, int], Outcome] = {}
        self.ended: list[bytes] = []
        #: False: what is sent is lost, as when the process dies after a commit.
        self.delivers = True
        self.check = True
        self._boot()

    # Time and steps

    @property
    def now(self) -> Now:
        return Now(self.wall_ms, self.monotonic)

    def _boot(self) -> None:
        self.overlay = Overlay(self.store)
        self.records = Records(self.overlay)
        self.machine = Machine(self.limits)
        self._conclude(self.machine.start(self.records, self.now))

    def _conclude(self, effects: Effects) -> Effects:
        if self.overlay.dirty:
            self.store.commit(self.overlay.seal())
            self.overlay.settled()
        if self.check:
            invariants.check(self.machine.cluster, self.records)
        if self.delivers:
            self._deliver(effects)
        return effects

    def step(self, event: Event) -> None:
        """Step one event, then time, as the engine does."""
        self._conclude(self.machine.step(event, self.records, self.now))
        self.tick()

    def tick(self) -> None:
        """Step time until there is nothing more to do at once."""
        for _ in range(100_000):
            if not self._conclude(self.machine.step(Tick(), self.records, self.now)).again:
                return
        raise AssertionError("the core never comes to rest")

    def pass_time(self, seconds: float) -> None:
        """Move both clocks; nobody speaks meanwhile."""
        self.wall_ms += int(seconds * 1000)
        self.monotonic += seconds
        self.tick()

    def restart(self, down: float = 0.0) -> None:
        """Kill the coordinator and start it again on what was committed; all streams are broken."""
        self.store = self.store.reopened()
        self.wall_ms += int(down * 1000)
        self.monotonic += down
        self.delivers = True
        self._boot()
        self.tick()

    # What was sent

    def _deliver(self, effects: Effects) -> None:
        for send in effects.sends:
            self._send(send)
        for graph, index, data in effects.values:
            self._note(graph, index, Outcome(NodeState.SUCCESS, self.wall_ms, data))
            self.values[graph, index] = data
        for graph, index, _, outcome in effects.settled:
            self._note(graph, index, outcome)
        self.ended += effects.ended

    def _note(self, graph: bytes, index: int, outcome: Outcome) -> None:
        assert (graph, index) not in self.settled, f"node {index} was told twice"
        self.settled[graph, index] = outcome

    def _send(self, send: Send) -> None:
        if isinstance(send, Assign | Welcome) and isinstance(send.stream, Pipe):
            worker = send.stream.worker
            if worker.stream is not send.stream:
                return  # the worker has another stream by now
            if isinstance(send, Welcome):
                worker.welcome = send
                for token in send.superseded:
                    worker.held.pop(token, None)
                return
            for ahead in range(send.count):
                worker.held[send.token + ahead] = (send.graph, send.first + ahead)
                worker.given.append((send.graph, send.first + ahead))
        else:
            self.sent.append(send)

    def take(self, kind: type[Kind]) -> list[Kind]:
        """Return what was sent of one kind, and strike it off."""
        found: list[Kind] = [send for send in self.sent if isinstance(send, kind)]
        self.sent = [send for send in self.sent if not isinstance(send, kind)]
        return found

    def close(self) -> None:
        """Refuse leftovers, and records that do not agree: what the command `check` would tell."""
        broken = [finding for finding in check(self.store, self.wall_ms) if finding.broken] if self.check else []
        assert not broken, broken[:3]
        assert not self.sent, f"sent and not looked at: {len(self.sent)}, the first of them {self.sent[0]}"

    # Clients

    def submit(self, sketch: Sketch, *, client: object = None, runs_each: int = 1 << 30) -> bytes:
        """Submit a graph and see it accepted."""
        self.send_chunks(sketch.chunks(client, runs_each))
        assert [send.graph for send in self.take(Accepted)] == [sketch.id]
        return sketch.id

    def refused(self, sketch: Sketch) -> str:
        """Submit a graph and return the code of its refusal."""
        self.send_chunks(sketch.chunks(None))
        [refusal] = self.take(Refused)
        return refusal.code

    def send_chunks(self, chunks: Iterable[Event]) -> None:
        for chunk in chunks:
            self.step(chunk)

    def revoke(self, graph: bytes, *indexes: int, terminate: bool = False) -> int:
        """Revoke nodes; return how many."""
        self.step(RevokeAsked(None, tuple(text_id(graph, index) for index in indexes), terminate, "SIGTERM"))
        [done] = self.take(RevokeDone)
        assert not done.unknown
        return done.revoked

    # Workers

    def arrive(self, worker: Puppet, *, held: Iterable[int] | None = None, draining: bool = False) -> Puppet:
        """Open a stream for a worker; it names what it holds."""
        worker.stream = Pipe(worker)
        worker.welcome = None
        worker.sequence = 1
        kept = worker.held if held is None else {token: worker.held[token] for token in held}
        worker.held = dict(kept)
        named = tuple((node_id(*node), token) for token, node in kept.items())
        self.step(WorkerArrived(worker.stream, worker.facts, worker.capacity, named, draining))
        return worker

    def worker(self, name: str = "w@host", **facts: object) -> Puppet:
        """Bring a new worker up."""
        worker = self.arrive(Puppet(name, **facts))  # type: ignore[arg-type]
        assert worker.welcome is not None
        return worker

    def speak(self, worker: Puppet, **said: object) -> Acknowledge | None:
        """Let a worker say something; return the acknowledgement."""
        worker.sequence += 1
        self.step(WorkerSpoke(worker.stream, worker.sequence, **said))  # type: ignore[arg-type]
        acknowledged = self.take(Acknowledge)
        return acknowledged[0] if acknowledged else None

    def report(self, worker: Puppet, report: Report) -> Acknowledge | None:
        """Let a worker report one attempt."""
        if not (isinstance(report, Ended) and report.how == "started"):
            worker.held.pop(report.token, None)
        return self.speak(worker, reports=[report])

    def values_of(self, worker: Puppet, *tokens: int, data: bytes = b"1") -> Acknowledge | None:
        """Let a worker report plain values; of all it holds where no token is named."""
        wanted = tokens or tuple(worker.held)
        for token in wanted:
            worker.held.pop(token, None)
        return self.speak(worker, tokens=list(wanted), values=[data] * len(wanted))

    def finish(self, worker: Puppet, graph: bytes, index: int, data: bytes = b"1") -> None:
        """Let a worker report a node's value."""
        acknowledged = self.values_of(worker, worker.token(graph, index), data=data)
        assert acknowledged is not None
        assert not acknowledged.superseded

    def fail(self, worker: Puppet, graph: bytes, index: int, failure: Failure = BOOM) -> None:
        """Let a worker report that a node raised."""
        self.report(worker, Raised(worker.token(graph, index), failure))

    def end(self, worker: Puppet, graph: bytes, index: int, how: str) -> None:
        """Let a worker report how a node ended without a value."""
        self.report(worker, Ended(worker.token(graph, index), how))

    def break_stream(self, worker: Puppet) -> None:
        """End a worker's stream."""
        stream, worker.stream = worker.stream, None
        self.step(StreamBroke(stream))

    def break_stream_silently(self, worker: Puppet) -> None:
        """Cut a worker's stream so that the coordinator does not notice."""
        worker.stream = None

    def gone(self, worker: Puppet) -> None:
        """Kill a worker and let its grace pass; others must be heard of meanwhile."""
        self.break_stream(worker)
        self.pass_time(self.limits.grace)

    # Looking

    def state(self, graph: bytes, index: int) -> NodeState | None:
        """Return the terminal state of a node, or None."""
        outcome = self.records.outcome(graph, index)
        return None if outcome is None else outcome.state

    def failure(self, graph: bytes, index: int) -> Failure:
        """Return why a node failed."""
        outcome = self.records.outcome(graph, index)
        assert outcome is not None
        assert outcome.failure is not None
        return outcome.failure

    def take_close(self, worker: Puppet) -> str:
        """Return the code with which the one closed stream ended; it was this worker's."""
        [closed] = self.take(CloseStream)
        assert isinstance(closed.stream, Pipe)
        assert closed.stream.worker is worker
        return closed.code

    def take_stop(self) -> StopAttempt:
        """Return the one stop that was sent."""
        [stop] = self.take(StopAttempt)
        return stop
