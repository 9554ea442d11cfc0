"""The coordinator's process: the real engine, core, records, streams, outbox and the services' own decoding.

What is replaced is what gRPC does: a stream's messages are taken when the real one is woken, and travel over a
simulated connection. Each start is a process of its own on the same disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.clockwork import Clockwork, Process, Turn
from tests.simulation.committing import CommitBeside
from tests.simulation.disk import Breach, Disk, Killed
from tests.simulation.network import Connection

from grpcflow_coordinator.client_stream import ClientStream
from grpcflow_coordinator.core import invariants
from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.effects import Effects
from grpcflow_coordinator.core.events import ClientLeft, Event, StreamBroke, WorkerArrived
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.loads import Loads
from grpcflow_coordinator.outbox import StreamOutbox
from grpcflow_coordinator.pulse import Pulse
from grpcflow_coordinator.rpc import hello as worker_hello
from grpcflow_coordinator.rpc.client import ClientService
from grpcflow_coordinator.rpc.desk import ControlDesk
from grpcflow_coordinator.rpc.worker import WorkerService, _is_sign_of_life
from grpcflow_coordinator.storage.contract import StoreError
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, worker_service_pb2

if TYPE_CHECKING:
    from tests.simulation.planning import Plan
    from tests.simulation.watching import Watching

#: Unix milliseconds at which every world begins.
BEGIN_MS: Final = 1_700_000_000_000

#: Seconds as a coordinator has them by default, but for the grace, which is shorter so that more happens.
HEARTBEAT: Final = 5.0
SILENCE: Final = 15.0
GRACE: Final = 6.0

#: Bytes that are kept of the log of an attempt.
LOG_LIMIT: Final = 4_096

#: The numbers of the core in every world: lost attempts are counted up to what the template allows.
LIMITS: Final = Limits(grace=GRACE, silence=SILENCE, max_deliveries=1_000_000, batch=40, log_limit=LOG_LIMIT)

#: Codes with which the coordinator may end the stream of a worker that keeps the protocol.
HONEST: Final = frozenset({"REPLACED", "NAME_TAKEN", "SILENT"})

_TIMES: Final = {"heartbeat": HEARTBEAT, "silence": SILENCE, "grace": GRACE}


class CheckedEngine(Engine):
    """The engine, with the invariants of the whole state checked after batches.

    Attributes:
        every: After every so many batches; 0: never.
    """

    every = 0
    _batches = 0

    def run_batch(self) -> bool:
        """Do what the engine does, then look at everything where it is time for that."""
        more = super().run_batch()
        self._batches += 1
        if self.every and self._batches % self.every == 0:
            invariants.check(self.machine.cluster, self.records)
        return more


class Pumped:
    """What is sent on a stream as soon as the real one is woken."""

    _turn: Turn | None = None
    _process: Coordinator
    connection: Connection
    is_over = False

    def _pump_soon(self) -> None:
        if self._turn is None and not self.is_over:
            self._turn = self._process.call_soon(self._pump)

    def _pump(self) -> None:
        self._turn = None
        with self._process.as_loop():
            while not self.is_over and (message := self.take()) is not None:
                self.connection.send_in(message)
        closing = self.closing
        if closing is not None and not self.is_over:
            self.is_over = True
            self._process.stream_closes(self, *closing)

    if TYPE_CHECKING:
        closing: tuple[str, str] | None

        def take(self, parts: list[bytes] | None = None) -> Any:
            """Take the next message."""


class SimulatedWorkerStream(Pumped, WorkerStream):
    """A worker's stream."""

    def __init__(self, process: Coordinator, engine: Engine, name: str, connection: Connection) -> None:
        WorkerStream.__init__(self, engine, name, limits.PAYLOAD_LIMIT, later=_later(process))
        self._process, self.connection = process, connection

    def wake(self) -> None:
        """See the real one."""
        self._pump_soon()


def _later(process: Process) -> Callable[..., asyncio.TimerHandle]:
    call_later: Any = process.call_later
    return call_later  # type: ignore[no-any-return]


class SimulatedClientStream(Pumped, ClientStream):
    """A client's stream."""

    def __init__(self, process: Coordinator, engine: Engine, connection: Connection) -> None:
        ClientStream.__init__(self, engine.committed)
        self._process, self.connection = process, connection

    def wake(self) -> None:
        """See the real one."""
        self._pump_soon()


