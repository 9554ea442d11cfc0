"""Independent calls that were sent as one graph: what is done with one of them leaves the others alone."""

from dataclasses import replace

from tests.coordinator.core.test_core_attaching import REPLACE, attach
from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch, one

from grpcflow_coordinator.core.effects import Answer, StopAttempt
from grpcflow_coordinator.core.events import CancelAsked, RetryAsked
from grpcflow_coordinator.core.model import NodeState, Template

APART = replace(PLAIN, apart=True)


def bundle(count: int, template: Template = APART) -> Sketch:
    """Return so many calls that have nothing to do with each other."""
    sketch = Sketch(template)
    sketch.group(count)
    return sketch


def cancel(bench: Bench, graph: bytes, index: int | None, *, terminate: bool = False) -> Answer:
    bench.step(CancelAsked(None, graph, terminate, "SIGTERM", index))
    [answer] = bench.take(Answer)
    return answer


def retry(bench: Bench, graph: bytes, index: int | None) -> Answer:
    bench.settled.clear()  # what is told once more was asked for
    bench.step(RetryAsked(None, graph, index))
    [answer] = bench.take(Answer)
    return answer


def states(bench: Bench, sketch: Sketch) -> list[NodeState | None]:
    return [bench.state(sketch.id, index) for index in range(sketch.count)]


def finish_all(bench: Bench, worker: Puppet, sketch: Sketch, *indexes: int) -> None:
    for index in indexes:
        bench.finish(worker, sketch.id, index)


def test_cancelling_one_that_waits_leaves_the_others_alone(bench: Bench) -> None:
    sketch = bundle(3)
    bench.submit(sketch)
    answer = cancel(bench, sketch.id, 1)
    assert (answer.count, answer.running, answer.had_ended) == (1, 0, False)
    assert states(bench, sketch) == [None, NodeState.REVOKED, None]
    worker = bench.worker()
    assert worker.indexes() == [0, 2]
    finish_all(bench, worker, sketch, 0, 2)
    assert bench.ended == [sketch.id]
    assert cancel(bench, sketch.id, 1).had_ended


def test_cancelling_one_that_runs_stops_only_that(bench: Bench) -> None:
    sketch = bundle(3)
    worker = bench.worker()
    bench.submit(sketch)
    answer = cancel(bench, sketch.id, 1, terminate=True)
    assert (answer.count, answer.running) == (0, 1)
    [stop] = bench.take(StopAttempt)
    assert stop.token == worker.token(sketch.id, 1)
    finish_all(bench, worker, sketch, 0, 2)
    bench.end(worker, sketch.id, 1, "revoked")
    assert states(bench, sketch) == [NodeState.SUCCESS, NodeState.REVOKED, NodeState.SUCCESS]


def test_cancelling_one_that_was_replaced_ends_what_runs_in_its_place(bench: Bench) -> None:
    sketch, other = bundle(2), one()
    worker = bench.worker()
    bench.submit(sketch)
    attach(bench, worker, other, sketch.id, 0, REPLACE)
    bench.gone(worker)
    answer = cancel(bench, sketch.id, 0)
    assert bench.state(sketch.id, 0) is NodeState.REVOKED
    assert bench.state(other.id, 0) is NodeState.REVOKED
    assert bench.state(sketch.id, 1) is None
    assert answer.count == 2


def test_the_graph_as_a_whole_can_still_be_cancelled(bench: Bench) -> None:
    sketch = bundle(3)
    bench.submit(sketch)
    assert cancel(bench, sketch.id, None).count == 3
    assert states(bench, sketch) == [NodeState.REVOKED] * 3


def test_one_that_failed_is_retried_while_the_others_run(bench: Bench) -> None:
    sketch = bundle(3)
    worker = bench.worker()
    bench.submit(sketch)
    bench.fail(worker, sketch.id, 1)
    answer = retry(bench, sketch.id, 1)
    assert (answer.code, answer.count) == ("", 1)
    assert bench.state(sketch.id, 1) is None
    finish_all(bench, worker, sketch, 0, 1, 2)
    assert states(bench, sketch) == [NodeState.SUCCESS] * 3
    assert bench.ended == [sketch.id]


