"""The connection where the coordinator is away, silent or refuses, and where the connection itself ends."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import grpc
import pytest
from tests.client.fake_coordinator import FakeCoordinator, SilentPort, chunk
from tests.client.served import FAST, T, submitted

from grpcflow import connection as connection_module
from grpcflow import driving, errors, ids
from grpcflow.blocking import run_here
from grpcflow.connection import Connection, RetryPolicy, connection_for
from grpcflow.credentials import Credentials
from grpcflow.link import Link
from grpcflow.threaded import ThreadedSession
from grpcflow_protos.v1 import control_service_pb2, control_service_pb2_grpc

# --- a coordinator that is not there ----------------------------------------------------------------------


def test_an_unreachable_coordinator_is_named_after_the_retry_policy(free_port: Callable[[], int]) -> None:
    address = f"127.0.0.1:{free_port()}"
    connection = Connection([address], retry_policy=FAST)
    for ask in (
        lambda: submitted(connection),
        lambda: connection.lookup(["x"]),
        lambda: connection.inspect("ping"),
        lambda: connection.control("shutdown"),
        connection.list_workers,
    ):
        with pytest.raises(errors.CoordinatorUnavailable, match=address) as caught:
            ask()
        assert isinstance(caught.value, ConnectionError)
        assert caught.value.__context__ is None  # an error that is kept must keep nothing of grpc
    connection.close()


def test_a_submission_that_is_not_to_be_retried_tries_each_address_once(free_port: Callable[[], int]) -> None:
    addresses = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]
    connection = Connection(addresses, retry_policy=RetryPolicy(tries=9, window=60, first_delay=0.01))
    with pytest.raises(errors.CoordinatorUnavailable):
        connection.submit(chunk(ids.mint_graph(), 1), retry=False)
    assert connection._session._opened == 2
    connection.close()


def test_the_default_policy_gives_up_within_a_few_seconds(free_port: Callable[[], int]) -> None:
    policy = RetryPolicy()
    longest = sum(policy.delay(failures) for failures in range(1, policy.tries))
    assert 1 < longest < 4
    assert all(policy.delay(failures) <= policy.max_delay * 1.2 for failures in range(1, 100_000, 999))


def test_a_silent_port_is_unreachable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    port = SilentPort()
    connection = Connection([port.address], retry_policy=RetryPolicy(2, 0.1, 0.01), connect_timeout=0.1)
    with pytest.raises(errors.CoordinatorUnavailable, match=f"{port.address}.*no welcome within 0.1 s"):
        submitted(connection)
    with pytest.raises(errors.TimeoutError):
        connection.wait_range(ids.mint_graph(), 0, 1, timeout=0.5)
    connection.close()
    port.close()


def test_a_coordinator_that_falls_silent_is_found_out(
    coordinator: FakeCoordinator,
    connection: Connection,
    later: Callable[..., "Future[Any]"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in (("_SILENCE", 0.05), ("_PROBE_TIME", 0.2), ("_LOOK", 0.05)):
        monkeypatch.setattr(driving, name, seconds)
    graph = submitted(connection)
    block = threading.Event()
    answers = coordinator.fake.GetResults
    probed = threading.Semaphore(0)

    def silent(request: Any, context: Any) -> Any:
        probed.release()
        if block.is_set():
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "as if nothing came")
        return answers(request, context)

    coordinator.fake.GetResults = silent  # type: ignore[method-assign]
    coordinator.stop()
    coordinator.start()
    future = later(connection.wait_range, graph, 0, 1, timeout=T)
    for _ in range(2):  # probes that are answered leave the stream as it is
        assert probed.acquire(timeout=T)
    opened = connection._session._opened
    block.set()
    assert coordinator.fake.opened.acquire(timeout=T)
    deadline = time.monotonic() + T
    while connection._session._opened == opened and time.monotonic() < deadline:
        assert probed.acquire(timeout=T)
    block.clear()
    coordinator.fake.settle(graph, 0, "x")
    assert future.result(T)[0].data == b'"x"'
    assert connection._session._opened > opened


def test_a_wait_outlives_a_coordinator_that_is_away(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = submitted(connection)
    future = later(connection.wait_range, graph, 0, 1, timeout=T)
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    coordinator.stop()
    with pytest.raises(errors.CoordinatorUnavailable):
        submitted(connection)  # submits give up while waits go on
    coordinator.fake.settle(graph, 0, "x")
    coordinator.start()
    assert future.result(T)[0].data == b'"x"'


def test_a_wait_without_a_coordinator_ends_with_its_timeout(free_port: Callable[[], int]) -> None:
    connection = Connection([f"127.0.0.1:{free_port()}"], retry_policy=FAST)
    with pytest.raises(errors.TimeoutError):
        connection.wait_range(ids.mint_graph(), 0, 1, timeout=0.3)
    connection.close()


def test_the_next_address_is_tried(coordinator: FakeCoordinator, free_port: Callable[[], int]) -> None:
    connection = Connection([f"127.0.0.1:{free_port()}", coordinator.address], retry_policy=FAST)
    submitted(connection)
    assert connection.list_workers()
    connection.close()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "REVISION_UNKNOWN", errors.RequestFailed),
        (grpc.StatusCode.INVALID_ARGUMENT, "HELLO_EXPECTED", errors.InvalidRequest),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", errors.PayloadTooLarge),
        (grpc.StatusCode.PERMISSION_DENIED, "ROLE_FORBIDDEN", errors.RequestFailed),
    ],
)
def test_a_stream_that_is_refused_is_an_error_at_once(
    coordinator: FakeCoordinator,
    connection: Connection,
    status: grpc.StatusCode,
    code: str,
    kind: type[errors.GrpcflowError],
) -> None:
    coordinator.fake.stream_error = (status, code)
    for ask in (lambda: submitted(connection), lambda: connection.wait_range(ids.mint_graph(), 0, 1, timeout=T)):
        with pytest.raises(kind) as caught:
            ask()
        assert caught.value.code == code


def test_a_call_whose_link_is_refused_says_why_and_not_that_nobody_is_there(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    coordinator.fake.stream_error = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    coordinator.fake.holds_calls = True  # cancelled with their link
    with pytest.raises(errors.RequestFailed) as caught:
        connection.update_state("x", "PROGRESS")
    assert caught.value.code == "TOKEN_MISSING"
    # A call that heard of its end before the session knew why was made again: that link's refusal is on its way.
    session = connection._session
    assert isinstance(session, ThreadedSession)
    with session._condition:
        assert session._condition.wait_for(lambda: session._link is None, T)
    coordinator.fake.stream_error = None
    assert submitted(connection)
    assert connection._session._refusal is None


def test_a_coordinator_that_refused_and_is_away_by_now_is_waited_for(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    coordinator.fake.stream_error = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    with pytest.raises(errors.RequestFailed):
        submitted(connection)
    coordinator.stop()
    for ask in (lambda: connection.update_state("x", "PROGRESS"), lambda: submitted(connection)):
        with pytest.raises(errors.CoordinatorUnavailable):
            ask()
    assert connection._session._refusal is None


# --- the end ----------------------------------------------------------------------------------------------


def test_close_ends_every_wait(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = submitted(connection)
    future = later(connection.wait_range, graph, 0, 1, timeout=None)
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    connection.close()
    connection.close()
    with pytest.raises(errors.CoordinatorUnavailable, match="closed"):
        future.result(T)
    for ask in (lambda: submitted(connection), connection.list_workers):
        with pytest.raises(errors.CoordinatorUnavailable, match="closed"):
            ask()


def test_close_before_first_use_does_nothing() -> None:
    Connection(["127.0.0.1:1"]).close()


def test_there_is_one_connection_for_an_address() -> None:
    first = connection_for(["127.0.0.1:1", "127.0.0.1:2"])
    assert connection_for(("127.0.0.1:1", "127.0.0.1:2")) is first
    assert connection_for(["127.0.0.1:1"]) is not first
    with pytest.raises(errors.ImproperlyConfigured):
        connection_for([])
    assert connection_module._SHARED.connections.pop((first.addresses, Credentials())) is first


def test_a_shared_connection_that_was_closed_is_replaced(coordinator: FakeCoordinator) -> None:
    first = connection_for([coordinator.address])
    submitted(first)
    first.close()
    second = connection_for([coordinator.address])
    assert second is not first
    submitted(second)
    second.close()


def test_a_call_that_begins_while_its_link_is_closed_is_an_error_and_not_the_end_of_the_process(
    coordinator: FakeCoordinator,
) -> None:
    link = Link(coordinator.address, T)
    run_here(link.close())
    stub = control_service_pb2_grpc.ControlServiceStub(link.channel)  # this read freed memory
    with pytest.raises(ValueError, match="closed"):
        stub.ListWorkers(control_service_pb2.ListWorkersRequest(), timeout=T)


def test_a_call_that_a_leaving_coordinator_cancels_is_made_again(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    submitted(connection)
    coordinator.fake.call_error = (grpc.StatusCode.CANCELLED, "")
    with pytest.raises(errors.CoordinatorUnavailable):
        connection.update_state("x", "PROGRESS")
    assert len(coordinator.fake.requests) == FAST.tries


def test_a_call_that_ended_needs_no_collection(coordinator: FakeCoordinator, connection: Connection) -> None:
    # That may be the interpreter's last one, when a thread of grpc's may have stopped with the lock of the call.
    submitted(connection)
    session = connection._session
    assert isinstance(session, ThreadedSession)
    assert session._link is not None
    assert session._driver is not None
    driver, call = session._driver, weakref.ref(session._link._call)
    gc.disable()
    try:
        connection.close()
        driver.join(T)
        assert call() is None
    finally:
        gc.enable()
