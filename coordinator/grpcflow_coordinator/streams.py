"""What waits to be sent on each stream, and how it becomes messages. Knows the wire; decides nothing.

A worker's assignments are kept as references and read from the records when the stream takes them, so that
a slow worker costs no payloads in memory. A client's results are kept as values up to a bound, and as
references beyond it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from grpcflow_coordinator import values
from grpcflow_coordinator.core.effects import Assign
from grpcflow_coordinator.core.events import Undeliverable
from grpcflow_coordinator.core.model import Failure, NodeState, Outcome, node_id
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2, value_pb2, worker_service_pb2

#: Bytes of results that are kept for one client as values.
KEPT_BYTES: Final = 8 * 1024 * 1024

#: Bytes of results after which a message takes no more: the last one may be a whole payload or a failure of half a MiB
#: more, and all of it must stay below the transport's limit.
RESULT_BYTES: Final = limits.MESSAGE_OVERHEAD // 4

#: Values of earlier nodes after which a message to a worker takes no more: others have their turn between messages.
LEAVES_AT_ONCE: Final = 500

#: Seconds that an acknowledgement waits for a message to travel with, where the worker has nothing to do before.
LINGER: Final = 0.02

#: Results in one message.
PAGE: Final = 2_000


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
        self.commands: list[worker_service_pb2.ControlCommand] = []
        self.welcome: worker_service_pb2.WorkerWelcome | None = None
        #: True once the welcome was sent.
        self.welcomed = False
        self._acknowledged_to = 0
        #: Values that were read for the message in the making: a message is not to take long.
        self._leaves = 0
        self._goodbye: tuple[int, asyncio.Future[None]] | None = None
        self._later = later
        #: When the last message left, by the monotonic clock, and what looks at that now and then.
        self._said_at = time.monotonic()
        self._beat: asyncio.TimerHandle | None = None
        self._beats = self._lingers = False
        #: What both sides speak, by the worker's hello.
        self.revision = limits.REVISION
        self.features: list[str] = []

    def waits(self) -> bool:
        """Say whether something waits to be sent."""
        return bool(
            self.assigned or self.acknowledged or self.superseded or self.stops or self.commands or self.welcome
        )

    def beat(self, interval: float) -> None:
        """Send a sign of life whenever nothing was said for so many seconds, until `end`.

        One timer looks at the clock, instead of one for each message that is waited for.
        """
        quiet = time.monotonic() - self._said_at
        if quiet >= interval and self.welcomed:
            self._beats = True
            self.wake()
        self._beat = self._later(interval if quiet >= interval else interval - quiet, partial(self.beat, interval))

    def end(self) -> None:
        """Nothing is sent any more."""
        if self._beat is not None:
            self._beat.cancel()

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

    def take(self) -> worker_service_pb2.WorkResponse | None:
        """Return the next message, or None where nothing waits."""
        if not (self.waits() or self._beats):
            return None
        self._beats, self._said_at = False, time.monotonic()
        message = worker_service_pb2.WorkResponse(
            acknowledged=self.acknowledged, superseded=self.superseded, stops=self.stops, commands=self.commands
        )
        if self.welcome is not None:
            message.welcome.CopyFrom(self.welcome)
            self.welcomed = True
        self.acknowledged, self.superseded, self.stops, self.commands, self.welcome = 0, [], [], [], None
        self._fill(message)
        if self.assigned:
            self.wake()
        return message

    def _fill(self, message: worker_service_pb2.WorkResponse) -> None:
        """Add assignments until the message is large enough."""
        size = 0
        templates: dict[int, int] = {}
        self._leaves = 0
        while self.assigned and size < limits.BATCH_BYTES and self._leaves < LEAVES_AT_ONCE:
            together = self._together()
            found = [(assign, run) for assign in together if (run := self._run(assign)) is not None]
            added = sum(self._added(assign, run, templates) for assign, run in found)
            if added > self._room:
                self._too_large([assign for assign, _ in found], added)
                continue
            if size and size + added > self._room:
                self.assigned.extendleft(reversed(together))
                return
            size += added
            for assign, run in found:
                run.template = templates.setdefault(id(assign.template), len(templates))
                if run.template == len(message.templates):
                    message.templates.append(graph_pb2.Template.FromString(assign.template.wire))
                if assign.batch:
                    run.batch, run.batch_size = found[0][0].token, sum(one.count for one, _ in found)
                message.runs.append(run)

    def _together(self) -> list[Assign]:
        """Take the next assignment, and with it all others of its batch."""
        found = [self.assigned.popleft()]
        while found[0].batch and self.assigned and self.assigned[0].batch == found[0].batch:
            found.append(self.assigned.popleft())
        return found

    @staticmethod
    def _added(assign: Assign, run: worker_service_pb2.AssignedRun, templates: dict[int, int]) -> int:
        """Return the bytes that an assignment adds to a message."""
        return run.ByteSize() + (0 if id(assign.template) in templates else len(assign.template.wire))

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

    def _run(self, assign: Assign) -> worker_service_pb2.AssignedRun | None:
        """Return an assignment with all its tasks need, but for its template; None where its graph is gone."""
        payloads = self._engine.committed.payloads(assign.graph, assign.run)
        start = assign.first - assign.run.first
        payloads = payloads[start : start + assign.count]
        if len(payloads) != assign.count:
            return None  # the graph was pruned while this waited
        run = worker_service_pb2.AssignedRun(
            graph=assign.graph,
            first=assign.first,
            token=assign.token,
            payloads=payloads,
            id=assign.run.own_id,
            retries=assign.retries,
            losses=assign.losses,
        )
        if assign.run.group:
            run.group, run.in_chord = assign.run.group, assign.run.in_chord
            run.group_index = assign.run.group_index + start
        if assign.run.inputs or assign.retries or assign.run.borrowed:
            self._complete(assign, run)
        return run

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


class ClientStream(Stream):
    """What waits for one client."""

    def __init__(self, records: Records) -> None:
        super().__init__()
        self._records = records
        self.welcome: client_service_pb2.ClientWelcome | None = None
        self.accepted: list[bytes] = []
        self.refused: list[client_service_pb2.Refused] = []
        #: (graph, index, data); None: read it when it is taken.
        self._values: deque[tuple[bytes, int, bytes | None]] = deque()
        #: (graph, index, own id, result); None: likewise.
        self._results: deque[tuple[bytes, int, str, value_pb2.Result | None]] = deque()
        self._kept = 0
        #: Sizes of the graphs that it submitted and that are not answered yet, by id.
        self.coming: dict[bytes, int] = {}
        #: Watched nodes in another state than before: how many states came since one was told, and the newest.
        self._moves: dict[tuple[bytes, int], tuple[int, str]] = {}
        #: Ranges (graph, next index, end) of which what has settled is still to be told.
        self.backfill: deque[tuple[bytes, int, int]] = deque()

    def add_value(self, graph: bytes, index: int, data: bytes) -> None:
        """A watched node settled with a plain JSON value."""
        self._kept += len(data)
        self._values.append((graph, index, data if self._kept < KEPT_BYTES else None))

    def add_move(self, graph: bytes, index: int, state: str) -> None:
        """A watched node is in another state; a reader that is slower than the task is told the newest one only."""
        self._moves[graph, index] = self._moves.get((graph, index), (0, ""))[0] + 1, state

    def recall_move(self, graph: bytes, index: int, state: str) -> None:
        """A node is in this state as it begins to be watched; that is no news to one who is told of it already."""
        self._moves.setdefault((graph, index), (1, state))

    def add_outcome(self, graph: bytes, index: int, own_id: str, outcome: Outcome) -> None:
        """A watched node settled otherwise."""
        result = convert.result(graph, index, own_id, outcome, self._records)
        self._kept += result.ByteSize()
        self._results.append((graph, index, own_id, result if self._kept < KEPT_BYTES else None))

    def take(self) -> client_service_pb2.SessionResponse | None:
        """Return the next message, or None where nothing waits."""
        news = self._values or self._results or self._moves or self.backfill
        if not (self.welcome or self.accepted or self.refused or news):
            return None
        message = client_service_pb2.SessionResponse(accepted=self.accepted, refused=self.refused)
        if self.welcome is not None:
            message.welcome.CopyFrom(self.welcome)
        self.welcome, self.accepted, self.refused = None, [], []
        budget = self._fill_moves(message, RESULT_BYTES)
        budget = self._fill_values(message, budget)
        budget = self._fill_results(message, budget)
        while self.backfill and budget > 0:
            budget = self._fill_settled(message, budget)
        if not (self._values or self._results):
            self._kept = 0
        if self._values or self._results or self._moves or self.backfill:
            self.wake()
        return message

    def _fill_moves(self, message: client_service_pb2.SessionResponse, budget: int) -> int:
        """Tell how nodes stand that have not settled; the end of one that has stands behind it anyway."""
        while self._moves and budget > 0:
            (graph, index), (count, state) = self._moves.popitem()
            progress = self._records.progress(*values.stand_in(self._records, graph, index))
            told = message.progress.add(node=node_id(graph, index), state=state, skipped=count - 1)
            if progress is not None:
                told.retries = progress.retries
                if progress.custom_state == state:
                    told.meta.data, told.meta.content_type = progress.meta, progress.meta_type
            budget -= told.ByteSize()
        return budget

    def _fill_values(self, message: client_service_pb2.SessionResponse, budget: int) -> int:
        current: client_service_pb2.Successes | None = None
        for _ in range(min(len(self._values), PAGE * 5)):
            if budget <= 0:
                break
            graph, index, data = self._values.popleft()
            if data is None:
                outcome = self._records.outcome(graph, index)
                if outcome is None:
                    continue
                data = outcome.data
            else:
                self._kept -= len(data)
            if current is None or current.graph != graph:
                current = message.successes.add(graph=graph)
            current.indexes.append(index)
            current.values.append(data)
            budget -= len(data) + 4
        return budget

    def _fill_results(self, message: client_service_pb2.SessionResponse, budget: int) -> int:
        while self._results and budget > 0:
            graph, index, own_id, result = self._results.popleft()
            if result is None:
                outcome = self._records.outcome(graph, index)
                if outcome is None:
                    continue
                result = convert.result(graph, index, own_id, outcome, self._records)
            else:
                self._kept -= result.ByteSize()
            budget -= result.ByteSize()
            message.results.append(result)
        return budget

    def _fill_settled(self, message: client_service_pb2.SessionResponse, budget: int) -> int:
        """Add a page of results of nodes that had settled before they were watched; return what is left to fill."""
        graph, index, end = self.backfill.popleft()
        found = self._records.outcomes(graph, index, end - index, 200)
        plain = client_service_pb2.Successes(graph=graph)
        alone = end - index == 1  # perhaps asked for by an id of its own, which the result must then say
        for settled, outcome in found:
            index = settled + 1
            run = self._records.run_of(graph, settled) if alone or not outcome.data or outcome.failure else None
            named = alone and run is not None and bool(run.own_id)
            if outcome.state is NodeState.SUCCESS and outcome.data and not (outcome.content_type or named):
                plain.indexes.append(settled)
                plain.values.append(outcome.data)
            else:
                own_id = run.own_id if run else ""
                result = convert.result(graph, settled, own_id, outcome, self._records)
                message.results.append(result)
                budget -= result.ByteSize()
            budget -= len(outcome.data) + 8
            if budget <= 0:
                break
        if plain.indexes:
            message.successes.append(plain)
        if (len(found) == 200 or budget <= 0) and index < end:
            self.backfill.append((graph, index, end))
        return budget
