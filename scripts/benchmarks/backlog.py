"""Millions of calls that wait: memory, restart, and how fast they drain in their order, beside an empty cluster.

    scripts/bench --backlog             5,000,000 calls in each of three layouts; some minutes each
    scripts/bench --backlog 100000

The layouts: all alike; across ten priorities; across a thousand lanes, which are names of tasks here, in stretches of
twenty calls. Calls are submitted in groups of 20,000 to a queue that nobody serves; then the coordinator is killed and
started again, and a worker begins to serve the queue. What must come first by the order of the queue is awaited, and
that nothing else came before it is checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.bulk import LIMIT, check
from benchmarks.cluster import Cluster
from benchmarks.processes import anonymous_bytes
from benchmarks.rows import Figures, Measurement, Row, Sizes
from benchmarks.tasks import add, app, lanes
from grpcflow import Signature, group
from grpcflow_protos.v1.control_service_pb2 import WORKER_STATE_LIVE

#: Calls of one lane that follow each other within a group.
STRETCH = 20

#: Calls that a worker may have begun beyond those awaited: what it holds, and one block.
_AHEAD = 5_000

#: Makes the signatures of group number n, of so many calls, and gives them with their priority.
Layout = Callable[[int, Sizes], tuple[list[Signature], int]]


def alike(number: int, sizes: Sizes) -> tuple[list[Signature], int]:
    """One task, one priority."""
    return [add.s(i, number) for i in range(sizes.backlog_group)], 0


def priorities(number: int, sizes: Sizes) -> tuple[list[Signature], int]:
    """One task; each group has the next one of ten priorities."""
    return [add.s(i, number) for i in range(sizes.backlog_group)], number % 10


def many_lanes(number: int, sizes: Sizes) -> tuple[list[Signature], int]:
    """A thousand tasks in turn, one priority."""
    tasks = lanes(sizes.lanes)
    return [tasks[i // STRETCH % sizes.lanes].s(i, number) for i in range(sizes.backlog_group)], 0


def _fill(layout: Layout, sizes: Sizes, total: int, queue: str) -> Iterator[tuple[int, int, Any]]:
    """Submit groups until so many calls wait; give number, priority and result of each."""
    for number in range(max(1, total // sizes.backlog_group)):
        calls, priority = layout(number, sizes)
        yield number, priority, group(calls).apply_async(queue=queue, priority=priority)


def _drain(queue: str, first: list[tuple[int, Any]], sizes: Sizes) -> float:
    """Let the worker serve a queue until these groups have ended; return calls a second."""
    start = time.perf_counter()
    app.control.add_consumer(queue, destination=["bench"], timeout=LIMIT)
    for number, result in first:
        check(result.get(timeout=LIMIT), [i + number for i in range(sizes.backlog_group)], f"group {number}")
    seconds = time.perf_counter() - start
    app.control.cancel_consumer(queue, destination=["bench"], timeout=LIMIT)  # what is behind stays as it is
    return len(first) * sizes.backlog_group / seconds


def _measured(layout: Layout, sizes: Sizes) -> Figures:
    """Fill, restart and drain a cluster of this layout, after an empty one was filled with what is drained only."""
    groups = max(1, sizes.drained // sizes.backlog_group)
    with Cluster(workers=0, extra={"BENCH_LANES": str(sizes.lanes)}) as cluster:
        empty = [(number, result) for number, _, result in _fill(alike, sizes, sizes.drained, "empty")]
        cluster.start_worker("bench", "idle")
        cluster.wait_for_workers(1)
        found = {"empty_per_second": _drain("empty", empty, sizes)}
        cluster.end("bench")
        before = anonymous_bytes(cluster.coordinator)
        kept: list[tuple[int, int, Any]] = []
        start = time.perf_counter()
        for one in _fill(layout, sizes, sizes.backlog, "backlog"):
            kept = sorted([*kept, one], key=lambda each: (-each[1], each[0]))[: groups + 2]
        found["submitted_per_second"] = sizes.backlog / (time.perf_counter() - start)
        filled = anonymous_bytes(cluster.coordinator)
        found["restart_s"] = cluster.restart()
        restarted = anonymous_bytes(cluster.coordinator)
        found |= {"empty_mb": before / 1e6, "filled_mb": filled / 1e6, "restarted_mb": restarted / 1e6}
        found["mb"] = max(filled, restarted) / 1e6
        found["disk_bytes_a_call"] = cluster.bytes_on_disk() / sizes.backlog
        cluster.start_worker("bench", "idle")
        cluster.wait_until(_is_there, "the worker is there")
        found["per_second"] = _drain("backlog", [(number, result) for number, _, result in kept[:groups]], sizes)
        _check_order(kept[groups:], sizes)
        found["drained_mb"] = anonymous_bytes(cluster.coordinator) / 1e6
    return found


def _is_there() -> bool:
    return any(worker.state == WORKER_STATE_LIVE for worker in app.connection.list_workers())


def _check_order(behind: list[tuple[int, int, Any]], sizes: Sizes) -> None:
    """See that groups behind those that were drained have not overtaken them: the one after the next has not begun."""
    for place, (number, _, result) in enumerate(behind):
        ends = (result.results[0], result.results[-1])
        if place * sizes.backlog_group > _AHEAD and any(member.ready() for member in ends):
            raise SystemExit(f"group {number} of the backlog was begun before its turn")


def _named(name: str, layout: Layout) -> Measurement:
    return Measurement(name, "own", lambda _, sizes: _measured(layout, sizes), limit=3_600.0)


MEASUREMENTS = (
    _named("backlog", alike),
    _named("backlog priorities", priorities),
    _named("backlog lanes", many_lanes),
)


def _drained(name: str, measure: str, measurement: str) -> Row:
    return Row(name, measure, "tasks/s", (measurement, "per_second"), "more", (measurement, "empty_per_second"),
               "empty", must=0.5, aim=1.0, family="backlog")  # fmt: skip


ROWS = (
    Row("backlog_memory", "{backlog:,} queued: anonymous memory", "MB", ("backlog", "mb"), "less",
        must=400.0, aim=300.0, family="backlog"),
    Row("backlog_restart", "{backlog:,} queued: kill to serving", "s", ("backlog", "restart_s"), "less",
        must=10.0, aim=3.0, family="backlog"),
    _drained("backlog_order", "{backlog:,} queued: drain in order", "backlog"),
    _drained("backlog_priorities", "{backlog:,} queued: drain across 10 priorities", "backlog priorities"),
    _drained("backlog_lanes", "{backlog:,} queued: drain across {lanes:,} lanes", "backlog lanes"),
)  # fmt: skip
