"""Data that earlier states of the tree wrote: each is read, found whole, recovered from, and all of it ends well.

To add one, when a format has changed: `scripts/skew --golden COMMIT tests/coordinator/storage/golden/N-COMMIT.store`.
"""

from pathlib import Path

import pytest
from tests.coordinator.support.bench import Bench, Puppet

from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import PauseAsked
from grpcflow_coordinator.core.model import NodeState
from grpcflow_coordinator.storage import formats, keys, migrating, portable
from grpcflow_coordinator.storage.checking import check
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.findings import pairs
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_opening import FORMATS
from grpcflow_coordinator.storage.memory import MemoryStore

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.store"))

#: Every task that the story calls.
TASKS = frozenset({"skew.add", "skew.total", "skew.slow", "skew.fail", "skew.again"})


def stored(file: Path) -> MemoryStore:
    store = MemoryStore()
    with file.open("rb") as stream:
        portable.load(stream, store, newest=int(FORMATS[-1]))
    return store


def migrated(file: Path) -> MemoryStore:
    store = stored(file)
    migrating.recount(store)
    return store


def written_ms(store: MemoryStore) -> int:
    """Return when the last outcome was written."""
    return max(formats.read_outcome(data).settled_ms for _, data in pairs(store, keys.OUTCOME))


def ids(file: Path) -> str:
    return file.stem


def test_there_is_golden_data_of_each_generation() -> None:
    assert len(GOLDEN) >= 5


@pytest.mark.parametrize("file", GOLDEN, ids=ids)
def test_it_is_whole(file: Path) -> None:
    store = stored(file)
    before = {finding.kind for finding in check(store, written_ms(store)) if finding.broken}
    assert before <= {"tally"}, "failures were not counted at first; `migrate` does"
    assert bool(migrating.recount(store)) == bool(before)
    assert not migrating.recount(store)
    assert [finding for finding in check(store, written_ms(store)) if finding.broken] == []
    outcomes = [formats.read_outcome(data) for _, data in pairs(store, keys.OUTCOME)]
    assert {NodeState.SUCCESS, NodeState.FAILURE} <= {outcome.state for outcome in outcomes}
    assert any(outcome.failure is not None and outcome.failure.message == "for good" for outcome in outcomes)
    assert b"42" in {outcome.data for outcome in outcomes}
    assert sum(keys.split_entry(key)[1] for key, _ in pairs(store, keys.ENTRY)) >= 300


@pytest.mark.parametrize("file", GOLDEN, ids=ids)
def test_what_it_left_undone_is_done(file: Path) -> None:
    store = migrated(file)
    settled = dict(pairs(store, keys.OUTCOME))
    bench = Bench(store=store)
    bench.wall_ms = written_ms(store) + 1_000
    bench.restart(down=bench.limits.grace + 1)
    graphs = bench.records.all_graphs()
    worker = Puppet("w@host", queues=("default", "nobody"), tasks=TASKS, capacity=10_000)
    bench.step(PauseAsked(None, "nobody", False))
    bench.take(Answer)
    bench.arrive(worker)
    for _ in range(50):
        if worker.held:
            bench.values_of(worker)
    assert len(worker.given) >= 300
    for key, data in settled.items():
        assert bench.store.get(key) == data, "a result was changed"
    # What is put off for twenty days is not due yet; everything else has ended.
    left = [graph for graph in graphs if not _has_ended(bench, graph)]
    assert len(left) == 1
    assert bench.records.alias("in-twenty-days") == left[0] + bytes(4)
    assert [finding for finding in check(bench.store, bench.wall_ms) if finding.broken] == []


def _has_ended(bench: Bench, graph_id: bytes) -> bool:
    graph = bench.records.graph(graph_id)
    return graph is None or bench.records.has_ended(graph)


@pytest.mark.parametrize("file", GOLDEN, ids=ids)
def test_it_is_finalised_without_losing_anything(file: Path, tmp_path: Path) -> None:
    records = dict(stored(file).scan(b"", b"\xff" * 8, 1 << 30))
    store = LmdbStore(tmp_path)
    store.commit(Batch(dict(records)))
    store.finalise(b"{}")
    store.close()
    again = LmdbStore(tmp_path)
    assert dict(again.scan(b"", b"\xff" * 8, 1 << 30)) == records
    assert again.format == int(FORMATS[-1])
    again.close()
