"""Cancel: everything of a graph ends, and nothing follows from it."""

from tests.coordinator.core.test_core_attaching import MEMBER, REPLACE, attach, started
from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import Sketch, chain, chord, on_error, one, value

from grpcflow_coordinator.core.effects import Answer, Assign, StopAttempt
from grpcflow_coordinator.core.events import CancelAsked, RetryAsked, StampRevokeAsked, Tick
from grpcflow_coordinator.core.model import NodeState, Template


def cancel(bench: Bench, graph: bytes, *, terminate: bool = False) -> Answer:
    """Cancel a graph and return the answer."""
    bench.step(CancelAsked(None, graph, terminate, "SIGKILL"))
    [answer] = bench.take(Answer)
    return answer


def states(bench: Bench, graph: bytes, count: int) -> list[NodeState | None]:
    return [bench.state(graph, index) for index in range(count)]


def test_what_waits_and_what_is_queued_is_revoked_and_no_errback_runs(bench: Bench) -> None:
    sketch = chain(3)
    sketch.task(on_error(0))
    bench.submit(sketch)
    answer = cancel(bench, sketch.id)
    assert (answer.count, answer.running, answer.had_ended) == (4, 0, False)
    assert states(bench, sketch.id, 4) == [NodeState.REVOKED] * 4
    assert bench.ended == [sketch.id]
    worker = bench.worker()
    assert not worker.given
    assert bench.records.is_cancelled(sketch.id)


def test_what_runs_is_told_and_ends_as_it_will_and_nothing_follows_it(bench: Bench) -> None:
    sketch = chord(2)
    worker = started(bench, sketch)
    answer = cancel(bench, sketch.id)
    assert (answer.count, answer.running) == (2, 2)
    assert [(stop.terminate, stop.superseded) for stop in bench.take(StopAttempt)] == [(False, False)] * 2
    bench.finish(worker, sketch.id, 0)
    bench.fail(worker, sketch.id, 1)
    assert states(bench, sketch.id, 4) == [
        NodeState.SUCCESS,
        NodeState.FAILURE,
        NodeState.REVOKED,
        NodeState.REVOKED,
    ]
    assert bench.ended == [sketch.id]


def test_with_terminate_what_runs_is_stopped_with_the_signal(bench: Bench) -> None:
    sketch = one()
    worker = started(bench, sketch)
    assert cancel(bench, sketch.id, terminate=True).running == 1
    stop = bench.take_stop()
    assert (stop.terminate, stop.signal) == (True, "SIGKILL")
    bench.end(worker, sketch.id, 0, "revoked")
    assert bench.state(sketch.id, 0) is NodeState.REVOKED


def test_a_retry_of_a_task_that_was_cancelled_while_it_ran_does_not_run(bench: Bench) -> None:
    sketch = one()
    worker = started(bench, sketch)
    cancel(bench, sketch.id)
    bench.take(StopAttempt)
    bench.end(worker, sketch.id, 0, "requeued")
    assert bench.state(sketch.id, 0) is NodeState.REVOKED


def test_a_graph_that_has_ended_or_is_not_there_is_answered_so(bench: Bench) -> None:
    sketch = one()
    bench.submit(sketch)
    cancel(bench, sketch.id)
    answer = cancel(bench, sketch.id)
    assert (answer.code, answer.had_ended, answer.count) == ("", True, 0)
    assert cancel(bench, b"x" * 12).code == "UNKNOWN_GRAPH"


def test_of_a_large_graph_nothing_is_handed_out_while_it_is_cancelled_over_a_restart(bench: Bench) -> None:
    bench.check = False  # of so many nodes after every step
    sketch = Sketch()
    sketch.group(1500)
    sketch.join((0, 1500))
    bench.submit(sketch)
    bench._conclude(bench.machine.step(CancelAsked(None, sketch.id, False, "SIGTERM"), bench.records, bench.now))
    bench._conclude(bench.machine.step(Tick(), bench.records, bench.now))
    assert bench.machine.cluster.jobs
    assert bench.state(sketch.id, 1500) is None
    bench.delivers = False
    bench.store = bench.store.reopened()
    bench._boot()
    bench.delivers = True
    assert bench.machine.cluster.cancelling == {sketch.id}
    worker = bench.worker()
    assert not worker.given
    assert set(states(bench, sketch.id, 1501)) == {NodeState.REVOKED}
    assert not bench.machine.cluster.cancelling
    [answer] = bench.take(Answer)
    assert answer.count == 1501


