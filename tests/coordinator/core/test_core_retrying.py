"""Retry: what did not succeed of an ended graph settles once more, and what succeeded keeps its value."""

import pytest
from tests.coordinator.core.test_core_attaching import MEMBER, REPLACE, attach, started
from tests.coordinator.core.test_core_cancelling import cancel, states
from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import Sketch, chain, chord, on_error, one, value

from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import Ended, RetryAsked, Tick
from grpcflow_coordinator.core.model import NodeState, Tally, Template

OK, FAILED, REVOKED, IGNORED = NodeState.SUCCESS, NodeState.FAILURE, NodeState.REVOKED, NodeState.IGNORED


def retry(bench: Bench, graph: bytes) -> Answer:
    """Retry a graph; what is told anew is no repetition."""
    bench.settled.clear()
    bench.step(RetryAsked(None, graph))
    [answer] = bench.take(Answer)
    return answer


def run_all(bench: Bench, worker: Puppet) -> None:
    """Let a worker succeed with all it is given, to the end."""
    while worker.held:
        bench.values_of(worker, next(iter(worker.held)))


def test_the_failed_step_of_a_chain_and_what_follows_run_again(bench: Bench) -> None:
    sketch = chain(4)
    worker = started(bench, sketch)
    bench.finish(worker, sketch.id, 0, b"7")
    bench.fail(worker, sketch.id, 1)
    assert states(bench, sketch.id, 4) == [OK, FAILED, FAILED, FAILED]
    given = len(worker.given)
    answer = retry(bench, sketch.id)
    assert (answer.code, answer.count, answer.unknown) == ("", 3, ())
    assert bench.records.tally(sketch.id) == Tally(3)
    run_all(bench, worker)
    assert worker.given[given:] == [(sketch.id, index) for index in (1, 2, 3)]
    assert states(bench, sketch.id, 4) == [OK] * 4
    assert bench.ended == [sketch.id, sketch.id]


def test_members_that_failed_run_again_and_the_chord_comes_to_its_value(bench: Bench) -> None:
    sketch = chord(4)
    worker = started(bench, sketch)
    for index in (0, 2):
        bench.finish(worker, sketch.id, index)
    for index in (1, 3):
        bench.fail(worker, sketch.id, index)
    assert retry(bench, sketch.id).count == 4
    assert sorted(worker.indexes()) == [1, 3]
    run_all(bench, worker)
    assert states(bench, sketch.id, 6) == [OK] * 6


def test_an_errback_that_ran_is_spared_when_the_retry_succeeds_and_runs_again_when_it_fails(bench: Bench) -> None:
    for fails in (True, False):
        sketch = one()
        errback = sketch.task(on_error(0))
        sketch.task(value(errback))
        worker = started(bench, sketch)
        bench.fail(worker, sketch.id, 0)
        run_all(bench, worker)
        assert states(bench, sketch.id, 3) == [FAILED, OK, OK]
        given = len(worker.given)
        assert retry(bench, sketch.id).count == 3
        if fails:
            bench.fail(worker, sketch.id, 0)
            run_all(bench, worker)
            assert worker.given[given:] == [(sketch.id, index) for index in (0, 1, 2)]
            assert states(bench, sketch.id, 3) == [FAILED, OK, OK]
        else:
            run_all(bench, worker)
            assert worker.given[given:] == [(sketch.id, 0)]
            assert bench.state(sketch.id, 0) is OK
            assert bench.state(sketch.id, 1) is IGNORED
        bench.gone(worker)


def test_an_errback_that_was_spared_stays_so(bench: Bench) -> None:
    sketch = chain(2)
    errback = sketch.task(on_error(0))
    sketch.task(value(errback))
    worker = started(bench, sketch)
    bench.finish(worker, sketch.id, 0)
    bench.fail(worker, sketch.id, 1)
    assert retry(bench, sketch.id).count == 1
    assert bench.state(sketch.id, 2) is IGNORED
    run_all(bench, worker)
    assert bench.ended[-1] == sketch.id


