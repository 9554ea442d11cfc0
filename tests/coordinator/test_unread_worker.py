"""What a worker that does not read is told when it reads again: all of it, in messages that the transport takes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.rpc import desk as desk_module
from grpcflow_coordinator.rpc.desk import ControlDesk
from grpcflow_coordinator.streams import ORDERS_BYTES, STOPS, WorkerStream
from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2


def stream() -> WorkerStream:
    """Return a worker's stream to which no task is handed."""
    engine: Any = None

    def later(_seconds: float, _then: Callable[[], None]) -> Any:
        """Set no timer."""

    return WorkerStream(engine, "w", limits.PAYLOAD_LIMIT, later=later)


def command(number: int, size: int) -> worker_service_pb2.ControlCommand:
    """Return a command with so many bytes of arguments."""
    return worker_service_pb2.ControlCommand(id=number, command="c", arguments=b"x" * size)


def test_commands_and_stops_come_in_messages_that_the_transport_takes() -> None:
    one, sizes = stream(), [10] * 5_000 + [limits.PAYLOAD_LIMIT] * 2 + [100_000] * 50
    for number, size in enumerate(sizes):
        one.order(command(number, size))
    one.stops = [worker_service_pb2.Stop(token=1 << 50, terminate=True, signal="SIGTERM")] * (2 * STOPS + 1)
    one.acknowledge(7, tuple(range(1 << 40, (1 << 40) + 100_000)), pressing=True)
    told, stops = [], 0
    while (message := one.take()) is not None:
        assert message.ByteSize() < limits.MESSAGE_LIMIT
        told += [found.id for found in message.commands]
        stops += len(message.stops)
    assert told == list(range(len(sizes)))
    assert stops == 2 * STOPS + 1
    assert one.command_bytes == 0


def test_tasks_wait_for_the_next_message_where_this_one_is_large() -> None:
    one = stream()
    taken: list[int] = []
    one._fill = lambda message, parts: taken.append(message.ByteSize())  # type: ignore[method-assign]
    one.order(command(1, limits.PAYLOAD_LIMIT))
    one.order(command(2, 10))
    assert one.take() is not None
    assert not taken
    assert one.take() is not None
    assert len(taken) == 1
    assert taken[0] <= ORDERS_BYTES


async def test_who_reads_no_questions_is_asked_no_more_than_so_many_bytes() -> None:
    mute, desk = stream(), ControlDesk()
    session: Any = SimpleNamespace(id=b"s", name="w", stream=mute)
    targets: list[Session] = [session]
    for _ in range(30):
        async for came in desk.ask("c", b"x" * 1_000_000, targets, 0.0):
            assert [answer.status for _, answer in came] == ["no_reply"]
    assert mute.command_bytes <= desk_module.UNREAD_BYTES + 1_001_000
    assert len(mute.commands) == desk_module.UNREAD_BYTES // 1_000_000 + 1


def test_a_task_whose_arguments_expired_before_they_were_read_is_ended_and_not_left_with_its_worker() -> None:
    one, posted = stream(), list[Any]()
    one._engine = engine = SimpleNamespace(post=posted.append)  # type: ignore[assignment]
    engine.committed = SimpleNamespace(payloads=lambda _graph, _run: [])
    share: Any = SimpleNamespace(graph=b"g" * 12, first=0, count=1, token=7, run=SimpleNamespace(first=0))
    assert one._run(share, worker_service_pb2.WorkResponse(), None) is None
    [told] = posted
    assert (told.token, told.failure.reason) == (7, "EXPIRED")
