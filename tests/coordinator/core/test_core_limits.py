"""Limits for the whole cluster: rates, concurrency of tasks, queues and keys; what they hold back and let by."""

import itertools
from dataclasses import replace

import pytest
from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch, one
from tests.support.effort import effort

from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import LimitAsked
from grpcflow_coordinator.core.model import Template
from grpcflow_coordinator.core.presence import Limit, TaskFacts

SECOND = 1_000


def limited(task: str = "t", **limit: int) -> tuple[TaskFacts, ...]:
    return (TaskFacts(task, Limit(**limit)),)


def per_second(count: int) -> tuple[TaskFacts, ...]:
    return limited(rate_count=count, rate_period_ms=SECOND)


def submit(bench: Bench, count: int, template: Template = PLAIN) -> bytes:
    sketch = Sketch(template)
    sketch.group(count)
    return bench.submit(sketch)


def keyed(bench: Bench, *keys: str, template: Template = PLAIN) -> bytes:
    """Submit a call for each concurrency key, in order."""
    sketch = Sketch(template)
    for key in keys:
        sketch.keyed(concurrency=key)
    return bench.submit(sketch)


def fair(bench: Bench, *keys: str, template: Template = PLAIN) -> bytes:
    """Submit a call for each fairness key, in order."""
    sketch = Sketch(template)
    for key in keys:
        sketch.keyed(fairness=key)
    return bench.submit(sketch)


def put(bench: Bench, scope: str, name: str, limit: Limit | None) -> None:
    bench.step(LimitAsked(None, scope, name, limit))  # type: ignore[arg-type]
    assert bench.take(Answer)


def spread(bench: Bench, worker: Puppet, seconds: float, step: float = 0.01) -> list[float]:
    """Let time pass in small steps; return after how long each call was handed out."""
    times: list[float] = []
    for number in range(round(seconds / step) + 1):
        if number:
            bench.pass_time(step)
            bench.speak(worker)
        times += [round(number * step, 3)] * (len(worker.given) - len(times))
    return times


def test_a_rate_spreads_starts_evenly_over_its_period(bench: Bench) -> None:
    submit(bench, 30)
    worker = bench.worker(task_facts=per_second(10))
    times = spread(bench, worker, 1.0)
    assert len(times) == 11
    assert all(later - earlier >= 0.099 for earlier, later in itertools.pairwise(times))


def test_a_rate_holds_for_all_workers_together(bench: Bench) -> None:
    submit(bench, 30)
    first = bench.worker("a@h", task_facts=per_second(10))
    second = bench.worker("b@h", task_facts=per_second(10))
    for _ in range(10):
        bench.pass_time(0.1)
    assert len(first.given) + len(second.given) == 11


def test_a_fast_rate_lets_through_what_fifty_milliseconds_bring(bench: Bench) -> None:
    submit(bench, 900)
    worker = bench.worker(capacity=1000, task_facts=per_second(1000))
    assert len(worker.given) == 50
    bench.pass_time(0.02)
    assert len(worker.given) == 70


def test_the_core_asks_to_be_woken_when_the_rate_lets_the_next_one_start(bench: Bench) -> None:
    submit(bench, 2)
    bench.worker(task_facts=per_second(2))
    assert bench.machine.wake().monotonic == pytest.approx(bench.monotonic + 0.5)


def test_a_rate_survives_a_restart_of_the_coordinator(bench: Bench) -> None:
    facts = limited(rate_count=3, rate_period_ms=3_600_000)
    submit(bench, 5)
    worker = bench.worker(task_facts=facts)
    assert len(worker.given) == 1
    bench.restart(down=60)
    bench.arrive(worker)
    assert len(worker.given) == 1
    bench.wall_ms += 1_140_000 - 10
    bench.monotonic += 1140
    bench.speak(worker)
    assert len(worker.given) == 2


def test_a_step_of_the_wall_clock_changes_no_rate(bench: Bench) -> None:
    submit(bench, 5)
    worker = bench.worker(task_facts=per_second(1))
    bench.wall_ms -= 86_400_000
    bench.pass_time(1.0)
    assert len(worker.given) == 2
    bench.wall_ms += 2 * 86_400_000
    bench.tick()
    assert len(worker.given) == 2
    bench.wall_ms -= 86_400_000
    bench.restart()
    bench.arrive(worker)
    bench.pass_time(2.0)
    bench.speak(worker)
    assert 3 <= len(worker.given) <= 4


def test_a_blocked_task_holds_up_nothing_behind_it(bench: Bench) -> None:
    submit(bench, 5)
    others = submit(bench, 5, replace(PLAIN, task="u"))
    worker = bench.worker(tasks=frozenset({"t", "u"}), task_facts=limited(concurrency=1))
    assert sum(graph == others for graph, _ in worker.given) == 5
    assert len(worker.given) == 6


