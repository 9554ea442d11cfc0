"""Fixtures of the core's tests."""

from collections.abc import Iterator

import pytest
from tests.coordinator.support.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A core on the bench; what it sent and nobody looked at fails the test."""
    made = Bench()
    yield made
    made.close()
