"""Large arguments leave in parts, and large values are read while others are on their way: nobody sees a difference."""

import itertools
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.served import T, submitted

from grpcflow import Grpcflow, errors, group
from grpcflow.connection import Connection
from grpcflow.lower import Attachment, Calls, chunks, lower, to_chunks
from grpcflow.settled import Settled
from grpcflow.submission import encoded, in_parts
from grpcflow.testing import Cluster
from grpcflow.waiting import LARGE, RangeWaiter
from grpcflow_protos.limits import BATCH_BYTES, CHUNK_BYTES, PAYLOAD_LIMIT
from grpcflow_protos.v1 import client_service_pb2, graph_pb2
from grpcflow_protos.wire_parts import joined, nested, with_parts

GRAPH = b"g" * 12
app = Grpcflow("large", set_as_current=False)


@app.task
def echo(value: Any) -> Any:
    """Return what it is given."""
    return value


def runs_of(pieces: list[bytes]) -> list[graph_pb2.NodeRun]:
    """Return all runs of encoded pieces, in the order in which they are read."""
    chunks = [chunk for piece in pieces for chunk in client_service_pb2.SessionRequest.FromString(piece).submits]
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[0].outcome
    return [run for chunk in chunks for run in chunk.runs]


@pytest.mark.parametrize("attachment", [None, Attachment("member", b"n" * 16, 7, b"j" * 16, 3, True)])
def test_pieces_in_parts_read_as_those_made_whole(attachment: Attachment | None) -> None:
    texts = ["a", "b" * BATCH_BYTES, "c", "d" * (BATCH_BYTES // 2), "e" * (BATCH_BYTES // 2), "f" * CHUNK_BYTES, "g"]
    graph = lower(group(echo.s(text) for text in texts), Calls.inside(app, None))
    assert graph is not None
    whole = encoded(to_chunks(graph, GRAPH, attachment))
    pieces = in_parts(to_chunks(graph, GRAPH, attachment, parted=True))
    assert sum(isinstance(piece, tuple) for piece in pieces) >= 2
    assert any(isinstance(piece, bytes) for piece in pieces)
    assert runs_of([joined(piece) for piece in pieces]) == runs_of(whole)


def test_calls_of_a_batch_leave_in_parts_too() -> None:
    texts = ["a" * BATCH_BYTES, "b", "c" * BATCH_BYTES]
    with Cluster(app):
        with app.batch() as batch:
            results = [echo.delay(text) for text in texts]
            sizes = sorted(graph.size for graph in batch._collected)
            assert sum(isinstance(piece, tuple) for graph in batch._collected for piece in graph.pieces()) == 2
        assert [result.get(timeout=60) for result in results] == texts
    assert sizes[0] < 1_000 < BATCH_BYTES < sizes[1] == sizes[2] < BATCH_BYTES + 1_000


def test_who_sends_a_second_large_call_keeps_the_memory_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []
    monkeypatch.setattr(chunks, "_LARGE_GRAPHS", itertools.count(1))
    monkeypatch.setattr(chunks, "_keep_freed_memory", lambda: kept.append(True))
    for number, text in enumerate(("a" * CHUNK_BYTES, "b", "c" * CHUNK_BYTES)):
        graph = lower(echo.s(text), Calls.inside(app, None))
        assert graph is not None
        to_chunks(graph, GRAPH, parted=True)
        assert kept == [True] * (number // 2)


def test_a_payload_over_the_limit_is_refused_in_parts_too() -> None:
    parts = nested(graph_pb2.GraphChunk.RUNS_FIELD_NUMBER, b"", 5, [b"x" * (PAYLOAD_LIMIT + 1)])
    with pytest.raises(errors.PayloadTooLarge, match="the arguments of a task have"):
        in_parts([with_parts(graph_pb2.GraphChunk(graph=GRAPH), parts)])


def test_a_large_value_wakes_who_waits_before_the_last_has_come() -> None:
    waiter = RangeWaiter(GRAPH, 0, 3)
    waiter.take_values(GRAPH, [0, 1], [b"1", b"2" * LARGE])
    early = waiter.wake.get_nowait()
    assert (early.data, waiter.done) == (b"2" * LARGE, False)
    assert waiter.wake.empty()
    waiter.take_values(GRAPH, [1], [b"2" * LARGE])  # again, as after a new link: it has been told
    assert waiter.wake.empty()
    waiter.take_values(GRAPH, [2], [b"3"])
    assert waiter.wake.get_nowait() is None


def test_large_values_are_not_copied_into_a_message(coordinator: FakeCoordinator, connection: Connection) -> None:
    data = [b'"' + b"x" * LARGE + b'"', b"1", b'"' + b"y" * LARGE + b'"']
    coordinator.fake.answer = lambda _graph, index: data[index]
    graph = submitted(connection, 3)
    ends = [connection.wait_range(graph, index, 1, timeout=T)[0] for index in range(3)]
    assert [end.data for end in ends] == data
    assert [type(end.data) for end in ends] == [memoryview, bytes, memoryview]
    together = connection.wait_range(graph, 0, 3, timeout=T)
    assert [end.data for end in together] == data, "a message with others is read whole"


def test_large_values_of_a_group_are_read_once_and_anew_for_who_asks_again() -> None:
    values = [["x" * LARGE], 1, {"y": "z" * LARGE}]
    with Cluster(app):
        result = group(echo.s(value) for value in values).apply_async()
        first = result.get(timeout=60)
        again = result.get(timeout=60)
    assert first == again == values
    assert first[0] is not again[0]


def test_what_cannot_be_read_ahead_is_told_with_the_values() -> None:
    result = group(echo.s(1) for _ in range(2))
    with Cluster(app):
        waited: Any = result.apply_async()
        settled = Settled("SUCCESS", b"\x00 no JSON")
        waited._read_ahead(settled)
        assert settled.ahead is None
        with pytest.raises(errors.SerializationError, match="not valid"):
            waited._values([settled])
