"""A worker's process: the real session machine, a driver that is a copy in small, and tasks that take simulated time.

The real driver (`stream.py`) is bound to asyncio tasks; what it does for the session (hello, heartbeats, silence,
coming back) is done here by turns. The real executors start processes; here an attempt is a turn some time later.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.client import Client
from tests.simulation.clockwork import Process, Turn
from tests.simulation.disk import Breach
from tests.simulation.network import Connection
from tests.support.acting import Attempt, Done

from grpcflow_protos.v1 import graph_pb2, value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.executor import CallRun, Ended
from grpcflow_worker.identity import Identity
from grpcflow_worker.session import Effects, Phase, Session
from grpcflow_worker.stream import GOODBYE_WAIT
from grpcflow_worker.wire import node_of

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds between two tries to connect, at least and at most.
_AGAIN: Final = (0.05, 0.5)
#: Seconds between two looks at what waits for a place for too long.
_TIDY: Final = 1.0
#: Seconds without a sign of the coordinator before its first welcome.
_WELCOME: Final = 15.0


@dataclass(slots=True, eq=False)
class Place:
    """What runs in one place: one attempt, or all of a batch."""

    tokens: list[int]
    end: Turn


class Worker(Process):
    """One worker, from its start to its death.

    Args:
        world: The world it is in.
        name: Its name.
        secret: The 16 bytes of its session.
        tasks: What it can run.
        queues: What it serves.
        concurrency: How many at once.
    """

    def __init__(
        self,
        world: World,
        name: str,
        secret: bytes,
        identity: dict[str, Any],
        queues: Sequence[str],
        concurrency: int,
    ) -> None:
        super().__init__(world.clockwork, name)
        self.world = world
        self.rng: random.Random = world.chance(f"worker {name} {secret.hex()}")
        who = Identity(name=name, secret=secret, concurrency=concurrency, **identity)
        self.session = Session(who, queues)
        self.session.capacity.want(self.rng.choice([concurrency, concurrency + 2, 8]))
        #: Where its tasks submit what replaces them.
        self.client = Client(world, f"{name}'s tasks")
        self.connection: Connection | None = None
        self.waiting: deque[tuple[CallRun, int]] = deque()
        self.places: dict[int, Place] = {}
        #: Attempts that wait for the acceptance of a graph of theirs.
        self.submitting: dict[int, bytes] = {}
        self.twice = False
        self._heard = self._said = 0.0
        self._writes: Turn | None = None
        self.call_soon(self._connect)
        self.call_later(_TIDY, self._tidy)

    # The stream

    def _connect(self) -> None:
        if self.session.phase is not Phase.OFFLINE:
            return
        self.connection = self.world.connect_worker(self, self._take, self._lost)
        if self.connection is None:
            self.call_later(self.rng.uniform(*_AGAIN), self._connect)
            return
        self._heard = self._said = self.clockwork.now
        self.connection.send_out(self.session.hello())
        self.call_later(self.session.silence, self._watch_silence, self.connection)
        self.call_later(self.session.heartbeat, self._beat, self.connection)

    def _lost(self) -> None:
        if self.session.phase is Phase.OVER:
            return
        self.connection = None
        self.session.disconnected()
        if self.session.draining and self.session.settled:
            self.world.worker_ended(self)
            return
        self.call_later(self.rng.uniform(*_AGAIN), self._connect)

    def _watch_silence(self, connection: Connection) -> None:
        if connection is not self.connection:
            return
        rest = self._heard + self.session.silence - self.clockwork.now
        if rest > 0:
            self.call_later(rest, self._watch_silence, connection)
        else:
            connection.close()
            self._lost()

    def _beat(self, connection: Connection) -> None:
        if connection is not self.connection or self.session.phase is Phase.OVER:
            return
        rest = self._said + self.session.heartbeat - self.clockwork.now
        if rest <= 0:
            self.session.beat()
            self._write_soon()
            rest = self.session.heartbeat
        self.call_later(rest, self._beat, connection)

    def _write_soon(self) -> None:
        if self._writes is None:
            self._writes = self.call_later(self.rng.random() * 0.002, self._write)

    def _write(self) -> None:
        self._writes = None
        while self.connection is not None and (message := self.session.next_message()) is not None:
            self._said = self.clockwork.now
            self.connection.send_out(message)
            if message.goodbye:
                self.call_later(GOODBYE_WAIT, self.world.worker_ended, self)
            if self.twice and (message.values.tokens or message.reports):
                self.twice = False
                self.connection.send_out(message)

    def _take(self, message: Any) -> None:
        if isinstance(message, tuple):
            self._refused(*message)
            return
        self._heard = self.clockwork.now
        if not message.ByteSize() and self._heard - self._said >= self.session.heartbeat / 2:
            self.session.beat()
        effects = self.session.received(message, self.clockwork.now)
        self._act(effects)
        self._write_soon()

    def _refused(self, code: str, _message: str) -> None:
        if code == "NAME_TAKEN":
            self.world.worker_refused(self)

    def _act(self, effects: Effects) -> None:
        for token in effects.forget:
            self._stop_running(token)
        if effects.runs:
            for run in effects.runs:
                self.waiting.extend((run, token) for token in range(run.token, run.token + len(run.payloads)))
            self.call_soon(self._fill_places)
        for stop in effects.stops:
            self._stop(stop)
        for command in effects.commands:
            self.session.reply(pb.ControlReply(id=command.id, reply=b"{}"))

    # Attempts

    def _fill_places(self) -> None:
        while self.waiting and len(self.places) + len(self.submitting) < self.session.identity.concurrency:
            run, token = self.waiting.popleft()
            together = [(run, token)]
            if run.batch:
                together += [one for one in self.waiting if one[0].batch == run.batch]
                self.waiting = deque(one for one in self.waiting if one[0].batch != run.batch)
            self._begin(together)

    def _begin(self, together: list[tuple[CallRun, int]]) -> None:
        tokens = [token for _, token in together]
        for run, token in together:
            self.world.watching.begins(self, run, token)
        run, first = together[0]
        if run.call.track_started:
            self.session.started(tokens)
            self._write_soon()
        seconds = self.world.duration(run.call.task, self.rng)
        place = Place(tokens, self.call_later(seconds, self._end, together))
        self.places[first] = place

    def _end(self, together: list[tuple[CallRun, int]]) -> None:
        self.places.pop(together[0][1], None)
        for run, token in together:
            if self.session.run_of(token) is not None:
                self._run(run, token)
        self._fill_places()
        self._write_soon()

    def _run(self, run: CallRun, token: int) -> None:
        template = graph_pb2.Template(task=run.call.task, headers=run.call.headers)
        inputs = [value_pb2.Value.FromString(value) for value in run.inputs]
        payload = run.payloads[token - run.token]
        self.session.logged([(token, 0, self.world.lines_of(token))])
        attempt = Attempt(token, node_of(run, token), template, payload, inputs, run.retries, run.in_chord)
        done = self.world.run_task(self, run, attempt)
        if done is None:  # its child died under it
            self._report(Ended(token, "lost", message="its process died"))
            return
        if done.told is not None:
            told = done.told.progressed
            self.session.progressed(token, told.state, told.meta.data, told.meta.content_type)
        if done.graph is None:
            self._report_done(token, done)
        else:
            graph = done.graph[0].graph
            self.submitting[token] = graph
            self.world.disk.ledger.owners[graph] = done.graph[0].attachment.node[:12]
            self.client.submit(done.graph, lambda error: self._submitted(token, done, error))

    def _submitted(self, token: int, done: Done, error: Exception | None) -> None:
        if self.submitting.pop(token, None) is None:
            return  # it was stopped meanwhile
        if error is None:
            self._report_done(token, done)
        elif getattr(error, "code", "") == "STALE_ATTEMPT":
            # As the worker says it: the attempt may be the node's again after a crash.
            self._report(Ended(token, "lost", message="STALE_ATTEMPT"))
        else:
            raise Breach(f"what a task submits in its place was refused: {error}")
        self._fill_places()
        self._write_soon()

    def _report_done(self, token: int, done: Done) -> None:
        ending = done.ending
        if ending.value is not None:
            self.session.values([token], [ending.value], self.clockwork.now)
        else:
            assert ending.report is not None
            self._report(ended_of(ending.report))

    def _report(self, end: Ended) -> None:
        self.session.ended(end, self.clockwork.now)
        self._write_soon()

    def _stop(self, stop: pb.Stop) -> None:
        token = stop.token
        waits = any(one == token for _, one in self.waiting)
        if waits or stop.terminate:
            self._stop_running(token)
            self._report(Ended(token, "revoked"))

    def _stop_running(self, token: int) -> None:
        """Let go of an attempt, wherever it is."""
        self.waiting = deque(one for one in self.waiting if one[1] != token)
        self.submitting.pop(token, None)
        for first, place in list(self.places.items()):
            if token in place.tokens:
                place.tokens.remove(token)
                if not place.tokens:
                    place.end.cancel()
                    del self.places[first]
        self.call_soon(self._fill_places)

    def _tidy(self) -> None:
        stay = self.session.surplus(self.clockwork.now)
        if stay is not None:
            self.give_back(stay)
        self.call_later(_TIDY, self._tidy)

    def give_back(self, stay: int = 0) -> None:
        """Hand back what has not started, but for so many."""
        while len(self.waiting) > stay:
            _, token = self.waiting.pop()
            self._report(Ended(token, "returned"))

    # What happens to it

    @property
    def is_online(self) -> bool:
        """True where the coordinator that is there has a stream to it; one that has said goodbye counts, too."""
        known = self.world.coordinator.machine.cluster.sessions.get(self.session.identity.secret)
        return (known is not None and known.stream is not None) or self.session.phase is Phase.OVER

    def running(self) -> list[int]:
        """Return the tokens of what runs now."""
        return [token for place in self.places.values() for token in place.tokens]

    def lose_child(self) -> None:
        """Let the child process die that runs one of its attempts."""
        for token in self.running()[:1]:
            self._stop_running(token)
            self._report(Ended(token, "lost", message="its process died"))

    def serve(self, queues: Sequence[str]) -> None:
        """Serve these queues from now on."""
        if self.session.queues != tuple(queues):
            self.session.set_queues(queues)
            self._write_soon()

    def resize(self, concurrency: int) -> None:
        """Run so many at once from now on; what runs beyond that ends."""
        self.session.resize(concurrency)
        self._fill_places()
        self._write_soon()

    def drain(self) -> None:
        """Begin to leave."""
        self.session.drain()
        self.give_back()
        self._write_soon()

    def die(self) -> None:
        """Be gone, with everything it knew."""
        self.is_alive = self.client.is_alive = False


def ended_of(report: pb.Report) -> Ended:
    """Return a report of the wire as an executor would say it."""
    token, kind = report.token, report.WhichOneof("outcome")
    match kind:
        case "failure":
            return Ended(token, "failure", failure=report.failure.SerializeToString())
        case "retry":
            retry = report.retry
            failure = retry.failure.SerializeToString()
            return Ended(
                token,
                "retry",
                countdown_ms=retry.countdown_ms,
                failure=failure,
                data=retry.payload,
                content_type=retry.content_type,
            )
        case "ignored":
            return Ended(token, "ignored")
        case "rejected":
            rejected = report.rejected
            failure = rejected.failure.SerializeToString() if rejected.HasField("failure") else b""
            return Ended(token, "rejected", requeue=rejected.requeue, failure=failure)
    raise ValueError(f"no task of the simulation ends with {kind}")
