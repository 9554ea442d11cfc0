"""Runs with large arguments that are kept for a moment: no look at the disk, nothing that is not there, a bound."""

import pytest
from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import Sketch, one

from grpcflow_coordinator.core.events import EraseAsked
from grpcflow_coordinator.core.model import Run
from grpcflow_coordinator.storage import formats, large_runs
from grpcflow_coordinator.storage.formats import LARGE
from grpcflow_coordinator.storage.large_runs import LargeRuns
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records

BIG = b"x" * LARGE
GRAPH, OTHER = b"g" * 12, b"h" * 12


def test_arguments_are_given_once_and_the_run_stays() -> None:
    kept = LargeRuns()
    run = Run(3, 1, 0)
    kept.keep(GRAPH, run, [BIG], len(BIG))
    assert kept.has(GRAPH)
    assert not kept.has(OTHER)
    assert kept.take_payloads(GRAPH, 3) == [BIG]
    assert kept.take_payloads(GRAPH, 3) is None
    assert kept.run(GRAPH, 3) is run
    assert kept.run(GRAPH, 4) is None


def test_small_ones_are_not_kept_and_replace_large_ones() -> None:
    kept = LargeRuns()
    kept.keep(GRAPH, Run(0, 1, 0), [BIG], len(BIG))
    kept.keep(GRAPH, Run(0, 1, 0), [b""], 1)
    assert not kept.has(GRAPH)
    assert kept.take_payloads(GRAPH, 0) is None


def test_there_is_a_bound_of_runs_and_one_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_runs, "MOST", 3)
    monkeypatch.setattr(large_runs, "MOST_BYTES", 2 * len(BIG))
    kept = LargeRuns()
    for first in range(4):
        kept.keep(GRAPH, Run(first, 1, 0), [BIG], len(BIG))
    assert [kept.run(GRAPH, first) is not None for first in range(4)] == [False, True, True, True]
    assert [kept.take_payloads(GRAPH, first) is not None for first in range(4)] == [False, True, False, True]
    kept.forget(GRAPH)
    assert (kept._count, kept._bytes, kept.has(GRAPH)) == (0, 0, False)


def large(count: int) -> Sketch:
    sketch = Sketch()
    for _ in range(count):
        sketch.task()
    sketch.runs = [(run, [BIG]) for run, _ in sketch.runs]
    return sketch


def test_what_is_kept_is_what_is_written(bench: Bench) -> None:
    sketch = large(3)
    bench.submit(sketch)
    fresh = Records(Overlay(bench.store))
    for index in range(3):
        assert bench.records.large.run(sketch.id, index) is not None
        assert bench.records.run_of(sketch.id, index) == fresh.run_of(sketch.id, index)
    assert bench.records.runs(sketch.id, 1, 5) == fresh.runs(sketch.id, 1, 5)
    run = fresh.run_of(sketch.id, 2)
    assert run is not None
    for _ in range(2):
        assert bench.records.payloads(sketch.id, run) == fresh.payloads(sketch.id, run) == [BIG]


def test_what_was_taken_leaves_its_room_to_others(bench: Bench) -> None:
    sketch = large(3)
    bench.submit(sketch)
    for run, _ in sketch.runs:
        assert bench.records.payloads(sketch.id, run) == [BIG]
    assert bench.records.large._bytes == 0


def test_handing_out_reads_no_run_from_the_store(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    original = formats.read_run

    def reading(data: bytes) -> Run:
        read.append(data)
        return original(data)

    monkeypatch.setattr(formats, "read_run", reading)
    sketch = large(2)
    bench.submit(sketch)
    worker = bench.worker(capacity=10)
    assert worker.given == [(sketch.id, 0), (sketch.id, 1)]
    assert read == []


def test_what_is_erased_or_expires_is_kept_nowhere(bench: Bench) -> None:
    erased, expired = large(2), large(2)
    for sketch in (erased, expired):
        bench.submit(sketch)
    worker = bench.worker(capacity=10)
    for sketch in (erased, expired):
        for index in range(2):
            bench.finish(worker, sketch.id, index)
    assert bench.records.large.has(erased.id)
    bench.step(EraseAsked(None, (erased.id,), ()))
    assert not bench.records.large.has(erased.id)
    bench.pass_time(bench.limits.result_expires_ms / 1000 + 1)
    assert not bench.records.large.has(expired.id)
    bench.sent.clear()


def test_a_small_graph_is_not_kept(bench: Bench) -> None:
    graph = bench.submit(one())
    assert not bench.records.large.has(graph)
