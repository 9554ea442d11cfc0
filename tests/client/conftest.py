"""Fixtures of the client's tests: a fake coordinator, a connection to it, and calls in other threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.served import FAST, T

from grpcflow.connection import Connection


@pytest.fixture
def coordinator() -> Iterator[FakeCoordinator]:
    server = FakeCoordinator()
    yield server
    server.stop()


@pytest.fixture
def connection(coordinator: FakeCoordinator) -> Iterator[Connection]:
    made = Connection([coordinator.address], retry_policy=FAST, connect_timeout=T)
    yield made
    made.close()


@pytest.fixture
def later() -> Iterator[Callable[..., "Future[Any]"]]:
    """Runs a call in another thread."""
    pool = ThreadPoolExecutor(40)
    yield pool.submit
    pool.shutdown(wait=True)
