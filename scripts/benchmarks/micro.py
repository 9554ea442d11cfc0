"""The core and the store alone, with no process and no wire around them: steps and commits a second.

    scripts/bench --micro

The core runs on a store in memory, with a worker that answers each assignment at once. The store is the one on disk,
each commit with its fsync; also beside a thread that computes without end and so contends for the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.rows import Figures
from benchmarks.tasks import add, app, total
from grpcflow import Signature, chain, chord, group
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.effects import Assign, Effects
from grpcflow_coordinator.core.events import ChunkArrived, Event, Tick, WorkerArrived, WorkerSpoke
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.core.presence import SessionFacts
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.journal import JOURNAL_BYTES
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos import limits

#: When everything happens, in Unix milliseconds.
_NOW = Now(1_700_000_000_000, 1_000.0)

#: Writes of one commit.
BATCHES = (1, 100, 1_000)


class CoreAlone:
    """The core on a store in memory, with one worker of cardboard."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._overlay = Overlay(self._store)
        self._records = Records(self._overlay)
        self._machine = Machine(Limits())
        self._stream = object()
        self._sequence = 1
        self._assigned: list[Assign] = []
        self.steps = self.settled = 0
        self._commit(self._machine.start(self._records, _NOW))
        facts = SessionFacts(bytes(16), "w", ("default",), frozenset({"bench.add", "bench.total"}), concurrency=2)
        self._step(WorkerArrived(self._stream, facts, 1_000, (), False))

    def _step(self, event: Event) -> None:
        """Step an event, then time until nothing is left to do at once, as the engine does."""
        effects = self._machine.step(event, self._records, _NOW)
        self._commit(effects)
        self.steps += 1
        again = True
        while again:
            tick = self._machine.step(Tick(), self._records, _NOW)
            self._commit(tick)
            self.steps += 1
            again = tick.again

    def _commit(self, effects: Effects) -> None:
        if self._overlay.dirty:
            self._store.commit(self._overlay.seal())
            self._overlay.settled()
        self._assigned += [send for send in effects.sends if isinstance(send, Assign)]

    def run(self, graphs: Sequence[Sequence[ChunkArrived]]) -> None:
        """Submit graphs, and report values until nothing is assigned any more."""
        for chunks in graphs:
            for chunk in chunks:
                self._step(chunk)
        while self._assigned:
            taken, self._assigned = self._assigned, []
            tokens = [token for one in taken for token in range(one.token, one.token + one.count)]
            self._sequence += 1
            self.settled += len(tokens)
            self._step(WorkerSpoke(self._stream, self._sequence, tokens=tokens, values=[b"1"] * len(tokens)))


def _pieces(canvas: Signature, number: int) -> list[ChunkArrived]:
    """Return what reaches the core of a canvas, by the way that a real one takes."""
    lowered = lower(canvas, Calls(app))
    if lowered is None:
        raise SystemExit("an empty canvas is no benchmark")
    graph = _NOW.wall_ms.to_bytes(6, "big") + b"\x70\x00\x80" + number.to_bytes(3, "big")
    client = object()
    return [
        convert.chunk(client, message, limits.PAYLOAD_LIMIT, limits.NODE_LIMIT) for message in to_chunks(lowered, graph)
    ]


#: Shapes: name -> (canvas, its calls).
SHAPES: dict[str, tuple[Callable[[], Signature], int]] = {
    "single calls": (lambda: add.s(1, 1), 1),
    "groups of 500": (lambda: group(add.s(i, i) for i in range(500)), 500),
    "chains of 10": (lambda: chain(add.s(1, 1), *(add.s(1) for _ in range(9))), 10),
    "chords of 100": (lambda: chord((add.s(i, i) for i in range(100)), total.s()), 101),
}


def core(calls: int) -> dict[str, Figures]:
    """Run about so many calls of each shape; return steps and calls a second, and microseconds a call.

    Raises:
        SystemExit: not every call has settled.
    """
    found: dict[str, Figures] = {}
    for name, (make, each) in SHAPES.items():
        graphs = [_pieces(make(), number) for number in range(max(1, calls // each))]
        alone = CoreAlone()
        before = alone.steps
        start = time.perf_counter()
        alone.run(graphs)
        seconds = time.perf_counter() - start
        if alone.settled != len(graphs) * each:
            raise SystemExit(f"{alone.settled} of {len(graphs) * each} calls settled: the core lost some")
        steps, count = alone.steps - before, alone.settled
        found[name] = {
            "steps_per_second": steps / seconds, "calls_per_second": count / seconds, "us_a_call": seconds / count * 1e6
        }  # fmt: skip
    return found


def _commits(store: LmdbStore, size: int, seconds: float, first: int, *, beside: bool) -> Figures:
    """Commit batches of so many writes for a while, perhaps beside a thread that computes."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1_000))

    busy = threading.Thread(target=compute, daemon=True)
    if beside:
        busy.start()
    try:
        done, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            batch = Batch()
            for number in range(size):
                batch.put((first + done * size + number).to_bytes(16, "big"), b"[[1,1],{}]")
            store.commit(batch)
            done += 1
    finally:
        stop.set()
        if beside:
            busy.join(10)
    took = now - start
    return {
        "commits_per_second": done / took, "writes_per_second": done * size / took, "ms_a_commit": took / done * 1e3
    }  # fmt: skip


def store(seconds: float) -> dict[str, Figures]:
    """Commit for so long at each size, quietly and beside a busy loop; return commits and writes a second.

    Once as the coordinator does, small commits by the journal, and once without one.
    """
    found: dict[str, Figures] = {}
    for journal, told in ((JOURNAL_BYTES, ""), (0, " without the journal")):
        with (
            tempfile.TemporaryDirectory(prefix="store-") as folder,
            contextlib.closing(LmdbStore(Path(folder), map_bytes=8 << 30, journal=journal)) as opened,
        ):
            for beside in (False, True):
                for size in BATCHES:
                    name = f"commits of {size:,}{' beside a busy loop' if beside else ''}{told}"
                    found[name] = _commits(opened, size, seconds, len(found) << 40, beside=beside)
    return found


def measure(small: bool) -> list[dict[str, object]]:
    """Measure both; return a record for each line."""
    parts = (("core", core(1_000 if small else 50_000)), ("store", store(0.01 if small else 2.0)))
    return [
        {"kind": "micro", "line": part, "name": name, **figures}
        for part, found in parts
        for name, figures in found.items()
    ]
