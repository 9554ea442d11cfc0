"""Records with large arguments: written with few copies, read as any other, and not where memory has their heads."""

from __future__ import annotations

import pytest

from grpcflow_coordinator.core.model import Run
from grpcflow_coordinator.storage import formats, records
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.storage.overlay import Overlay

GRAPH = b"g" * 12


@pytest.mark.parametrize(
    "sizes", [(formats.LARGE,), (formats.LARGE, 0, 5), (formats.LARGE - 1,), (1 << 20,) * 15, (1 << 17,) * 16]
)
def test_a_run_with_large_arguments_reads_as_any_other(sizes: tuple[int, ...]) -> None:
    run, payloads = Run(3, len(sizes), 0, own_id="x"), [bytes((number,)) * size for number, size in enumerate(sizes)]
    record = formats.write_run(run, payloads)
    assert (formats.read_run(record), formats.read_payloads(record)) == (run, payloads)


class Counting(MemoryStore):
    """Counts the bytes of values that are read."""

    read = 0

    def get(self, key: bytes) -> bytes | None:
        """Count one."""
        found = super().get(key)
        self.read += len(found or b"")
        return found

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Count all."""
        found = super().scan(start, end, limit, reverse=reverse)
        self.read += sum(len(value) for _, value in found)
        return found


@pytest.mark.parametrize("small", [1, records.READ_SINGLY, records.READ_SINGLY + 1])
def test_large_arguments_are_not_read_for_the_heads_of_their_graph(small: int) -> None:
    store = Counting()
    overlay = Overlay(store)
    kept = records.Records(overlay)
    runs = [(Run(first, 1, 0), [b"x" * formats.LARGE]) for first in range(20)]
    runs += [(Run(first, 1, 0), [b"y"]) for first in range(20, 20 + small)]
    kept.stage_runs(GRAPH, runs)
    store.commit(overlay.seal())
    overlay.settled()
    store.read = 0
    assert kept.runs(GRAPH, 0, 100) == [run for run, _ in runs]
    assert kept.runs(GRAPH, 5, 3) == [run for run, _ in runs][5:8]
    # Beyond so many small ones beside them one scan is cheaper than a look for each.
    assert (store.read < 20 * formats.LARGE) == (small <= records.READ_SINGLY)
