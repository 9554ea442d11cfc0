"""Broadcast: a call runs once on each worker that serves its queue when it is released."""

from dataclasses import replace

from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, one, value

from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import RetryAsked
from grpcflow_coordinator.core.model import NodeState, split_node

ALL = replace(PLAIN, queue="all", broadcast=True)


def shares(bench: Bench, graph: bytes, index: int) -> bytes:
    """Return the graph that runs in a node's place."""
    progress = bench.records.progress(graph, index)
    assert progress is not None
    return split_node(progress.replaced_by)[0]


def test_it_runs_once_on_each_worker_of_the_queue_and_its_value_is_the_list_of_theirs(bench: Bench) -> None:
    first = bench.worker("a@h", queues=("all",))
    second = bench.worker("b@h", queues=("all", "default"))
    other = bench.worker("c@h", queues=("default",))
    ignorant = bench.worker("d@h", queues=("all",), tasks=frozenset({"u"}))
    graph = bench.submit(one(ALL))
    made = shares(bench, graph, 0)
    assert (first.given, second.given, other.given, ignorant.given) == ([(made, 0)], [(made, 1)], [], [])
    run = bench.records.run_of(made, 1)
    assert run is not None
    assert bench.records.payloads(made, run) == [b"[[],{}]"]
    bench.values_of(first)
    assert bench.state(graph, 0) is None
    bench.values_of(second)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_who_comes_later_does_not_run_it(bench: Bench) -> None:
    bench.worker("a@h", queues=("all",))
    bench.submit(one(ALL))
    assert not bench.worker("b@h", queues=("all",)).given


def test_where_nobody_serves_the_queue_the_value_is_an_empty_list(bench: Bench) -> None:
    graph = bench.submit(one(ALL))
    outcome = bench.records.outcome(graph, 0)
    assert outcome is not None
    assert (outcome.state, outcome.data) == (NodeState.SUCCESS, b"[]")


def test_with_a_countdown_those_count_who_are_there_when_its_time_has_come(bench: Bench) -> None:
    early = bench.worker("a@h", queues=("all",))
    bench.submit(one(replace(ALL, countdown_ms=5000)))
    bench.speak(early, goodbye=True)
    late = bench.worker("b@h", queues=("all",))
    bench.pass_time(6)
    assert (len(early.given), len(late.given)) == (0, 1)


def test_a_group_is_spread_call_by_call(bench: Bench) -> None:
    workers = [bench.worker(f"{name}@h", queues=("all",)) for name in "ab"]
    sketch = Sketch(ALL)
    sketch.group(3)
    graph = bench.submit(sketch)
    assert [len(worker.given) for worker in workers] == [3, 3]
    for worker in workers:
        bench.values_of(worker)
    assert [bench.state(graph, index) for index in range(3)] == [NodeState.SUCCESS] * 3


def test_a_step_of_a_chain_takes_the_value_before_it_on_every_worker(bench: Bench) -> None:
    workers = [bench.worker(f"{name}@h", queues=("all", "default")) for name in "ab"]
    sketch = Sketch(PLAIN, ALL)
    first = sketch.task()
    sketch.task(value(first), template=1)
    graph = bench.submit(sketch)
    bench.values_of(next(worker for worker in workers if worker.held))
    made = shares(bench, graph, 1)
    assert [worker.given[-1] for worker in workers] == [(made, 0), (made, 1)]


def test_the_share_of_a_worker_that_leaves_before_it_ran_is_revoked(bench: Bench) -> None:
    first = bench.worker("a@h", queues=("all",), capacity=0)
    second = bench.worker("b@h", queues=("all",))
    graph = bench.submit(one(ALL))
    bench.values_of(second)
    assert bench.state(graph, 0) is None
    bench.speak(first, goodbye=True)
    assert bench.state(graph, 0) is NodeState.FAILURE
    assert bench.failure(graph, 0).type_name == "TaskRevokedError"
    assert bench.take(Answer)


def test_the_share_of_a_worker_that_is_lost_is_revoked_when_its_grace_is_over(bench: Bench) -> None:
    first = bench.worker("a@h", queues=("all",))
    graph = bench.submit(one(ALL))
    bench.break_stream(first)
    bench.restart()
    assert bench.state(graph, 0) is None
    bench.pass_time(bench.limits.grace)
    assert bench.state(graph, 0) is NodeState.FAILURE
    assert bench.take(Answer)


def test_a_retry_spreads_it_anew_to_those_who_are_there(bench: Bench) -> None:
    first = bench.worker("a@h", queues=("all",))
    graph = bench.submit(one(ALL))
    bench.fail(first, shares(bench, graph, 0), 0)
    assert bench.state(graph, 0) is NodeState.FAILURE
    second = bench.worker("b@h", queues=("all",))
    bench.settled.clear()
    bench.step(RetryAsked(None, graph))
    assert bench.take(Answer)
    assert (len(first.given), len(second.given)) == (2, 1)


def test_revoking_it_revokes_what_has_not_run_and_it_survives_a_restart(bench: Bench) -> None:
    worker = bench.worker("a@h", queues=("all",))
    graph = bench.submit(one(ALL))
    bench.restart()
    bench.arrive(worker)
    bench.values_of(worker)
    assert bench.state(graph, 0) is NodeState.SUCCESS
