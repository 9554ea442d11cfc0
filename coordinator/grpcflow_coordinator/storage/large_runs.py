"""Runs with large arguments that were written lately, so that they need not be read back at once.

A run is written, looked at when its nodes become ready, and handed out, mostly within a moment; each look would copy
its record out of the database. Memory only, of what is in the records too: what is not here is read there.
"""

from __future__ import annotations

from typing import Final

from grpcflow_coordinator.core.model import Run
from grpcflow_coordinator.storage.formats import LARGE

#: Runs, and bytes of arguments, that are kept at most; those that come later are read from the disk.
MOST: Final = 1_000
MOST_BYTES: Final = 64 << 20


class LargeRuns:
    """The runs by graph, with their arguments until these are taken."""

    def __init__(self) -> None:
        self._runs: dict[bytes, dict[int, Run]] = {}
        self._payloads: dict[tuple[bytes, int], list[bytes]] = {}
        self._count = self._bytes = 0

    def keep(self, graph: bytes, run: Run, payloads: list[bytes], size: int) -> None:
        """Take in a run that is being written.

        Args:
            graph: its graph.
            run: the run.
            payloads: its arguments.
            size: bytes of its record: whether it is worth it.
        """
        self.forget(graph, run.first)
        if size < LARGE:
            return
        if self._count >= MOST:
            self._forget_oldest()
        self._runs.setdefault(graph, {})[run.first] = run
        self._count += 1
        held = sum(map(len, payloads))
        if self._bytes + held <= MOST_BYTES:
            self._payloads[graph, run.first] = payloads
            self._bytes += held

    def run(self, graph: bytes, first: int) -> Run | None:
        """Return a run by its first node; None where it is not kept."""
        runs = self._runs.get(graph)
        return None if runs is None else runs.get(first)

    def has(self, graph: bytes) -> bool:
        """Return whether runs of a graph are kept."""
        return graph in self._runs

    def take_payloads(self, graph: bytes, first: int) -> list[bytes] | None:
        """Return the arguments of a run and keep them no longer; None where they are not kept."""
        payloads = self._payloads.pop((graph, first), None)
        if payloads is not None:
            self._bytes -= sum(map(len, payloads))
        return payloads

    def forget(self, graph: bytes, first: int | None = None) -> None:
        """Keep nothing of a graph, or of one run of it."""
        runs = self._runs.get(graph)
        if runs is None:
            return
        for one in list(runs) if first is None else (first,):
            if runs.pop(one, None) is not None:
                self._count -= 1
                self.take_payloads(graph, one)
        if not runs:
            del self._runs[graph]

    def _forget_oldest(self) -> None:
        """Make room for one more."""
        graph, runs = next(iter(self._runs.items()))
        self.forget(graph, next(iter(runs)))
