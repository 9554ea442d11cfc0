"""WorkerService: decode, post an event, write what waits. No decision about tasks is made here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from grpcflow_coordinator import values
from grpcflow_coordinator.core.events import Raised, Report, StreamBroke, WorkerArrived, WorkerSpoke
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.loads import Loads
from grpcflow_coordinator.pulse import Pulse
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc import hello as worker_hello
from grpcflow_coordinator.rpc.admission import check_queues
from grpcflow_coordinator.rpc.client import common_revision
from grpcflow_coordinator.rpc.desk import ControlDesk
from grpcflow_coordinator.rpc.task_logs import logged
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2, worker_service_pb2_grpc
from grpcflow_protos.wire_parts import Apart, opened, with_parts

#: Most attempts that one worker may hold, and replies that it may give at once.
CAPACITY_LIMIT = worker_hello.HELD_LIMIT

#: Answers and orders that wait for a worker, above which it is held for one that never reads.
UNREAD = 2 * CAPACITY_LIMIT

#: Events in the inbox from which on each worker is read only when what it said before was taken.
CROWDED = 512

#: Stands for the first message of a stream that ends without one.
_NOTHING: Final = worker_service_pb2.WorkRequest()

#: Fields of a message that this file answers itself.
_ANSWERED_HERE: Final = frozenset(
    worker_service_pb2.WorkRequest.DESCRIPTOR.fields_by_name[name].number for name in ("load", "replies")
)


def _is_sign_of_life(message: worker_service_pb2.WorkRequest) -> bool:
    """Return whether the core needs to know of a message only that it came."""
    return not message.sequence and all(field.number in _ANSWERED_HERE for field, _ in message.ListFields())


class WorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """Hands work to workers."""

    def __init__(
        self, engine: Engine, desk: ControlDesk, loads: Loads, *, payload_limit: int, heartbeat: float
    ) -> None:
        self._engine = engine
        self._desk = desk
        self._loads = loads
        self._payload_limit = payload_limit
        self._pulse = Pulse(heartbeat)

    async def Work(
        self, request_iterator: AsyncIterator[worker_service_pb2.WorkRequest], context: Any
    ) -> AsyncIterator[worker_service_pb2.WorkResponse]:
        """The one stream of a worker."""
        first, _ = opened(await anext(request_iterator, _NOTHING))
        if not first.HasField("hello"):
            raise Refusal("HELLO_EXPECTED", "the first message of a work stream holds a hello")
        stream = self._arrive(first.hello)
        reader = asyncio.create_task(self._read(stream, request_iterator))
        self._pulse.add(stream)
        try:
            while True:
                parts: list[bytes] = []
                message = stream.take(parts)
                if message is not None:
                    yield with_parts(message, parts)
                elif stream.closing is not None:
                    raise Refusal(*stream.closing)
                elif reader.done():
                    reader.result()
                    return
                else:
                    await stream.wait()
        finally:
            self._pulse.remove(stream)
            reader.cancel()
            self._desk.stream_ended(stream)
            self._loads.forget(stream, stream.name)
            self._engine.post(StreamBroke(stream))

    async def Inputs(
        self, request: worker_service_pb2.InputsRequest, context: Any
    ) -> AsyncIterator[worker_service_pb2.InputsResponse]:
        """Give what one attempt waits for, in parts."""
        attempt = self._engine.machine.cluster.attempts.get(request.token)
        if attempt is None or attempt.session != request.session:
            raise Refusal("STALE_ATTEMPT", f"attempt {request.token} is no longer this session's: forget it")
        records = self._engine.committed
        progress = records.progress(attempt.graph, attempt.index)
        for graph, edge in values.inputs_of(records, attempt.graph, attempt.run, progress):
            for page in values.paged(values.parts_of_input(records, graph, edge), limits.BATCH_BYTES):
                yield worker_service_pb2.InputsResponse(parts=page)
                await asyncio.sleep(0)  # let others go on between the pages

    def _arrive(self, hello: worker_service_pb2.WorkerHello) -> WorkerStream:
        facts = worker_hello.facts(hello)
        check_queues(facts.queues)
        stream = WorkerStream(self._engine, facts.name, self._payload_limit)
        stream.revision = common_revision(hello.revision)
        stream.features = sorted(set(hello.features) & set(limits.FEATURES))
        capacity = min(hello.capacity, CAPACITY_LIMIT)
        self._engine.post(WorkerArrived(stream, facts, capacity, worker_hello.held(hello), hello.draining))
        return stream

    async def _read(
        self,
        stream: WorkerStream,
        requests: AsyncIterator[worker_service_pb2.WorkRequest | Apart[worker_service_pb2.WorkRequest]],
    ) -> None:
        """Post what the worker says; after its goodbye only what is still to be told keeps the stream open."""
        try:
            async for received in requests:
                message, apart = opened(received)
                if message.HasField("hello"):
                    raise Refusal("HELLO_EXPECTED", "a work stream has one hello, in its first message")
                if len(message.replies) > CAPACITY_LIMIT:
                    raise Refusal("MALFORMED", f"{len(message.replies)} replies come in one message: send fewer")
                for reply in message.replies:
                    self._desk.answered(stream, reply)
                if message.HasField("load") and id(stream) in self._engine.machine.cluster.by_stream:
                    self._loads.hear(stream, stream.name, message.load)
                if _is_sign_of_life(message) and self._engine.hear(stream):
                    continue  # most messages of a cluster that rests are such
                self._engine.post(self._spoke(stream, message, apart))
                if len(stream.superseded) + len(stream.stops) > UNREAD:
                    raise Refusal("MALFORMED", "the worker speaks and does not read what it is told: it must be mended")
                if self._engine.posted - self._engine.stepped > CROWDED:
                    await self._engine.flushed()  # one who floods has one message in the inbox, and waits
                if message.goodbye:
                    await stream.acknowledged_up_to(message.sequence)
                    return
        finally:
            stream.wake()

    def _spoke(
        self, stream: WorkerStream, message: worker_service_pb2.WorkRequest, apart: Sequence[bytes] = ()
    ) -> WorkerSpoke:
        """Return a message as an event; `apart`: the plain values, where they were taken out of it."""
        tokens, values = list(message.values.tokens), list(apart or message.values.values)
        if len(tokens) != len(values):
            raise Refusal("MALFORMED", f"{len(tokens)} tokens come with {len(values)} values: send one for each")
        if len(message.logs) > CAPACITY_LIMIT or len(tokens) + len(message.reports) > CAPACITY_LIMIT:
            told = f"{max(len(message.logs), len(tokens) + len(message.reports))} reports or logs come in one message"
            raise Refusal("MALFORMED", f"{told}; a worker holds at most {CAPACITY_LIMIT} attempts: report these")
        reports: list[Report] = [convert.report(report, self._payload_limit) for report in message.reports]
        if values and max(map(len, values)) > self._payload_limit:
            tokens, values, large = self._split_large(tokens, values)
            reports += large
        queues: tuple[str, ...] | None = None
        weights: tuple[int, ...] = ()
        if message.subscription_changed:
            queues, weights = worker_hello.subscription(message.queues, message.weights)
            check_queues(queues)
        capacity = message.capacity_plus_one - 1 if message.capacity_plus_one else None
        return WorkerSpoke(
            stream=stream,
            sequence=message.sequence,
            tokens=tokens,
            values=values,
            reports=reports,
            capacity=None if capacity is None else min(capacity, CAPACITY_LIMIT),
            queues=queues,
            weights=weights,
            concurrency=message.concurrency,
            drain=message.drain,
            goodbye=message.goodbye,
            # What a nearly full disk has room for is the ends of tasks.
            logs=[logged(lines) for lines in message.logs if not self._engine.full],
        )

    def _split_large(self, tokens: list[int], values: list[bytes]) -> tuple[list[int], list[bytes], list[Report]]:
        """Turn values over the limit into failures of their tasks."""
        kept_tokens, kept_values = [], []
        large: list[Report] = []
        for token, data in zip(tokens, values, strict=True):
            if len(data) > self._payload_limit:
                large.append(Raised(token, convert.too_large("the result", len(data), self._payload_limit)))
            else:
                kept_tokens.append(token)
                kept_values.append(data)
        return kept_tokens, kept_values, large
