"""Attempts: lost, returned, retried, requeued, never run twice."""

from dataclasses import replace

import pytest
from tests.coordinator.support.bench import BOOM, Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch, chord, one

from grpcflow_coordinator.core.events import Ended, Raised, Retried, Value
from grpcflow_coordinator.core.model import NodeState

EARLY = replace(PLAIN, acks_early=True)


def test_a_lost_worker_s_attempts_are_handed_out_again_in_their_old_place(bench: Bench) -> None:
    group = Sketch()
    group.group(4)
    bench.submit(group)
    first = bench.worker("one@host", capacity=2)
    bench.gone(first)
    second = bench.worker("two@host")
    assert second.indexes() == [0, 1, 2, 3]


def test_poison_is_bounded(bench: Bench) -> None:
    graph = bench.submit(one())
    for number in range(3):
        assert bench.state(graph, 0) is None
        bench.gone(bench.worker(f"w{number}@host"))
    assert bench.state(graph, 0) is NodeState.FAILURE
    assert bench.failure(graph, 0).reason == "WORKER_LOST"


def test_a_template_may_allow_fewer_losses(bench: Bench) -> None:
    graph = bench.submit(one(replace(PLAIN, max_deliveries=1)))
    bench.end(bench.worker(), graph, 0, "lost")
    assert bench.failure(graph, 0).type_name == "WorkerLostError"


