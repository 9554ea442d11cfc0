"""Streams of items as a reader gets them: in order, each once, whatever breaks; against a fake coordinator."""

import gc
import json
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import grpc
import pytest
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.served import App, T

from grpcflow import errors, failures, ids, state
from grpcflow.blocking import run_here
from grpcflow.connection import Connection
from grpcflow.items import Cursor
from grpcflow.reading import ThreadReader
from grpcflow.threaded import ThreadedSession
from grpcflow_protos.v1 import client_service_pb2, client_service_pb2_grpc, value_pb2


@pytest.fixture
def text() -> str:
    return ids.node_id(ids.mint_graph(), 0)


def page(first: int, *items: bytes, **fields: Any) -> client_service_pb2.ReadItemsResponse:
    values = [value_pb2.Value(data=item) for item in items]
    return client_service_pb2.ReadItemsResponse(first=first, items=values, **fields)


def test_a_cursor_passes_over_what_it_has_and_asks_for_what_it_lacks() -> None:
    cursor = Cursor("a")
    assert [data for data, _ in cursor.take(page(0, b"0", b"1"))] == [b"0", b"1"]
    assert [data for data, _ in cursor.take(page(1, b"1", b"2"))] == [b"2"]
    assert not list(cursor.take(page(0, b"0")))
    assert (cursor.request().id, cursor.request().first) == ("a", 3)


def test_a_gap_between_items_is_an_error_and_no_silent_loss() -> None:
    with pytest.raises(errors.RequestFailed, match="item 2 of a where 0 was next"):
        list(Cursor("a").take(page(2, b"2")))


def test_items_come_in_order_and_the_stream_ends_with_its_task(
    coordinator: FakeCoordinator, app: App, text: str
) -> None:
    coordinator.fake.emit(text, *range(7))
    coordinator.fake.end_items(text)
    assert list(app.AsyncResult(text).stream(timeout=T)) == list(range(7))


def test_items_arrive_while_the_task_runs(
    coordinator: FakeCoordinator, app: App, text: str, later: Callable[..., "Future[Any]"]
) -> None:
    coordinator.fake.emit(text, "first")
    items = app.AsyncResult(text).stream(timeout=T)
    assert next(items) == "first"
    waiting = later(next, items)
    coordinator.fake.emit(text, {"n": 2})
    assert waiting.result(T) == {"n": 2}
    coordinator.fake.end_items(text)
    assert not list(items)


def test_the_stream_of_a_task_that_emits_nothing_just_ends(coordinator: FakeCoordinator, app: App, text: str) -> None:
    coordinator.fake.emit(text)
    coordinator.fake.end_items(text)
    assert not list(app.AsyncResult(text).stream(timeout=T))


def test_a_failure_is_raised_behind_the_last_item_unless_it_is_not_wanted(
    coordinator: FakeCoordinator, app: App, text: str
) -> None:
    coordinator.fake.emit(text, 1)
    failure = failures.capture(KeyError("gone"))
    coordinator.fake.end_items(text, state=value_pb2.STATE_FAILURE, failure=failure)
    items = app.AsyncResult(text).stream(timeout=T)
    assert next(items) == 1
    with pytest.raises(KeyError, match="gone"):
        next(items)
    assert list(app.AsyncResult(text).stream(timeout=T, propagate=False)) == [1]


@pytest.mark.parametrize("every", [1, 3, 4])
def test_a_reader_whose_calls_break_asks_for_what_it_lacks_and_gets_each_item_once(
    coordinator: FakeCoordinator, app: App, text: str, every: int
) -> None:
    coordinator.fake.emit(text, *range(20))
    coordinator.fake.end_items(text)
    coordinator.fake.read_limit = every
    assert list(app.AsyncResult(text).stream(timeout=T)) == list(range(20))
    assert len(coordinator.fake.reads) > 4
    assert coordinator.fake.reads == sorted(coordinator.fake.reads)


def test_a_reader_goes_on_when_the_coordinator_was_away(
    coordinator: FakeCoordinator,
    app: App,
    text: str,
    later: Callable[..., "Future[Any]"],
    caplog: pytest.LogCaptureFixture,
) -> None:
    coordinator.fake.emit(text, 0)
    items = app.AsyncResult(text).stream(timeout=T)
    assert next(items) == 0
    coordinator.stop()
    told = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: told.set() if "is read on" in record.getMessage() else None  # type: ignore[method-assign]
    logging.getLogger("grpcflow.connection").addHandler(handler)
    try:
        waiting = later(next, items)
        assert told.wait(T), "the log says that it waits for the coordinator"
    finally:
        logging.getLogger("grpcflow.connection").removeHandler(handler)
    coordinator.fake.emit(text, 1)
    coordinator.start()
    assert waiting.result(T) == 1


def test_a_stream_can_be_read_from_any_item_on(coordinator: FakeCoordinator, app: App, text: str) -> None:
    coordinator.fake.emit(text, *range(5))
    coordinator.fake.end_items(text)
    assert list(app.AsyncResult(text).stream(timeout=T, first=3)) == [3, 4]
    with pytest.raises(ValueError, match="counted from 0"):
        app.AsyncResult(text).stream(first=-1)


