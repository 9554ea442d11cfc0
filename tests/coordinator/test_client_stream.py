"""What one message to a client may cost: bytes, looks at records, and what is read before there is room for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grpcflow_coordinator import client_stream as streams_module
from grpcflow_coordinator.client_stream import LOOK_BYTES, RESULT_BYTES, SPAN, ClientStream
from grpcflow_coordinator.client_stream import UNTOLD_BYTES as MOST
from grpcflow_coordinator.core.model import NodeState, Outcome
from grpcflow_protos.v1 import client_service_pb2
from grpcflow_protos.wire_parts import with_parts

GRAPH = b"g" * 12


class Records:
    """Records in which every node of a range has settled with a value of this size; counts what is read."""

    def __init__(
        self, settled: range, size: int, state: NodeState = NodeState.SUCCESS, *, is_gone: bool = False
    ) -> None:
        self._is_gone = is_gone
        self._settled, self._outcome = settled, Outcome(state, 1, b"1" * size)
        self.read = self.looks = 0

    def settled_in(self, graph: bytes, first: int, count: int) -> set[int]:
        """Return which have settled."""
        self.looks += 1
        assert count <= SPAN
        return set(range(max(first, self._settled.start), min(first + count, self._settled.stop)))

    def graph(self, graph: bytes) -> object | None:
        """Return the root of the graph, where it was not deleted."""
        return None if self._is_gone else self

    def outcome(self, graph: bytes, index: int) -> Outcome:
        """Return how one has."""
        self.read += 1
        return self._outcome

    def run_of(self, graph: bytes, index: int) -> None:
        """Return that there is nothing more to know."""

    def progress(self, graph: bytes, index: int) -> None:
        """Return that it never left the straight path."""
        self.read += 1


def told(stream: ClientStream, records: Any) -> list[client_service_pb2.SessionResponse]:
    """Take all that waits, and hold the bounds of a message against each of them."""
    messages, before = [], 0
    while (message := stream.take()) is not None:
        messages.append(message)
        assert records.read + records.looks - before <= RESULT_BYTES // LOOK_BYTES + 1
        before = records.read + records.looks
    return messages


def columns(messages: list[client_service_pb2.SessionResponse]) -> list[int]:
    """Return the nodes whose values were told."""
    return sorted(index for message in messages for one in message.successes for index in one.indexes)


def test_large_values_that_had_settled_leave_beside_their_messages() -> None:
    records: Any = Records(range(30), 100_000)
    stream = ClientStream(records)
    stream.backfill.add(GRAPH, 0, 30)
    wholes = []
    while True:
        parts: list[bytes] = []
        message = stream.take(parts)
        if message is None:
            break
        assert not message.successes
        assert len(parts) >= 2
        wholes.append(client_service_pb2.SessionResponse.FromString(with_parts(message, parts).SerializeToString()))
    assert columns(wholes) == list(range(30))
    assert {value for whole in wholes for one in whole.successes for value in one.values} == {b"1" * 100_000}


@pytest.mark.parametrize("size", [1, 200, 100_000])
def test_what_had_settled_is_told_in_messages_that_take_no_longer_for_small_values(size: int) -> None:
    count = 50_000 if size < 1_000 else 50
    records: Any = Records(range(count), size)
    stream = ClientStream(records)
    stream.backfill.add(GRAPH, 0, count)
    messages = told(stream, records)
    assert columns(messages) == list(range(count))
    assert max(message.ByteSize() for message in messages) <= RESULT_BYTES + 2 * size + 20 * RESULT_BYTES // LOOK_BYTES
    assert records.read == count  # no value is read before there is room for it


def test_ranges_in_which_nothing_has_settled_cost_too() -> None:
    records: Any = Records(range(0), 1)
    stream = ClientStream(records)
    for number in range(5_000):
        stream.backfill.add(GRAPH, 10 * number, 10 * number + 3)
    assert len(told(stream, records)) > 1
    assert records.looks == 5_000


def test_results_and_states_that_are_read_when_they_are_told_cost_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "UNREAD", 0)
    records: Any = Records(range(10_000), 1, NodeState.REVOKED)
    stream = ClientStream(records)
    for index in range(10_000):
        stream.add_outcome(GRAPH, index, f"mine {index}", records.outcome(GRAPH, index))
    records.read = 0
    messages = told(stream, records)
    assert sum(len(message.results) for message in messages) == 10_000
    monkeypatch.setattr("grpcflow_coordinator.values.stand_in", lambda _, graph, index: (graph, index))
    for index in range(10_000):
        stream.add_move(GRAPH, index, "BUSY")
    records.read = 0
    assert sum(len(message.progress) for message in told(stream, records)) == 10_000


async def test_refusals_that_repeat_what_was_asked_are_held_by_their_bytes() -> None:
    records: Any = Records(range(0), 1)
    stream = ClientStream(records)
    refused = client_service_pb2.Refused(nodes=client_service_pb2.NodeSet(ids=["x" * 255] * 1_000))
    while not stream.is_full:
        stream.refuse(refused)
    assert len(stream._refused) <= MOST // refused.ByteSize() + 1
    waiting = asyncio.create_task(stream.drained())
    messages = told(stream, records)
    assert {len(message.refused) for message in messages[:-1]} == {RESULT_BYTES // refused.ByteSize() + 1}
    assert stream._refused_bytes == 0
    async with asyncio.timeout(40):
        await waiting


def test_what_expires_after_it_was_watched_and_before_it_was_told_is_refused_and_not_waited_for() -> None:
    records: Any = Records(range(0), 1, is_gone=True)
    stream = ClientStream(records)
    stream.backfill.add(GRAPH, 2, 5)
    [message] = told(stream, records)
    [refused] = message.refused
    assert (refused.nodes.graph, refused.nodes.ranges[0].first, refused.nodes.ranges[0].count) == (GRAPH, 2, 3)
    assert (refused.refusal.code, refused.refusal.status) == ("UNKNOWN_NODE", 5)
    assert not stream.backfill
