"""The connection's calls about what is kept, waits that end early or begin before the submission, and notices."""

import contextlib
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import grpc
import pytest
from tests.client.fake_coordinator import FakeCoordinator, chunk
from tests.client.served import T, clock_of_waits, submitted

from grpcflow import errors, ids
from grpcflow.connection import Connection
from grpcflow.control import Control, Revoked
from grpcflow.kept import assemble
from grpcflow_protos.v1 import value_pb2

FAILED: dict[str, Any] = {"state": value_pb2.STATE_FAILURE, "failure": value_pb2.Failure(type_name="ValueError")}


def part(kind: str, data: bytes = b"") -> value_pb2.ValuePart:
    return value_pb2.ValuePart(kind=value_pb2.PartKind.Value(f"PART_KIND_{kind}"), data=data)


# --- values in parts --------------------------------------------------------------------------------------


def test_a_value_is_put_together_at_any_depth() -> None:
    depth = 5_000
    whole = assemble([*[part("OPEN")] * depth, part("DATA", b"1"), *[part("CLOSE")] * depth])
    assert whole.data == b"[" * depth + b"1" + b"]" * depth
    assert assemble([part("OPEN"), part("CLOSE")]).data == b"[]"
    failed = value_pb2.ValuePart(kind=value_pb2.PART_KIND_FAILED, failed=value_pb2.FailedNode(id="x"))
    assert assemble([part("OPEN"), failed, part("DATA", b"2"), part("CLOSE")]).list.values[0].failed.id == "x"


@pytest.mark.parametrize(
    "kinds", [[], ["OPEN"], ["CLOSE"], ["DATA", "DATA"], ["OPEN", "CLOSE", "CLOSE"], ["UNSPECIFIED"]], ids=str
)
def test_parts_that_are_no_value_are_an_error(kinds: list[str]) -> None:
    with pytest.raises(errors.RequestFailed, match="make no value"):
        assemble(part(kind) for kind in kinds)


def test_a_value_that_lies_apart_is_fetched(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection, 2)
    names = [ids.node_id(graph, index) for index in range(2)]
    coordinator.fake.parts[names[0]] = [part("OPEN"), part("DATA", b"1"), part("DATA", b"2"), part("CLOSE")]
    coordinator.fake.settle(graph, 0, state=value_pb2.STATE_SUCCESS, value_apart=True)
    coordinator.fake.settle(graph, 1, "x")
    (looked,) = connection.lookup(names[:1])
    watched = connection.wait(names, timeout=T)[names[0]]
    ranged = connection.wait_range(graph, 0, 2, timeout=T)[0]
    streamed = dict(one for one in connection.arrivals(names, timeout=T) if one)[names[0]]
    for found in (looked, watched, ranged, streamed):
        assert found is not None
        assert found.data == b"[1,2]"
    asked = len(coordinator.fake.requests)
    connection.lookup(names, states_only=True)
    assert len(coordinator.fake.requests) == asked, "who asks for states gets no values"


# --- states, forgetting, groups, stamps -------------------------------------------------------------------


