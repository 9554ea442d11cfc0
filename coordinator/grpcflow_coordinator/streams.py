"""What waits to be sent to each worker, and how it becomes messages. Knows the wire; decides nothing.

A worker's assignments are kept as references and read from the records when the stream takes them, so that
a slow worker costs no payloads in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from grpcflow_coordinator import values
from grpcflow_coordinator.core.effects import Assign
from grpcflow_coordinator.core.events import Undeliverable
from grpcflow_coordinator.core.model import Failure, Template
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.rpc import convert
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2, worker_service_pb2
from grpcflow_protos.wire_parts import nested

#: Values of earlier nodes after which a message to a worker takes no more: others have their turn between messages.
LEAVES_AT_ONCE: Final = 500

#: Seconds that an acknowledgement waits for a message to travel with, where the worker has nothing to do before.
LINGER: Final = 0.02

#: Orders to stop in one message to a worker, and bytes of commands, acknowledgements and stops behind which it takes no
#: tasks: together with a payload of the largest size they would be more than the transport takes.
STOPS: Final = 10_000
ORDERS_BYTES: Final = limits.MESSAGE_OVERHEAD // 4

#: Bytes that a run, and each of its payloads, take beside what is in them and the run's own id, at most.
RUN_BYTES: Final = 128
PAYLOAD_BYTES: Final = 5

#: Payloads of so many bytes are sent without a message being made of them.
LARGE: Final = 64 * 1024
_RUNS: Final = worker_service_pb2.WorkResponse.DESCRIPTOR.fields_by_name["runs"].number
_PAYLOADS: Final = worker_service_pb2.AssignedRun.DESCRIPTOR.fields_by_name["payloads"].number

#: Says nothing, which is all that a sign of life says.
_SIGN_OF_LIFE: Final = worker_service_pb2.WorkResponse()


#: Why a call fails whose arguments are no longer there.
_EXPIRED: Final = Failure("TaskRevokedError", "its arguments expired before a worker could take them", "EXPIRED")


class Stream:
    """One end of a stream: something may wait, the stream may be told to end."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        #: Code and message, once the stream is to end.
        self.closing: tuple[str, str] | None = None

    def wake(self) -> None:
        """Say that something waits."""
        self._ready.set()

    async def wait(self) -> None:
        """Wait until something waits to be sent."""
        await self._ready.wait()
        self._ready.clear()

    def close(self, code: str, message: str) -> None:
        """End the stream with this code once what waits is sent."""
        self.closing = (code, message)
        self.wake()


def _later(seconds: float, then: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, then)