def test_nodes_that_a_worker_could_take_meanwhile_are_revoked_instead(bench: Bench) -> None:
    bench.check = False  # of so many nodes after every step
    sketch = Sketch()
    sketch.group(1500)
    bench.submit(sketch)
    bench._conclude(bench.machine.step(CancelAsked(None, sketch.id, False, "SIGTERM"), bench.records, bench.now))
    worker = Puppet(capacity=5000)
    bench.arrive(worker)
    assert not worker.given
    assert not bench.take(Assign)
    bench.take(Answer)
    assert set(states(bench, sketch.id, 1500)) == {NodeState.REVOKED}
    other = bench.submit(one())
    assert worker.given == [(other, 0)]


def test_what_runs_in_the_place_of_a_task_or_was_added_beside_it_is_cancelled_with_it(bench: Bench) -> None:
    for kind in (REPLACE, MEMBER):
        outer, inner = chord(2), chain(3)
        worker = started(bench, outer)
        attach(bench, worker, inner, outer.id, 1, kind)
        answer = cancel(bench, outer.id)
        bench.take(StopAttempt)
        for token in tuple(worker.held):
            bench.values_of(worker, token)
        assert states(bench, inner.id, 3)[1:] == [NodeState.REVOKED] * 2
        assert states(bench, outer.id, 4)[2:] == [NodeState.REVOKED] * 2
        assert answer.count + answer.running == 4 + 3
        assert set(bench.ended) >= {outer.id, inner.id}
        bench.gone(worker)


def test_delayed_nodes_and_nodes_of_large_staged_graphs_are_cancelled(bench: Bench) -> None:
    sketch = Sketch(Template("t", "default", countdown_ms=5_000))
    sketch.group(3)
    bench.submit(sketch)
    assert cancel(bench, sketch.id).count == 3
    bench.pass_time(6)
    assert not bench.worker().given


def test_a_graph_below_the_mark_is_told_when_its_worker_is_back(bench: Bench) -> None:
    sketch = one()
    worker = started(bench, sketch)
    bench.restart()
    assert cancel(bench, sketch.id).running == 1
    bench.arrive(worker)
    bench.take(StopAttempt)
    bench.end(worker, sketch.id, 0, "revoked")
    assert bench.state(sketch.id, 0) is NodeState.REVOKED


def test_jobs_of_several_kinds_work_side_by_side(bench: Bench) -> None:
    stamped = Template("t", "default", stamps=(("customer", ("7",)),))
    first, second = one(stamped), chain(2)
    bench.submit(first)
    bench.submit(second)
    bench._conclude(
        bench.machine.step(StampRevokeAsked(1, (("customer", "7"),), False, "SIGTERM"), bench.records, bench.now)
    )
    bench.step(CancelAsked(2, second.id, False, "SIGTERM"))
    assert [(answer.client, answer.count) for answer in bench.take(Answer)] == [(1, 1), (2, 2)]


def test_an_entry_whose_graph_has_expired_harms_nobody_over_a_restart(bench: Bench) -> None:
    sketch = one()
    bench.submit(sketch)
    cancel(bench, sketch.id)
    bench.pass_time(bench.limits.result_expires_ms / 1000 + 1)
    assert bench.records.graph(sketch.id) is None
    bench.restart()
    worker = bench.worker()
    assert not worker.given
    other = bench.submit(one())
    assert worker.given == [(other, 0)]


def test_a_node_that_some_parents_had_reached_before_the_cancel_counts_them_anew_in_a_retry(bench: Bench) -> None:
    sketch = Sketch()
    task = sketch.task()
    empty = sketch.join()
    last = sketch.task(value(task), value(empty))
    graph = bench.submit(sketch)
    bench.step(CancelAsked(None, graph, False, ""))
    bench.settled.clear()
    bench.step(RetryAsked(None, graph))
    worker = bench.worker()
    bench.finish(worker, graph, task)
    bench.finish(worker, graph, last)
    assert bench.state(graph, last) is NodeState.SUCCESS
    assert not bench.machine.cluster.lines.gone
    bench.take(Answer)