def test_a_state_of_the_tasks_own_and_the_details_of_a_call(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    graph = submitted(connection)
    meta = value_pb2.Value(data=b"{}", content_type="application/json")
    details = value_pb2.CallDetails(task="t", queue="q")
    own: dict[str, Any] = {"state": value_pb2.STATE_STARTED, "custom_state": "PROGRESS", "meta": meta, "known": True}
    coordinator.fake.settle(graph, 0, details=details, **own)
    (found,) = connection.lookup([ids.node_id(graph, 0)], details=True)
    assert found is not None
    assert (found.state, found.custom_state, found.meta) == ("STARTED", "PROGRESS", (b"{}", "application/json"))
    assert found.details == details
    connection.update_state("x", "PROGRESS", b"1", "application/msgpack")
    request = coordinator.fake.requests[-1]
    assert (request.id, request.state, request.meta.data) == ("x", "PROGRESS", b"1")
    assert request.meta.content_type == "application/msgpack"


def test_groups_are_kept_and_deleted(connection: Connection) -> None:
    assert connection.restore_group("g") is None
    connection.save_group("g", b"described")
    assert connection.restore_group("g") == b"described"
    connection.delete_group("g")
    assert connection.restore_group("g") is None


def test_any_number_of_results_is_forgotten_and_of_stamps_revoked(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    assert connection.forget([str(i) for i in range(25_000)]) == 25_000
    assert [len(request.ids) for request in coordinator.fake.requests] == [10_000, 10_000, 5_000]
    coordinator.fake.requests.clear()
    assert connection.revoke_by_stamp({"a": [str(i) for i in range(1_500)], "b": ["x"]}, True, "SIGKILL") == 1_501
    first, second = coordinator.fake.requests
    assert (len(first.stamps), len(second.stamps), first.terminate, first.signal) == (1_000, 501, True, "SIGKILL")
    assert (second.stamps[-1].name, list(second.stamps[-1].values)) == ("b", ["x"])


def test_control_revokes_by_stamps(coordinator: FakeCoordinator, connection: Connection) -> None:
    class App:
        @property
        def connection(self) -> Connection:
            return connection

    control = Control(App())
    assert control.revoke_by_stamped_headers({"order": "7", "batch": ["a", "b"]}) == Revoked(3)
    sent = [(one.name, list(one.values)) for one in coordinator.fake.requests[-1].stamps]
    assert sent == [("order", ["7"]), ("batch", ["a"]), ("batch", ["b"])]
    with pytest.raises(ValueError, match="leave destination out"):
        control.revoke_by_stamped_headers({"order": "7"}, ["a@h"])


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "STALE_ATTEMPT", errors.StaleAttempt),
        (grpc.StatusCode.FAILED_PRECONDITION, "SETTLED", errors.InvalidRequest),
        (grpc.StatusCode.FAILED_PRECONDITION, "NO_VALUE", errors.InvalidRequest),
        (grpc.StatusCode.INVALID_ARGUMENT, "BAD_STATE", errors.InvalidRequest),
        (grpc.StatusCode.NOT_FOUND, "UNKNOWN_NODE", errors.NotFound),
    ],
)
def test_each_refusal_is_an_error_of_its_own(
    coordinator: FakeCoordinator, connection: Connection, status: grpc.StatusCode, code: str, kind: type[Exception]
) -> None:
    coordinator.fake.call_error = (status, code)
    with pytest.raises(kind, match="refused on purpose") as caught:
        connection.update_state("x", "PROGRESS")
    assert (type(caught.value), getattr(caught.value, "code", "")) == (kind, code)


# --- waits ------------------------------------------------------------------------------------------------


