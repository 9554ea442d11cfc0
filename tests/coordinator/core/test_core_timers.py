"""Time: ETA, countdown, expiry, retention; each also over a restart."""

from dataclasses import replace

import pytest
from tests.coordinator.support.bench import BOOM, Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, after, chord, one, value

from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.events import Retried, Tick
from grpcflow_coordinator.core.model import NodeState, Template, TimerKind
from grpcflow_coordinator.storage import keys

SOON = replace(PLAIN, countdown_ms=5_000)


def expiring(seconds: float, template: Template = PLAIN) -> Template:
    return replace(template, expires_in_ms=int(seconds * 1000))


def test_a_countdown_holds_back_until_its_time(bench: Bench) -> None:
    worker = bench.worker()
    bench.submit(one(SOON))
    bench.pass_time(4.999)
    assert not worker.held
    bench.pass_time(0.001)
    assert worker.held


def test_an_eta_survives_a_restart(bench: Bench) -> None:
    graph = bench.submit(one(replace(PLAIN, eta_ms=bench.wall_ms + 60_000)))
    bench.restart(down=30.0)
    worker = bench.worker()
    assert not worker.held
    for _ in range(3):
        bench.pass_time(10.0)
        bench.speak(worker)
    bench.finish(worker, graph, 0)


def test_an_eta_that_passed_while_the_coordinator_was_down_is_due_at_once(bench: Bench) -> None:
    graph = bench.submit(one(SOON))
    bench.restart(down=60.0)
    bench.finish(bench.worker(), graph, 0)


def test_a_countdown_begins_when_the_parents_are_done(bench: Bench) -> None:
    sketch = Sketch(PLAIN, SOON)
    sketch.task(value(sketch.task()), template=1)
    bench.submit(sketch)
    worker = bench.worker()
    bench.pass_time(10.0)
    bench.finish(worker, sketch.id, 0)
    assert not worker.held
    bench.pass_time(5.0)
    bench.finish(worker, sketch.id, 1)


def test_a_group_s_countdown_queues_all_of_it(bench: Bench) -> None:
    sketch = Sketch(SOON)
    sketch.group(20)
    bench.submit(sketch)
    bench.revoke(sketch.id, 3, 19)
    bench.restart()
    bench.pass_time(5.0)
    worker = bench.worker()
    assert worker.indexes() == [index for index in range(20) if index not in {3, 19}]


