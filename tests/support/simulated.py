"""A whole cluster in one thread: the real core, engine, records and streams, simulated workers, a clock that we turn.

There is no gRPC, no socket, no thread and no sleep. After every step of the core, or after some of them where speed
counts, the invariants of the whole state are checked. A crash is an exception at a commit, before or after it; what
comes after is a new engine on the same records.

May import the coordinator and the wire; what is real in a worker is tested elsewhere.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.support.acting import Actor, Finished, plain
from tests.support.reference import ChordFailed, Error, Functions, Raised
from tests.support.simulated_worker import SimulatedWorker

from grpcflow_coordinator.core import invariants
from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.effects import Accepted, Answer, Effects, Refused, RevokeDone, Send
from grpcflow_coordinator.core.events import Event, RevokeAsked, StreamBroke
from grpcflow_coordinator.core.loaded import Loaded
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Failure, NodeState, Now, Outcome
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.outbox import StreamOutbox
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.storage import keys
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_coordinator.values import Room, read_value
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2

#: Unix milliseconds at which every simulation begins.
BEGIN_MS = 1_700_000_000_000


#: Retention times after which everything is gone: a task, what replaced it, what replaced that, ...
_MOST_ROUNDS = 12

#: Kinds of records that no graph leaves behind: the epoch, and the numbers and marks of queues.
_STAYING = frozenset({keys.META, keys.LANE, keys.MARK})


def _never(seconds: float, then: object) -> Any:
    """Nothing is called later: streams are read after each step."""


class Crash(Exception):
    """The coordinator's process died at a commit."""


