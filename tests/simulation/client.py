"""A client's process: the real session machine of the client, its links simulated, its driver resumed by hand.

What cannot be had here is how a thread or an event loop waits (`ThreadedSession`, `LoopSession`): the session's own
hooks for that are filled in below.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from tests.simulation.clockwork import Coroutine, Process, Resumption
from tests.simulation.coordinator import Question
from tests.simulation.network import Connection

from grpcflow.link import Link
from grpcflow.retry_policy import RetryPolicy
from grpcflow.session import Session
from grpcflow.submission import Submission, encoded
from grpcflow.waiting import NodeWaiter, Operation, RangeWaiter
from grpcflow_coordinator.core.events import Event
from grpcflow_protos.v1 import client_service_pb2, graph_pb2
from grpcflow_protos.wire_parts import Piece, joined

if TYPE_CHECKING:
    from tests.simulation.world import World

    from grpcflow.lower.model import TemplateSpec

#: Seconds after which a question that was not answered is asked again.
ASKED_AGAIN: Final = 2.0
#: Questions without an answer after which a link is taken for dead, as the transport's keepalive would find.
UNANSWERED: Final = 3
#: Refusals that tell to submit again: the disk is full, and another stream has begun to send the same graph.
_PASSING: Final = frozenset({"STORE_FULL", "CHUNK_OUT_OF_ORDER"})
#: Seconds that a client without a coordinator waits before it submits again what it had to give up.
SUBMITTED_AGAIN: Final = 1.0


#: Those who wait here: for all of a graph at once, or for one of its nodes after the other.
Waiting: TypeAlias = RangeWaiter | NodeWaiter


@dataclass(frozen=True, slots=True)
class Patient(RetryPolicy):
    """A policy whose chance is the world's own.

    Attributes:
        rng: Where chance comes from.
    """

    rng: random.Random = random.Random(0)  # noqa: RUF009 - replaced in every world

    def delay(self, failures: int) -> float:
        """See `RetryPolicy`."""
        return min(self.first_delay * 2.0 ** min(failures, 6), self.max_delay) * self.rng.uniform(0.8, 1.2)


class Quiet:
    """Stands for a lock, which one thread does not need."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_error: object) -> None:
        """Do nothing."""

    def notify_all(self) -> None:
        """Do nothing: nobody waits for a change here."""


class Rest:
    """What the driver waits on between two links."""

    def __init__(self, process: Client) -> None:
        self._process = process
        self._ended = False

    def set(self) -> None:
        """See `Pause`."""
        self._ended = True
        self._process.wake_driver()

    def clear(self) -> None:
        """See `Pause`."""
        self._ended = False

    async def rest(self, seconds: float) -> None:
        """See `Pause`."""
        until = self._process.clockwork.now + seconds
        self._process.call_later(seconds, self._process.wake_driver)
        while not self._ended and self._process.clockwork.now < until:
            await Resumption()


class Bell(SimpleQueue[Any]):
    """What an operation is woken with: the process looks at it in a turn of its own."""

    def __init__(self, process: Client, then: Callable[[], None]) -> None:
        super().__init__()
        self._process, self._then = process, then

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        """See `Queue.put`."""
        self._process.call_soon(self._then)


class Probe:
    """A question for a sign of life, on its way."""

    def __init__(self) -> None:
        self.status: grpc.StatusCode | None = None

    def done(self) -> bool:
        """Return whether it was answered, or is over."""
        return self.status is not None

    def code(self) -> grpc.StatusCode | None:
        """Return the status it ended with."""
        return self.status


