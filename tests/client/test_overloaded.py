"""A coordinator that has too much to do asks to come back later; clients do, and lose nothing by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from tests.client.fake_coordinator import FakeCoordinator, chunk
from tests.client.served import FAST, T

from grpcflow import errors, ids
from grpcflow.connection import Connection
from grpcflow.retry_policy import RetryPolicy


def overloaded(context: Any, seconds: float) -> None:
    """End a call as a coordinator does that has too much to do."""
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="grpcflow", metadata={"cure": "come back"})
    hint = error_details_pb2.RetryInfo()
    hint.retry_delay.FromMilliseconds(int(seconds * 1000))
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(info)
    details[1].Pack(hint)
    number: int = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=number, message="too much", details=details)))


@pytest.fixture
def busy() -> Iterator[Callable[[int], FakeCoordinator]]:
    """Start a coordinator that sends the first sessions and the first questions away."""
    started: list[FakeCoordinator] = []

    def start(times: int) -> FakeCoordinator:
        coordinator = FakeCoordinator()
        started.append(coordinator)
        coordinator.stop()
        for name in ("Session", "SetRetention"):
            setattr(coordinator.fake, name, _turned_away(getattr(coordinator.fake, name), times))
        coordinator.start()
        return coordinator

    yield start
    for coordinator in started:
        coordinator.close()


def _turned_away(serve: Callable[..., Any], times: int) -> Callable[..., Any]:
    left = [times]

    def behaviour(request: Any, context: Any) -> Any:
        if left[0]:
            left[0] -= 1
            overloaded(context, 0.02)
        return serve(request, context)

    return behaviour


def test_who_is_sent_away_comes_back_and_sends_the_same_again(busy: Callable[[int], FakeCoordinator]) -> None:
    coordinator = busy(3)
    connection = Connection([coordinator.address], retry_policy=RetryPolicy(9, 60.0, first_delay=0.01))
    graph = ids.mint_graph()
    connection.submit(chunk(graph), timeout=T)
    assert coordinator.fake.graphs[graph] == 1
    assert connection._session._opened == 4
    connection.close()


def test_it_gives_up_by_its_policy(busy: Callable[[int], FakeCoordinator]) -> None:
    coordinator = busy(1_000_000)
    connection = Connection([coordinator.address], retry_policy=FAST)
    with pytest.raises(errors.CoordinatorUnavailable, match="too much"):
        connection.submit(chunk(ids.mint_graph()), timeout=T)
    connection.close()


def test_a_wait_is_as_long_as_was_asked_for_and_differs_between_clients() -> None:
    waits = {RetryPolicy().spread(1.0) for _ in range(100)}
    assert len(waits) > 50
    assert all(1.0 <= wait <= 2.0 for wait in waits)
