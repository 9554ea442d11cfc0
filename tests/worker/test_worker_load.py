"""How busy a worker is: when that is told, and what it costs where nothing happens."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.worker.worker_fakes import FakeExecutor

from grpcflow_protos.v1 import load_pb2
from grpcflow_worker.executors.pace import Pace
from grpcflow_worker.load import LONGEST, LoadTeller, measure_load
from grpcflow_worker.service_options import build_service_options
from grpcflow_worker.subscription import ConfigError


class Busy:
    """A worker of which a test says how busy it is, and a clock.

    Attributes:
        now: monotonic seconds.
        load: what is measured.
        looks: how often it was.
    """

    def __init__(self, interval: float = 5.0) -> None:
        self.now, self.load, self.looks = 0.0, load_pb2.WorkerLoad(load_average=[1.0, 1.0, 1.0]), 0
        self.teller = LoadTeller(self.measure, interval, lambda: self.now)

    def measure(self) -> load_pb2.WorkerLoad:
        self.looks += 1
        found = load_pb2.WorkerLoad()
        found.CopyFrom(self.load)
        return found

    def told(self, now: float, *, soon: bool = False) -> bool:
        """Say whether it tells its load at a time."""
        self.now = now
        return self.teller.take(soon=soon) is not None


def test_it_is_told_when_something_changed_and_after_a_while_anyway() -> None:
    busy = Busy()
    assert busy.told(0)
    assert not busy.told(5)
    busy.load.running = 1
    assert not busy.told(9.9)
    assert busy.told(10)
    busy.load.processed = 1
    assert busy.told(15)
    busy.load.load_average[1] = 1.05
    assert not busy.told(20)
    busy.load.load_average[1] = 1.2
    assert busy.told(25)
    assert [busy.told(float(now)) for now in range(30, 60, 5)] == [False] * 5 + [True]
    assert LONGEST == 30


def test_it_goes_along_with_a_message_a_little_sooner() -> None:
    busy = Busy()
    busy.told(0)
    busy.load.running = 1
    assert not busy.told(4.4, soon=True)
    assert busy.told(4.6, soon=True)


def test_it_is_measured_once_in_an_interval() -> None:
    busy = Busy()
    for now in range(100):
        busy.told(now / 10, soon=True)
    assert busy.looks == 3


def test_on_a_new_stream_and_when_asked_for_it_is_told_anew() -> None:
    busy = Busy()
    busy.told(0)
    busy.teller.forget()
    assert busy.teller.rest() < 0
    assert busy.told(0)


def test_an_interval_of_nothing_is_never() -> None:
    busy = Busy(interval=0)
    assert not busy.told(0)
    assert busy.teller.rest() > 1e9
    busy.teller.forget()
    assert not busy.told(1e6, soon=True)
    assert busy.looks == 0


class Figures(FakeExecutor):
    """An executor with children, one of which has just ended."""

    def stats(self) -> dict[str, Any]:
        pace = Pace()
        pace.learn("a", 3, 0.1)
        pace.learn("b", 4, 0.1)
        return {"tasks": pace.stats(), "processes": [{"pid": os.getpid()}, {"pid": 1 << 30}, {"pid": None}]}


def test_what_is_measured() -> None:
    load = measure_load(Figures(), "1.2")
    assert (load.processed, load.running, load.version) == (7, 0, "1.2")
    assert len(load.load_average) == 3
    assert load.memory > 1 << 20
    assert load.system == os.uname().sysname


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_an_interval_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="--heartbeat-interval"):
        build_service_options("w", heartbeat_interval=seconds)
    assert build_service_options("w", heartbeat_interval=0.0).heartbeat_interval == 0
