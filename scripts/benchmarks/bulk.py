"""Many tasks at once: a group, a loop in a batch, coroutines, and submission alone. Every value is checked."""

from __future__ import annotations

import asyncio
import time

from benchmarks.cluster import Cluster
from benchmarks.floor import Floor
from benchmarks.rows import Figures, Measurement, Row, Sizes
from benchmarks.tasks import add, app
from grpcflow import group

#: Seconds after which a wait is given up.
LIMIT = 120.0


def check(found: object, expected: object, what: str) -> None:
    """End the run where values are not what they must be: a figure of wrong work is none.

    Raises:
        SystemExit: they differ.
    """
    if found != expected:
        raise SystemExit(f"{what} gave wrong values")


def run_group(count: int, queue: str = "default") -> float:
    """Run a group of no-op tasks; return the seconds from the first signature to the last value."""
    start = time.perf_counter()
    values = group(add.s(i, i) for i in range(count)).apply_async(queue=queue).get(timeout=LIMIT)
    seconds = time.perf_counter() - start
    check(values, [2 * i for i in range(count)], f"a group of {count}")
    return seconds


def _bulk(cluster: Cluster, sizes: Sizes) -> Figures:
    cpu = cluster.cpu()
    seconds = run_group(sizes.tasks)
    used = cluster.cpu() - cpu
    return {"seconds": seconds, "per_second": sizes.tasks / seconds, "cpu_us": used / sizes.tasks * 1e6}


def _floor_bulk(floor: Floor, sizes: Sizes) -> Figures:
    return floor.bulk(sizes.tasks)


def _loop(_cluster: Cluster, sizes: Sizes) -> Figures:
    start = time.perf_counter()
    with app.batch():
        results = [add.delay(number, 1) for number in range(sizes.loop)]
    submitted = time.perf_counter() - start
    values = [result.get(timeout=LIMIT) for result in results]
    seconds = time.perf_counter() - start
    check(values, [number + 1 for number in range(sizes.loop)], "a loop in a batch")
    return {"seconds": seconds, "submit_s": submitted, "get_s": seconds - submitted, "per_second": sizes.loop / seconds}


async def there_and_back(number: int) -> int:
    """Run one task from a coroutine and return its value."""
    result = await add.adelay(number, 1)
    value: int = await result.aget(timeout=LIMIT)
    return value


def concurrently(count: int) -> float:
    """Run so many coroutines at once, each of which awaits one task there and back; return the seconds."""

    async def all_of_them() -> float:
        async with app:
            await there_and_back(0)  # connected
            start = time.perf_counter()
            values = await asyncio.gather(*(there_and_back(number) for number in range(count)))
            seconds = time.perf_counter() - start
        check(values, [number + 1 for number in range(count)], "the coroutines")
        return seconds

    return asyncio.run(all_of_them())


def _coroutines(_cluster: Cluster, sizes: Sizes) -> Figures:
    seconds = concurrently(sizes.concurrent)
    return {"seconds": seconds, "per_second": sizes.concurrent / seconds}


def _submit(_cluster: Cluster, sizes: Sizes) -> Figures:
    start = time.perf_counter()
    group(add.s(i, i) for i in range(sizes.tasks)).apply_async(queue="nobody")
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "per_second": sizes.tasks / seconds}


MEASUREMENTS = (
    Measurement("floor bulk", "floor", _floor_bulk),
    Measurement("bulk", "cluster", _bulk),
    Measurement("loop", "cluster", _loop),
    Measurement("coroutines", "cluster", _coroutines),
    Measurement("floor submit", "floor alone", _floor_bulk),
    Measurement("submit", "cluster alone", _submit),
)

_FLOOR = ("floor bulk", "per_second")

ROWS = (
    Row("bulk", "bulk: a group of {tasks:,} no-op tasks, first submit to all values", "tasks/s",
        ("bulk", "per_second"), "more", _FLOOR, "floor", must=0.30, aim=0.50),
    Row("loop", "bulk by a loop of {loop:,} delay() inside of app.batch()", "tasks/s", ("loop", "per_second"), "more",
        _FLOOR, "floor", must=0.25, aim=0.45),
    Row("cpu", "CPU a task, all processes, bulk", "us", ("bulk", "cpu_us"), "less",
        ("floor bulk", "cpu_us"), "floor", must=3.0, aim=2.0),
    Row("submit", "durable bulk submit, no worker", "tasks/s", ("submit", "per_second"), "more",
        ("floor submit", "per_second"), "floor", must=0.35, aim=0.7),
    Row("asyncio", "asyncio: {concurrent:,} concurrent await adelay(); await aget()", "tasks/s",
        ("coroutines", "per_second"), "more", _FLOOR, "floor", must=0.25, aim=0.4),
)  # fmt: skip
