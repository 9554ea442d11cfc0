"""Which attempt has a node: found without looking at all that runs for each question, and never one that is over."""

from typing import Any

import pytest
from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import Sketch

from grpcflow_coordinator.core import running
from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.effects import Effects
from grpcflow_coordinator.core.model import NodeState, node_id


def group(count: int) -> Sketch:
    sketch = Sketch()
    sketch.group(count)
    return sketch


def looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Returns the nodes of the attempts that are looked at from now on."""
    seen: list[bytes] = []

    def noted(graph: bytes, index: int) -> bytes:
        seen.append(node_id(graph, index))
        return seen[-1]

    monkeypatch.setattr(running, "node_id", noted)
    return seen


def test_a_storm_of_revokes_looks_at_everything_that_runs_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = bench.worker(capacity=400)
    graph = bench.submit(group(300))
    assert len(worker.given) == 300
    seen = looked_at(bench, monkeypatch)
    for index in range(50):
        bench.revoke(graph, index)
    assert len(seen) <= 300 + 50
    seen.clear()
    newer = bench.submit(group(5))
    bench.revoke(newer, 3, terminate=True)
    assert len(seen) == 6, "those that came since, and the first that was there before"
    bench.sent.clear()  # stops


def test_it_is_forgotten_after_a_second(bench: Bench) -> None:
    bench.worker(capacity=10)
    graph = bench.submit(group(3))
    bench.revoke(graph, 0)
    assert len(bench.machine.cluster.known) == 3
    bench.pass_time(running.KEPT + 0.1)
    assert not bench.machine.cluster.known
    bench.sent.clear()  # stops


def test_an_attempt_that_is_over_is_none(bench: Bench) -> None:
    worker = bench.worker(capacity=10)
    graph = bench.submit(group(3))
    bench.revoke(graph, 2)
    bench.finish(worker, graph, 0)
    now: Any = bench.now
    found = running.running_nodes(Step(bench.machine.cluster, bench.records, now, Effects()))
    assert [node_id(graph, index) in found for index in range(3)] == [False, True, True]
    assert found.get(node_id(graph, 0)) is None
    bench.revoke(graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS
    bench.sent.clear()  # stops