def test_a_cancelled_graph_goes_on_where_it_was(bench: Bench) -> None:
    sketch = chord(3)
    worker = bench.worker(capacity=1)
    bench.submit(sketch)
    bench.finish(worker, sketch.id, 0)
    cancel(bench, sketch.id)
    bench.sent.clear()
    run_all(bench, worker)
    assert states(bench, sketch.id, 5) == [OK, OK, REVOKED, REVOKED, REVOKED]
    assert retry(bench, sketch.id).count == 3
    assert not bench.records.is_cancelled(sketch.id)
    run_all(bench, worker)
    assert states(bench, sketch.id, 5) == [OK] * 5


def test_what_was_revoked_while_nobody_served_it_runs_once_over_restarts(bench: Bench) -> None:
    sketch = Sketch()
    sketch.group(100)
    bench.submit(sketch)
    assert cancel(bench, sketch.id).count == 100
    assert retry(bench, sketch.id).count == 100
    assert cancel(bench, sketch.id).count == 100
    assert retry(bench, sketch.id).count == 100
    for _ in range(2):
        bench.restart()
    worker = bench.worker(capacity=1000)
    assert sorted(worker.given) == [(sketch.id, index) for index in range(100)]
    run_all(bench, worker)
    assert len(worker.given) == 100
    bench.pass_time(10)
    assert bench.ended[-1] == sketch.id


def test_a_graph_that_runs_cannot_be_retried_and_one_that_is_not_there_neither(bench: Bench) -> None:
    sketch = chain(2)
    worker = started(bench, sketch)
    assert retry(bench, sketch.id).code == "STILL_RUNNING"
    run_all(bench, worker)
    answer = retry(bench, sketch.id)
    assert (answer.code, answer.count) == ("", 0)
    assert retry(bench, b"x" * 12).code == "UNKNOWN_GRAPH"
    assert bench.ended == [sketch.id]


def test_two_retries_at_once_are_one(bench: Bench) -> None:
    sketch = one()
    worker = started(bench, sketch)
    bench.fail(worker, sketch.id, 0)
    bench._conclude(bench.machine.step(RetryAsked(1, sketch.id), bench.records, bench.now))
    bench._conclude(bench.machine.step(RetryAsked(2, sketch.id), bench.records, bench.now))
    bench.settled.clear()
    bench.tick()
    assert [(answer.client, answer.code) for answer in bench.take(Answer)] == [(2, "STILL_RUNNING"), (1, "")]
    run_all(bench, worker)
    assert len(worker.given) == 2


def test_tasks_that_nobody_knows_any_more_are_named(bench: Bench) -> None:
    sketch = one(Template("gone", "default"))
    bench.submit(sketch)
    cancel(bench, sketch.id)
    bench.worker()
    assert retry(bench, sketch.id).unknown == ("gone",)


def test_a_graph_that_was_retried_is_pruned_after_its_new_end(bench: Bench) -> None:
    sketch = one()
    worker = started(bench, sketch)
    bench.fail(worker, sketch.id, 0)
    kept = bench.limits.result_expires_ms / 1000
    bench.pass_time(kept / 2)
    worker = bench.worker("other@host")
    retry(bench, sketch.id)
    for _ in range(3):
        bench.pass_time(kept / 4)
        bench.speak(worker) if worker.stream else None
    assert bench.records.graph(sketch.id) is not None
    bench.restart()
    worker = bench.worker("third@host")
    bench.pass_time(bench.limits.grace + 1)
    assert worker.held
    run_all(bench, worker)
    assert bench.state(sketch.id, 0) is OK
    bench.pass_time(kept + 1)
    assert bench.records.graph(sketch.id) is None
    assert not [key for key in bench.store._map if sketch.id in key]
    assert sketch.id not in bench.machine.cluster.lines.retried
    bench.sent.clear()  # silent workers


def test_retries_and_losses_are_counted_anew(bench: Bench) -> None:
    bench = Bench(Limits(max_deliveries=1))
    sketch = one()
    worker = started(bench, sketch)
    bench.end(worker, sketch.id, 0, "lost")
    assert bench.failure(sketch.id, 0).reason == "WORKER_LOST"
    retry(bench, sketch.id)
    run_all(bench, worker)
    assert bench.state(sketch.id, 0) is OK