def test_returned_attempts_do_not_count(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    for _ in range(10):
        bench.end(worker, graph, 0, "returned")
    bench.finish(worker, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_losses_are_remembered_over_a_restart(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.end(worker, graph, 0, "lost")
    bench.end(worker, graph, 0, "lost")
    bench.restart()
    bench.arrive(worker)
    bench.end(worker, graph, 0, "lost")
    assert bench.state(graph, 0) is NodeState.FAILURE


def test_an_early_one_is_never_run_twice(bench: Bench) -> None:
    graph = bench.submit(one(EARLY))
    worker = bench.worker()
    bench.gone(worker)
    assert bench.failure(graph, 0).type_name == "WorkerLostError"
    other = bench.worker("other@host")
    assert not other.given


def test_an_early_one_fails_when_coordinator_and_worker_are_killed_together(bench: Bench) -> None:
    graph = bench.submit(one(EARLY))
    bench.worker()
    bench.restart()
    other = bench.worker("other@host")
    bench.pass_time(bench.limits.grace)
    assert bench.failure(graph, 0).type_name == "WorkerLostError"
    assert not other.given


def test_an_early_group_killed_together_fails_the_ones_handed_out_only(bench: Bench) -> None:
    sketch = Sketch(EARLY)
    sketch.group(6)
    bench.submit(sketch)
    bench.worker(capacity=2)
    bench.restart()
    other = bench.worker("other@host")
    bench.pass_time(bench.limits.grace)
    assert [bench.state(sketch.id, index) for index in (0, 1)] == [NodeState.FAILURE] * 2
    assert other.indexes() == [2, 3, 4, 5]


def test_an_early_one_that_its_worker_still_runs_goes_on(bench: Bench) -> None:
    graph = bench.submit(one(EARLY))
    worker = bench.worker()
    bench.restart()
    bench.arrive(worker)
    bench.finish(worker, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_an_early_one_that_was_returned_may_run_elsewhere_also_over_two_restarts(bench: Bench) -> None:
    graph = bench.submit(one(EARLY))
    worker = bench.worker()
    bench.restart()
    bench.arrive(worker, held=())  # it never received it
    bench.speak(worker, capacity=0)
    for token in list(worker.held):
        bench.report(worker, Ended(token, "returned"))
    bench.speak(worker, goodbye=True)
    bench.restart()
    other = bench.worker("other@host")
    bench.finish(other, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_an_early_one_not_received_is_run_though_its_worker_leaves_before_recovery_ends(bench: Bench) -> None:
    graph = bench.submit(one(EARLY))
    worker = bench.worker()
    bench.worker("absent@host", tasks=frozenset())
    bench.restart()
    bench.arrive(worker, held=())
    bench.speak(worker, goodbye=True)
    bench.pass_time(bench.limits.grace)
    other = bench.worker("other@host")
    bench.finish(other, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_a_retry_waits_for_its_time_and_counts(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.report(worker, Retried(worker.token(graph, 0), 5_000, BOOM, b"[[1],{}]"))
    assert not worker.held
    bench.pass_time(4.9)
    assert not worker.held
    bench.pass_time(0.1)
    progress = bench.records.progress(graph, 0)
    assert progress is not None
    assert (progress.retries, progress.payload) == (1, b"[[1],{}]")
    bench.finish(worker, graph, 0)
    assert bench.settled[graph, 0].state is NodeState.SUCCESS


def test_a_retry_s_time_survives_a_restart(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.report(worker, Retried(worker.token(graph, 0), 5_000, BOOM))
    bench.restart(down=2.0)
    bench.arrive(worker)
    assert not worker.held
    bench.pass_time(3.0)
    bench.finish(worker, graph, 0)


@pytest.mark.parametrize("countdown_ms", [0, 1_000])
def test_a_retry_whose_acknowledgement_was_lost_is_not_run_from_both_ends(bench: Bench, countdown_ms: int) -> None:
    graph = bench.submit(one())
    worker, other = bench.worker(), bench.worker("other@host")
    holder = worker if worker.held else other
    token = holder.token(graph, 0)
    bench.delivers = False
    bench.report(holder, Retried(token, countdown_ms, BOOM))
    bench.restart()
    rest = other if holder is worker else worker
    rest.held.clear()
    bench.arrive(rest)
    holder.held = {token: (graph, 0)}  # reported, not acknowledged
    bench.arrive(holder)
    bench.pass_time(1.0)
    running = [one for one in (worker, other) if one.held]
    assert len(running) == 1
    bench.report(holder, Retried(token, countdown_ms, BOOM))  # said again, and not taken
    [last] = [one for one in (worker, other) if one.held]
    bench.finish(last, graph, 0)
    assert bench.settled[graph, 0].state is NodeState.SUCCESS


def test_the_worker_that_has_it_last_keeps_it_when_an_earlier_one_still_names_it(bench: Bench) -> None:
    graph = bench.submit(one())
    first, second = bench.worker("one@host"), bench.worker("two@host", capacity=0)
    token = first.token(graph, 0)
    bench.speak(second, capacity=5)
    bench.speak(first, capacity=0)
    bench.end(first, graph, 0, "returned")
    assert second.held
    bench.restart()
    first.held = {token: (graph, 0)}  # the acknowledgement of its report did not come back
    bench.arrive(first)
    bench.arrive(second)
    assert second.welcome is not None
    assert second.welcome.superseded == ()
    assert bench.take_stop().superseded
    bench.report(first, Ended(token, "returned"))
    bench.finish(second, graph, 0)
    assert second.given.count((graph, 0)) == 1


def test_a_rejected_one_goes_behind_all_others_where_it_asks_for_it(bench: Bench) -> None:
    graphs = [bench.submit(one()) for _ in range(3)]
    worker = bench.worker(capacity=1)
    bench.end(worker, graphs[0], 0, "requeued")
    for graph in (graphs[1], graphs[2], graphs[0]):
        bench.finish(worker, graph, 0)
    assert [graph for graph, _ in worker.given] == [graphs[0], graphs[1], graphs[2], graphs[0]]


@pytest.mark.parametrize(
    ("how", "state"), [("ignored", NodeState.IGNORED), ("rejected", NodeState.REJECTED), ("revoked", NodeState.REVOKED)]
)
def test_ends_without_a_value(bench: Bench, how: str, state: NodeState) -> None:
    graph = bench.submit(one())
    bench.end(bench.worker(), graph, 0, how)
    assert bench.state(graph, 0) is state


def test_started_is_a_mark_and_no_end(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.report(worker, Ended(worker.token(graph, 0), "started"))
    [attempt] = bench.machine.cluster.attempts.values()
    assert attempt.state is NodeState.STARTED
    bench.finish(worker, graph, 0)


def test_a_value_that_is_not_plain_keeps_its_type(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    bench.report(worker, Value(worker.token(graph, 0), b"\x01", "application/msgpack"))
    outcome = bench.records.outcome(graph, 0)
    assert outcome is not None
    assert (outcome.data, outcome.content_type) == (b"\x01", "application/msgpack")


def test_a_value_nobody_wants_is_not_kept(bench: Bench) -> None:
    graph = bench.submit(one(replace(PLAIN, ignore_result=True)))
    bench.finish(bench.worker(), graph, 0, b"[1,2,3]")
    outcome = bench.records.outcome(graph, 0)
    assert outcome is not None
    assert outcome.data == b"null"


def test_values_of_one_message_do_not_mix(bench: Bench) -> None:
    mine = bench.submit(one(own_id="mine"))
    other = bench.submit(one())
    worker = bench.worker()
    tokens = [worker.token(mine, 0), worker.token(other, 0)]
    bench.speak(worker, tokens=tokens, values=[b'"a"', b'"b"'])
    assert bench.settled[mine, 0].data == b'"a"'
    assert bench.settled[other, 0].data == b'"b"'


def test_of_two_values_for_one_attempt_the_first_counts(bench: Bench) -> None:
    graph = bench.submit(one())
    worker = bench.worker()
    token = worker.token(graph, 0)
    bench.speak(worker, tokens=[token, token], values=[b"1", b"2"])
    assert bench.values[graph, 0] == b"1"
    acknowledged = bench.report(worker, Raised(token, BOOM))
    assert acknowledged is not None
    assert acknowledged.superseded == (token,)


def test_a_chord_survives_its_workers_one_after_the_other(bench: Bench) -> None:
    sketch = chord(3)
    bench.submit(sketch)
    for number in range(2):
        bench.gone(bench.worker(f"w{number}@host"))
    worker = Puppet("last@host")
    bench.arrive(worker)
    bench.values_of(worker)
    bench.finish(worker, sketch.id, 4)
    assert bench.ended == [sketch.id]
