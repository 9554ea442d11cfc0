"""Queues many tasks in a coordinator's engine over LMDB and prints by how much its anonymous memory grew, as JSON.

A program of its own: run by test_memory.py with a folder as its argument.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from grpcflow_coordinator.core.effects import Assign, Effects
from grpcflow_coordinator.core.events import ChunkArrived, WorkerArrived
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Run, Template
from grpcflow_coordinator.core.presence import SessionFacts
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.storage.lmdb import LmdbStore

#: Tasks that wait: half of them in groups of 500 of an unknown name, half of them each a graph of its own.
IN_GROUPS, SINGLES, GROUP = 100_000, 100_000, 500

PAYLOAD = b'[["some argument", 12345],{}]'


class Counter:
    """An outbox that counts what is handed out."""

    def __init__(self) -> None:
        self.handed_out = 0

    def deliver(self, effects: Effects) -> None:
        """Count."""
        self.handed_out += sum(send.count for send in effects.sends if isinstance(send, Assign))


def anonymous() -> int:
    """Return the anonymous memory of this process in bytes."""
    gc.collect()
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Anonymous:"))


def graph(number: int, count: int, task: str) -> ChunkArrived:
    """Return a graph of so many calls."""
    template = Template(task, "default", wire=b"\x0a\x01" + task[:1].encode())
    graph_id = number.to_bytes(6, "big") + b"\x70\x00\x80\x00\x00\x00"
    runs = [(Run(0, count, 0), [PAYLOAD] * count)]
    return ChunkArrived(None, graph_id, 0, True, count, (template,), runs)


def run_all(engine: Engine) -> None:
    """Run batches until the inbox is empty."""
    while engine.run_batch() or engine._inbox:
        pass


def main() -> None:
    """Measure and print."""
    store, outbox = LmdbStore(Path(sys.argv[1])), Counter()
    engine = Engine(store, Machine(), outbox)
    engine.start()
    for number in range(100):  # warm: code, caches, the first pages
        engine.post(graph(1 + number, 1, "warm"))
        run_all(engine)
    before = anonymous()
    for number in range(IN_GROUPS // GROUP):
        engine.post(graph(10_000 + number, GROUP, "unknown"))
        run_all(engine)
    in_groups = anonymous()
    for number in range(SINGLES):
        engine.post(graph(1_000_000 + number, 1, "unknown"))
        if number % 500 == 499:
            run_all(engine)
    grown = anonymous() - before
    queued = sum(line.queued for line in engine.machine.cluster.lines.by_key.values() if line.key.task == "unknown")
    engine.post(graph(9_000_000, 1, "known"))
    facts = SessionFacts(b"s" * 16, "w@host", ("default",), frozenset({"known"}))
    engine.post(WorkerArrived(object(), facts, 100, (), draining=False))
    run_all(engine)
    store.close()
    del engine
    at_rest = anonymous()
    again = Engine(LmdbStore(Path(sys.argv[1])), Machine(), Counter())
    again.start()
    figures = {
        "queued": queued,
        "grown": grown,
        "grown by singles": before + grown - in_groups,
        "grown after restart": anonymous() - at_rest,
        "handed out behind them": outbox.handed_out,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