def test_delayed_tasks_wait_again_and_run_once(bench: Bench) -> None:
    sketch = Sketch(Template("t", "default", countdown_ms=10_000))
    sketch.group(3)
    bench.submit(sketch)
    cancel(bench, sketch.id)
    bench.pass_time(5)
    retry(bench, sketch.id)
    worker = bench.worker()
    for _ in range(8):
        bench.pass_time(3)
        bench.speak(worker)
        run_all(bench, worker)
    assert sorted(worker.given) == [(sketch.id, index) for index in range(3)]


def test_a_replaced_task_whose_replacement_failed_goes_on_in_the_replacement(bench: Bench) -> None:
    outer, inner = chain(2), chain(3)
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    bench.finish(worker, inner.id, 0)
    bench.fail(worker, inner.id, 1)
    assert states(bench, outer.id, 2) == [FAILED, FAILED]
    given = len(worker.given)
    assert retry(bench, inner.id).count == 2 + 2
    run_all(bench, worker)
    assert worker.given[given:] == [(inner.id, 1), (inner.id, 2), (outer.id, 1)]
    assert states(bench, outer.id, 2) == [OK, OK]


def test_added_members_that_failed_run_again_and_those_of_a_member_that_runs_again_go(bench: Bench) -> None:
    outer, inner = chord(2), one()
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 0, MEMBER)
    bench.finish(worker, outer.id, 0)
    bench.finish(worker, outer.id, 1)
    bench.fail(worker, inner.id, 0)
    assert bench.state(outer.id, 3) is FAILED
    given = len(worker.given)
    assert retry(bench, outer.id).count == 3
    run_all(bench, worker)
    assert worker.given[given:] == [(inner.id, 0), (outer.id, 3)]
    assert states(bench, outer.id, 4) == [OK] * 4

    outer, inner, again = chord(2), one(), one()
    bench.submit(outer)
    attach(bench, worker, inner, outer.id, 0, MEMBER)
    bench.finish(worker, inner.id, 0)
    bench.finish(worker, outer.id, 1)
    bench.fail(worker, outer.id, 0)
    retry(bench, outer.id)
    attach(bench, worker, again, outer.id, 0, MEMBER)
    run_all(bench, worker)
    assert states(bench, outer.id, 4) == [OK] * 4
    assert len(bench.records.extras(outer.id, 2)) == 1


@pytest.mark.parametrize("crash", [0, 1, 3, 4, 5, 7])
def test_a_large_graph_is_retried_piece_by_piece_over_a_crash_at_any_of_them(crash: int) -> None:
    bench = Bench()
    bench.check = False  # of so many nodes after every step; they are looked at below
    sketch = chord(700)
    bench.submit(sketch)
    worker = bench.worker(capacity=5000)
    for index in range(0, 700, 100):
        bench.fail(worker, sketch.id, index)
    run_all(bench, worker)
    bench.settled.clear()
    bench._conclude(bench.machine.step(RetryAsked(None, sketch.id), bench.records, bench.now))
    for _ in range(crash):
        bench._conclude(bench.machine.step(Tick(), bench.records, bench.now))
    bench.restart()
    bench.arrive(worker)
    bench.take(Answer)
    run_all(bench, worker)
    assert set(states(bench, sketch.id, 702)) == {OK}
    assert len(worker.given) == 700 + 7 + 1


def test_a_task_that_is_not_run_twice_is_run_by_a_retry(bench: Bench) -> None:
    sketch = one(Template("t", "default", acks_early=True))
    worker = started(bench, sketch)
    bench.gone(worker)
    assert bench.failure(sketch.id, 0).reason == "WORKER_LOST"
    retry(bench, sketch.id)
    worker = bench.worker("other@host")
    run_all(bench, worker)
    assert bench.state(sketch.id, 0) is OK


def test_an_attempt_of_before_that_a_worker_still_names_is_not_taken_for_the_new_one(bench: Bench) -> None:
    sketch = chain(2)
    worker = started(bench, sketch)
    named = dict(worker.held)
    bench.fail(worker, sketch.id, 0)
    retry(bench, sketch.id)
    worker.held.clear()  # the new attempt is on its way when the coordinator dies, and so is the acknowledgement
    bench.restart()
    worker.held = named
    bench.arrive(worker)
    [token] = named
    acknowledged = bench.report(worker, Ended(token, "revoked"))
    assert bench.state(sketch.id, 0) is None
    assert acknowledged is not None
    run_all(bench, worker)
    assert states(bench, sketch.id, 2) == [OK, OK]
