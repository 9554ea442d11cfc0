"""The wall clock of the coordinator's machine is put forward or back: nothing is lost, doubled or taken for dead."""

from dataclasses import replace

import pytest
from tests.coordinator.support.bench import BOOM, Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, one

from grpcflow_coordinator.core.events import Retried
from grpcflow_coordinator.core.model import NodeState

HOUR_MS = 3_600_000

SOON = replace(PLAIN, countdown_ms=60_000)


@pytest.fixture(autouse=True)
def today(bench: Bench) -> None:
    """It is some day in 2023, so that there is room to put the clock back."""
    bench.wall_ms = 1_700_000_000_000


def step_wall(bench: Bench, milliseconds: int) -> None:
    """Puts the wall clock forward, or back where it is below 0; no time passes."""
    bench.wall_ms += milliseconds
    bench.tick()


def at(bench: Bench, milliseconds: int) -> bytes:
    """Submits a task for a moment so many milliseconds from now by the wall."""
    return bench.submit(one(replace(PLAIN, eta_ms=bench.wall_ms + milliseconds)))


def test_a_clock_that_is_put_forward_runs_what_is_due_by_it_once_and_leaves_the_rest(bench: Bench) -> None:
    worker = bench.worker()
    due = [at(bench, 60_000), bench.submit(one(SOON)), at(bench, HOUR_MS)]
    later = at(bench, 2 * HOUR_MS)
    step_wall(bench, HOUR_MS)
    assert sorted(worker.given) == sorted((graph, 0) for graph in due)
    step_wall(bench, -HOUR_MS)
    assert len(worker.given) == 3
    step_wall(bench, 2 * HOUR_MS)
    assert worker.given[3:] == [(later, 0)]


def test_a_clock_that_is_put_back_makes_what_has_a_time_wait_for_it_and_holds_up_nothing_else(bench: Bench) -> None:
    worker = bench.worker()
    waits = at(bench, 60_000)
    step_wall(bench, -HOUR_MS)
    first = bench.submit(one())
    soon = bench.submit(one(SOON))
    assert worker.given == [(first, 0)]
    bench.pass_time(10.0)
    bench.speak(worker)
    step_wall(bench, 50_000)
    assert worker.given[1:] == [(soon, 0)]
    step_wall(bench, HOUR_MS)
    assert worker.given[2:] == [(waits, 0)]
    bench.values_of(worker)
    assert [bench.state(graph, 0) for graph in (first, soon, waits)] == [NodeState.SUCCESS] * 3


@pytest.mark.parametrize("milliseconds", [HOUR_MS, -HOUR_MS])
def test_no_step_breaks_a_stream_or_ends_a_grace_or_a_running_task(bench: Bench, milliseconds: int) -> None:
    graph = bench.submit(one())
    runs, away = bench.worker("runs"), bench.worker("away")
    second = bench.submit(one())
    bench.break_stream(away)
    step_wall(bench, milliseconds)
    assert (runs.stream is not None, bench.state(graph, 0)) == (True, None)
    held = [runs.held, away.held]
    assert sorted(node for each in held for node in each.values()) == sorted([(graph, 0), (second, 0)])
    bench.arrive(away)
    assert away.welcome is not None
    assert not away.welcome.superseded
    bench.values_of(runs)
    bench.values_of(away)
    assert [bench.state(each, 0) for each in (graph, second)] == [NodeState.SUCCESS] * 2


def test_what_expires_by_a_clock_that_was_ahead_stays_revoked_and_what_has_started_runs_on(bench: Bench) -> None:
    expiring = replace(PLAIN, expires_in_ms=60_000)
    worker = bench.worker(capacity=1)
    started = bench.submit(one(replace(expiring, track_started=True)))
    bench.end(worker, started, 0, "started")
    waits = bench.submit(one(expiring))
    step_wall(bench, HOUR_MS)
    assert bench.state(waits, 0) is NodeState.REVOKED
    step_wall(bench, -HOUR_MS)
    bench.finish(worker, started, 0)
    assert worker.given == [(started, 0)]
    assert [bench.state(each, 0) for each in (started, waits)] == [NodeState.SUCCESS, NodeState.REVOKED]


def test_a_retry_and_a_restart_over_a_step_back_run_once(bench: Bench) -> None:
    worker = bench.worker()
    graph = bench.submit(one())
    bench.report(worker, Retried(worker.token(graph, 0), 5_000, BOOM))
    bench.wall_ms -= HOUR_MS
    bench.restart()
    bench.arrive(worker)
    assert not worker.held
    step_wall(bench, HOUR_MS + 5_000)
    bench.finish(worker, graph, 0)
    assert worker.given == [(graph, 0)] * 2


def test_a_graph_whose_client_has_another_time_is_run_and_kept_as_any_other(bench: Bench) -> None:
    """Ids are made by clients and hold their time; only their order may follow from that."""
    worker = bench.worker()
    graphs = []
    for ahead_ms in (HOUR_MS, -HOUR_MS, 0):
        sketch = Sketch(PLAIN, SOON)
        sketch.id = (bench.wall_ms + ahead_ms).to_bytes(6, "big") + sketch.id[6:]
        sketch.task()
        sketch.task(template=1)
        graphs.append(bench.submit(sketch))
    assert sorted(worker.given) == sorted((graph, 0) for graph in graphs)
    bench.pass_time(10.0)
    bench.speak(worker)
    step_wall(bench, 50_000)
    assert len(worker.given) == 6
    bench.values_of(worker)
    assert all(bench.state(graph, index) is NodeState.SUCCESS for graph in graphs for index in (0, 1))
    step_wall(bench, bench.limits.result_expires_ms + 1)
    assert [bench.records.outcome(graph, 0) for graph in graphs] == [None] * 3