def test_a_wait_to_failure_ends_once_nothing_before_it_is_missing(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = submitted(connection, 5)
    names = [ids.node_id(graph, index) for index in range(5)]
    waits = [
        later(connection.wait_range, graph, 0, 5, timeout=T, to_failure=True),
        later(connection.wait, names, timeout=T, to_failure=True),
    ]
    for _ in waits:
        assert coordinator.fake.watch_seen.acquire(timeout=T)
    for index in (3, 0):
        coordinator.fake.settle(graph, index, **(FAILED if index else {}))
    coordinator.fake.settle(graph, 2, 2)
    submitted(connection)  # what came before it on the stream has arrived
    assert not any(wait.done() for wait in waits), "the second may still be the first failure"
    coordinator.fake.settle(graph, 1, 1)
    assert [one.state for one in waits[0].result(T)] == ["SUCCESS"] * 3 + ["FAILURE"]
    found = waits[1].result(T)
    assert [found[name].state for name in names[:4]] == ["SUCCESS"] * 3 + ["FAILURE"]
    assert names[4] not in found


def test_what_is_not_yet_submitted_is_waited_for_where_that_is_asked(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = ids.mint_graph()
    name = ids.node_id(graph, 0)
    with pytest.raises(errors.NotFound):
        connection.wait([name], timeout=T)
    waits = [
        later(connection.wait, [name], timeout=T, wait_for_submit=True),
        later(connection.wait, ["invoice"], timeout=T, wait_for_submit=True),
    ]
    for _ in waits:
        assert coordinator.fake.watch_seen.acquire(timeout=T)
    with pytest.raises(errors.NotFound):
        connection.wait([name], timeout=T)  # whose refusal must not end the other's wait
    connection.submit(chunk(graph))
    coordinator.fake.settle(graph, 0, id="invoice", **FAILED)
    assert waits[0].result(T)[name].state == "FAILURE"
    assert waits[1].result(T)["invoice"].state == "FAILURE"


def test_results_are_yielded_as_they_come_and_stopping_ends_the_watch(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    graph = submitted(connection, 3)
    names = [ids.node_id(graph, index) for index in range(3)]
    coming = connection.arrivals(names, timeout=T, interval=0.01)
    assert next(coming) is None, "the interval passes while nothing comes"
    coordinator.fake.settle(graph, 2, "late")
    first = next(one for one in coming if one is not None)
    assert (first[0], first[1].data) == (names[2], b'"late"')
    coming.close()
    submitted(connection)
    assert [(one.first, one.count) for one in coordinator.fake.unwatched[0].ranges] == [(0, 2)]
    with clock_of_waits() as clock, pytest.raises(errors.TimeoutError, match="2 tasks"):
        for _ in connection.arrivals(names, timeout=T):
            clock.passes(T)


@pytest.mark.parametrize("yielded", [False, True])
@pytest.mark.parametrize("settled", [2, 3])
def test_what_has_come_when_the_time_is_over_is_given_before_the_wait_ends(
    coordinator: FakeCoordinator, connection: Connection, settled: int, yielded: bool
) -> None:
    graph = submitted(connection, 3)
    names = [ids.node_id(graph, index) for index in range(3)]
    given = []

    def take(name: str, _result: Any) -> None:
        given.append(name)
        if len(given) == 1:
            for index in range(1, settled):
                coordinator.fake.settle(graph, index)
            connection.wait(names[1:settled], timeout=T)  # all who watch are told at once
            clock.passes(T)

    coordinator.fake.settle(graph, 0)
    late = pytest.raises(errors.TimeoutError, match="1 task did") if settled < 3 else contextlib.nullcontext()
    with clock_of_waits() as clock, late:
        if yielded:
            for one in connection.arrivals(names, timeout=T):
                assert one is not None
                take(*one)
        else:
            connection.wait(names, timeout=T, on_result=take)
    assert given == names[:settled]


def test_an_interrupted_wait_leaves_the_session_usable(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection, 2)

    def interrupt() -> None:
        if coordinator.fake.watch_seen.acquire(timeout=T / 2):  # else the test is not where it is to be interrupted
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        connection.wait_range(graph, 0, 2, timeout=T)
    thread.join(T)
    coordinator.fake.settle(graph, 0, 1)
    coordinator.fake.settle(graph, 1, 2)
    assert [one.data for one in connection.wait_range(graph, 0, 2, timeout=T)] == [b"1", b"2"]
    submitted(connection)  # comes after the unwatch on the same stream
    assert len(coordinator.fake.streams) == 1
    assert coordinator.fake.unwatched


# --- notices ----------------------------------------------------------------------------------------------


def test_a_function_is_called_once_its_nodes_have_settled(
    coordinator: FakeCoordinator, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    graph = submitted(connection, 2)
    names = [ids.node_id(graph, index) for index in range(2)]
    calls: list[Exception | None] = []
    called = threading.Semaphore(0)

    def call(error: Exception | None) -> None:
        calls.append(error)
        called.release()
        raise LookupError("a failing one keeps no other from being called")

    connection.when_settled(names, call)
    connection.when_settled(names[:1], call)
    coordinator.fake.settle(graph, 0, 1)
    assert called.acquire(timeout=T)
    assert calls == [None]
    coordinator.fake.settle(graph, 1, 1)
    assert called.acquire(timeout=T)
    connection.when_settled([ids.node_id(ids.mint_graph(), 0)], call)
    assert called.acquire(timeout=T)
    assert isinstance(calls[2], errors.NotFound)
    connection.when_settled([ids.node_id(graph, 0)], call)
    assert called.acquire(timeout=T)
    assert len(calls) == 4
    assert "was to be called" in caplog.text


def test_closing_tells_those_who_wait_for_a_call(coordinator: FakeCoordinator, connection: Connection) -> None:
    graph = submitted(connection)
    told: Future[Exception | None] = Future()
    connection.when_settled([ids.node_id(graph, 0)], told.set_result)
    connection.close()
    assert isinstance(told.result(T), errors.CoordinatorUnavailable)
