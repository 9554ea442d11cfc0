"""When a child that autoscale made goes: by a clock that a test moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from grpcflow_worker.executor import ExecutorSettings
from grpcflow_worker.executors import scaling
from grpcflow_worker.executors.scaling import Scaling


@dataclass
class FakeChild:
    progress_at: float


@dataclass
class FakeNursery:
    """Children that a test keeps busy or idle."""

    places: int = 1
    waiting: list[FakeChild] = field(default_factory=list)

    def resize(self, places: int) -> None:
        del self.waiting[: max(0, self.places - places)]
        self.places = places

    def idle(self) -> Sequence[FakeChild]:
        return self.waiting


class FakeHandle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTime:
    """A clock and an event loop's timers."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timers: list[tuple[float, Callable[[], None], FakeHandle]] = []

    def monotonic(self) -> float:
        return self.now

    def get_running_loop(self) -> "FakeTime":
        return self

    def call_later(self, seconds: float, call: Callable[[], None]) -> FakeHandle:
        handle = FakeHandle()
        self.timers.append((self.now + seconds, call, handle))
        return handle

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((each for each in self.timers if each[0] <= end), key=lambda each: each[0]):
            self.timers.remove(due[0])
            self.now = due[0][0]
            if not due[0][2].cancelled:
                due[0][1]()
        self.now = end


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(scaling, "time", fake)
    monkeypatch.setattr(scaling, "asyncio", fake)
    return fake


@pytest.fixture
def nursery() -> FakeNursery:
    return FakeNursery()


def made(nursery: FakeNursery, **settings: object) -> Scaling:
    return Scaling(nursery, ExecutorSettings(autoscale=(4, 1), **settings))  # type: ignore[arg-type]


def test_a_child_goes_after_thirty_seconds_without_work_and_the_next_a_second_later(
    time: FakeTime, nursery: FakeNursery
) -> None:
    scales = made(nursery)
    scales.need(4)
    assert nursery.places == 4
    time.advance(10)
    nursery.waiting = [FakeChild(time.now) for _ in range(4)]
    time.advance(29.9)
    assert nursery.places == 4
    time.advance(0.2)
    assert nursery.places == 3
    time.advance(1)
    assert nursery.places == 2
    time.advance(100)
    assert nursery.places == 1
    assert not time.timers, "it still looks, though there is nobody left to go"


def test_a_child_that_had_work_meanwhile_stays_as_long_again(time: FakeTime, nursery: FakeNursery) -> None:
    scales = made(nursery, autoscale_keepalive=5.0)
    scales.need(2)
    nursery.waiting = [FakeChild(time.now)]
    time.advance(4)
    nursery.waiting = [FakeChild(time.now)]
    time.advance(4.5)
    assert nursery.places == 2
    time.advance(0.6)
    assert nursery.places == 1


def test_no_child_goes_while_all_have_work(time: FakeTime, nursery: FakeNursery) -> None:
    scales = made(nursery)
    scales.need(3)
    time.advance(10_000)
    assert nursery.places == 3


def test_the_setting_of_the_app_holds_where_the_worker_says_nothing(time: FakeTime, nursery: FakeNursery) -> None:
    scales = made(nursery)
    scales.take_defaults({"worker_autoscale_keepalive": 7})
    assert scales.keepalive == 7
    asked = made(nursery, autoscale_keepalive=2.0)
    asked.take_defaults({"worker_autoscale_keepalive": 7})
    assert asked.keepalive == 2
    silent = made(nursery)
    silent.take_defaults({})
    assert silent.keepalive == scaling.KEEPALIVE == 30


def test_need_is_met_at_once_and_never_exceeded(time: FakeTime, nursery: FakeNursery) -> None:
    scales = made(nursery)
    for wanted, there in ((1, 1), (3, 3), (2, 3), (9, 4)):
        scales.need(wanted)
        assert nursery.places == there
    scales.close()
    time.advance(1_000)
    assert nursery.places == 4