class Clock:
    """The time, which stands still until it is turned."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> Now:
        """Returns the time as the core wants it."""
        return Now(BEGIN_MS + round(self.seconds * 1000), self.seconds)


class CheckedMachine(Machine):
    """The core, with the invariants checked after steps.

    Args:
        limits: Its numbers.
        every: After every so many steps; 1: after each one.
    """

    def __init__(self, limits: Limits, every: int) -> None:
        super().__init__(limits)
        self._every = every
        self._steps = 0

    def step(self, event: Event, loaded: Loaded, now: Now) -> Effects:
        """Takes one event, then looks at everything where it is time for that."""
        effects = super().step(event, loaded, now)
        self._steps += 1
        if self._steps % self._every == 0:
            invariants.check(self.cluster, loaded)  # type: ignore[arg-type]  # our records can be browsed
        return effects


class SimulatedCluster:
    """A coordinator and its workers.

    Args:
        functions: The tasks of every worker.
        limits: The numbers of the core.
        check_every: The invariants are checked after every so many steps of the core.
    """

    def __init__(self, functions: Functions, limits: Limits | None = None, check_every: int = 1) -> None:
        self.limits = limits or Limits()
        self._check_every = check_every
        self.clock = Clock()
        self.calls: Counter[str] = Counter()
        self.actor = Actor(functions, self.calls, self.mint)
        self.workers: list[SimulatedWorker] = []
        self.accepted: set[bytes] = set()
        #: Graphs whose acceptance did not come back yet, to be sent again after a crash.
        self.submitted: dict[bytes, Sequence[graph_pb2.GraphChunk]] = {}
        self.refused: list[Refused] = []
        #: Graphs that belong to an attempt: its worker, and what that reports once they are accepted.
        self._attached: dict[bytes, tuple[SimulatedWorker, Finished]] = {}
        #: Where True, graphs that belong to an attempt are sent also while their worker's stream is broken.
        self.impatient = True
        #: Clients' questions that were answered.
        self.answers: list[RevokeDone | Answer] = []
        #: What was told to have settled; nothing is told twice.
        self.settled: dict[tuple[bytes, int], NodeState] = {}
        self.crashes = 0
        self._crash_at = ""
        self._sessions = 0
        self._graphs = 0
        self._store = MemoryStore()
        self._start()

    # ------------------------------------------------------------------------------------------ the coordinator

    def _start(self) -> None:
        self._store.failpoint = self._failpoint
        self.machine = CheckedMachine(self.limits, self._check_every)
        self.outbox = StreamOutbox(
            heartbeat=5.0, silence=15.0, grace=10.0, version="0", payload_limit=limits.PAYLOAD_LIMIT
        )
        self.engine = Engine(self._store, self.machine, self, now=self.clock.now)
        self.engine.start()

    def _failpoint(self, where: str, _batch: Batch) -> None:
        if where == self._crash_at:
            self._crash_at = ""
            raise Crash(where)

    def deliver(self, effects: Effects) -> None:
        """Takes what is durable, as the engine's outbox; the workers' part goes through the real one."""
        for graph, index, _ in effects.values:
            self._note_settled(graph, index, NodeState.SUCCESS)
        for graph, index, _, outcome in effects.settled:
            self._note_settled(graph, index, outcome.state)
        for send in effects.sends:
            if isinstance(send, Accepted | Refused):
                self._answered(send)
            elif isinstance(send, RevokeDone | Answer):
                self.answers.append(send)
        to_clients = Accepted | Refused | RevokeDone | Answer
        sends: list[Send] = [send for send in effects.sends if not isinstance(send, to_clients)]
        self.outbox.deliver(Effects(sends=sends))

    def _answered(self, send: Accepted | Refused) -> None:
        """Takes the answer to a submission; one that belongs to an attempt lets that go on."""
        self.submitted.pop(send.graph, None)
        worker, ending = self._attached.pop(send.graph, (None, None))
        if isinstance(send, Accepted):
            self.accepted.add(send.graph)
            if worker is not None and ending is not None:
                worker.accepted(ending)
        else:
            self.refused.append(send)
            if worker is not None and ending is not None:
                worker.refused(ending.token, send.code)

    def _note_settled(self, graph: bytes, index: int, state: NodeState) -> None:
        assert (graph, index) not in self.settled, f"node {index} settled twice"
        self.settled[graph, index] = state

    def post(self, *events: Event) -> None:
        """Lets the coordinator take events and do all that follows; a crash on the way is survived."""
        for event in events:
            self.engine.post(event)
        try:
            while self.engine.run_batch():
                pass
        except Crash:
            self.crash()
            return
        self._carry()

    def _carry(self) -> None:
        """Carries what waits on the streams to the workers."""
        for worker in self.workers:
            stream = worker.stream
            if stream is None:
                continue
            while (message := stream.take()) is not None:
                worker.inbox.append(message)
            if stream.closing is not None:
                worker.cut()
                self.engine.post(StreamBroke(stream))

    def crash_at_next_commit(self, where: str) -> None:
        """Lets the coordinator die at the next commit, "before" or "after" it."""
        self._crash_at = where

    def crash(self) -> None:
        """Kills the coordinator and starts it again on its records: every stream is broken, nothing else is lost."""
        self.crashes += 1
        self._crash_at = ""
        self._store = self._store.reopened()
        for worker in self.workers:
            worker.cut()
        self._start()
        for graph, chunks in list(self.submitted.items()):
            if self.impatient or graph not in self._attached:
                self.post(*self.events_of(chunks))

    # ------------------------------------------------------------------------------------------ clients

    def mint(self) -> bytes:
        """Returns the id of a new graph."""
        self._graphs += 1
        return graph_id(self._graphs)

    def submit(self, chunks: Sequence[graph_pb2.GraphChunk], *revoked: str) -> bytes:
        """Submits a graph and returns its id; it is sent again until it is answered.

        Args:
            chunks: Its pieces.
            *revoked: Ids of nodes that are revoked in the same moment, before any of them can run.
        """
        graph = chunks[0].graph
        self.submitted[graph] = chunks
        self.post(*self.events_of(chunks), *[RevokeAsked(self, (each,), False, "") for each in revoked])
        return graph

    def events_of(self, chunks: Sequence[graph_pb2.GraphChunk]) -> list[Event]:
        """Returns the pieces of a graph as the coordinator takes them."""
        return [convert.chunk(self, chunk, limits.PAYLOAD_LIMIT, limits.NODE_LIMIT) for chunk in chunks]

    def revoke(self, *node_ids: str) -> None:
        """Revokes nodes by the ids that users know."""
        self.post(RevokeAsked(self, node_ids, False, ""))

    def outcome(self, graph: bytes, index: int) -> Outcome | None:
        """Returns how a node settled, as it stands on disk."""
        return self.engine.committed.outcome(graph, index)

    def state(self, graph: bytes, index: int) -> NodeState | None:
        """Returns the state in which a node settled; None where it has not."""
        outcome = self.outcome(graph, index)
        return None if outcome is None else outcome.state

    def value(self, graph: bytes, index: int) -> Any:
        """Returns the value of a node that succeeded."""
        return plain(read_value(self.engine.committed, graph, index, Room(1 << 40, 1 << 40)))

    def is_over(self, graph: bytes) -> bool:
        """Tells whether every node of a graph has settled, and of all graphs that attempts submitted."""
        records = self.engine.committed
        if records.graph(graph) is None or not self.submitted.keys() <= self._attached.keys():
            return False
        roots = [records.graph(each) for each in records.all_graphs()]
        return all(root is None or records.has_ended(root) for root in roots)

    def left_after_pruning(self) -> list[bytes]:
        """Turns the clock to where all results have expired, and returns the keys of the records that are left.

        What a session or the next number of a queue needs stays for as long as the coordinator does.
        """
        self.add_worker("sweeper")  # whatever stands in the queues and was revoked goes when a worker passes it
        self.post()
        for worker in list(self.workers):
            self.kill(worker)
        left: list[bytes] = []
        for _ in range(_MOST_ROUNDS):  # what runs in the place of a task goes after the task
            self.clock.seconds += self.limits.grace + self.limits.result_expires_ms / 1000
            self.post()
            found = self._store.keys(keys.SPACE, keys.after(keys.SPACE), 1_000_000)
            left = [key for key in found if key[: len(keys.META)] not in _STAYING]
            if not left:
                break
        return left

    # ------------------------------------------------------------------------------------------ workers

    def add_worker(self, name: str, **options: Any) -> SimulatedWorker:
        """Starts a worker and lets it say hello."""
        self._sessions += 1
        session = self._sessions.to_bytes(16, "big")
        worker = SimulatedWorker(name, session, self.actor, **options)
        self.workers.append(worker)
        self.connect(worker)
        return worker

    def connect(self, worker: SimulatedWorker) -> None:
        """Opens a stream for a worker, also in place of one it has."""
        stream = WorkerStream(self.engine, worker.label or worker.name, limits.PAYLOAD_LIMIT, later=_never)
        self.post(worker.hello(stream))

    def cut(self, worker: SimulatedWorker) -> None:
        """Breaks a worker's stream; the worker goes on."""
        stream = worker.cut()
        if stream is not None:
            self.post(StreamBroke(stream))

    def kill(self, worker: SimulatedWorker) -> None:
        """Kills a worker: all it held and all it knew is gone, and nobody sends its submissions again."""
        self.workers.remove(worker)
        for graph in [graph for graph, (sender, _) in self._attached.items() if sender is worker]:
            del self._attached[graph]
            self.submitted.pop(graph, None)
        self.cut(worker)

    def turn(self, worker: SimulatedWorker) -> bool:
        """Lets a worker read all that waits, run all it holds in order, and report; False where there was nothing."""
        busy = self.read(worker)
        for token in list(worker.held):
            self.run_one(worker, token)
        return self.report(worker) or busy

    def run_one(self, worker: SimulatedWorker, token: int) -> None:
        """Lets a worker run one attempt, and submit what that wants to be submitted."""
        if token not in worker.held:
            return  # it was stopped while another one ran
        done = worker.run(token)
        if done.graph is not None:
            graph = done.graph[0].graph
            self._attached[graph] = (worker, done.ending)
            self.submitted[graph] = done.graph
            if self.impatient or worker.welcomed:
                self.post(*self.events_of(done.graph))

    def read(self, worker: SimulatedWorker) -> bool:
        """Lets a worker read all that waits; False where nothing did."""
        busy = False
        while worker.inbox:
            busy = True
            self.read_one(worker)
        return busy

    def read_one(self, worker: SimulatedWorker) -> None:
        """Lets a worker read one message; what it was submitting is sent again where it has come back."""
        waited = not worker.welcomed
        answer = worker.read()
        if answer is not None:
            self.post(answer)
        for graph in [graph for graph, (sender, _) in self._attached.items() if waited and sender is worker]:
            if worker.welcomed and graph in self.submitted:  # a crash on the way breaks its stream again
                self.post(*self.events_of(self.submitted[graph]))

    def report(self, worker: SimulatedWorker) -> bool:
        """Lets a worker send all its reports; False where there were none."""
        told = worker.tell()
        if told is not None:
            self.post(told)
        unsent = worker.unsent()
        if not unsent or worker.stream is None or not worker.welcomed:
            return False
        self.post(worker.report(unsent))
        return True

    # ------------------------------------------------------------------------------------------ time

    def advance(self, seconds: float) -> None:
        """Turns the clock; connected workers give signs of life meanwhile."""
        step = self.limits.silence / 3
        while seconds > 0:
            self.clock.seconds += min(step, seconds)
            seconds -= step
            self.post(*[worker.speak() for worker in self.workers if worker.stream is not None])

    def advance_to_next_timer(self) -> None:
        """Turns the clock to the next thing that the core waits for, or by a little where there is none."""
        wake, now = self.machine.wake(), self.clock.now()
        delays = [1.0]
        if wake.wall_ms is not None:
            delays.append((wake.wall_ms - now.wall_ms) / 1000)
        self.advance(max(0.001, min(delays)))

    def run(self, graph: bytes, turns: int = 10_000) -> None:
        """Runs without faults until a graph is over.

        Raises:
            AssertionError: It is not over after that many turns.
        """
        for _ in range(turns):
            if self.is_over(graph):
                return
            busy = [self.turn(worker) for worker in list(self.workers)]
            if not any(busy):
                self.advance_to_next_timer()
        raise AssertionError(f"the graph is not over after {turns} turns")


def graph_id(number: int) -> bytes:
    """Returns a graph id of the shape that is asked for, with a number in place of time and chance."""
    return bytes(6) + b"\x70\x00\x80" + number.to_bytes(3, "big")


def error_of(failure: Failure) -> Error:
    """Returns a failure as the reference evaluator would name it."""
    if failure.reason == "CHORD":
        assert failure.cause is not None
        return ChordFailed(error_of(failure.cause))
    return Raised(failure.type_name, failure.message)
