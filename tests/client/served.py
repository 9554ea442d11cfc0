"""What the tests of the connection share beside their fixtures."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.client.fake_coordinator import chunk

from grpcflow import Grpcflow, ids, session
from grpcflow.connection import Connection, RetryPolicy

FAST = RetryPolicy(tries=4, window=3.0, first_delay=0.01, factor=2.0, max_delay=0.05)
T = 40.0


class App(Grpcflow):
    """An app that takes the test's connection."""

    def __init__(self, connection: Connection) -> None:
        self.made = connection
        super().__init__("connected", set_as_current=False, coordinator=connection.addresses)

    @property
    def connection(self) -> Connection:
        """The test's connection."""
        return self.made


class Clock:
    """The time of those who wait for results."""

    def __init__(self) -> None:
        self._passed = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._passed

    def passes(self, seconds: float) -> None:
        self._passed += seconds


@contextmanager
def clock_of_waits() -> Iterator[Clock]:
    """For waits that end between two results: their time passes when a test says so, and not before the first."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "time", clock)
        yield clock


def is_collected(found: "weakref.ref[Any]") -> bool:
    """Returns whether nobody holds an object, as soon as threads that are about to end have let go of it."""
    pause = threading.Event()
    for _ in range(int(T / 0.01)):
        gc.collect()
        if found() is None:
            return True
        pause.wait(0.01)
    return False


def submitted(connection: Connection, nodes: int = 1) -> bytes:
    graph = ids.mint_graph()
    connection.submit(chunk(graph, nodes))
    return graph