def test_one_that_is_retried_while_nobody_serves_it_survives_a_restart_and_runs_once(bench: Bench) -> None:
    sketch = bundle(3)
    worker = bench.worker()
    bench.submit(sketch)
    bench.fail(worker, sketch.id, 1)
    bench.gone(worker)
    retry(bench, sketch.id, 1)
    bench.restart()
    later = bench.worker("later@host")
    assert sorted(later.indexes()) == [0, 1, 2]
    finish_all(bench, later, sketch, 0, 1, 2)
    assert states(bench, sketch) == [NodeState.SUCCESS] * 3
    assert bench.ended == [sketch.id]


def test_one_is_retried_after_all_have_ended_and_the_others_keep_their_failures(bench: Bench) -> None:
    sketch = bundle(3)
    worker = bench.worker()
    bench.submit(sketch)
    for index in range(3):
        bench.fail(worker, sketch.id, index)
    assert bench.ended == [sketch.id]
    assert retry(bench, sketch.id, 2).count == 1
    finish_all(bench, worker, sketch, 2)
    assert states(bench, sketch) == [NodeState.FAILURE, NodeState.FAILURE, NodeState.SUCCESS]
    assert bench.ended == [sketch.id] * 2
    assert retry(bench, sketch.id, None).count == 2


def test_one_that_was_revoked_in_the_queue_is_retried_once_the_others_have_ended(bench: Bench) -> None:
    sketch = bundle(2)
    bench.submit(sketch)
    cancel(bench, sketch.id, 0)
    answer = retry(bench, sketch.id, 0)
    assert answer.code == "STILL_RUNNING"
    assert "submit it anew" in answer.message
    cancel(bench, sketch.id, 1)
    assert retry(bench, sketch.id, 0).count == 1
    worker = bench.worker()
    assert worker.indexes() == [0]
    finish_all(bench, worker, sketch, 0)
    assert states(bench, sketch) == [NodeState.SUCCESS, NodeState.REVOKED]


def test_what_runs_or_succeeded_is_not_retried(bench: Bench) -> None:
    sketch = bundle(2)
    worker = bench.worker()
    bench.submit(sketch)
    assert retry(bench, sketch.id, 0).code == "STILL_RUNNING"
    bench.finish(worker, sketch.id, 0)
    assert retry(bench, sketch.id, 0).count == 0
    assert bench.state(sketch.id, 0) is NodeState.SUCCESS


def test_a_retry_of_what_replaced_one_of_them_runs_that_one_again(bench: Bench) -> None:
    sketch, other = bundle(2), one()
    worker = bench.worker()
    bench.submit(sketch)
    attach(bench, worker, other, sketch.id, 0, REPLACE)
    del worker.held[worker.token(sketch.id, 0)]
    bench.fail(worker, sketch.id, 1)
    bench.fail(worker, other.id, 0)
    assert bench.ended == [other.id, sketch.id]
    assert retry(bench, other.id, 0).count == 1
    bench.finish(worker, sketch.id, 0)
    assert states(bench, sketch) == [NodeState.SUCCESS, NodeState.FAILURE]


def test_all_are_kept_for_as_long_as_the_one_that_asks_for_most(bench: Bench) -> None:
    sketch = Sketch(replace(APART, result_expires_ms=5_000), replace(APART, result_expires_ms=60_000, task="u"))
    sketch.group(1)
    sketch.group(1, template=1)
    worker = bench.worker(tasks=frozenset({"t", "u"}))
    bench.submit(sketch)
    bench.finish(worker, sketch.id, 0)
    bench.finish(worker, sketch.id, 1)
    bench.gone(worker)
    bench.pass_time(10)
    assert bench.records.graph(sketch.id) is not None
    bench.pass_time(60)
    assert bench.records.graph(sketch.id) is None
