"""The worker's side of a session: what it holds, what it has told, and what it must say next.

A session outlives the streams that carry it. It is named by a secret; after a broken stream the worker comes back
with the same secret, names what it still holds, and sends again what was not acknowledged:

    offline --hello()--> greeting --welcome--> online --goodbye sent--> over
       ^                    |                    |
       +---- disconnected() +--------------------+

Attempts move  open -> told -> gone:  *open* was handed to us and has not ended; *told* ended and its report is not
acknowledged; *gone* is acknowledged or superseded and forgotten. Both open and told ones are named in a hello.

A state machine without I/O: this file may NOT import asyncio or gRPC, read a clock or log. Messages of the wire are
used as plain data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.wire_parts import Apart, opened
from grpcflow_worker.capacity import Capacity
from grpcflow_worker.executor import CallRun, Ended
from grpcflow_worker.identity import Identity, told_weights
from grpcflow_worker.log_lines import Logged
from grpcflow_worker.outbox import Outbox
from grpcflow_worker.progress import Progress
from grpcflow_worker.task_logs import TaskLogs
from grpcflow_worker.wire import ProtocolError, node_of, progress_of, report_of, runs_of, too_large

#: Seconds between two messages, and of silence that is death, until a welcome says otherwise.
DEFAULT_HEARTBEAT = 5.0
DEFAULT_SILENCE = 15.0

#: Heartbeats after which a drain that the coordinator did not acknowledge no longer holds up the goodbye.
DRAIN_BEATS = 2


class Phase(Enum):
    """Where the session stands; see the drawing at the top of this file."""

    OFFLINE = "offline"
    GREETING = "greeting"
    ONLINE = "online"
    OVER = "over"


@dataclass(slots=True)
class Effects:
    """What a message of the coordinator asks of the worker.

    Attributes:
        runs: attempts to run.
        stops: attempts to stop whose end is reported.
        forget: attempts to kill without a report: they are no longer ours.
        commands: control commands to answer.
        welcome: the welcome, in the first message of a stream.
    """

    runs: list[CallRun] = field(default_factory=list)
    stops: list[pb.Stop] = field(default_factory=list)
    forget: list[int] = field(default_factory=list)
    commands: list[pb.ControlCommand] = field(default_factory=list)
    welcome: pb.WorkerWelcome | None = None


class Session:
    """One worker's session.

    Args:
        identity: who the worker is.
        queues: the queues it serves at first, with their weights, or names alone, which have a weight of 1.
    """

    def __init__(self, identity: Identity, queues: Mapping[str, int] | Iterable[str]) -> None:
        self.identity = identity
        self.capacity = Capacity(identity.concurrency)
        self.phase = Phase.OFFLINE
        self.draining = False
        #: How many streams of it the coordinator has welcomed.
        self.streams = 0
        #: Seconds; what the last welcome asked for.
        self.heartbeat = DEFAULT_HEARTBEAT
        self.silence = DEFAULT_SILENCE
        #: Largest payload in bytes that the coordinator takes.
        self.payload_limit = limits.PAYLOAD_LIMIT
        self._queues = _weighted(queues)
        self._open: dict[int, CallRun] = {}
        #: True once a batch came.
        self._batched = False
        self._told: dict[int, bytes] = {}
        self._outbox = Outbox()
        self._progress = Progress()
        self._logs = TaskLogs()
        self._replies: deque[pb.ControlReply] = deque()
        self._started: set[int] = set()
        self._starts_to_tell: list[int] = []
        self._sequence = self._unnumbered = 0
        #: The last message of this stream that the coordinator has answered.
        self._answered = 0
        self._queues_changed = False
        self._resized = False
        self._drain_to_tell = False
        #: Number of the message that told the drain; None where the hello told it or it is not told yet.
        self._drain_sequence: int | None = None
        self._drain_beats = 0
        self._beat = False

    # What it holds.

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues it serves; the coordinator adds the worker's own."""
        return tuple(self._queues)

    @property
    def weights(self) -> dict[str, int]:
        """The queues it serves, each with its weight."""
        return dict(self._queues)

    @property
    def open(self) -> int:
        """How many attempts have not ended."""
        return len(self._open)

    @property
    def unacknowledged(self) -> int:
        """How many attempts ended without the coordinator having said that it knows."""
        return len(self._told)

    @property
    def settled(self) -> bool:
        """True where nothing is held and nothing is left to say."""
        return not (self._open or self._told or self._replies)

    def run_of(self, token: int) -> CallRun | None:
        """The run that an attempt came in, or None where it is not open."""
        return self._open.get(token)

    # The stream.

    def hello(self) -> pb.WorkRequest:
        """Begin a stream: the message to send first. All that an earlier stream left unacknowledged is sent anew."""
        self.disconnected()
        self.phase = Phase.GREETING
        self._sequence = self._answered = 1
        self._unnumbered = 0
        self.capacity.announced = self.capacity.target()
        held = [pb.Held(node=node_of(run, token), token=token) for token, run in self._open.items()]
        held += [pb.Held(node=node, token=token) for token, node in self._told.items()]
        hello = self.identity.hello(self._queues, held, capacity=self.capacity.announced, draining=self.draining)
        return pb.WorkRequest(hello=hello, sequence=1)

    def disconnected(self) -> None:
        """The stream is gone. What was said on it and not acknowledged is not known to have arrived."""
        if self.phase is Phase.OVER:
            return
        self.phase = Phase.OFFLINE
        self._outbox.rewind()
        self._progress.rewind()
        self._logs.rewind()
        # A hello tells queues, capacity and draining whole; replies belong to questions of the old stream.
        self._replies.clear()
        self._queues_changed = self._resized = self._drain_to_tell = self._beat = False
        self._drain_sequence = None
        self._starts_to_tell = [token for token in self._open if token in self._started]

    def received(self, received: pb.WorkResponse | Apart[pb.WorkResponse], now: float) -> Effects:
        """Take in one message of the coordinator.

        Args:
            received: the message, perhaps with the payloads of its one run beside it.
            now: monotonic seconds.

        Raises:
            ProtocolError: the message breaks the protocol; nothing of it was taken in, the stream must end.
        """
        message, payloads = opened(received)
        greeted = message.HasField("welcome")
        if greeted != (self.phase is Phase.GREETING):
            raise ProtocolError("a second welcome came" if greeted else "the first message holds no welcome")
        runs = runs_of(message, payloads)
        effects = Effects(commands=list(message.commands))
        if greeted:
            self._welcomed(message.welcome, effects)
        self._answered = max(self._answered, message.acknowledged)
        arrived = self._progress.acknowledge(message.acknowledged)
        self._logs.acknowledge(message.acknowledged)
        for token in self._outbox.acknowledge(message.acknowledged):
            self._told.pop(token, None)
        if self._drain_sequence is not None and message.acknowledged >= self._drain_sequence:
            self._drain_sequence = None
        # A task that was replaced goes on for a moment, and its progress came too late: it ends by itself.
        self._forget([token for token in message.superseded if token in arrived], Effects())
        self._forget(message.superseded, effects)
        for stop in message.stops:
            if stop.superseded:
                self._forget((stop.token,), effects)
            elif stop.token in self._open:
                effects.stops.append(stop)
        self._assigned(runs, effects, now)
        return effects

    def _welcomed(self, welcome: pb.WorkerWelcome, effects: Effects) -> None:
        self.phase = Phase.ONLINE
        self.streams += 1
        self.heartbeat = welcome.heartbeat_ms / 1000 or DEFAULT_HEARTBEAT
        self.silence = welcome.silence_ms / 1000 or DEFAULT_SILENCE
        self.payload_limit = welcome.payload_limit or limits.PAYLOAD_LIMIT
        self._logs.welcome(welcome.log_limit)
        effects.welcome = welcome
        self._forget(welcome.superseded, effects)

    def _forget(self, tokens: Sequence[int], effects: Effects) -> None:
        """Let go of attempts that are no longer ours: their children are stopped, their reports are not sent."""
        if not tokens:
            return
        ended = [token for token in tokens if self._told.pop(token, None) is not None]
        self._outbox.forget(set(ended))
        for token in tokens:
            if self._open.pop(token, None) is not None:
                self._started.discard(token)
                self._progress.end(token)
                self._logs.forget(token)
                effects.forget.append(token)

    def _assigned(self, runs: list[CallRun], effects: Effects, now: float) -> None:
        self._batched = self._batched or any(run.batch for run in runs)
        if runs and self._taken() < self.identity.concurrency:
            self.capacity.progress(now)
        for run in runs:
            tokens = range(run.token, run.token + len(run.payloads))
            if self.draining:
                # It was on its way when we said that we want no more: it never starts here.
                for token in tokens:
                    self._told[token] = node_of(run, token)
                    self._outbox.add_report(pb.Report(token=token, returned=pb.Returned()))
            else:
                self._open.update(dict.fromkeys(tokens, run))
                effects.runs.append(run)

    # What happens to attempts.

    def started(self, tokens: Iterable[int]) -> None:
        """Attempts whose start is to be told have begun."""
        fresh = [token for token in tokens if token in self._open and token not in self._started]
        self._started.update(fresh)
        self._starts_to_tell.extend(fresh)

    def progressed(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """A running attempt says how far it is. Dropped where it is not open; replaces what was not sent yet.

        Raises:
            ProtocolError: the coordinator would refuse it for the length of its state or the size of its value.
        """
        if token in self._open:
            self._progress.add(progress_of(token, state, data, content_type, self.payload_limit))

    def logged(self, said: Iterable[Logged]) -> None:
        """Running attempts printed and logged. Dropped where they are not open, or the coordinator keeps no logs."""
        for token, dropped, lines in said:
            if token in self._open:
                self._logs.add(token, dropped, lines)

    def values(self, tokens: Sequence[int], datas: Sequence[bytes], now: float) -> None:
        """Attempts gave plain JSON values, column by column. Those of forgotten attempts are dropped."""
        self.capacity.progress(now)
        taken: list[int] = []
        values: list[bytes] = []
        for token, data in zip(tokens, datas, strict=True):
            if not self._ended(token):
                continue
            if len(data) > self.payload_limit:
                self._outbox.add_report(too_large(token, len(data), self.payload_limit))
            else:
                taken.append(token)
                values.append(data)
        self._outbox.add_values(taken, values)

    def ended(self, end: Ended, now: float) -> None:
        """An attempt ended in another way than with a plain value. The end of a forgotten attempt is dropped.

        Raises:
            ProtocolError: the end has a kind that the wire cannot carry.
        """
        if end.kind != "returned":
            # What goes back untouched says nothing about the places that are taken.
            self.capacity.progress(now)
        report = report_of(end)
        if self._ended(end.token):
            size = report.ByteSize()
            # The report's own framing stays out of the payload's limit; the message has room for it.
            fits = size <= self.payload_limit + 1024
            self._outbox.add_report(report if fits else too_large(end.token, size, self.payload_limit))

    def _ended(self, token: int) -> bool:
        """Move an attempt from open to told; False where it is not open."""
        run = self._open.pop(token, None)
        if run is None:
            return False
        self._told[token] = node_of(run, token)
        self._started.discard(token)
        self._logs.end(token)
        before, said = self._progress.end(token)
        if before is not None:
            self._outbox.precede(before, said=said)
        return True

    def let_go(self, token: int) -> None:
        """Forget an attempt that never started and that the coordinator says is no longer ours."""
        self._open.pop(token, None)

    def abandon(self, message: str) -> int:
        """Report every open attempt as lost: what ran them is gone. Returns how many there were.

        Args:
            message: what happened, for people.
        """
        tokens = list(self._open)
        for token in tokens:
            self._ended(token)
            self._outbox.add_report(pb.Report(token=token, lost=pb.Lost(message=message)))
        return len(tokens)

    def surplus(self, now: float) -> int | None:
        """How many unstarted attempts may stay, where some should be handed back now; None where all may stay."""
        return None if self.draining else self.capacity.surplus(self._taken(), now)

    def _taken(self) -> int:
        """How many places what is open takes, here or in the line: all of a batch takes one."""
        if not self._batched:
            return len(self._open)
        return len({run.batch or token for token, run in self._open.items()})

    # What the worker wants to tell.

    def drain(self) -> None:
        """No new work from now on; once all that is held is acknowledged, say goodbye. A second call does nothing."""
        if not self.draining:
            self.draining = True
            self._drain_to_tell = True

    def set_queues(self, queues: Mapping[str, int] | Iterable[str]) -> None:
        """Serve these queues from now on, with these weights; names alone have a weight of 1. None is allowed."""
        self._queues = _weighted(queues)
        self._queues_changed = True

    def resize(self, concurrency: int) -> None:
        """Run so many tasks at once from now on."""
        self.identity = replace(self.identity, concurrency=concurrency)
        self.capacity.resize(concurrency)
        self._resized = True

    def reply(self, reply: pb.ControlReply) -> None:
        """Answer a control command. Dropped where the stream that asked is gone."""
        if self.phase is Phase.ONLINE:
            self._replies.append(reply)

    @property
    def said(self) -> int:
        """How many messages it has sent on this stream, but for those that tell its load alone."""
        return self._sequence + self._unnumbered

    def beat(self) -> None:
        """Say something at the next chance, though there is nothing to say."""
        self._beat = True
        self._drain_beats += self._drain_sequence is not None

    def next_message(self, parts: list[bytes] | None = None) -> pb.WorkRequest | None:
        """The next message to send, or None where there is nothing to say now; with `parts` as in `Outbox.fill`.

        What it holds counts as sent; call it only when the message can be written.
        """
        if self.phase is not Phase.ONLINE or self._gathers():
            return None
        if self._replies:
            return self._next_replies()
        message = pb.WorkRequest(sequence=self._sequence + 1)
        said = self._fill_ends(message, parts)
        said |= self._fill_changes(message)
        if not said and self._may_leave():
            message.goodbye = said = True
            self.phase = Phase.OVER
        if not said and not self._beat:
            return None
        self._beat = False
        if not said:
            self._unnumbered += 1
            return pb.WorkRequest()  # without a number: nobody need acknowledge a sign of life
        self._sequence += 1
        return message

    def _gathers(self) -> bool:
        """True while ends may wait for an answer: the coordinator works on a message, and no place wants for work.

        Each message costs both sides much more than an end in it, so at a time one is on its way.
        """
        if self._sequence == self._answered or len(self._open) <= self.identity.concurrency:
            return False
        pressing = self._replies or self._queues_changed or self._resized or self._beat or self.draining
        return not pressing

    def _may_leave(self) -> bool:
        # What was assigned before the coordinator read of the drain is on its way until it acknowledged that
        # message. Two heartbeats without that are enough: leaving then costs a hand-out, waiting for ever more.
        heard = self._drain_sequence is None or self._drain_beats >= DRAIN_BEATS
        return self.draining and self.settled and heard

    def _next_replies(self) -> pb.WorkRequest:
        """A message of their own: a large answer beside a full batch could outgrow the transport.

        It has no number, for nobody need acknowledge it: who asked has waited only for so long.
        """
        message = pb.WorkRequest()
        self._unnumbered += 1
        room = limits.BATCH_BYTES
        while self._replies and (room > 0 or not message.replies):
            reply = self._replies.popleft()
            room -= len(reply.reply) + len(reply.error)
            message.replies.append(reply)
        return message

    def _fill_ends(self, message: pb.WorkRequest, parts: list[bytes] | None) -> bool:
        starts = [token for token in self._starts_to_tell if token in self._open]
        self._starts_to_tell.clear()
        message.reports.extend(pb.Report(token=token, started=pb.Started()) for token in starts)
        if self._progress.fill(message) and message.ByteSize() > limits.BATCH_BYTES // 2:
            return True  # beside an end of the largest size it could outgrow the transport
        if self._logs.fill(message):
            return True
        said = bool(message.reports or message.logs) or self._outbox.has_waiting
        self._outbox.fill(message, parts)
        return said

    def _fill_changes(self, message: pb.WorkRequest) -> bool:
        """Set what the coordinator must know of the worker itself; True where there was something."""
        said = False
        if self._queues_changed:
            message.queues.extend(self._queues)
            message.weights.extend(told_weights(self._queues))
            message.subscription_changed = said = True
            self._queues_changed = False
        if self._resized:
            message.concurrency = self.identity.concurrency
            self._resized, said = False, True
        if self._drain_to_tell:
            message.drain = said = True
            self._drain_to_tell = False
            self._drain_sequence, self._drain_beats = message.sequence, 0
        if not self.draining and (capacity := self.capacity.change()) is not None:
            message.capacity_plus_one = capacity + 1
            said = True
        return said


def _weighted(queues: Mapping[str, int] | Iterable[str]) -> dict[str, int]:
    return dict(queues) if isinstance(queues, Mapping) else dict.fromkeys(queues, 1)
