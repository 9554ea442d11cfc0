"""What pruning costs those who work meanwhile: bulk and one task after the other, with and without it.

    scripts/bench --pruning

Graphs that ended are pruned when their time is over. Here that is a second after their end, set as the retention of
the task, and the same measures are taken while tens of thousands of records are being deleted: of single calls, which
are as many graphs, and of a group, which is one.
"""

from __future__ import annotations

import time

from benchmarks import report
from benchmarks.bulk import LIMIT, run_group
from benchmarks.calls import percentiles, there_and_back, timed
from benchmarks.cluster import Cluster
from benchmarks.tasks import add, app

#: Seconds from the end of a graph to its pruning.
AGE = 1.0


def _litter(graphs: int, nodes: int) -> None:
    """Run what is to be pruned: as many graphs of one call, and one of many."""
    with app.batch():
        results = [add.delay(number, 1) for number in range(graphs)]
    results[-1].get(timeout=LIMIT)
    run_group(nodes)


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
        run_group(min(count, 2_000))
        timed(there_and_back, 20)
        found = {"bulk": count / run_group(count), **percentiles(timed(there_and_back, calls))}
        app.control.retention("bench.add", results=AGE)
        _litter(count, 2 * count)
        time.sleep(AGE)
        waits = timed(there_and_back, calls)
        found |= {f"{name}_pruning": value for name, value in percentiles(waits).items()} | {"longest_ms": waits[-1]}
        _litter(count, 2 * count)
        time.sleep(AGE)
        found["bulk_pruning"] = count / run_group(count)
        deadline = time.monotonic() + LIMIT
        while _kept() > calls + 50:  # what ended before the retention was set stays
            if time.monotonic() > deadline:
                raise SystemExit("what was to be pruned is still there")
            time.sleep(0.1)
    _show(found)
    return found


def _show(found: dict[str, float]) -> None:
    rows = []
    for name, figure in (
        ("bulk no-op tasks, tasks/s", "bulk"),
        ("one task there and back, p50 ms", "p50_ms"),
        ("one task there and back, p99 ms", "p99_ms"),
    ):
        ever, meanwhile = found[figure], found[f"{figure}_pruning"]
        rows.append([name, *map(report.figure, (ever, meanwhile, meanwhile / ever))])
    columns = ("measure", "as ever", "while pruning", "ratio")
    report.show(report.Table("while graphs are pruned", columns, rows, columns[1:]))