def test_a_task_past_its_expiry_is_revoked_and_never_run(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    bench.pass_time(5.0)
    assert bench.state(graph, 0) is NodeState.REVOKED
    assert bench.failure(graph, 0).reason == "EXPIRED"
    assert not bench.worker().given


def test_an_expiry_that_passed_while_the_coordinator_was_down(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    bench.store = bench.store.reopened()
    bench.wall_ms += 60_000
    bench._boot()  # without a tick: the worker is there before the first one
    worker = bench.worker()
    assert bench.state(graph, 0) is NodeState.REVOKED
    assert not worker.given


def test_an_expiry_before_the_submission(bench: Bench) -> None:
    worker = bench.worker()
    for template in (replace(PLAIN, expires_in_ms=-1), replace(PLAIN, expires_at_ms=1)):
        graph = bench.submit(one(template))
        assert bench.state(graph, 0) is NodeState.REVOKED
    assert not worker.given


def test_expired_nodes_of_a_large_graph_are_not_handed_out_while_it_is_being_queued(bench: Bench) -> None:
    worker = bench.worker(capacity=1000)
    sketch = Sketch(replace(PLAIN, expires_at_ms=1))
    for _ in range(300):
        sketch.task()
    bench.submit(sketch, runs_each=50)
    assert not worker.given
    assert bench.ended == [sketch.id]


def test_many_expire_at_once_and_none_slips_through(bench: Bench) -> None:
    graphs = [bench.submit(one(expiring(5))) for _ in range(60)]
    bench.machine.cluster.limits = replace(bench.limits, batch=10)
    bench.store = bench.store.reopened()
    bench.wall_ms += 60_000
    bench._boot()
    bench.machine.cluster.limits = replace(bench.limits, batch=10)
    worker = bench.worker()
    assert not worker.given
    assert all(bench.state(graph, 0) is NodeState.REVOKED for graph in graphs)


def test_a_running_task_does_not_expire(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    worker = bench.worker()
    bench.pass_time(6.0)
    bench.take_stop()  # only where it has not started
    bench.finish(worker, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_one_that_waits_in_a_worker_when_it_expires_is_taken_back(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    worker = bench.worker()
    bench.pass_time(5.0)
    stop = bench.take_stop()
    assert stop.token == worker.token(graph, 0)
    assert (stop.terminate, stop.expired) == (False, True)
    bench.end(worker, graph, 0, "revoked")
    assert bench.failure(graph, 0).reason == "EXPIRED"


def test_one_that_comes_back_past_its_expiry_is_not_handed_out_again(bench: Bench) -> None:
    for how in ("lost", "returned", "requeued"):
        graph = bench.submit(one(expiring(5)))
        worker = bench.worker(f"{how}@host")
        bench.pass_time(5.0)
        bench.take_stop()
        bench.end(worker, graph, 0, how)
        assert bench.failure(graph, 0).reason == "EXPIRED"
        bench.speak(worker, goodbye=True)


def test_the_same_when_the_coordinator_restarts_in_between(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    worker = bench.worker()
    bench.pass_time(5.0)
    bench.take_stop()
    bench.restart()
    bench.arrive(worker)
    bench.take_stop()  # it is told again
    bench.gone(worker)
    assert bench.failure(graph, 0).reason == "EXPIRED"


def test_a_task_that_runs_through_a_restart_does_not_expire_meanwhile(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    worker = bench.worker()
    bench.restart(down=6.0)
    bench.tick()
    assert bench.state(graph, 0) is None
    bench.arrive(worker)
    bench.take_stop()
    bench.finish(worker, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_one_whose_worker_never_returns_expires_when_that_is_sure(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    bench.worker()
    bench.restart(down=6.0)
    bench.pass_time(bench.limits.grace)
    assert bench.failure(graph, 0).reason == "EXPIRED"


def test_a_retry_does_not_expire(bench: Bench) -> None:
    graph = bench.submit(one(expiring(5)))
    worker = bench.worker()
    bench.report(worker, Retried(worker.token(graph, 0), 10_000, BOOM))
    bench.pass_time(10.0)
    bench.finish(worker, graph, 0)


def test_an_expired_one_waiting_for_its_time_is_revoked(bench: Bench) -> None:
    graph = bench.submit(one(expiring(2, SOON)))
    bench.pass_time(2.0)
    assert bench.state(graph, 0) is NodeState.REVOKED
    bench.pass_time(5.0)
    assert not bench.worker().given


def test_results_go_after_their_time(bench: Bench) -> None:
    graph = bench.submit(one(own_id="mine"))
    bench.finish(bench.worker(), graph, 0)
    bench.pass_time(86_400 - 0.001)
    bench.sent.clear()  # the worker fell silent
    assert bench.records.outcome(graph, 0) is not None
    bench.pass_time(0.001)
    assert bench.records.graph(graph) is None
    assert bench.records.outcome(graph, 0) is None
    assert bench.records.alias("mine") is None


def test_retention_counts_from_the_end_of_the_graph(bench: Bench) -> None:
    sketch = chord(2)
    bench.submit(sketch)
    worker = bench.worker()
    bench.finish(worker, sketch.id, 0)
    bench.gone(worker)
    bench.pass_time(3 * 86_400)
    assert bench.values[sketch.id, 0] == b"1"
    assert bench.records.outcome(sketch.id, 0) is not None
    worker = bench.worker("other@host")
    bench.finish(worker, sketch.id, 1)
    bench.finish(worker, sketch.id, 3)
    bench.gone(worker)
    bench.pass_time(86_400 - 11)
    assert bench.records.outcome(sketch.id, 0) is not None
    bench.pass_time(11)
    assert bench.records.graph(sketch.id) is None


def test_a_large_graph_is_pruned_whole_in_bounded_pieces_over_restarts(bench: Bench) -> None:
    sketch = Sketch()
    for number in range(400):
        sketch.task(own_id=f"id-{number}")
    bench.check = False
    bench.submit(sketch, runs_each=100)
    bench.values_of(bench.worker(capacity=1000))
    bench.machine.cluster.limits = replace(bench.limits, batch=100)
    bench.wall_ms += 86_400_000
    before = len(bench.store._map)
    effects = bench._conclude(bench.machine.step(Tick(), bench.records, bench.now))
    assert effects.again
    assert before - len(bench.store._map) < 450
    bench.restart()
    assert bench.records.graph(sketch.id) is None
    left = [key for key in bench.store._map if sketch.id in key]
    assert not left
    assert bench.records.alias("id-399") is None
    assert not [timer for timer in bench.records.all_timers() if timer.kind == TimerKind.PRUNE]


def test_graphs_are_pruned_whole_wherever_a_step_ends() -> None:
    for batch in range(1, 9):
        bench = Bench(Limits(batch=batch, result_expires_ms=10_000))
        worker = bench.worker(capacity=20)
        for sketch in (one(), one(), chord(2), one(own_id="mine"), one()):
            bench.submit(sketch)
        bench.values_of(worker)
        bench.values_of(worker)
        bench.gone(worker)
        bench.pass_time(10.0)
        assert bench.records.all_graphs() == [], f"in steps of {batch}"
        kept = (keys.META, keys.LANE, keys.MARK)
        assert not [key for key in bench.store._map if key[: len(keys.META)] not in kept], f"in steps of {batch}"


def test_an_id_taken_over_outlives_the_one_it_was_taken_from(bench: Bench) -> None:
    worker = bench.worker()
    first = bench.submit(one(own_id="mine"))
    bench.finish(worker, first, 0)
    second = bench.submit(one(own_id="mine"))
    bench.gone(worker)
    bench.pass_time(86_400)
    assert bench.records.graph(first) is None
    assert bench.records.alias("mine") == second + bytes(4)


def test_a_step_that_only_waits_is_not_in_the_way(bench: Bench) -> None:
    sketch = Sketch(SOON)
    sketch.task(after(sketch.task()))
    bench.submit(sketch)
    bench.pass_time(5.0)
    worker = bench.worker()
    bench.finish(worker, sketch.id, 0)
    bench.pass_time(5.0)
    bench.finish(worker, sketch.id, 1)
    assert bench.ended == [sketch.id]


def test_a_step_expires_a_bounded_number_of_nodes_and_the_next_goes_on() -> None:
    bench = Bench(Limits(batch=10))
    for _ in range(6):
        sketch = Sketch(expiring(0.5))
        sketch.group(4)
        bench.submit(sketch)
    bench.wall_ms += 1_000
    steps = []
    again = True
    while again:
        before = len(bench.settled)
        effects = bench._conclude(bench.machine.step(Tick(), bench.records, bench.now))
        steps.append(len(bench.settled) - before)
        again = effects.again
    # Three timers of four nodes each are the first that name ten.
    assert steps == [12, 12]
    assert {outcome.state for outcome in bench.settled.values()} == {NodeState.REVOKED}


@pytest.mark.parametrize("template", [replace(PLAIN, countdown_ms=5_000), expiring(5.0)], ids=["ready", "expire"])
def test_a_timer_means_no_later_graph_of_the_same_id(template: Template) -> None:
    bench = Bench(Limits(result_expires_ms=1_000))
    sketch = one(template)
    bench.submit(sketch)
    bench.revoke(sketch.id, 0)
    bench.pass_time(1.5)
    bench.pass_time(1.5)
    assert bench.records.graph(sketch.id) is None
    bench.submit(sketch)
    bench.pass_time(3)  # the timer of before is due, and that of now is not
    assert bench.state(sketch.id, 0) is None
    worker = bench.worker()
    assert worker.given == ([] if template.countdown_ms else [(sketch.id, 0)])
    bench.pass_time(3)
    assert worker.given == [(sketch.id, 0)]


def test_a_timer_of_an_earlier_version_means_its_graph() -> None:
    bench = Bench()
    sketch = one(replace(PLAIN, countdown_ms=5_000))
    bench.submit(sketch)
    [timer] = [timer for timer in bench.records.all_timers() if timer.kind == TimerKind.READY]
    assert timer.made_ms == bench.wall_ms
    bench.records.put_timer(timer.due_ms, timer.kind, timer.node, timer.count)
    worker = bench.worker()
    bench.pass_time(6)
    assert worker.given == [(sketch.id, 0)]
