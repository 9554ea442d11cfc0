"""Fixtures of the client's tests: a fake coordinator, a connection to it, and calls in other threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.served import FAST, App, T

from grpcflow import Grpcflow, state
from grpcflow.connection import Connection


@pytest.fixture(autouse=True)
def current_app_of_the_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """Makes the app of a test's own file the current one, None where it has none: what ran before decides nothing."""
    own = getattr(request.module, "app", None)
    before = state.exchange_current_app(own if isinstance(own, Grpcflow) else None)
    yield
    state.exchange_current_app(before)


@pytest.fixture
def coordinator() -> Iterator[FakeCoordinator]:
    server = FakeCoordinator()
    yield server
    server.close()


@pytest.fixture
def connection(coordinator: FakeCoordinator) -> Iterator[Connection]:
    made = Connection([coordinator.address], retry_policy=FAST, connect_timeout=T)
    yield made
    made.close()


@pytest.fixture
def app(connection: Connection) -> Iterator[App]:
    """An app on that connection."""
    made = App(connection)
    yield made
    state.forget_app(made)


@pytest.fixture
def later() -> Iterator[Callable[..., "Future[Any]"]]:
    """Runs a call in another thread."""
    pool = ThreadPoolExecutor(40)
    yield pool.submit
    pool.shutdown(wait=True)