class SimulatedLink(Link):
    """A link whose stream is a simulated connection."""

    def __init__(self, process: Client) -> None:
        self.process = process
        super().__init__("coordinator:1", 5.0, "0")

    def _open(self, hello: bytes) -> None:
        self._inbox: deque[client_service_pb2.SessionResponse] = deque()
        self._is_ended = False
        self._probes: dict[Question, Probe] = {}
        self.connection = self.process.world.connect(self.process, self._take, self._lost)

    def send(self, *pieces: Piece) -> None:
        """See `Link`."""
        if self.connection is None:
            return
        for piece in pieces:
            self.connection.send_out(joined(piece))

    def _take(self, message: Any) -> None:
        if isinstance(message, tuple):
            question, answer = message
            probe = self._probes.pop(question, None)
            if probe is not None:
                probe.status = grpc.StatusCode.OK
            else:
                self.process.answered(question, answer)
            return
        self._inbox.append(message)
        self.process.wake_driver()

    def _lost(self) -> None:
        self._is_ended = True
        self.process.wake_driver()

    async def read(self, receive: Callable[[Link, client_service_pb2.SessionResponse], None]) -> None:
        """See `Link`; nothing ends it but its two ends and the network."""
        while True:
            while self._inbox and not self.fault:
                receive(self, self._inbox.popleft())
            if self.fault or self._is_ended:
                return
            await Resumption()

    def abort(self, fault: str) -> None:
        """See `Link`."""
        self.fault = self.fault or fault
        self.process.wake_driver()

    async def close(self) -> None:
        """See `Link`."""
        self.is_closed = True
        if self.connection is not None:
            self.connection.close()

    def ask(self, timeout: float) -> None:
        """See `Link`."""
        self.probe = probe = Probe()
        question = Question(None)
        self._probes[question] = probe
        if self.connection is not None:
            self.connection.send_out(question)
        self.process.call_later(timeout, self._too_late, question)

    def _too_late(self, question: Question) -> None:
        probe = self._probes.pop(question, None)
        if probe is not None:
            probe.status = grpc.StatusCode.DEADLINE_EXCEEDED


class SimulatedSession(Session):
    """The real session, whose waiting is done by turns."""

    def __init__(self, process: Client, policy: RetryPolicy) -> None:
        self._process = process
        super().__init__(("coordinator:1",), policy, 5.0, "0")

    def _begin(self) -> None:
        super()._begin()
        self._changed = Quiet()
        self._pause = Rest(self._process)

    def _prepare(self, operation: Operation) -> None:
        if not isinstance(operation.wake, Bell):
            operation.wake = Bell(self._process, self._process.look_around)

    def _look(self) -> float:
        raise NotImplementedError("nobody waits here but by turns")

    async def _next(self, operation: Operation, seconds: float) -> object:
        raise NotImplementedError("nobody waits here but by turns")

    async def submit_call(self, template: TemplateSpec, payload: bytes, deadline: float) -> tuple[bytes, int]:
        """See `Session`; how calls of one moment share a graph is each kind of session's own."""
        raise NotImplementedError("nobody waits here but by turns")

    async def _wait_for_change(self, seconds: float) -> None:
        raise NotImplementedError("nobody waits here but by turns")

    def _new_link(self, address: str) -> Link:
        return SimulatedLink(self._process)

    def _begin_driving(self) -> None:
        self._process.drive(self._drive())

    @property
    def is_needed(self) -> bool:
        """True while something is open."""
        return self._goes_on()


@dataclass(slots=True, eq=False)
class Sent:
    """A graph that this client submits until it is answered, and whose results it may want."""

    graph: bytes
    chunks: Sequence[graph_pb2.GraphChunk]
    answered: Callable[[Exception | None], None]
    submission: Submission | None = None


@dataclass(slots=True, eq=False)
class Asking:
    """A question that is asked until it is answered."""

    make: Callable[[object], Event]
    answered: Callable[[Any], None]
    writes: bool
    question: Question | None = None
    unanswered: int = 0


