"""Revoke: in each state a node can be in."""

from dataclasses import replace

import pytest
from tests.coordinator.support.bench import BOOM, Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch, chain, chord, on_error, one

from grpcflow_coordinator.core.effects import RevokeDone, StopAttempt
from grpcflow_coordinator.core.events import Retried, RevokeAsked
from grpcflow_coordinator.core.lines import WINDOW
from grpcflow_coordinator.core.model import NodeState, text_id


def revoked(bench: Bench, graph: bytes, index: int = 0) -> bool:
    return bench.state(graph, index) is NodeState.REVOKED


def many(bench: Bench) -> list[bytes]:
    bench.check = False
    graphs = [bench.submit(one()) for _ in range(2 * WINDOW)]
    bench.check = True
    return graphs


def test_a_waiting_one_and_all_behind_it(bench: Bench) -> None:
    sketch = chain(3)
    bench.submit(sketch)
    worker = bench.worker()
    assert bench.revoke(sketch.id, 1) == 1
    assert revoked(bench, sketch.id, 1)
    assert bench.state(sketch.id, 2) is NodeState.FAILURE
    assert bench.failure(sketch.id, 2).reason == "REVOKED"
    bench.finish(worker, sketch.id, 0)
    assert bench.ended == [sketch.id]


def test_a_join_that_collects(bench: Bench) -> None:
    sketch = chord(3)
    bench.submit(sketch)
    worker = bench.worker()
    bench.finish(worker, sketch.id, 0)
    assert bench.revoke(sketch.id, 3) == 1
    bench.values_of(worker)
    assert bench.state(sketch.id, 4) is NodeState.FAILURE
    assert bench.ended == [sketch.id]


def test_a_scheduled_one(bench: Bench) -> None:
    graph = bench.submit(one(replace(PLAIN, countdown_ms=5_000)))
    bench.revoke(graph, 0)
    assert revoked(bench, graph)
    bench.pass_time(5.0)
    assert not bench.worker().given
    assert not bench.machine.cluster.lines.gone


