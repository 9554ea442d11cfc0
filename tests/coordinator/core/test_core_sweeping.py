"""Sweeps: what settled while it was queued leaves the queue although nobody serves it, before its graph is deleted."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.coordinator.support.bench import BOOM, Bench, Puppet
from tests.coordinator.support.graphs import Sketch, one

from grpcflow_coordinator.core import sweeping
from grpcflow_coordinator.core.events import CancelAsked, ForgetAsked, Retried, RetryAsked, Tick
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.core.model import LineKey, NodeState, Template, text_id
from grpcflow_coordinator.storage import keys

T = Template("t", "default")
EXPIRING = replace(T, expires_in_ms=1_000)


def entries(bench: Bench) -> int:
    """Returns how many entries stand in the queues on the disk."""
    return len(bench.store.keys(keys.ENTRY, keys.after(keys.ENTRY), 1 << 20))


def queued(bench: Bench) -> int:
    """Returns how many nodes count as queued."""
    return sum(line.queued for line in bench.machine.cluster.lines.by_key.values())


def group(count: int, template: Template = T) -> Sketch:
    sketch = Sketch(template)
    sketch.group(count)
    return sketch


def leave_with_two_done(bench: Bench, worker: Puppet, graph: bytes) -> None:
    """The worker ends the first two nodes of a graph, and nobody takes from the queue any more."""
    bench.speak(worker, drain=True)
    bench.finish(worker, graph, 0)
    bench.finish(worker, graph, 1)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is swept because it is many."""
    monkeypatch.setattr(sweeping, "_SHARE", 0)


def test_what_expires_where_nobody_serves_leaves_the_queue_and_the_memory(bench: Bench) -> None:
    for _ in range(40):
        bench.submit(one(EXPIRING))
    assert (entries(bench), queued(bench)) == (40, 40)
    bench.pass_time(2)
    assert (entries(bench), queued(bench)) == (0, 0)
    assert not bench.machine.cluster.lines.gone


def test_what_waits_beside_it_stays_in_its_order(bench: Bench) -> None:
    graphs = [bench.submit(one(EXPIRING if number % 2 else T)) for number in range(300)]
    bench.pass_time(2)
    assert entries(bench) < 200
    worker = bench.worker(capacity=1_000)
    assert worker.given == [(graph, 0) for graph in graphs[::2]]


def test_a_group_of_which_a_part_is_revoked_keeps_its_entry(bench: Bench) -> None:
    sketch = group(8)
    bench.submit(sketch)
    bench.revoke(sketch.id, 1, 2, 3, 4)
    assert entries(bench) == 1
    worker = bench.worker(capacity=100)
    assert worker.given == [(sketch.id, index) for index in (0, 5, 6, 7)]


class Unlisted(dict[LineKey, Line]):
    """Lines that are found by their keys, and never gone through."""

    def __iter__(self) -> Iterator[LineKey]:
        raise AssertionError("all lines were gone through")

    def items(self) -> Any:
        return iter(self)


def test_what_a_sweep_looks_at_does_not_grow_with_the_keys_of_other_calls(bench: Bench) -> None:
    gone = bench.submit(one(T))
    sketch = Sketch(Template("keyed", "default"))
    for number in range(3):
        sketch.keyed(concurrency=f"key {number}")
    bench.submit(sketch)
    lines = bench.machine.cluster.lines
    lines.by_key = Unlisted(lines.by_key)
    bench.check = False  # the invariants look at all
    bench.revoke(gone, 0)
    assert entries(bench) == 3
    lines.by_key = dict(dict.items(lines.by_key))
    worker = bench.worker(tasks=("keyed",), capacity=10)
    for index in range(3):
        bench.finish(worker, sketch.id, index)
    assert not lines.by_key.keys() - {LineKey("default", "t", 0)}
    assert not lines.of(("default", "keyed"))


@pytest.mark.usefixtures("never")
def test_a_graph_is_deleted_once_no_entry_names_it(bench: Bench) -> None:
    bench.submit(group(12))
    gone = bench.submit(one(T))
    bench.step(CancelAsked(None, gone, False, ""))
    assert entries(bench) == 2
    bench.pass_time(bench.limits.result_expires_ms / 1000 + 0.5)
    assert bench.records.graph(gone) is not None
    assert entries(bench) == 1
    bench.pass_time(1)
    assert not [key for key in bench.store._map if gone in key]
    assert not bench.machine.cluster.lines.gone
    bench.sent.clear()  # answers


@pytest.mark.usefixtures("never")
def test_an_id_that_is_used_again_runs_once(bench: Bench) -> None:
    bench.submit(group(12, Template("other", "default")))
    sketch = one(T)
    bench.submit(sketch)
    bench.step(CancelAsked(None, sketch.id, False, ""))
    bench.restart()
    bench.pass_time(bench.limits.result_expires_ms / 1000 + 1)
    bench.pass_time(1)
    assert bench.records.graph(sketch.id) is None
    bench.submit(sketch)
    worker = bench.worker(tasks=("t",), capacity=100)
    assert worker.given == [(sketch.id, 0)]
    bench.sent.clear()  # answers