def test_of_a_task_with_a_limit_no_more_run_at_once_than_it_says_on_however_many_workers(bench: Bench) -> None:
    submit(bench, 10)
    facts = limited(concurrency=3)
    first = bench.worker("a@h", task_facts=facts)
    second = bench.worker("b@h", task_facts=facts)
    assert len(first.held) + len(second.held) == 3
    bench.values_of(first, next(iter(first.held)))
    assert len(first.held) + len(second.held) == 3
    assert len(first.given) + len(second.given) == 4


def test_of_a_queue_with_a_limit_no_more_run_at_once_whatever_their_tasks(bench: Bench) -> None:
    submit(bench, 3)
    submit(bench, 3, replace(PLAIN, task="u"))
    elsewhere = submit(bench, 3, replace(PLAIN, queue="other"))
    limit = (("default", Limit(concurrency=2)),)
    worker = bench.worker(queues=("default", "other"), tasks=frozenset({"t", "u"}), queue_facts=limit)
    assert sum(graph != elsewhere for graph, _ in worker.given) == 2
    assert sum(graph == elsewhere for graph, _ in worker.given) == 3


def test_of_one_key_one_runs_at_once_and_the_others_go_by(bench: Bench) -> None:
    graph = keyed(bench, "a", "a", "b", "a", "c")
    worker = bench.worker()
    assert worker.indexes() == [0, 2, 4]
    bench.finish(worker, graph, 0)
    assert worker.indexes() == [2, 4, 1]
    bench.values_of(worker)
    bench.values_of(worker)
    assert [index for _, index in worker.given] == [0, 2, 4, 1, 3]


def test_a_key_can_let_several_run(bench: Bench) -> None:
    keyed(bench, "a", "a", "a", template=replace(PLAIN, per_key=2))
    assert bench.worker().indexes() == [0, 1]


def test_a_key_is_shared_by_tasks_and_queues(bench: Bench) -> None:
    keyed(bench, "a")
    keyed(bench, "a", template=replace(PLAIN, task="u", queue="other"))
    worker = bench.worker(queues=("default", "other"), tasks=frozenset({"t", "u"}))
    assert len(worker.given) == 1
    bench.values_of(worker)
    assert len(worker.given) == 2


def test_a_key_is_free_again_when_its_worker_is_lost(bench: Bench) -> None:
    keyed(bench, "a", "a")
    lost, other = bench.worker("a@h", capacity=1), bench.worker("b@h", capacity=1)
    assert (len(lost.given), len(other.given)) == (1, 0)
    bench.break_stream(lost)
    bench.pass_time(5)
    bench.speak(other)
    assert not other.given
    bench.pass_time(5)
    bench.speak(other)
    assert other.indexes() == [0]


def test_a_key_stays_taken_over_a_restart_while_its_worker_runs_it(bench: Bench) -> None:
    graph = keyed(bench, "a", "a", "b")
    worker = bench.worker()
    bench.restart()
    other = bench.worker("other@h")
    assert not other.given, "what runs is not known yet"
    bench.arrive(worker)
    assert [index for _, index in worker.given] == [0, 2]
    assert not other.given
    bench.finish(worker, graph, 0)
    assert len(worker.given) + len(other.given) == 3


def test_nothing_that_is_counted_is_handed_out_while_it_is_unknown_what_runs(bench: Bench) -> None:
    submit(bench, 4)
    facts = limited(concurrency=2)
    worker = bench.worker(task_facts=facts)
    bench.restart()
    more = bench.worker("more@h", task_facts=facts)
    assert not more.given
    bench.pass_time(bench.limits.grace)
    bench.speak(more)
    assert len(more.held) == 2
    assert len(worker.given) == 2


def test_lines_of_keys_are_forgotten_with_their_last_call(bench: Bench) -> None:
    keyed(bench, *(f"key-{number}" for number in range(20)))
    fair(bench, *(f"tenant-{number}" for number in range(20)))
    bench.values_of(bench.worker(capacity=100))
    assert not bench.machine.cluster.lines.by_key
    assert not bench.machine.cluster.gates.keys
    assert not bench.records.lines()
    assert not bench.machine.cluster.lines.ready


def test_a_limit_that_is_set_goes_before_the_codes_until_it_is_cleared(bench: Bench) -> None:
    submit(bench, 20)
    worker = bench.worker(task_facts=limited(concurrency=5))
    assert len(worker.held) == 5
    put(bench, "task", "t", Limit(concurrency=7))
    assert len(worker.held) == 7
    bench.restart()
    bench.arrive(worker)
    assert len(worker.held) == 7, "it holds over a restart, and what runs is counted"
    put(bench, "task", "t", Limit(concurrency=1))
    bench.values_of(worker, *list(worker.held)[:6])
    assert len(worker.held) == 1
    put(bench, "task", "t", None)
    assert len(worker.held) == 5
    put(bench, "task", "t", Limit())
    assert len(worker.held) == 14, "an empty limit is none, whatever the code says"