def test_one_that_waits_for_its_retry(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.report(worker, Retried(worker.token(graph, 0), 5_000, BOOM))
    bench.revoke(graph, 0)
    bench.pass_time(5.0)
    assert revoked(bench, graph)
    assert not worker.held


@pytest.mark.parametrize("place", [0, WINDOW + 5])
def test_a_queued_one_in_memory_and_before_its_page_is_read(bench: Bench, place: int) -> None:
    graphs = many(bench)
    bench.revoke(graphs[place], 0)
    assert revoked(bench, graphs[place])
    worker = bench.worker(capacity=1000)
    assert [graph for graph, _ in worker.given] == graphs[:place] + graphs[place + 1 :]


@pytest.mark.parametrize("place", [0, WINDOW + 5])
def test_the_same_over_a_restart(bench: Bench, place: int) -> None:
    graphs = many(bench)
    bench.revoke(graphs[place], 0)
    bench.restart()
    worker = bench.worker(capacity=1000)
    assert [graph for graph, _ in worker.given] == graphs[:place] + graphs[place + 1 :]


def test_one_of_a_large_graph_before_it_was_queued_also_over_a_restart(bench: Bench) -> None:
    sketch = Sketch()
    for _ in range(250):
        sketch.task()
    [*early, last] = sketch.chunks(None, 50)
    for chunk in early:
        bench.step(chunk)
    bench.machine.step(last, bench.records, bench.now)
    bench.machine.step(RevokeAsked(None, (text_id(sketch.id, 240),), False, "SIGTERM"), bench.records, bench.now)
    bench.store.commit(bench.overlay.seal())
    bench.restart()
    worker = bench.worker(capacity=1000)
    assert worker.indexes() == [index for index in range(250) if index != 240]
    bench.values_of(worker)
    assert bench.ended == [sketch.id]


def test_a_running_one_without_terminate_runs_on(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    assert bench.revoke(graph, 0) == 1
    stop = bench.take_stop()
    assert (stop.terminate, stop.superseded) == (False, False)
    assert bench.state(graph, 0) is None
    bench.finish(worker, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_a_running_one_with_terminate_is_stopped(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.revoke(graph, 0, terminate=True)
    stop = bench.take_stop()
    assert (stop.terminate, stop.signal) == (True, "SIGTERM")
    bench.end(worker, graph, 0, "revoked")
    assert revoked(bench, graph)
    assert bench.failure(graph, 0).reason == "REVOKED"


@pytest.mark.parametrize("how", ["lost", "returned", "requeued"])
@pytest.mark.parametrize("terminate", [False, True])
def test_a_revoked_attempt_that_does_not_end_truly_is_not_handed_out_again(
    bench: Bench, how: str, terminate: bool
) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.revoke(graph, 0, terminate=terminate)
    bench.take_stop()
    bench.end(worker, graph, 0, how)
    assert revoked(bench, graph)


@pytest.mark.parametrize("terminate", [False, True])
def test_a_revoked_one_that_asks_for_a_retry(bench: Bench, terminate: bool) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.revoke(graph, 0, terminate=terminate)
    bench.take_stop()
    bench.report(worker, Retried(worker.token(graph, 0), 1_000, BOOM))
    assert revoked(bench, graph)


def test_the_revoke_of_a_running_one_survives_a_restart(bench: Bench) -> None:
    graph = bench.submit(one())
    bench.worker()
    bench.revoke(graph, 0, terminate=True)
    bench.take_stop()
    bench.restart()
    other = bench.worker("other@host")
    bench.pass_time(bench.limits.grace)
    assert revoked(bench, graph)
    assert not other.given


def test_a_stop_that_did_not_reach_the_worker_is_said_again(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.break_stream(worker)
    bench.revoke(graph, 0, terminate=True)
    bench.take(StopAttempt)
    bench.arrive(worker)
    stop = bench.take_stop()
    assert (stop.terminate, stop.signal) == (True, "SIGTERM")
    bench.restart()
    bench.arrive(worker)
    assert bench.take_stop().terminate
    bench.end(worker, graph, 0, "revoked")
    assert revoked(bench, graph)


def test_a_settled_one_stays_as_it_is(bench: Bench) -> None:
    graph = bench.submit(one())
    bench.finish(bench.worker(), graph, 0)
    assert bench.revoke(graph, 0) == 0
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_its_errback_runs(bench: Bench) -> None:
    sketch = Sketch()
    sketch.task(on_error(sketch.task()))
    bench.submit(sketch)
    bench.revoke(sketch.id, 0)
    worker = bench.worker()
    assert worker.indexes() == [1]


def test_an_errback_itself_waiting_and_released(bench: Bench) -> None:
    for released in (False, True):
        sketch = Sketch()
        sketch.task(on_error(sketch.task()))
        bench.submit(sketch)
        worker = bench.worker(f"{released}@host", capacity=1)
        if released:
            bench.speak(worker, capacity=0)
            bench.fail(worker, sketch.id, 0)
        bench.revoke(sketch.id, 1)
        assert revoked(bench, sketch.id, 1)
        if not released:
            bench.fail(worker, sketch.id, 0)
        bench.speak(worker, capacity=5)
        assert not worker.held
        assert sketch.id in bench.ended
        bench.speak(worker, goodbye=True)


def test_ids_nobody_knows_are_named(bench: Bench) -> None:
    graph = bench.submit(one(own_id="mine"))
    ids = ("mine", "not there", text_id(graph, 7), "-" * 36, "x" * 36)
    bench.step(RevokeAsked("asker", ids, False, "SIGTERM"))
    [done] = bench.take(RevokeDone)
    assert (done.client, done.revoked, done.unknown) == ("asker", 1, ids[1:])


def test_one_below_the_mark_while_its_worker_may_be_on_its_way_back(bench: Bench) -> None:
    graph = bench.submit(one())
    worker: Puppet = bench.worker()
    bench.restart()
    assert bench.revoke(graph, 0) == 1
    bench.arrive(worker)
    assert worker.welcome is not None
    assert not worker.held or bench.take(StopAttempt)
    for token in list(worker.held):
        bench.report(worker, Retried(token, 0, BOOM))
    assert revoked(bench, graph)
    bench.tick()
    assert not worker.held
    assert not bench.machine.cluster.lines.gone
