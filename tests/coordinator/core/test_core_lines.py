"""Queues: order, paging, lanes, equal weight."""

from dataclasses import replace
from typing import Any

import pytest
from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, one

from grpcflow_coordinator.core.lines import WINDOW
from grpcflow_coordinator.core.model import LineKey, Template
from grpcflow_coordinator.core.ordering import Order

KEY = LineKey("default", "t", 0)


def fill(bench: Bench, count: int, template: Template = PLAIN) -> list[bytes]:
    bench.check = False
    graphs = [bench.submit(one(template)) for _ in range(count)]
    bench.check = True
    bench.tick()
    return graphs


def test_work_is_handed_out_in_the_order_of_its_arrival_across_pages(bench: Bench) -> None:
    graphs = fill(bench, 3 * WINDOW + 5)
    worker = bench.worker(capacity=1000)
    assert [graph for graph, _ in worker.given] == graphs


def test_memory_holds_a_window_of_a_line_and_no_more(bench: Bench) -> None:
    fill(bench, 3 * WINDOW)
    line = bench.machine.cluster.lines.line(KEY)
    assert len(line.window) == WINDOW
    assert line.more
    assert line.queued == 3 * WINDOW


def test_order_holds_over_a_restart(bench: Bench) -> None:
    graphs = fill(bench, 2 * WINDOW + 3)
    bench.restart()
    graphs += fill(bench, 3)
    worker = bench.worker(capacity=1000)
    assert [graph for graph, _ in worker.given] == graphs


def test_higher_priority_goes_first(bench: Bench) -> None:
    low = fill(bench, 3, replace(PLAIN, priority=1))
    high = fill(bench, 3, replace(PLAIN, priority=9))
    worker = bench.worker()
    assert [graph for graph, _ in worker.given] == high + low


def test_lanes_of_one_queue_merge_in_the_order_of_arrival_also_beyond_a_window(bench: Bench) -> None:
    other = replace(PLAIN, task="u")
    graphs = fill(bench, 2 * WINDOW)
    graphs += fill(bench, 2 * WINDOW, other)
    graphs += fill(bench, 3)
    worker = bench.worker(tasks=frozenset({"t", "u"}), capacity=1000)
    assert [graph for graph, _ in worker.given] == graphs


def test_one_of_hundreds_of_tasks_is_found_with_a_look_at_a_few(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.check = False
    names = [f"t{number % 300}" for number in range(600)]
    graphs = [bench.submit(one(replace(PLAIN, task=name))) for name in names]
    looks, top = [0], Order.top

    def counted(order: Order, *given: Any) -> Any:
        looks[0] += 1
        return top(order, *given)

    monkeypatch.setattr(Order, "top", counted)
    worker = bench.worker(capacity=600, tasks=frozenset(names))
    assert [graph for graph, _ in worker.given] == graphs
    assert looks[0] < 600 * 4, "it looked at 300 tasks for each call"


@pytest.mark.parametrize("unknown", [3, 40])
def test_tasks_that_a_worker_does_not_know_hold_nothing_up_and_keep_their_places(bench: Bench, unknown: int) -> None:
    names = [f"t{number}" for number in range(unknown + 5)]
    graphs = [bench.submit(one(replace(PLAIN, task=name))) for name in [*names, *names]]
    some = bench.worker(capacity=100, tasks=frozenset(names[unknown:]))
    known = [graph for place, graph in enumerate(graphs) if place % len(names) >= unknown]
    assert [graph for graph, _ in some.given] == known
    late = bench.worker("late@host", capacity=100, tasks=frozenset(names))
    assert [graph for graph, _ in late.given] == [graph for graph in graphs if graph not in known]


def test_a_name_nobody_knows_holds_nobody_up(bench: Bench) -> None:
    fill(bench, 2 * WINDOW, replace(PLAIN, task="unknown"))
    graph = bench.submit(one())
    worker = bench.worker()
    assert worker.given == [(graph, 0)]
    late = bench.worker("late@host", tasks=frozenset({"unknown"}), capacity=1000)
    assert len(late.given) == 2 * WINDOW


def test_queues_have_equal_weight_whatever_their_length(bench: Bench) -> None:
    fill(bench, 40, replace(PLAIN, queue="a"))
    long = Sketch(replace(PLAIN, queue="b"))
    long.group(40)
    bench.submit(long)
    worker = bench.worker(queues=("a", "b"), capacity=8)
    served = {True: 0, False: 0}
    while len(worker.given) < 48:
        bench.values_of(worker, next(iter(worker.held)))
    for graph, _ in worker.given:
        served[graph == long.id] += 1
    assert abs(served[True] - served[False]) <= 8


def test_a_queue_in_bursts_of_single_calls_is_not_behind_one_with_a_group(bench: Bench) -> None:
    fill(bench, 60, replace(PLAIN, queue="a"))
    long = Sketch(replace(PLAIN, queue="b"))
    long.group(60)
    bench.submit(long)
    worker = bench.worker(queues=("a", "b"), capacity=8)
    while len(worker.given) < 64:
        bench.values_of(worker)
    from_group = sum(graph == long.id for graph, _ in worker.given)
    assert 24 <= from_group <= 40


def test_only_subscribed_queues_are_served(bench: Bench) -> None:
    bench.submit(one(replace(PLAIN, queue="other")))
    worker = bench.worker()
    assert not worker.given
    bench.speak(worker, queues=("default", "other"))
    assert len(worker.given) == 1


def test_nobody_holds_more_than_his_capacity(bench: Bench) -> None:
    group = Sketch()
    group.group(50)
    bench.submit(group)
    worker = bench.worker(capacity=3)
    assert len(worker.held) == 3
    bench.values_of(worker, *list(worker.held)[:2])
    assert len(worker.held) == 3
    bench.speak(worker, capacity=0)
    bench.values_of(worker)
    assert not worker.held


def test_two_workers_share_a_burst(bench: Bench) -> None:
    first, second = bench.worker("one@host"), bench.worker("two@host")
    group = Sketch()
    group.group(40)
    bench.submit(group)
    assert first.given
    assert second.given
    assert len(first.given) + len(second.given) == 40


def test_revoked_nodes_beyond_the_window_are_passed_over_and_forgotten(bench: Bench) -> None:
    graphs = fill(bench, 3 * WINDOW)
    bench.check = False
    for graph in graphs[::2]:
        assert bench.revoke(graph, 0) == 1
    bench.check = True
    worker = bench.worker(capacity=1000)
    assert [graph for graph, _ in worker.given] == graphs[1::2]
    assert not bench.machine.cluster.lines.gone
    assert bench.machine.cluster.lines.line(KEY).queued == 0


def test_a_partly_revoked_group_hands_out_the_rest_before_and_after_a_restart(bench: Bench) -> None:
    group = Sketch()
    group.group(30)
    bench.submit(group)
    bench.revoke(group.id, 0, 7, 29)
    worker = bench.worker(capacity=10)
    assert worker.indexes() == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    bench.restart()
    bench.arrive(worker)
    bench.speak(worker, capacity=100)
    assert worker.indexes() == [index for index in range(1, 29) if index != 7]
    bench.values_of(worker)
    assert bench.ended == [group.id]
    assert not bench.records.lines() or bench.records.line_count(KEY)[0] == 0


def test_the_mark_moves_before_anything_beyond_it_is_sent(bench: Bench) -> None:
    fill(bench, 5)
    bench.worker(capacity=1)
    assert bench.records.mark(KEY) > 1