def test_a_reader_that_waited_long_enough_learns_where_to_read_on(
    coordinator: FakeCoordinator, app: App, text: str
) -> None:
    coordinator.fake.emit(text, 1, 2)
    said: list[str] = []
    for seconds in (0.2, 2.0, 20.0):  # on a busy machine they come later
        with pytest.raises(errors.TimeoutError) as told:
            list(app.AsyncResult(text).stream(timeout=seconds))
        said.append(str(told.value))
        if "stream(first=2)" in said[-1]:
            return
    pytest.fail(f"it was told otherwise: {said}")


def test_a_fast_stream_does_not_outrun_its_time(coordinator: FakeCoordinator, app: App, text: str) -> None:
    coordinator.fake.emit(text, *range(10_000))
    with pytest.raises(errors.TimeoutError):
        list(app.AsyncResult(text).stream(timeout=0.001))


def test_an_unknown_task_has_no_stream(coordinator: FakeCoordinator, app: App, text: str) -> None:
    with pytest.raises(errors.NotFound, match="no such node"):
        list(app.AsyncResult(text).stream(timeout=T))


def test_a_closed_connection_ends_a_reader(
    coordinator: FakeCoordinator, app: App, text: str, later: Callable[..., "Future[Any]"]
) -> None:
    coordinator.fake.emit(text, 1)
    items = app.AsyncResult(text).stream(timeout=T)
    assert next(items) == 1
    waiting = later(next, items)
    app.connection.close()
    with pytest.raises(errors.CoordinatorUnavailable, match="closed"):
        waiting.result(T)


def test_a_stream_is_refused_inside_a_task_where_it_is_asked_for(app: App, text: str) -> None:
    with state.denied_join_result(), pytest.raises(RuntimeError, match="inside a task"):
        app.AsyncResult(text).stream()


def test_a_slow_reader_is_read_ahead_for_by_a_few_messages_only(
    coordinator: FakeCoordinator, connection: Connection, text: str
) -> None:
    coordinator.fake.emit(text, *("x" * 100_000 for _ in range(1000)))
    coordinator.fake.end_items(text)
    session = connection._session
    assert isinstance(session, ThreadedSession)
    reader = ThreadReader(
        session, lambda channel: client_service_pb2_grpc.ClientServiceStub(channel).ReadItems(Cursor(text).request())
    )
    with reader._changed:
        assert reader._changed.wait_for(lambda: len(reader._messages) == 4, T)
        assert not reader._changed.wait_for(lambda: len(reader._messages) > 4 or reader._over, 0.3)
    # HTTP/2's window grows with what gRPC takes the line for, to 20 MB and more where all goes quickly.
    assert coordinator.fake.items_sent < 700, "what nobody takes stays at the coordinator"
    left = 0
    while (message := run_here(reader.next(None))) is not None:
        left += len(message.items)
    assert left == 1000
    run_here(reader.close())


def test_who_stops_reading_leaves_no_thread_behind(coordinator: FakeCoordinator, app: App, text: str) -> None:
    coordinator.fake.emit(text, *range(5))
    items = app.AsyncResult(text).stream(timeout=T)
    next(items)
    readers = [thread for thread in threading.enumerate() if thread.name == "grpcflow-reading"]
    assert readers
    items.close()  # type: ignore[attr-defined] # it is a generator
    for reader in readers:
        reader.join(T)
        assert not reader.is_alive()


def test_a_reader_lets_go_of_its_call_without_a_collection(
    coordinator: FakeCoordinator, connection: Connection, text: str
) -> None:
    coordinator.fake.emit(text, 1)
    session = connection._session
    assert isinstance(session, ThreadedSession)
    before = threading.enumerate()
    reader = ThreadReader(
        session, lambda channel: client_service_pb2_grpc.ClientServiceStub(channel).ReadItems(Cursor(text).request())
    )
    [thread] = [one for one in threading.enumerate() if one.name == "grpcflow-reading" and one not in before]
    assert run_here(reader.next(None)) is not None
    call = weakref.ref(reader._call)
    gc.disable()
    try:
        run_here(reader.close())
        thread.join(T)
        assert call() is None
    finally:
        gc.enable()


def test_items_are_appended_with_their_numbers(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = ids.mint_graph()
    node = ids.node_bytes(graph, 3)
    connection.emit(node, 9, 0, [(b"1", ""), (b"2", "")])
    connection.emit(node, 9, 1, [(b"2", ""), (b"3", "application/msgpack")])
    assert coordinator.fake.items[ids.node_id(graph, 3)] == [b"1", b"2", b"3"]
    last = coordinator.fake.requests[-1]
    assert (last.token, last.first, last.items[1].content_type) == (9, 1, "application/msgpack")


def test_items_of_an_attempt_that_was_taken_away_are_refused(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    coordinator.fake.emit_errors.append((grpc.StatusCode.FAILED_PRECONDITION, "STALE_ATTEMPT"))
    with pytest.raises(errors.StaleAttempt):
        connection.emit(ids.node_bytes(ids.mint_graph(), 0), 1, 0, [(b"1", "")])


def test_items_are_sent_again_while_the_worker_is_on_its_way_back(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    coordinator.fake.emit_errors.append((grpc.StatusCode.UNAVAILABLE, "RECOVERING"))
    graph = ids.mint_graph()
    connection.emit(ids.node_bytes(graph, 0), 1, 0, [(json.dumps("a").encode(), "")])
    assert coordinator.fake.items[ids.node_id(graph, 0)] == [b'"a"']
