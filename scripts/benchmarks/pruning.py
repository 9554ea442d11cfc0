"""What pruning costs those who work meanwhile: bulk and one task after the other, with and without it.

    scripts/bench --pruning

Graphs that ended are pruned when their time is over. Here that is a second after their end, set as the retention of
the task, and the same measures are taken while tens of thousands of records are being deleted: of single calls, which
are as many graphs, and of a group, which is one.
"""

from __future__ import annotations

import time

import rich.console
import rich.table

from benchmarks.cluster import Cluster
from benchmarks.tasks import add, app
from grpcflow import group

#: Seconds after which a wait is given up.
LIMIT = 120.0

#: Seconds from the end of a graph to its pruning.
AGE = 1.0


def _bulk(count: int) -> float:
    """Run a group; return tasks a second."""
    start = time.perf_counter()
    if group(add.s(i, i) for i in range(count))().get(timeout=LIMIT) != [2 * i for i in range(count)]:
        raise SystemExit("the group gave wrong values")
    return count / (time.perf_counter() - start)


def _waits(count: int) -> list[float]:
    """Run one task after the other; return how long each took, in milliseconds."""
    times = []
    for number in range(count):
        start = time.perf_counter()
        if add.delay(number, 1).get(timeout=LIMIT) != number + 1:
            raise SystemExit("a task gave a wrong value")
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)


def _litter(graphs: int, nodes: int) -> None:
    """Run what is to be pruned: as many graphs of one call, and one of many."""
    with app.batch():
        results = [add.delay(number, 1) for number in range(graphs)]
    results[-1].get(timeout=LIMIT)
    group(add.s(i, i) for i in range(nodes))().get(timeout=LIMIT)


def _kept() -> int:
    """Return how many graphs there are, at most a thousand."""
    return sum(1 for _, _ in zip(app.graphs(), range(1000), strict=False))


def measure(scale: float) -> dict[str, float]:
    """Measure both, and print the table.

    Args:
        scale: 1: as it is quoted; less: a smoke run.
    """
    count, calls = int(20_000 * scale), max(20, int(300 * scale))
    with Cluster():
        _bulk(min(count, 2000))
        _waits(20)
        found = {"bulk": _bulk(count)}
        waits = _waits(calls)
        found |= {"p50_ms": waits[calls // 2], "p99_ms": waits[int(calls * 0.99)]}
        app.control.retention("bench.add", results=AGE)
        _litter(count, 2 * count)
        time.sleep(AGE)
        waits = _waits(calls)
        found |= {
            "p50_ms_pruning": waits[calls // 2],
            "p99_ms_pruning": waits[int(calls * 0.99)],
            "longest_ms": waits[-1],
        }
        _litter(count, 2 * count)
        time.sleep(AGE)
        found["bulk_pruning"] = _bulk(count)
        deadline = time.monotonic() + LIMIT
        while _kept() > calls + 50:  # what ended before the retention was set stays
            if time.monotonic() > deadline:
                raise SystemExit("what was to be pruned is still there")
            time.sleep(0.1)
    _show(found)
    return found


def _show(found: dict[str, float]) -> None:
    table = rich.table.Table(title="while graphs are pruned")
    for name in ("measure", "as ever", "while pruning", "ratio"):
        table.add_column(name, justify="left" if name == "measure" else "right")
    for name, one, other in (
        ("bulk no-op tasks, tasks/s", "bulk", "bulk_pruning"),
        ("one task there and back, p50 ms", "p50_ms", "p50_ms_pruning"),
        ("one task there and back, p99 ms", "p99_ms", "p99_ms_pruning"),
    ):
        table.add_row(name, f"{found[one]:,.2f}", f"{found[other]:,.2f}", f"{found[other] / found[one]:.2f}")
    rich.console.Console().print(table)