class Client(Process):
    """One client.

    Args:
        world: The world it is in.
        name: For people.
    """

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.clockwork, name)
        self.world = world
        policy = Patient(tries=1_000_000, window=1e9, max_delay=1.0, rng=world.chance(f"client {name}"))
        self.session = SimulatedSession(self, policy)
        self.sent: dict[bytes, Sent] = {}
        self.waiters: dict[Waiting, Callable[[Waiting], None]] = {}
        self.asking: list[Asking] = []
        self._driver: Coroutine | None = None
        self._looks = False

    # The session's driver

    def drive(self, body: Any) -> None:
        """Run a driver of the session from now on."""
        self._driver = Coroutine(self, body)
        self._begin_looking()

    def _begin_looking(self) -> None:
        if not self._looks:
            self._looks = True
            self.call_later(0.5, self._look_after_link)

    def wake_driver(self) -> None:
        """Let the driver go on."""
        if self._driver is not None:
            self._driver.wake()

    def _look_after_link(self) -> None:
        """Do what whoever waits does from time to time."""
        self._looks = False
        if self.session.is_needed and not self.session.is_closed:
            self._looks = True
            self.call_later(self.session.look_after_link(), self._look_after_link)

    @property
    def connection(self) -> Connection | None:
        """The connection of its link; None: there is none now."""
        link = self.session._link
        return link.connection if isinstance(link, SimulatedLink) else None

    # What it wants

    def submit(self, chunks: Sequence[graph_pb2.GraphChunk], answered: Callable[[Exception | None], None]) -> None:
        """Submit a graph until it is taken or refused."""
        sent = Sent(chunks[0].graph, chunks, answered)
        self.sent[sent.graph] = sent
        self._post(sent)

    def _post(self, sent: Sent) -> None:
        if self.sent.get(sent.graph) is not sent:
            return
        first = sent.chunks[0]
        single = (sent.graph,) if first.node_count == 1 else ()
        bundle = {sent.graph: first.node_count} if any(template.apart for template in first.templates) else {}
        sent.submission = Submission(sent.graph, encoded(sent.chunks), once=False)
        self.session.post([sent.submission], singles=single, bundles=bundle)
        self._begin_looking()

    def watch(self, waiter: Waiting, then: Callable[[Waiting], None]) -> None:
        """Wait for the results of nodes."""
        self.waiters[waiter] = then
        self.session.begin_watch(waiter)
        self._begin_looking()

    def ask(self, make: Callable[[object], Event], answered: Callable[[Any], None], *, writes: bool = True) -> None:
        """Ask the coordinator for something, again and again until it answers."""
        asking = Asking(make, answered, writes)
        self.asking.append(asking)
        self._ask(asking)

    def _ask(self, asking: Asking) -> None:
        if asking not in self.asking:
            return
        link = self.session._link
        if link is None:
            self.session._ensure_link()
        elif asking.unanswered >= UNANSWERED:
            asking.unanswered = 0
            link.abort("no call is answered")
        elif isinstance(link, SimulatedLink) and link.connection is not None:
            asking.unanswered += 1
            asking.question = Question(asking.make, writes=asking.writes)
            link.connection.send_out(asking.question)
        self.call_later(ASKED_AGAIN, self._ask, asking)

    def answered(self, question: Question, answer: Any) -> None:
        """Take the answer to a question; one that comes again is let go."""
        for asking in [one for one in self.asking if one.question is question]:
            if isinstance(answer, Exception):
                continue  # it is asked again
            self.asking.remove(asking)
            asking.answered(answer)

    def look_around(self) -> None:
        """Look which operations are done."""
        for sent in list(self.sent.values()):
            submission = sent.submission
            if submission is None or not submission.done:
                continue
            error = submission.error
            if error is not None and getattr(error, "code", "") in _PASSING:
                sent.submission = None
                self.call_later(SUBMITTED_AGAIN, self._post, sent)
                continue
            del self.sent[sent.graph]
            sent.answered(error)
        for waiter in [waiter for waiter in self.waiters if waiter.done]:
            then = self.waiters.pop(waiter)
            self.session.end_watch(waiter)
            then(waiter)
