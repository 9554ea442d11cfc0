"""Schedules: what fires when, once, whatever dies; overlap, catching up, pausing, changing."""

from dataclasses import replace
from typing import Any

import pytest
from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, chord, one

from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import (
    Event,
    ScheduleRunAsked,
    SchedulesPauseAsked,
    SchedulesPut,
    SchedulesRemoveAsked,
)
from grpcflow_coordinator.core.model import Graph, NodeState
from grpcflow_coordinator.core.planning import Plan, TickOutcome
from grpcflow_coordinator.core.ticks import Times
from grpcflow_coordinator.storage.contract import Batch

MINUTE = 60_000
EVERY_MINUTE = Times("crontab", ("*", "*", "*", "*", "*"))
EVERY_TEN_SECONDS = Times("interval", every_ms=10_000)


def plan(name: str = "job", times: Times = EVERY_MINUTE, sketch: Sketch | None = None, **more: Any) -> Plan:
    sketch = sketch or one(PLAIN)
    [chunk] = sketch.chunks(None)
    graph = Graph(bytes(12), sketch.count, chunk.templates, 0, outcome=sketch.count - 1)
    runs = tuple(chunk.runs)
    return Plan(name, times, graph, runs, wire=repr((times, more, sketch.count)).encode(), **more)


def put(bench: Bench, *plans: Plan, owner: str = "") -> Answer:
    return ask(bench, SchedulesPut(None, plans, owner))


def ask(bench: Bench, event: Event) -> Answer:
    bench.step(event)
    [answer] = bench.take(Answer)
    return answer


def outcomes(bench: Bench, name: str = "job") -> list[TickOutcome]:
    return [past.outcome for past in bench.machine.cluster.schedules[name].history]


def fired(bench: Bench) -> list[bytes]:
    return sorted(bench.records.all_graphs())


def minutes(bench: Bench, count: float = 1) -> None:
    bench.pass_time(count * 60)


@pytest.fixture
def bench() -> Bench:
    """A bench whose clock stands at a whole minute."""
    made = Bench()
    made.wall_ms = 1_700_000_040_000
    return made


def test_it_fires_at_its_times_and_what_it_submits_runs(bench: Bench) -> None:
    put(bench, plan())
    assert not fired(bench)
    assert bench.machine.wake().wall_ms == bench.wall_ms + MINUTE
    minutes(bench)
    [graph] = fired(bench)
    assert int.from_bytes(graph[:6], "big") == bench.wall_ms
    worker = bench.worker()
    bench.values_of(worker)
    assert bench.state(graph, 0) is NodeState.SUCCESS
    minutes(bench)
    assert len(fired(bench)) == 2


def test_an_interval_counts_from_when_it_was_put_and_does_not_drift(bench: Bench) -> None:
    bench.wall_ms += 1234
    began = bench.wall_ms
    put(bench, plan(times=EVERY_TEN_SECONDS))
    for _ in range(5):
        bench.pass_time(10.4)
    ticks = [past.time_ms for past in reversed(bench.machine.cluster.schedules["job"].history)]
    assert ticks == [began + 10_000 * number for number in range(1, 6)]


def test_a_whole_canvas_fires(bench: Bench) -> None:
    put(bench, plan(sketch=chord(3)))
    minutes(bench)
    worker = bench.worker()
    bench.values_of(worker)
    bench.values_of(worker)
    [graph] = fired(bench)
    assert bench.state(graph, 4) is NodeState.SUCCESS


def test_one_that_is_for_once_fires_once_and_is_gone(bench: Bench) -> None:
    put(bench, plan(times=Times("once", once_ms=bench.wall_ms + 5000)))
    bench.pass_time(4)
    assert not fired(bench)
    bench.pass_time(2)
    assert len(fired(bench)) == 1
    assert not bench.machine.cluster.schedules
    bench.restart(down=60)
    assert len(fired(bench)) == 1


def test_one_for_once_that_code_declares_fires_once_however_often_it_is_put(bench: Bench) -> None:
    once = plan(times=Times("once", once_ms=bench.wall_ms + 5000), owner="app")
    put(bench, once, owner="app")
    bench.pass_time(6)
    bench.values_of(bench.worker())
    bench.pass_time(100_000)
    assert not fired(bench)
    assert put(bench, once, owner="app").names == ((), (), ())
    bench.pass_time(60)
    assert not fired(bench)
    assert put(bench, owner="app").names == ((), (), ("job",))