class Coordinator(Process):
    """One process of the coordinator, from its start to its death.

    Args:
        clockwork: The time.
        disk: What it finds and writes.
        wall: Gives the milliseconds by which its wall clock is ahead.
        watching: Sees what becomes known.
        died: Called when it has died by itself.
        plan: Says how often the invariants are checked, and for how long results are kept.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        disk: Disk,
        wall: Callable[[], int],
        watching: Watching,
        died: Callable[[str], None],
        plan: Plan,
    ) -> None:
        super().__init__(clockwork, "coordinator")
        self.disk, self._wall, self._died = disk, wall, died
        self.watching = watching
        self.connections: list[Connection] = []
        self.machine = Machine(replace(LIMITS, result_expires_ms=plan.kept_ms))
        self.outbox = StreamOutbox(
            **_TIMES, version="0", payload_limit=limits.PAYLOAD_LIMIT, log_limit=LOG_LIMIT, now=self.now
        )
        self.beside = CommitBeside(self, disk, plan.seed)
        self.engine = CheckedEngine(disk, self.machine, self, now=self.now, aside=self.beside, on_fatal=self._fatal)
        self.engine.every = plan.every
        self._clients = ClientService(
            self.engine,
            self.outbox.watchers,
            payload_limit=limits.PAYLOAD_LIMIT,
            node_limit=limits.NODE_LIMIT,
            version="0",
        )
        self._workers = WorkerService(
            self.engine, ControlDesk(), Loads(self.now), payload_limit=limits.PAYLOAD_LIMIT, heartbeat=HEARTBEAT
        )
        self._pulse = Pulse(HEARTBEAT, later=_later(self), now=clockwork.monotonic)

    def now(self) -> Now:
        """Return the time by its own clocks: the monotonic one counts from some boot."""
        return Now(BEGIN_MS + round(self.clockwork.now * 1000) + self._wall(), self.clockwork.now + 1000.0)

    def start(self) -> None:
        """Recover, and serve."""
        self.engine.start()
        self.engine.attach(self.loop)

    def call_soon(self, call: Callable[..., object], *given: Any, context: object = None) -> Turn:
        """See `Process`; the process may die in it. A future names a context, which nobody needs here."""
        return super().call_soon(self._guarded, call, given)

    def call_later(self, seconds: float, call: Callable[..., object], *given: Any) -> Turn:
        """See `Process`; the process may die in it."""
        return super().call_later(seconds, self._guarded, call, given)

    def _guarded(self, call: Callable[..., object], given: tuple[Any, ...]) -> None:
        try:
            with self.as_loop():
                call(*given)
        except Killed as killed:
            self._died(f"{killed} its commit")

    def _fatal(self, error: BaseException) -> None:
        """Die of a disk that failed; anything else is a defect."""
        if not isinstance(error, StoreError):
            raise error
        self._died("its disk failed")

    def deliver(self, effects: Effects) -> None:
        """Pass on what is durable, as the engine's outbox."""
        self.watching.released(self.machine.cluster, effects)
        self.outbox.deliver(effects)

    def post(self, event: Event) -> None:
        """Give the engine an event."""
        self.engine.post(event)

    # Streams

    def stream_closes(self, stream: Pumped, code: str, message: str) -> None:
        """End a stream with a status, which its near end is told."""
        if code not in HONEST:
            raise Breach(f"an honest worker lost its stream: {code} {message}")
        stream.connection.send_in((code, message))
        stream.connection.finish()
        if isinstance(stream, WorkerStream):
            self._pulse.remove(stream)
            self.engine.post(StreamBroke(stream))

    def accept_worker(self, connection: Connection) -> None:
        """Take a connection on which a worker will say hello."""
        self.connections.append(connection)
        connection.taken = lambda message: self._greet(connection, message)

    def _greet(self, connection: Connection, message: worker_service_pb2.WorkRequest) -> None:
        hello = message.hello
        facts = worker_hello.facts(hello)
        stream = SimulatedWorkerStream(self, self.engine, facts.name, connection)
        stream.revision = limits.REVISION
        self._pulse.add(stream)
        connection.taken = lambda spoken: self._spoke(stream, spoken)
        connection.ended = lambda: self._worker_left(stream)
        self.engine.post(WorkerArrived(stream, facts, hello.capacity, worker_hello.held(hello), hello.draining))

    def _spoke(self, stream: SimulatedWorkerStream, message: worker_service_pb2.WorkRequest) -> None:
        if stream.is_over or (_is_sign_of_life(message) and self.engine.hear(stream)):
            return
        self.engine.post(self._workers._spoke(stream, message))

    def _worker_left(self, stream: SimulatedWorkerStream) -> None:
        if not stream.is_over:
            stream.is_over = True
            self._pulse.remove(stream)
            self.engine.post(StreamBroke(stream))

    def accept_client(self, connection: Connection) -> None:
        """Take a connection on which a client will say hello."""
        self.connections.append(connection)
        stream = SimulatedClientStream(self, self.engine, connection)
        stream.welcome = client_service_pb2.ClientWelcome(revision=limits.REVISION, version="0")
        connection.taken = lambda message: self._asked(stream, message)
        connection.ended = lambda: self._client_left(stream)
        stream.wake()

    def _asked(self, stream: SimulatedClientStream, message: bytes | Question) -> None:
        if isinstance(message, Question):
            self._question(stream.connection, message)
            return
        taking = self._clients._take(stream, client_service_pb2.SessionRequest.FromString(message))
        try:
            taking.send(None)
        except StopIteration:
            return
        raise Breach("a message of a client of the simulation is so large that it is taken in turns")

    def _question(self, connection: Connection, question: Question) -> None:
        """Take a call beside the stream, and answer it once what it asks for is durable."""
        if question.make is None:
            connection.send_in((question, None))
            return
        if question.writes and self.engine.full:
            connection.send_in((question, Refusal("STORE_FULL", "the disk is full: ask again")))
            return
        answer: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        answer.add_done_callback(lambda done: connection.send_in((question, done.result())))
        self.engine.post(question.make(answer))

    def _client_left(self, stream: SimulatedClientStream) -> None:
        stream.is_over = True
        self.outbox.watchers.forget(stream)
        self.engine.post(ClientLeft(stream))


class Question:
    """A call beside the stream of a client.

    Args:
        make: Makes the event from whom to answer; None: it asks for a sign of life.
        writes: True: it is refused while the disk is full.
    """

    __slots__ = ("make", "writes")

    def __init__(self, make: Callable[[object], Event] | None, *, writes: bool = False) -> None:
        self.make = make
        self.writes = writes


#: What waits at a near end until it may be read.
Inbox = deque[Any]
