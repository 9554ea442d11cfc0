"""The connection against a fake coordinator: acknowledgements, refusals, results, control."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import grpc
import pytest
from tests.client.fake_coordinator import FakeCoordinator, chunk
from tests.client.served import T, clock_of_waits, submitted

from grpcflow import driving, errors, ids
from grpcflow.connection import Connection, Settled
from grpcflow.waiting import LARGE
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2, value_pb2

# --- submissions -----------------------------------------------------------------------------------------


def test_a_submit_returns_once_it_is_acknowledged(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection)
    assert coordinator.fake.graphs == {graph: 1}


def test_submits_of_many_threads_share_one_stream(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    for future in [later(submitted, connection) for _ in range(200)]:
        future.result(T)
    assert len(coordinator.fake.graphs) == 200
    assert len(coordinator.fake.streams) == 1


def test_a_graph_of_many_pieces_arrives_in_order(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = ids.mint_graph()
    size = 300_000
    chunks = [
        graph_pb2.GraphChunk(
            graph=graph,
            sequence=i,
            last=i == 9,
            node_count=10,
            runs=[graph_pb2.NodeRun(first=i, count=1, payloads=[b"x" * size])],
        )
        for i in range(10)
    ]
    connection.submit(chunks, timeout=T)
    assert coordinator.fake.received == 10
    assert coordinator.fake.messages >= 4  # three pieces are nearly a batch; a hello came before


def test_an_acknowledgement_that_comes_twice_changes_nothing(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    coordinator.fake.acks = 2
    for _ in range(20):
        submitted(connection)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (3, "GRAPH_CYCLE", errors.InvalidRequest),
        (3, "PAYLOAD_TOO_LARGE", errors.PayloadTooLarge),
        (6, "ID_TAKEN", errors.AlreadyExists),
        (8, "STORE_FULL", errors.RequestFailed),
        (7, "ROLE_FORBIDDEN", errors.RequestFailed),
        (14, "STOPPING", errors.CoordinatorUnavailable),
    ],
)
def test_a_refusal_is_an_error_with_its_code(
    coordinator: FakeCoordinator, connection: Connection, status: int, code: str, kind: type[errors.GrpcflowError]
) -> None:
    graph = ids.mint_graph()
    coordinator.fake.refusals[graph] = (status, code, "what to do")
    with pytest.raises(kind, match="what to do") as caught:
        connection.submit(chunk(graph))
    assert type(caught.value) is kind
    assert caught.value.code == code
    submitted(connection)  # a refused submission does not end the stream
    assert len(coordinator.fake.streams) == 1


def test_a_submit_that_nobody_acknowledges_times_out(coordinator: FakeCoordinator, connection: Connection) -> None:
    coordinator.fake.acks = 0
    with pytest.raises(errors.TimeoutError, match="did not acknowledge"):
        connection.submit(chunk(ids.mint_graph()), timeout=0.1)


def test_a_submission_is_sent_again_after_a_broken_stream(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    coordinator.fake.acks = 0
    graph = ids.mint_graph()
    future = later(connection.submit, chunk(graph))
    assert coordinator.fake.graph_seen.acquire(timeout=T)
    coordinator.fake.acks = 1
    coordinator.fake.break_streams()
    future.result(T)
    assert coordinator.fake.graphs == {graph: 2}


@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_stream_that_breaks_all_the_time_loses_nothing(
    coordinator: FakeCoordinator, connection: Connection, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "_AGAIN", 0.001)
    coordinator.fake.break_every = every
    coordinator.fake.answer = lambda graph, index: str(index).encode()
    for _ in range(6):
        graph = submitted(connection, 3)
        results = connection.wait_range(graph, 0, 3, timeout=T)
        assert [result.data for result in results] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("size", [-1, 0, 1])
def test_a_payload_is_refused_here_above_its_limit(
    coordinator: FakeCoordinator, connection: Connection, size: int
) -> None:
    chunks = chunk(ids.mint_graph(), payload=b"x" * (limits.PAYLOAD_LIMIT + size))
    if size == 1:
        with pytest.raises(errors.PayloadTooLarge, match=str(limits.PAYLOAD_LIMIT)):
            connection.submit(chunks)
        assert coordinator.fake.messages == 0
    else:
        connection.submit(chunks)


def test_a_piece_that_no_message_can_hold_is_refused_here(connection: Connection) -> None:
    with pytest.raises(errors.PayloadTooLarge, match="chunks"):
        connection.submit(chunk(ids.mint_graph(), 2, b"x" * (limits.MESSAGE_LIMIT // 2)))
    with pytest.raises(errors.InvalidRequest, match="piece"):
        connection.submit([])


# --- results ---------------------------------------------------------------------------------------------


def test_results_of_a_range_come_in_order(coordinator: FakeCoordinator, connection: Connection) -> None:
    coordinator.fake.answer = lambda graph, index: str(index).encode()
    graph = submitted(connection, 5_000)
    results = connection.wait_range(graph, 1_000, 3_000, timeout=T)
    assert [result.data for result in results] == [str(i).encode() for i in range(1_000, 4_000)]
    assert {result.state for result in results} == {"SUCCESS"}
    assert connection.wait_range(graph, 0, 0, timeout=T) == []


def test_results_arrive_when_their_nodes_settle(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = submitted(connection, 3)
    names = [ids.node_id(graph, index) for index in range(3)]
    arrived: list[tuple[str, Settled]] = []
    seen = threading.Semaphore(0)

    def on_result(text: str, settled: Settled) -> None:
        arrived.append((text, settled))
        seen.release()

    future = later(connection.wait, names, timeout=T, on_result=on_result)
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    for index in (2, 0, 1):
        coordinator.fake.settle(graph, index, index)
        assert seen.acquire(timeout=T)
    found = future.result(T)
    assert [text for text, _ in arrived] == [names[2], names[0], names[1]]
    assert {text: found[text].data for text in names} == {names[0]: b"0", names[1]: b"1", names[2]: b"2"}


def test_a_result_tells_all_that_the_coordinator_knows(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection, 2)
    failure = value_pb2.Failure(type_name="ValueError", module="builtins", message="no")
    coordinator.fake.settle(
        graph,
        0,
        state=value_pb2.STATE_FAILURE,
        failure=failure,
        settled_at_ms=1_700_000_000_000,
        worker="w@h",
        retries=2,
    )
    listed = value_pb2.Value()
    listed.list.values.add(data=b"1")
    coordinator.fake.settle(graph, 1, value=None, worker="w")
    coordinator.fake.settled[graph, 1].value.CopyFrom(listed)
    first, second = connection.wait_range(graph, 0, 2, timeout=T)
    assert (first.state, first.failure, first.worker, first.retries) == ("FAILURE", failure, "w@h", 2)
    assert first.settled_at is not None
    assert first.settled_at.timestamp() == 1_700_000_000
    assert (second.state, second.value, second.data) == ("SUCCESS", listed, None)


def test_what_a_watch_leaves_out_is_fetched(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection, 2)
    bare = value_pb2.Result(node=ids.node_bytes(graph, 0), known=True, state=value_pb2.STATE_SUCCESS)
    full = value_pb2.Result()
    full.CopyFrom(bare)
    full.value.list.values.add(data=b"1")
    coordinator.fake.settled[graph, 0] = bare
    coordinator.fake.settle(graph, 1, "x")
    calls = []

    def fetch(request: Any, context: Any) -> Any:
        calls.append(list(request.nodes.ids))
        return client_service_pb2.GetResultsResponse(results=[full])

    coordinator.fake.GetResults = fetch  # type: ignore[method-assign]
    # The stub was bound to the method at start.
    coordinator.stop()
    coordinator.start()
    first, second = connection.wait_range(graph, 0, 2, timeout=T)
    assert first.value == full.value
    assert second.data == b'"x"'
    name = ids.node_id(graph, 0)
    assert connection.wait([name], timeout=T)[name].value == full.value
    assert calls == [[name], [name]]


def test_two_threads_that_wait_for_one_node_both_get_it(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = submitted(connection, 2)
    name = ids.node_id(graph, 0)
    waits = [later(connection.wait, [name], timeout=T), later(connection.wait_range, graph, 0, 2, timeout=T)]
    for _ in waits:
        assert coordinator.fake.watch_seen.acquire(timeout=T)
    with pytest.raises(errors.TimeoutError):
        connection.wait([name, name], timeout=0.05)  # gives up, which must not end the others' watches
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    coordinator.fake.settle(graph, 0, "x")
    coordinator.fake.settle(graph, 1, "y")
    assert waits[0].result(T)[name].data == b'"x"'
    assert [one.data for one in waits[1].result(T)] == [b'"x"', b'"y"']
    assert coordinator.fake.unwatched == []


def test_a_wait_that_times_out_says_how_many_are_missing_and_unwatches(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    graph = submitted(connection, 3)
    coordinator.fake.answer = lambda graph, index: b"1" * LARGE if index == 1 else None
    with clock_of_waits() as clock, pytest.raises(errors.TimeoutError, match=r"2 tasks did not settle within 40 s"):
        connection.wait_range(graph, 0, 3, timeout=T, on_large=lambda value: clock.passes(T))
    with pytest.raises(TimeoutError, match="1 task did"):
        connection.wait([ids.node_id(graph, 2)], timeout=0.05)
    submitted(connection)  # comes after the unwatch on the same stream
    first = coordinator.fake.unwatched[0]
    assert [(one.first, one.count) for one in first.ranges] == [(0, 1), (2, 1)]


def test_a_timeout_of_zero_looks_once(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection)
    with pytest.raises(errors.TimeoutError):
        connection.wait([ids.node_id(graph, 0)], timeout=0)


def test_a_node_that_nobody_knows_is_not_found(connection: Connection) -> None:
    with pytest.raises(errors.NotFound):
        connection.wait([ids.node_id(ids.mint_graph(), 0)], timeout=T)
    with pytest.raises(errors.NotFound, match="invoice-7"):
        connection.wait(["invoice-7"], timeout=T)
    with pytest.raises(errors.NotFound):
        connection.wait_range(ids.mint_graph(), 0, 5, timeout=None)


def test_a_users_own_id_is_found_and_watched(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = submitted(connection, 2)
    coordinator.fake.aliases = {"invoice-1": ids.node_bytes(graph, 0), "invoice-2": ids.node_bytes(graph, 1)}
    coordinator.fake.settle(graph, 1, "two")
    seen: list[str] = []
    future = later(
        connection.wait, ["invoice-1", "invoice-2"], timeout=T, on_result=lambda text, settled: seen.append(text)
    )
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    coordinator.fake.settle(graph, 0, "one")
    found = future.result(T)
    assert (found["invoice-1"].data, found["invoice-2"].data) == (b'"one"', b'"two"')
    assert seen == ["invoice-2", "invoice-1"]


def test_an_error_of_the_callback_reaches_the_caller(coordinator: FakeCoordinator, connection: Connection) -> None:
    coordinator.fake.answer = lambda graph, index: b"1"
    graph = submitted(connection, 2)

    def on_result(text: str, settled: Settled) -> None:
        raise LookupError(text)

    with pytest.raises(LookupError):
        connection.wait([ids.node_id(graph, 0)], timeout=T, on_result=on_result)
    assert connection.wait([ids.node_id(graph, 1)], timeout=T)


def test_a_watch_goes_on_after_a_broken_stream_for_what_is_missing(
    coordinator: FakeCoordinator,
    connection: Connection,
    later: Callable[..., "Future[Any]"],
    caplog: pytest.LogCaptureFixture,
) -> None:
    graph = submitted(connection, 4)
    coordinator.fake.settle(graph, 1, 1)
    names = [ids.node_id(graph, index) for index in range(4)]
    waits = [
        later(connection.wait_range, graph, 0, 4, timeout=None),
        later(connection.wait, names, timeout=None),
    ]
    for _ in waits:
        assert coordinator.fake.watch_seen.acquire(timeout=T)
    with caplog.at_level(logging.WARNING, logger="grpcflow.connection"):
        coordinator.stop()
        coordinator.start()
        for _ in waits:
            assert coordinator.fake.watch_seen.acquire(timeout=T)
    for index in (0, 2, 3):
        coordinator.fake.settle(graph, index, index)
    assert [one.data for one in waits[0].result(T)] == [b"0", b"1", b"2", b"3"]
    assert [waits[1].result(T)[name].data for name in names] == [b"0", b"1", b"2", b"3"]
    assert "still waiting for" in caplog.text
    assert coordinator.address in caplog.text


def test_lookup_tells_how_nodes_stand_in_the_order_asked(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection, 2)
    coordinator.fake.settle(graph, 0, "x")
    known = [ids.node_id(graph, 1), ids.node_id(graph, 0)]
    found = connection.lookup([known[0], "nobody", known[1]])
    assert [one.state if one else None for one in found] == ["PENDING", None, "SUCCESS"]
    assert connection.lookup([]) == []


def test_a_lookup_that_no_message_can_hold_is_asked_in_parts(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    graph = submitted(connection, 8)
    for index in range(8):
        coordinator.fake.settle(graph, index, index)
    coordinator.fake.large_answers = 1_500_000
    found = connection.lookup([ids.node_id(graph, index) for index in range(8)])
    assert [one.data.strip() if one and one.data else None for one in found] == [str(i).encode() for i in range(8)]


# --- control ---------------------------------------------------------------------------------------------


def test_inspect_tells_what_became_of_each_worker(coordinator: FakeCoordinator, connection: Connection) -> None:
    first, second, third = connection.inspect("ping", {"a": 1}, ["a"], 0.5)
    assert (first.worker, first.status, first.reply, first.error) == ("a@h", "answered", {"ok": "pong"}, "")
    assert (second.worker, second.status, second.reply) == ("b@h", "no_reply", None)
    assert "not JSON" in third.error
    request = coordinator.fake.requests[0]
    assert (request.command, request.arguments, list(request.destination), request.timeout_ms) == (
        "ping",
        b'{"a": 1}',
        ["a"],
        500,
    )


def test_control_and_the_lists(coordinator: FakeCoordinator, connection: Connection) -> None:
    assert connection.control("shutdown")[0].reply == {"ok": "done"}
    answer = connection.revoke(["a", "b"], True, "SIGKILL")
    assert (answer.revoked, list(answer.unknown)) == (2, ["x"])
    assert (coordinator.fake.requests[1].terminate, coordinator.fake.requests[1].signal) == (True, "SIGKILL")
    assert [worker.name for worker in connection.list_workers()] == ["a@h", "b@h"]
    queues = connection.list_queues()
    assert (queues.lanes[0].waiting, queues.scheduled) == (3, 1)


def test_an_unknown_destination_names_those_that_exist(coordinator: FakeCoordinator, connection: Connection) -> None:
    coordinator.fake.control_error = (grpc.StatusCode.NOT_FOUND, "UNKNOWN_DESTINATION")
    for ask in (connection.inspect, connection.control):
        with pytest.raises(errors.UnknownDestination, match="refused on purpose") as caught:
            ask("ping", {}, ["zz"])
        assert caught.value.known == ("a@h", "b@h")
        assert caught.value.cure == "cure of UNKNOWN_DESTINATION"


def test_bad_arguments_of_a_command_are_refused(coordinator: FakeCoordinator, connection: Connection) -> None:
    with pytest.raises(errors.SerializationError, match="plain data"):
        connection.inspect("ping", {"a": object()})
    coordinator.fake.control_error = (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_COMMAND")
    with pytest.raises(errors.InvalidRequest) as caught:
        connection.inspect("what")
    assert caught.value.code == "UNKNOWN_COMMAND"