def test_one_for_a_moment_that_has_just_passed_fires_at_once_and_one_long_ago_is_missed(bench: Bench) -> None:
    put(bench, plan("just", Times("once", once_ms=bench.wall_ms - 1000)))
    put(bench, plan("long", Times("once", once_ms=bench.wall_ms - 90_000_000)))
    assert len(fired(bench)) == 1
    assert outcomes(bench, "long") == [TickOutcome.MISSED]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tick_fires_once_wherever_the_coordinator_dies(when: str) -> None:
    """The process is killed at each commit of the story in turn, before or after it; the ticks are the same."""
    commits = killed = 0
    while True:
        bench = Bench()
        bench.wall_ms = 1_700_000_040_000
        died = _dies_at(bench, when, killed)
        if not died and killed > commits:
            break
        commits = max(commits, killed)
        bench.machine.cluster.alarms.sort()
        history = bench.machine.cluster.schedules["job"].history
        assert [past.outcome for past in history] == [TickOutcome.FIRED] * 3
        assert len(fired(bench)) == 3
        if not died:
            break
        killed += 1
    assert killed >= 4


def _dies_at(bench: Bench, when: str, at: int) -> bool:
    """Run three minutes; at the commit of this number the process dies and starts again. False: there were fewer."""
    count = 0

    class Killed(Exception):
        pass

    def failpoint(where: str, _batch: Batch) -> None:
        nonlocal count
        if where == when:
            count += 1
            if count == at + 1:
                raise Killed

    def guarded(act: Any) -> None:
        try:
            act()
        except Killed:
            bench.store.failpoint = lambda _where, _batch: None
            bench.restart()
            if act is first:
                act()

    def first() -> None:
        bench.step(SchedulesPut(None, (plan(),), ""))

    bench.store.failpoint = failpoint
    guarded(first)
    for _ in range(3):
        bench.wall_ms += MINUTE
        bench.monotonic += 60
        guarded(bench.tick)
        bench.tick()
    return count > at


def test_overlap_allow_skip_and_queue_one(bench: Bench) -> None:
    put(bench, plan("allow"), plan("skip", overlap="skip"), plan("queue", overlap="queue_one"))
    for _ in range(4):
        minutes(bench)
    assert outcomes(bench, "allow") == [TickOutcome.FIRED] * 4
    assert outcomes(bench, "skip") == [TickOutcome.SKIPPED] * 3 + [TickOutcome.FIRED]
    assert outcomes(bench, "queue") == [TickOutcome.QUEUED] * 3 + [TickOutcome.FIRED]
    bench.restart()
    worker = bench.worker()
    bench.values_of(worker)
    assert outcomes(bench, "queue")[0] is TickOutcome.FIRED
    assert bench.machine.cluster.schedules["queue"].passed == 2
    bench.values_of(worker)
    minutes(bench)
    assert outcomes(bench, "skip")[0] is TickOutcome.FIRED


def test_after_a_time_down_the_last_tick_is_made_up_for_and_the_others_are_missed(bench: Bench) -> None:
    put(bench, plan())
    bench.restart(down=3600)
    assert outcomes(bench) == [TickOutcome.FIRED, TickOutcome.MISSED]
    assert bench.machine.cluster.schedules["job"].passed == 59


def test_all_ticks_within_the_window_are_made_up_for_where_that_is_wanted(bench: Bench) -> None:
    put(bench, plan(catch_up_all=True, catch_up_ms=600_000))
    bench.restart(down=3600)
    assert outcomes(bench) == [TickOutcome.FIRED] * 11 + [TickOutcome.MISSED]
    assert bench.machine.cluster.schedules["job"].passed == 49


def test_what_is_later_than_the_window_is_missed(bench: Bench) -> None:
    put(bench, plan(times=Times("crontab", ("0", "0", "*", "*", "*")), catch_up_ms=600_000))
    bench.restart(down=86_400)
    assert outcomes(bench) == [TickOutcome.MISSED]
    assert not fired(bench)


def test_a_clock_that_is_put_back_lets_no_tick_come_twice_and_one_that_was_ahead_silences_nothing(
    bench: Bench,
) -> None:
    put(bench, plan(catch_up_ms=120_000))
    minutes(bench)
    bench.wall_ms -= 30_000
    bench.tick()
    bench.pass_time(30)
    assert len(fired(bench)) == 1
    bench.wall_ms += 365 * 86_400_000
    bench.tick()
    bench.wall_ms -= 365 * 86_400_000
    bench.restart()
    before = len(fired(bench))
    for _ in range(4):
        minutes(bench)
    assert len(fired(bench)) > before