class WorkerStream(Stream):
    """What waits for one worker.

    Args:
        engine: where the records are.
        name: the worker's name.
        payload_limit: bytes of the largest payload.
        later: calls something after so many seconds; another one than the running loop's for tests without one.
    """

    def __init__(
        self, engine: Engine, name: str, payload_limit: int, *, later: Callable[..., asyncio.TimerHandle] = _later
    ) -> None:
        super().__init__()
        self.name = name
        self._engine = engine
        self._payload_limit = payload_limit
        self.assigned: deque[Assign] = deque()
        self.acknowledged = 0
        self.superseded: list[int] = []
        self.stops: list[worker_service_pb2.Stop] = []
        self.commands: deque[worker_service_pb2.ControlCommand] = deque()
        #: Bytes of these.
        self.command_bytes = 0
        self.welcome: worker_service_pb2.WorkerWelcome | None = None
        #: True once the welcome was sent.
        self.welcomed = False
        self._acknowledged_to = 0
        #: Values that were read for the message in the making: a message is not to take long.
        self._leaves = 0
        self._goodbye: tuple[int, asyncio.Future[None]] | None = None
        self._later = later
        #: When the last message left, by the monotonic clock.
        self._said_at = time.monotonic()
        self._beats = self._lingers = False
        #: What both sides speak, by the worker's hello.
        self.revision = limits.REVISION
        self.features: list[str] = []

    def waits(self) -> bool:
        """Say whether something waits to be sent."""
        return bool(
            self.assigned or self.acknowledged or self.superseded or self.stops or self.commands or self.welcome
        )

    def beat(self, before: float) -> None:
        """Send a sign of life where nothing was said since `before`, by the monotonic clock."""
        if self.welcomed and self._said_at <= before:
            self._beats = True
            self.wake()

    def acknowledge(self, sequence: int, superseded: tuple[int, ...], *, pressing: bool) -> None:
        """Everything up to the worker's message `sequence` is durable.

        Args:
            sequence: the message.
            superseded: tokens of its reports that were not taken.
            pressing: False: it may wait for what is sent next, since a message costs more than what is in it.
        """
        self.acknowledged = self._acknowledged_to = sequence
        self.superseded.extend(superseded)
        if self._goodbye is not None and sequence >= self._goodbye[0] and not self._goodbye[1].done():
            self._goodbye[1].set_result(None)
        if pressing:
            self.wake()
        elif not self._lingers:
            self._lingers = True
            self._later(LINGER, self._linger_no_longer)

    def _linger_no_longer(self) -> None:
        self._lingers = False
        if self.acknowledged:
            self.wake()

    async def acknowledged_up_to(self, sequence: int) -> None:
        """Wait until the worker's goodbye is durable."""
        if self._acknowledged_to < sequence:
            self._goodbye = (sequence, asyncio.get_running_loop().create_future())
            await self._goodbye[1]

    def take(self, parts: list[bytes] | None = None) -> worker_service_pb2.WorkResponse | None:
        """Return the next message, or None where nothing waits.

        Args:
            parts: Where runs with large arguments are added, encoded; None: they are in the message like others.
        """
        if not self.waits():
            return self._sign_of_life()
        self._beats, self._said_at = False, time.monotonic()
        message = worker_service_pb2.WorkResponse(
            acknowledged=self.acknowledged, superseded=self.superseded, stops=self.stops[:STOPS]
        )
        if self.welcome is not None:
            message.welcome.CopyFrom(self.welcome)
            self.welcomed = True
        self.acknowledged, self.superseded, self.stops, self.welcome = 0, [], self.stops[STOPS:], None
        if self.commands:
            self._fill_commands(message)
        if message.ByteSize() <= ORDERS_BYTES:
            self._fill(message, parts)
        if self.assigned or self.commands or self.stops:
            self.wake()
        return message

    def order(self, command: worker_service_pb2.ControlCommand) -> None:
        """Have the worker told a command or a question."""
        self.commands.append(command)
        self.command_bytes += command.ByteSize()
        self.wake()

    def _fill_commands(self, message: worker_service_pb2.WorkResponse) -> None:
        """Add commands until the message is large enough; the last one may be as large as a payload."""
        size = 0
        while self.commands and size < ORDERS_BYTES:
            command = self.commands.popleft()
            added = command.ByteSize()
            self.command_bytes -= added
            size += added
            message.commands.append(command)

    def _sign_of_life(self) -> worker_service_pb2.WorkResponse | None:
        if not self._beats:
            return None
        self._beats, self._said_at = False, time.monotonic()
        return _SIGN_OF_LIFE

    def _fill(self, message: worker_service_pb2.WorkResponse, parts: list[bytes] | None) -> None:
        """Add assignments until the message, with its parts, is large enough."""
        size = 0
        templates: dict[int, int] = {}
        self._leaves = 0
        while self.assigned and size < limits.BATCH_BYTES and self._leaves < LEAVES_AT_ONCE:
            together = self._together()
            before = len(message.runs)
            # Each is made in its place: what is put into a message is copied twice, and may be mebibytes.
            apart: list[bytes] | None = None if parts is None or len(together) > 1 else []
            found = [(assign, *made) for assign in together if (made := self._run(assign, message, apart)) is not None]
            added = sum(own + self._added(assign.template, templates) for assign, _, own in found)
            if added > self._room or (size and size + added > self._room):
                del message.runs[before:]
                if added > self._room:
                    self._too_large([assign for assign, _, _ in found], added)
                    continue
                self.assigned.extendleft(reversed(together))
                return
            size += added
            for assign, run, _ in found:
                run.template = templates.setdefault(id(assign.template), len(templates))
                if run.template == len(message.templates):
                    message.templates.append(graph_pb2.Template.FromString(assign.template.wire))
                if assign.batch:
                    run.batch, run.batch_size = found[0][0].token, sum(one.count for one, _, _ in found)
            if parts is not None and apart:
                parts += nested(_RUNS, message.runs[before].SerializeToString(), _PAYLOADS, apart)
                del message.runs[before:]

    def _together(self) -> list[Assign]:
        """Take the next assignment, and with it all others of its batch."""
        found = [self.assigned.popleft()]
        while found[0].batch and self.assigned and self.assigned[0].batch == found[0].batch:
            found.append(self.assigned.popleft())
        return found

    @staticmethod
    def _added(template: Template, templates: dict[int, int]) -> int:
        """Return the bytes that a template adds to a message."""
        return 0 if id(template) in templates else len(template.wire)

    @property
    def _room(self) -> int:
        """Bytes that assignments of one message may have."""
        return self._payload_limit + limits.MESSAGE_OVERHEAD // 2

    def _too_large(self, together: list[Assign], size: int) -> None:
        """Send a batch or a run in two parts, or fail the task of a run of one."""
        assign = together[0]
        if len(together) > 1:
            half = len(together) // 2
            second = [replace(one, batch=together[half].token) for one in together[half:]]
            self.assigned.extendleft(reversed(together[:half] + second))
        elif assign.count > 1:
            half = assign.count // 2
            rest = replace(assign, first=assign.first + half, count=assign.count - half, token=assign.token + half)
            if assign.batch:
                rest = replace(rest, batch=rest.token)
            self.assigned.extendleft((rest, replace(assign, count=half)))
        else:
            found = convert.too_large("the task's arguments", size, self._room)
            failure = Failure(found.type_name, found.message, "INPUTS_TOO_LARGE")
            self._engine.post(Undeliverable(assign.token, failure))

    def _run(
        self, assign: Assign, message: worker_service_pb2.WorkResponse, apart: list[bytes] | None
    ) -> tuple[worker_service_pb2.AssignedRun, int] | None:
        """Add an assignment with all its tasks need, but for its template; None where its graph is gone.

        Args:
            assign: what is handed out.
            message: where it is added.
            apart: where its payloads go instead if they are large; None: nowhere.

        Returns:
            What was added, and its bytes or a few more.
        """
        payloads = self._engine.committed.payloads(assign.graph, assign.run)
        start = assign.first - assign.run.first
        payloads = payloads[start : start + assign.count]
        if len(payloads) != assign.count:
            # Its graph was deleted while this waited, and nobody minds; or the call that it is a share of was.
            self._engine.post(Undeliverable(assign.token, _EXPIRED))
            return None
        completed = bool(assign.run.inputs or assign.retries or assign.run.borrowed)
        if apart is not None and len(payloads[0]) >= LARGE and not completed:
            apart += payloads
        run = message.runs.add(
            graph=assign.graph,
            first=assign.first,
            token=assign.token,
            payloads=() if apart else payloads,
            id=assign.run.own_id,
            retries=assign.retries,
            losses=assign.losses,
        )
        if assign.after:
            run.after = assign.after
        if assign.run.group:
            run.group, run.in_chord = assign.run.group, assign.run.in_chord
            run.group_index = assign.run.group_index + start
        if completed:
            self._complete(assign, run)
            return run, run.ByteSize()  # which costs as much as to write it
        return run, RUN_BYTES + PAYLOAD_BYTES * assign.count + sum(map(len, payloads)) + 4 * len(assign.run.own_id)

    def _complete(self, assign: Assign, run: worker_service_pb2.AssignedRun) -> None:
        """Add inputs, or the new arguments of a retry."""
        records = self._engine.committed
        progress = records.progress(assign.graph, assign.first)
        if progress is not None and progress.payload:
            run.payloads[0] = progress.payload
            run.content_type = progress.content_type
            return
        room = values.Room(self._room - len(run.payloads[0]))
        try:
            for graph, edge in values.inputs_of(records, assign.graph, assign.run, progress):
                run.inputs.append(values.input_of(records, graph, edge, room))
        except values.TooLarge:
            del run.inputs[:]
            run.inputs_apart = True
        self._leaves += room.taken