def test_newer_code_changes_and_ends_limits(bench: Bench) -> None:
    submit(bench, 9)
    worker = bench.worker(task_facts=limited(concurrency=2))
    assert len(worker.held) == 2
    second = bench.worker("b@h", task_facts=limited(concurrency=4))
    assert len(worker.held) + len(second.held) == 4
    bench.worker("c@h")
    assert sum(len(one.given) for one in (worker, second)) < 9
    assert len(bench.machine.cluster.attempts) == 9


def test_what_is_handed_back_or_retried_no_longer_counts(bench: Bench) -> None:
    graph = submit(bench, 3)
    worker = bench.worker(task_facts=limited(concurrency=1))
    bench.end(worker, graph, 0, "returned")
    assert len(worker.held) == 1
    bench.end(worker, graph, 0, "requeued")
    assert worker.indexes() == [1]


def test_a_rate_that_is_raised_holds_at_once(bench: Bench) -> None:
    submit(bench, 20)
    worker = bench.worker(task_facts=limited(rate_count=3, rate_period_ms=3_600_000))
    assert len(worker.given) == 1
    put(bench, "task", "t", Limit(rate_count=10, rate_period_ms=SECOND))
    bench.pass_time(0.1)
    assert len(worker.given) == 2
    bench.pass_time(0.1)
    assert len(worker.given) == 3


def one_by_one(bench: Bench, worker: Puppet) -> list[str]:
    """Settle what a worker holds, one at a time, until there is no more; return the fairness keys in that order."""
    seen = []
    while worker.held:
        [(graph, index)] = worker.held.values()
        run = bench.records.run_of(graph, index)
        assert run is not None
        seen.append(run.fairness_key)
        bench.values_of(worker)
    return seen


def test_a_key_that_many_share_goes_on_in_their_order_past_those_that_cannot_run(bench: Bench) -> None:
    for number in range(40):
        sketch = Sketch(
            replace(PLAIN, task="unknown" if number < 30 else "t", queue="other" if number == 35 else "default")
        )
        sketch.keyed(concurrency="printer", fairness=f"tenant {number}")
        bench.submit(sketch)
    worker = bench.worker(capacity=5)
    assert one_by_one(bench, worker) == [f"tenant {number}" for number in range(30, 40) if number != 35]
    every = bench.worker("every@h", queues=("default", "other"), tasks=frozenset({"t", "unknown"}))
    for _ in range(31):
        assert len(every.held) == 1
        bench.values_of(every)
    assert not every.held
    assert not bench.machine.cluster.gates.keys


def test_of_those_that_wait_for_a_key_the_urgent_go_first(bench: Bench) -> None:
    for number, priority in enumerate((3, 3, 3, 9, 0)):
        sketch = Sketch(replace(PLAIN, priority=priority))
        sketch.keyed(concurrency="printer", fairness=f"tenant {number}")
        bench.submit(sketch)
    worker = bench.worker(capacity=5)
    for sketch_priority in (8, 3):
        sketch = Sketch(replace(PLAIN, priority=sketch_priority))
        sketch.keyed(concurrency="printer", fairness=f"late {sketch_priority}")
        bench.submit(sketch)
    assert one_by_one(bench, worker) == ["tenant 3", "late 8", "tenant 0", "tenant 1", "tenant 2", "late 3", "tenant 4"]


# Fairness


def test_a_flood_of_one_key_does_not_starve_another(bench: Bench) -> None:
    flood = fair(bench, *["flood"] * 50)
    small = fair(bench, *["small"] * 5)
    worker = bench.worker(capacity=10)
    assert sum(graph == small for graph, _ in worker.given) == 5
    assert sum(graph == flood for graph, _ in worker.given) == 5


def test_keys_take_turns_also_where_places_come_free_one_by_one(bench: Bench) -> None:
    fair(bench, *["a"] * 30)
    fair(bench, *["b"] * 30)
    fair(bench, *["c"] * 3)
    worker = bench.worker(capacity=1)
    turns = []
    for _ in range(30):
        [(graph, index)] = worker.held.values()
        run = bench.records.run_of(graph, index)
        assert run is not None
        turns.append(run.fairness_key)
        bench.values_of(worker)
    assert turns[:9] == ["a", "b", "c"] * 3
    assert turns[9:] == ["a", "b"] * 10 + ["a"]