def test_jitter_fires_later_and_always_at_the_same_moment(bench: Bench) -> None:
    times = replace(EVERY_MINUTE, jitter_ms=30_000)
    put(bench, plan(times=times))
    [(alarm, _, tick)] = bench.machine.cluster.alarms
    assert tick <= alarm <= tick + 30_000
    bench.wall_ms = alarm - 1
    bench.tick()
    assert not fired(bench)
    bench.wall_ms = alarm
    bench.tick()
    assert len(fired(bench)) == 1


def test_a_paused_schedule_lets_its_times_pass_and_makes_up_for_none(bench: Bench) -> None:
    put(bench, plan())
    ask(bench, SchedulesPauseAsked(None, ("job",), True))
    minutes(bench, 3)
    bench.restart()
    minutes(bench, 2)
    assert not fired(bench)
    ask(bench, SchedulesPauseAsked(None, ("job",), False))
    assert not fired(bench)
    minutes(bench)
    assert len(fired(bench)) == 1


def test_one_can_be_run_by_hand_also_while_it_is_paused_and_its_ticks_come_beside_that(bench: Bench) -> None:
    put(bench, plan(overlap="skip"))
    ids = {ask(bench, ScheduleRunAsked(None, "job")).names for _ in range(2)}
    assert len(ids) == 2
    assert len(fired(bench)) == 2
    bench.values_of(bench.worker())
    minutes(bench)
    assert len(fired(bench)) == 3
    assert bench.machine.cluster.schedules["job"].fired == 3


def test_putting_the_same_again_changes_nothing_and_another_time_starts_anew(bench: Bench) -> None:
    assert put(bench, plan(times=EVERY_TEN_SECONDS)).names == (("job",), (), ())
    bench.pass_time(5)
    assert put(bench, plan(times=EVERY_TEN_SECONDS)).names == ((), (), ())
    bench.pass_time(6)
    assert len(fired(bench)) == 1
    assert put(bench, plan(times=Times("interval", every_ms=20_000))).names == ((), ("job",), ())
    bench.pass_time(19)
    assert len(fired(bench)) == 1
    bench.pass_time(1)
    assert len(fired(bench)) == 2


def test_what_an_owner_no_longer_names_is_removed_and_others_stay(bench: Bench) -> None:
    put(bench, plan("mine", owner="app"), plan("old", owner="app"), owner="app")
    put(bench, plan("by hand"))
    assert put(bench, plan("mine", owner="app"), owner="app").names == ((), (), ("old",))
    bench.restart()
    assert sorted(bench.machine.cluster.schedules) == ["by hand", "mine"]


def test_one_that_is_removed_fires_no_more_and_unknown_names_change_nothing(bench: Bench) -> None:
    put(bench, plan("a"), plan("b"))
    for event in (
        SchedulesRemoveAsked(None, ("a", "x")),
        SchedulesPauseAsked(None, ("a", "x"), True),
        ScheduleRunAsked(None, "x"),
    ):
        assert ask(bench, event).code == "UNKNOWN_SCHEDULE"
    assert sorted(bench.machine.cluster.schedules) == ["a", "b"]
    ask(bench, SchedulesRemoveAsked(None, ("a",)))
    minutes(bench)
    assert len(fired(bench)) == 1


def test_a_graph_that_is_wrong_in_itself_is_refused_and_none_is_put(bench: Bench) -> None:
    broken = chord(2)
    broken.runs[-1] = (replace(broken.runs[-1][0], inputs=()), [b"[[],{}]"])
    good = plan("good")
    bad = plan("bad", sketch=broken)
    bad = replace(bad, runs=(*bad.runs[:-1], (replace(bad.runs[-1][0], first=7), [b"[[],{}]"])))
    assert put(bench, good, bad).code == "CHUNK_OUT_OF_ORDER"
    assert not bench.machine.cluster.schedules


def test_a_thousand_schedules_of_one_minute_fire_in_short_steps(bench: Bench) -> None:
    bench.check = False
    put(bench, *(plan(f"job {number}") for number in range(1000)))
    minutes(bench)
    assert len(fired(bench)) == 1000