@pytest.mark.usefixtures("never")
def test_an_entry_from_before_a_retry_goes_and_the_one_behind_it_stays(bench: Bench) -> None:
    sketch = one(T)
    bench.submit(sketch)
    bench.step(CancelAsked(None, sketch.id, False, ""))
    bench.step(RetryAsked(None, sketch.id))
    assert entries(bench) == 2
    other = bench.submit(one(T))
    bench.step(CancelAsked(None, other, False, ""))
    bench.machine.cluster.sweeps.asked["default", "t"] = bench.machine.cluster.lines.next_sequence
    bench.tick()
    assert entries(bench) == 1
    assert bench.worker().given == [(sketch.id, 0)]
    bench.sent.clear()  # answers


def test_a_long_queue_is_swept_a_page_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_BATCH", 10)
    monkeypatch.setattr(sweeping, "_PAGE", 5)
    for _ in range(64):
        bench.submit(one(EXPIRING))
    bench.pass_time(2)
    assert (entries(bench), queued(bench)) == (0, 0)


@pytest.mark.usefixtures("never")
def test_a_step_that_sweeps_groups_looks_at_as_many_nodes_as_one_that_sweeps_calls(bench: Bench) -> None:
    for _ in range(3):
        bench.submit(group(1_000, EXPIRING))
    bench.pass_time(2)
    assert entries(bench) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "_BATCH", 10)
        bench.machine.cluster.sweeps.asked["default", "t"] = bench.machine.cluster.lines.next_sequence
        step = bench.machine.step(Tick(), bench.records, bench.now)
        assert len(bench.records.entries(LineKey("default", "t", 0), -1, 1 << 62, 10)) == 2
        assert step.again
        bench.tick()
    assert (entries(bench), queued(bench)) == (0, 0)


def test_nothing_is_swept_while_workers_may_come_back(bench: Bench) -> None:
    running, expiring = one(T), one(replace(EXPIRING, task="other"))
    bench.submit(running)
    worker = bench.worker(capacity=1)
    assert worker.given == [(running.id, 0)]
    bench.submit(expiring)
    bench.restart()
    bench.pass_time(1.5)
    assert bench.state(expiring.id, 0) is NodeState.REVOKED
    assert entries(bench) == 2
    bench.pass_time(bench.limits.grace + 1)
    assert entries(bench) == 1


def test_what_was_swept_before_a_restart_keeps_no_graph(bench: Bench) -> None:
    gone = bench.submit(one(EXPIRING))
    bench.pass_time(2)
    assert entries(bench) == 0
    bench.restart()
    bench.pass_time(bench.limits.result_expires_ms / 1000)
    bench.pass_time(2)
    assert not [key for key in bench.store._map if gone in key]


def test_what_is_forgotten_while_others_may_come_back_is_deleted_when_that_is_over(bench: Bench) -> None:
    sketch = one(T)
    gone = bench.submit(sketch)
    worker = bench.worker(capacity=1)
    bench.worker("other@host")
    bench.restart()
    bench.arrive(worker)
    bench.finish(worker, gone, 0)
    bench.step(ForgetAsked(None, (text_id(gone, 0),)))
    bench.pass_time(2)
    assert bench.records.graph(gone) is not None, "an entry names it, and would name who is submitted under its id"
    bench.pass_time(bench.limits.grace)
    bench.pass_time(2)
    assert bench.records.graph(gone) is None
    assert entries(bench) == 0
    bench.sent.clear()  # answers


def test_what_was_swept_while_its_neighbours_ran_is_swept_once_more(bench: Bench) -> None:
    gone = bench.submit(group(3))
    worker = bench.worker(capacity=2)
    bench.revoke(gone, 2)
    leave_with_two_done(bench, worker, gone)
    assert entries(bench) == 1
    bench.pass_time(bench.limits.result_expires_ms / 1000)
    bench.pass_time(3)
    assert bench.records.graph(gone) is None
    assert entries(bench) == 0
    bench.sent.clear()  # answers


def test_the_last_entry_of_a_line_with_a_key_leaves_no_mark_of_what_was_revoked_in_it(bench: Bench) -> None:
    sketch = group(3)
    sketch.runs = [(replace(run, fairness_key="key"), payloads) for run, payloads in sketch.runs]
    gone = bench.submit(sketch)
    bench.restart()
    bench.revoke(gone, 2)
    worker = bench.worker(capacity=2)
    leave_with_two_done(bench, worker, gone)
    assert entries(bench) == 0
    assert not bench.machine.cluster.lines.gone
    bench.sent.clear()  # answers


def test_what_was_revoked_while_its_retry_waited_holds_up_nobody_under_its_id(bench: Bench) -> None:
    sketch = one(replace(T, result_expires_ms=60_000))
    bench.submit(sketch)
    worker = bench.worker()
    bench.report(worker, Retried(worker.token(sketch.id, 0), 3_600_000, BOOM))
    bench.revoke(sketch.id, 0)
    for _ in range(7):
        bench.pass_time(10)
        bench.speak(worker)
    assert bench.records.graph(sketch.id) is None
    assert not bench.machine.cluster.lines.gone
    worker.given.clear()
    bench.settled.clear()
    bench.submit(sketch)
    assert worker.given == [(sketch.id, 0)]