def test_one_who_comes_late_does_not_catch_up(bench: Bench) -> None:
    fair(bench, *["a"] * 40)
    worker = bench.worker(capacity=1)
    for _ in range(20):
        bench.values_of(worker)
    late = fair(bench, *["b"] * 10)
    before = len(worker.given)
    for _ in range(10):
        bench.values_of(worker)
    assert sum(graph == late for graph, _ in worker.given[before:]) == 5


def test_calls_without_a_key_are_one_more_in_the_round(bench: Bench) -> None:
    plain = submit(bench, 20)
    fair(bench, *["a"] * 20)
    worker = bench.worker(capacity=1)
    for _ in range(19):
        bench.values_of(worker)
    assert sum(graph == plain for graph, _ in worker.given) == 10


def test_priority_goes_before_fairness(bench: Bench) -> None:
    fair(bench, *["a"] * 3)
    urgent = fair(bench, *["b"] * 3, template=replace(PLAIN, priority=5))
    worker = bench.worker(capacity=3)
    assert {graph for graph, _ in worker.given} == {urgent}


# Weights


def test_queues_of_equal_weight_get_the_same_however_long_they_are_and_in_whatever_order_they_are_named(
    bench: Bench,
) -> None:
    submit(bench, 2000, replace(PLAIN, queue="long"))
    short = submit(bench, 100, replace(PLAIN, queue="short"))
    for queues in (("long", "short"), ("short", "long")):
        worker = bench.worker(f"{queues[0]}@h", queues=queues, capacity=4, concurrency=4)
        before = len(worker.given)
        for _ in range(10):
            bench.values_of(worker)
        given = worker.given[before:]
        assert sum(graph == short for graph, _ in given) == len(given) // 2
        bench.gone(worker)
        bench.take(Answer)


def test_a_heavier_queue_has_its_turn_more_often(bench: Bench) -> None:
    heavy = submit(bench, 100, replace(PLAIN, queue="a"))
    submit(bench, 100, replace(PLAIN, queue="b"))
    worker = bench.worker(queues=("a", "b"), weights=(3, 1), capacity=1)
    for _ in range(39):
        bench.values_of(worker)
    assert sum(graph == heavy for graph, _ in worker.given) == 30


def test_every_worker_serves_its_direct_queue(bench: Bench) -> None:
    bench.worker("a@h", queues=())
    second = bench.worker("b@h", queues=())
    mine = submit(bench, 3, replace(PLAIN, queue="b@h.dq"))
    assert {graph for graph, _ in second.given} == {mine}


# Cost


def _hand_outs(blocked: int) -> int:
    """Return the work that 200 hand-outs are past so many calls that a limit holds back."""
    bench = Bench()
    bench.check = False
    for _ in range(blocked // 1000):
        submit(bench, 1000)
    facts = limited(concurrency=1)
    worker = bench.worker(tasks=frozenset({"t", "u"}), capacity=2, task_facts=facts)
    submit(bench, 200, replace(PLAIN, task="u"))
    [blocker] = [token for token, (graph, _) in worker.held.items() if bench.machine.cluster.attempts[token].gates]

    def hand_out() -> None:
        for _ in range(199):
            bench.values_of(worker, *(token for token in worker.held if token != blocker))

    return effort(hand_out)


def test_a_hundred_thousand_blocked_calls_cost_no_more_per_hand_out_than_a_thousand() -> None:
    assert _hand_outs(100_000) < 1.5 * _hand_outs(1_000)


def _next_ones(keys: int, kind: str) -> int:
    """Return the work that 100 hand-outs are, one after the other, of a task that has calls of so many keys."""
    bench = Bench()
    bench.check = False
    for first in range(0, keys, 500):
        names = [f"key {number}" for number in range(first, min(first + 500, keys))]
        sketch = Sketch(PLAIN)
        for name in names:
            sketch.keyed(
                fairness="" if kind == "concurrency" else name, concurrency={"concurrency": name}.get(kind, "one")
            )
        bench.submit(sketch)
    worker = bench.worker(task_facts=limited(concurrency=1))

    def hand_out() -> None:
        for _ in range(100):
            bench.values_of(worker)

    return effort(hand_out)


@pytest.mark.parametrize("kind", ["concurrency", "fairness under one concurrency key"])
def test_thousands_of_keys_that_wait_for_one_limit_cost_no_more_per_hand_out_than_two_hundred(kind: str) -> None:
    assert _next_ones(4_000, kind) < 1.5 * _next_ones(200, kind)


def test_a_call_that_no_limit_knows_costs_no_record_of_one(bench: Bench) -> None:
    bench.submit(one())
    bench.values_of(bench.worker())
    assert not bench.records.limits()
    assert bench.records.rate("task", "t") is None
