"""Signs of life of the coordinator: each stream once in a round, many at once, and one timer for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from grpcflow_coordinator.pulse import EARLY, GROUP, TURNS, Pulse
from grpcflow_coordinator.streams import WorkerStream

HEARTBEAT = 5.0


class FakeStream:
    """Notes when it was to say something, and from when on it would have to have said something."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.beats: list[tuple[float, float]] = []

    def beat(self, before: float) -> None:
        self.beats.append((self.clock.time, before))

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.beats]


class FakeTimer:
    """A timer that the clock of the test ends."""

    def __init__(self, due: float, then: Callable[[], None]) -> None:
        self.due, self.then = due, then
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """Time that passes by hand, and the timers in it."""

    def __init__(self) -> None:
        self.time = 100.0
        self.timers: list[FakeTimer] = []
        self.rung = 0

    def later(self, seconds: float, then: Callable[[], None]) -> asyncio.TimerHandle:
        timer = FakeTimer(self.time + seconds, then)
        self.timers.append(timer)
        return cast(asyncio.TimerHandle, timer)

    def waiting(self) -> list[FakeTimer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while (due := min(self.waiting(), key=lambda timer: timer.due, default=None)) and due.due <= end:
            self.timers.remove(due)
            self.time = due.due
            self.rung += 1
            due.then()
        self.time = end


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pulse(clock: FakeClock) -> Pulse:
    return Pulse(HEARTBEAT, later=clock.later, now=lambda: clock.time)


def join(pulse: Pulse, clock: FakeClock, count: int = 1) -> list[FakeStream]:
    streams = [FakeStream(clock) for _ in range(count)]
    for stream in streams:
        pulse.add(cast(WorkerStream, stream))
    return streams


def test_each_stream_has_its_turn_sooner_than_workers_speak_by_themselves(clock: FakeClock, pulse: Pulse) -> None:
    streams = join(pulse, clock, 3 * GROUP)
    clock.advance(10 * HEARTBEAT)
    for stream in streams:
        gaps = [later - earlier for earlier, later in zip([100.0, *stream.times], stream.times, strict=False)]
        assert len(gaps) >= 10
        assert max(gaps) < HEARTBEAT
        assert max(gaps) <= HEARTBEAT * EARLY + 1e-6


def test_who_said_something_in_the_last_half_of_a_round_need_not(clock: FakeClock, pulse: Pulse) -> None:
    [stream] = join(pulse, clock)
    clock.advance(HEARTBEAT)
    assert stream.beats
    assert all(time - before == pytest.approx(HEARTBEAT * EARLY / 2) for time, before in stream.beats)


def test_few_streams_share_a_turn_and_many_are_spread(clock: FakeClock, pulse: Pulse) -> None:
    few = join(pulse, clock, GROUP)
    clock.advance(HEARTBEAT)
    assert len({time for stream in few for time in stream.times}) == 1
    many = few + join(pulse, clock, 3 * GROUP * TURNS)
    for stream in many:
        stream.beats.clear()
    clock.advance(HEARTBEAT * EARLY + 1e-6)
    turns = [stream.times[0] for stream in many]
    sizes = [turns.count(turn) for turn in set(turns)]
    assert len(sizes) == TURNS
    assert max(sizes) - min(sizes) <= 1


def test_one_timer_serves_all_and_none_serves_nobody(clock: FakeClock, pulse: Pulse) -> None:
    assert not clock.waiting()
    streams = join(pulse, clock, 100)
    assert len(clock.waiting()) == 1
    clock.advance(10 * HEARTBEAT)
    assert len(clock.waiting()) == 1
    assert clock.rung <= 10 * TURNS / EARLY
    for stream in streams:
        stream.beats.clear()
        pulse.remove(cast(WorkerStream, stream))
    assert not clock.waiting()
    clock.advance(HEARTBEAT)
    assert not any(stream.beats for stream in streams)
    [again] = join(pulse, clock)
    clock.advance(HEARTBEAT)
    assert len(again.beats) == 1


def test_one_that_leaves_takes_no_other_along(clock: FakeClock, pulse: Pulse) -> None:
    gone, here = join(pulse, clock, 2)
    pulse.remove(cast(WorkerStream, gone))
    clock.advance(HEARTBEAT)
    assert (gone.beats, len(here.beats)) == ([], 1)
