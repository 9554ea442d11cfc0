"""Batches: calls of one task that are handed out together, as one."""

from dataclasses import replace

from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch, one

from grpcflow_coordinator.core.effects import Assign, Effects
from grpcflow_coordinator.core.presence import Limit, TaskFacts

TEN = (TaskFacts("t", batch_size=10, batch_within_ms=500),)


def submit(bench: Bench, count: int, queue: str = "default") -> None:
    for _ in range(count):
        bench.submit(one(replace(PLAIN, queue=queue)))


def batches(bench: Bench, worker: Puppet) -> list[int]:
    """Return how many calls each batch has that a worker holds, in the order of the hand-outs."""
    found: dict[int, int] = {}
    for token in worker.held:
        batch = bench.machine.cluster.attempts[token].batch
        found[batch] = found.get(batch, 0) + 1
    assert 0 not in found
    return list(found.values())


def test_a_full_batch_goes_at_once_and_the_rest_waits_for_its_time(bench: Bench) -> None:
    worker = bench.worker(task_facts=TEN)
    submit(bench, 13)
    assert batches(bench, worker) == [10]
    assert bench.machine.wake().monotonic == bench.monotonic + 0.5
    bench.pass_time(0.4)
    assert batches(bench, worker) == [10]
    bench.pass_time(0.1)
    assert batches(bench, worker) == [10, 3]


def test_one_call_alone_goes_when_it_has_waited(bench: Bench) -> None:
    worker = bench.worker(task_facts=TEN)
    submit(bench, 1)
    assert not worker.held
    bench.pass_time(0.5)
    assert batches(bench, worker) == [1]


def test_calls_that_waited_for_a_worker_wait_no_longer(bench: Bench) -> None:
    submit(bench, 4)
    bench.pass_time(2)
    assert batches(bench, bench.worker(task_facts=TEN)) == [4]


def test_a_batch_is_made_of_calls_and_of_parts_of_groups_in_their_order(bench: Bench) -> None:
    sketch = Sketch(PLAIN)
    sketch.group(7)
    first = bench.submit(one(PLAIN))
    group = bench.submit(sketch)
    submit(bench, 5)
    worker = bench.worker(task_facts=TEN)
    assert batches(bench, worker) == [10]
    assert worker.given[:8] == [(first, 0), *((group, index) for index in range(7))]


def test_a_batch_takes_one_place_of_its_worker(bench: Bench) -> None:
    submit(bench, 40)
    worker = bench.worker(task_facts=TEN, capacity=3)
    assert batches(bench, worker) == [10, 10, 10]
    bench.values_of(worker, *list(worker.held)[:9])
    assert batches(bench, worker) == [1, 10, 10]
    bench.values_of(worker, next(iter(worker.held)))
    assert batches(bench, worker) == [10, 10, 10]


def test_a_batch_stays_within_its_queue(bench: Bench) -> None:
    submit(bench, 6)
    submit(bench, 6, "other")
    worker = bench.worker(task_facts=TEN, queues=("default", "other"))
    assert not worker.held
    bench.pass_time(0.5)
    assert batches(bench, worker) == [6, 6]


def test_other_tasks_do_not_wait_for_a_batch(bench: Bench) -> None:
    worker = bench.worker(task_facts=TEN, tasks=frozenset({"t", "u"}))
    submit(bench, 3)
    bench.submit(one(replace(PLAIN, task="u")))
    assert len(worker.held) == 1


def test_each_call_of_a_batch_ends_by_itself_and_a_lost_worker_loses_them_all(bench: Bench) -> None:
    submit(bench, 10)
    worker = bench.worker(task_facts=TEN)
    tokens = list(worker.held)
    bench.values_of(worker, *tokens[:4])
    graph, index = worker.held[tokens[4]]
    bench.fail(worker, graph, index)
    bench.gone(worker)
    second = bench.worker("b@h", task_facts=TEN)
    bench.pass_time(0.5)
    assert batches(bench, second) == [5]


def test_a_limit_bounds_a_batch(bench: Bench) -> None:
    submit(bench, 20)
    facts = (TaskFacts("t", Limit(concurrency=4), batch_size=10, batch_within_ms=500),)
    worker = bench.worker(task_facts=facts)
    assert batches(bench, worker) == [4]


def test_calls_with_different_keys_make_one_batch(bench: Bench) -> None:
    sketch = Sketch(PLAIN)
    for number in range(10):
        sketch.keyed(fairness=f"tenant {number % 3}", concurrency=f"key {number}")
    bench.submit(sketch)
    assert batches(bench, bench.worker(task_facts=TEN)) == [10]


def test_a_worker_that_knows_no_batches_of_the_task_gets_single_calls(bench: Bench) -> None:
    submit(bench, 10)
    worker = bench.worker()
    assert len(worker.held) == 10
    assert all(attempt.batch == 0 for attempt in bench.machine.cluster.attempts.values())


def test_the_hand_outs_of_a_batch_are_told_next_to_each_other(bench: Bench) -> None:
    told: list[Assign] = []
    deliver = bench._deliver

    def noted(effects: Effects) -> None:
        told.extend(send for send in effects.sends if isinstance(send, Assign))
        deliver(effects)

    bench._deliver = noted  # type: ignore[method-assign]
    submit(bench, 10)
    bench.worker(task_facts=TEN)
    assert len({send.batch for send in told}) == 1
    assert sum(send.count for send in told) == 10
