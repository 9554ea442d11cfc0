"""The benchmark: the floor and grpcflow in turn, medians and ratios.

    scripts/bench                 all measures, three rounds
    scripts/bench --rounds 5 --json bench.json
    scripts/bench --small         a smoke run: a few tasks of everything
    scripts/bench --large         large canvases: time, memory, bytes of a node, and how long others wait meanwhile
    scripts/bench --pruning       the same while tens of thousands of graphs are being pruned
    scripts/bench --control       questions to a hundred workers, and a burst of them
    scripts/bench --mixed         tasks of 1 ms and of 5 s on two workers, beside the schedule that is ideal

The machine's speed drifts, so that a figure alone says little: the ratio of two runs of the same minute is what
to quote. grpcflow's figures are of a durable coordinator (fsync on every commit) and one worker with two prefork
children; every value is awaited and checked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import rich.console
import rich.table

from benchmarks import control, large, mixed, pruning
from benchmarks.cluster import Cluster
from benchmarks.floor import Floor
from benchmarks.tasks import add, total
from grpcflow import chain, chord, group

#: Seconds after which a wait is given up.
LIMIT = 120.0


def bulk(cluster: Cluster, count: int) -> dict[str, float]:
    """Run a group of no-op tasks; time from the first signature to the last value."""
    cpu, start = cluster.cpu(), time.perf_counter()
    values = group(add.s(i, i) for i in range(count))().get(timeout=LIMIT)
    seconds = time.perf_counter() - start
    used = cluster.cpu() - cpu
    if values != [2 * i for i in range(count)]:
        raise SystemExit("the group gave wrong values")
    return {"seconds": seconds, "per_second": count / seconds, "cpu_us": used / count * 1e6}


def latency(count: int) -> dict[str, float]:
    """One task after another; p50 and p99 there and back in milliseconds."""
    times = []
    for i in range(count):
        start = time.perf_counter()
        if add.delay(i, 1).get(timeout=LIMIT) != i + 1:
            raise SystemExit("a task gave a wrong value")
        times.append(time.perf_counter() - start)
    times.sort()
    return {"p50_ms": times[count // 2] * 1e3, "p99_ms": times[int(count * 0.99)] * 1e3}


def submit(count: int) -> dict[str, float]:
    """Submit a group with no worker there; time until it is durable."""
    start = time.perf_counter()
    group(add.s(i, i) for i in range(count)).apply_async(queue="nobody")
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "per_second": count / seconds}


def chord_of(count: int) -> dict[str, float]:
    """A chord; time from the first signature to the sum."""
    start = time.perf_counter()
    if chord((add.s(i, i) for i in range(count)), total.s())().get(timeout=LIMIT) != count * (count - 1):
        raise SystemExit("the chord gave a wrong value")
    return {"ms": (time.perf_counter() - start) * 1e3}


def chain_of(count: int) -> dict[str, float]:
    """A chain; time from the first signature to the last value."""
    start = time.perf_counter()
    if chain(add.s(0, 1), *(add.s(1) for _ in range(count - 1)))().get(timeout=LIMIT) != count:
        raise SystemExit("the chain gave a wrong value")
    return {"ms": (time.perf_counter() - start) * 1e3}


def one_round(tasks: int, calls: int, members: int, steps: int) -> dict[str, dict[str, float]]:
    """Measure everything once, the floor and grpcflow one after the other."""
    found: dict[str, dict[str, float]] = {}
    with Floor(workers=2) as floor:
        found["floor bulk"] = floor.bulk(tasks)
        found["floor latency"] = floor.latency(calls)
    with Cluster() as cluster:
        bulk(cluster, min(tasks, 2000))  # connections, caches and the pace of frames are warm, as the floor's are
        found["bulk"] = bulk(cluster, tasks)
        found["latency"] = latency(calls)
        found["chord"] = chord_of(members)
        found["chain"] = chain_of(steps)
    with Floor(workers=0) as floor:
        found["floor submit"] = floor.bulk(tasks)
    with Cluster(workers=0):
        found["submit"] = submit(tasks)
    return found


def median(rounds: list[dict[str, dict[str, float]]], measure: str, figure: str) -> float:
    """Return the median of a figure over the rounds."""
    return statistics.median(one[measure][figure] for one in rounds)


def rows(rounds: list[dict[str, dict[str, float]]], members: int, steps: int) -> list[dict[str, object]]:
    """Return the table: measure, grpcflow, floor, ratio, unit."""

    def row(name: str, ours: tuple[str, str], floor: tuple[str, str] | None, unit: str) -> dict[str, object]:
        value = median(rounds, *ours)
        under = median(rounds, *floor) if floor else None
        every = [round(one[ours[0]][ours[1]], 3) for one in rounds]
        return {"measure": name, "grpcflow": value, "floor": under, "unit": unit, "rounds": every,
                "ratio": value / under if under else None}  # fmt: skip

    return [
        row("bulk no-op tasks, end to end", ("bulk", "per_second"), ("floor bulk", "per_second"), "tasks/s"),
        row("CPU a task, all processes", ("bulk", "cpu_us"), ("floor bulk", "cpu_us"), "us"),
        row("one task there and back, p50", ("latency", "p50_ms"), ("floor latency", "p50_ms"), "ms"),
        row("one task there and back, p99", ("latency", "p99_ms"), ("floor latency", "p99_ms"), "ms"),
        row("durable bulk submit, no worker", ("submit", "per_second"), ("floor submit", "per_second"), "tasks/s"),
        row(f"chord of {members:,}", ("chord", "ms"), None, "ms"),
        row(f"chain of {steps:,}", ("chain", "ms"), None, "ms"),
    ]


def show(table_rows: list[dict[str, object]], rounds: int) -> None:
    """Print the table."""
    table = rich.table.Table(
        title=f"medians of {rounds} rounds on {os.cpu_count()} CPUs, Python {platform.python_version()}"
    )
    for name in ("measure", "grpcflow", "floor", "ratio", "unit"):
        table.add_column(name, justify="left" if name in {"measure", "unit"} else "right")
    for one in table_rows:
        cells = [
            f"{one[name]:,.2f}" if isinstance(one[name], float) else "-" for name in ("grpcflow", "floor", "ratio")
        ]
        table.add_row(str(one["measure"]), *cells, str(one["unit"]))
    rich.console.Console().print(table)


def other_measures(options: argparse.Namespace) -> object:
    """Measure what has an option of its own."""
    scale = 0.01 if options.small else 1.0
    if options.large:
        return large.measure(scale)
    if options.control:
        return control.measure(options.small)
    return pruning.measure(scale) if options.pruning else mixed.measure(options.small, options.seed)


def main() -> None:
    """Run the rounds and print what they gave."""
    parser = argparse.ArgumentParser(description="Measure grpcflow beside the floor of its parts.")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (3)")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of a bulk (20000)")
    parser.add_argument("--small", action="store_true", help="a few tasks of everything, once")
    parser.add_argument("--large", action="store_true", help="large canvases only (with --small: smaller ones)")
    parser.add_argument("--control", action="store_true", help="remote control only (with --small: fewer questions)")
    parser.add_argument("--mixed", action="store_true", help="short and long tasks only (with --small: shorter ones)")
    parser.add_argument("--pruning", action="store_true", help="beside pruning only (with --small: less of it)")
    parser.add_argument("--seed", type=int, help="of the order of --mixed; it is printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every round to this file")
    options = parser.parse_args()
    if options.large or options.mixed or options.pruning or options.control:
        found = other_measures(options)
        if options.json:
            options.json.write_text(json.dumps(found, indent=2) + "\n")
        return
    tasks, calls, members, steps = (options.tasks, 300, 1_000, 100) if not options.small else (200, 20, 20, 5)
    rounds = [one_round(tasks, calls, members, steps) for _ in range(1 if options.small else options.rounds)]
    table_rows = rows(rounds, members, steps)
    show(table_rows, len(rounds))
    if options.json:
        options.json.write_text(json.dumps({"rows": table_rows, "rounds": rounds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
