"""How cost grows: time per task against backlog, size of a graph, fan-in, workers and payload; waits against load.

    scripts/bench --growth

Each line should be flat, or what bends it should be known. Nothing is judged. The lines of small sizes are repeated
until they take long enough to be measured, and the median is told.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

from benchmarks.bulk import LIMIT, check, run_group
from benchmarks.canvases import chord_of, timed
from benchmarks.cluster import Cluster
from benchmarks.load import Load, peak
from benchmarks.machine import deadline
from benchmarks.rows import SMALL, Sizes
from benchmarks.tasks import add, app, echo
from grpcflow import group

#: One point of a line: what it is drawn against, and what was found there.
Point: TypeAlias = Mapping[str, object]

#: Seconds after which a line is given up.
LINE_LIMIT = 1_200.0

#: Tasks that a point runs at least, in repetitions.
_ENOUGH = 10_000

#: Calls of one group in a backlog, and of which the drain is timed.
_GROUP = 1_000


def _powers(first: int, last: int) -> list[int]:
    """Return the powers of ten from 10**first to 10**last."""
    return [int(10**exponent) for exponent in range(first, last + 1)]


def _repeated(run: Callable[[], float], count: int, small: bool) -> float:
    """Return the median of so many repetitions that enough tasks ran."""
    return statistics.median(run() for _ in range(1 if small else max(3, min(50, _ENOUGH // count))))


def backlog(small: bool) -> Iterator[Point]:
    """Time the first thousand calls of a queue in which so many wait, three times."""
    size = 100 if small else _GROUP
    for waiting in [200, 400] if small else _powers(3, 6):
        seconds = [_head_of(waiting, size) for _ in range(1 if small else 3)]
        yield {"x": waiting, "us_a_task": statistics.median(seconds) / size * 1e6}


def _head_of(waiting: int, size: int) -> float:
    """Return the seconds that the first group of this size takes from a worker's subscription on."""
    with Cluster(workers=0) as cluster:
        first: Any = group(add.s(i, 0) for i in range(size)).apply_async(queue="backlog")
        left = waiting - size
        while left > 0:
            count = min(left, 20 * size)
            group(add.s(i, 0) for i in range(count)).apply_async(queue="backlog")
            left -= count
        cluster.start_worker("bench", "warm")
        cluster.wait_for_workers(1)
        run_group(size, "warm")
        start = time.perf_counter()
        app.control.add_consumer("backlog", destination=["bench"], timeout=LIMIT)
        check(first.get(timeout=LIMIT), list(range(size)), "the head of a backlog")
        return time.perf_counter() - start


def graph_size(small: bool) -> Iterator[Point]:
    """Run groups of so many calls."""
    with Cluster():
        run_group(200 if small else 2_000)
        for count in [10, 100] if small else _powers(1, 5):
            yield {"x": count, "us_a_task": _repeated(lambda: run_group(count), count, small) / count * 1e6}  # noqa: B023


def fan_in(small: bool) -> Iterator[Point]:
    """Run chords of so many members."""
    with Cluster():
        run_group(200 if small else 2_000)
        for count in [10, 100] if small else _powers(1, 5):
            yield {"x": count, "us_a_task": _repeated(lambda: chord_of(count), count, small) / count * 1e6}  # noqa: B023


def workers(small: bool) -> Iterator[Point]:
    """Run a group on so many simulated workers."""
    count = 200 if small else 10_000
    for many in (1, 3) if small else (1, 2, 5, 10, 50, 100, 200, 500):
        with Cluster(workers=0) as cluster:
            cluster.start_simulated(many, "default")
            cluster.wait_for_workers(many)
            run_group(min(count, 2_000))
            yield {"x": many, "us_a_task": statistics.median(run_group(count) for _ in range(3)) / count * 1e6}


def payload(small: bool) -> Iterator[Point]:
    """Run groups whose calls take and give a text of so many bytes."""
    with Cluster():
        run_group(200 if small else 2_000)
        for size in [10, 1_000] if small else [*_powers(1, 5), 1 << 20]:
            count = 10 if small else max(20, min(2_000, 50_000_000 // size))
            texts = ["x" * size] * count
            seconds = statistics.median(timed(group(echo.s(text) for text in texts), texts, "texts") for _ in range(3))
            yield {"x": size, "us_a_task": seconds / count * 1e6}


def load(small: bool) -> Iterator[Point]:
    """Run single calls at parts of the peak: waits there and back, and calls a second."""
    sizes = SMALL if small else Sizes()
    with Cluster():
        run_group(200 if small else 2_000)
        best = peak(sizes)
        for part in (0.25, 0.5) if small else (0.05, 0.1, 0.25, 0.5, 0.7, 0.8, 0.9):
            yield {"x": best * part, "part": part, **Load(best * part, 0.5 if small else 10.0).run()}


#: Name of a line -> how its points are made.
LINES: dict[str, Callable[[bool], Iterator[Point]]] = {
    "backlog": backlog,
    "graph": graph_size,
    "fan-in": fan_in,
    "workers": workers,
    "payload": payload,
    "load": load,
}


def measure(small: bool, names: Collection[str]) -> Iterator[dict[str, object]]:
    """Measure lines; give a record for each point as it is found.

    Args:
        small: True: two small points of each.
        names: of lines.
    """
    for name, points in LINES.items():
        if name in names:
            with deadline(LINE_LIMIT, f"the line {name}"):
                for point in points(small):
                    print(f"{name}: {float(str(point['x'])):,.0f} is measured", file=sys.stderr, flush=True)
                    yield {"kind": "growth", "line": name, "name": f"{float(str(point['x'])):,.0f}", **point}
