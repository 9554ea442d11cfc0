"""One task at a time: there and back, submission alone, and many threads that each do one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from benchmarks.bulk import LIMIT, check
from benchmarks.cluster import Cluster
from benchmarks.floor import Floor
from benchmarks.floor_clients import callers, commit_and_call
from benchmarks.rows import Figures, Measurement, Row, Sizes
from benchmarks.tasks import add


def timed(call: Callable[[int], object], count: int) -> list[float]:
    """Call it so often, one after the other; return the milliseconds of each, sorted."""
    times = []
    for number in range(count):
        start = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)


def there_and_back(number: int) -> None:
    """Run one task and check its value."""
    check(add.delay(number, 1).get(timeout=LIMIT), number + 1, "a task")


def percentiles(times: list[float]) -> Figures:
    """Return p50 and p99 of sorted milliseconds."""
    return {"p50_ms": times[len(times) // 2], "p99_ms": times[int(len(times) * 0.99)]}


def _latency(_cluster: Cluster, sizes: Sizes) -> Figures:
    return percentiles(timed(there_and_back, sizes.calls))


def _floor_latency(floor: Floor, sizes: Sizes) -> Figures:
    return floor.latency(sizes.calls)


def _delay(_cluster: Cluster, sizes: Sizes) -> Figures:
    def submit(number: int) -> None:
        add.apply_async((number, 1), queue="nobody")

    timed(submit, 5)  # connected and warm
    return percentiles(timed(submit, sizes.calls))


def _commit_and_call(floor: Floor, sizes: Sizes) -> Figures:
    return commit_and_call(floor, sizes.calls)


def _threads(_cluster: Cluster, sizes: Sizes) -> Figures:
    faults: list[BaseException] = []

    def some() -> None:
        try:
            for number in range(sizes.each_thread):
                there_and_back(number)
        except BaseException as error:  # noqa: BLE001  # told below: a thread has nobody to raise to
            faults.append(error)

    threads = [threading.Thread(target=some, daemon=True) for _ in range(sizes.threads)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    seconds = time.perf_counter() - start
    if faults or any(thread.is_alive() for thread in threads):
        raise SystemExit(f"the threads gave wrong values or none: {faults[:3]}")
    return {"seconds": seconds, "per_second": sizes.threads * sizes.each_thread / seconds}


def _floor_threads(floor: Floor, sizes: Sizes) -> Figures:
    return callers(floor, sizes.threads, sizes.each_thread)


MEASUREMENTS = (
    Measurement("floor latency", "floor", _floor_latency),
    Measurement("floor threads", "floor", _floor_threads),
    Measurement("latency", "cluster", _latency),
    Measurement("threads", "cluster", _threads),
    Measurement("commit and call", "floor alone", _commit_and_call),
    Measurement("delay", "cluster alone", _delay),
)

ROWS = (
    Row("latency_p50", "one task there and back, p50", "ms", ("latency", "p50_ms"), "less",
        ("floor latency", "p50_ms"), "floor", must=1.6, aim=1.2),
    Row("latency_p99", "one task there and back, p99", "ms", ("latency", "p99_ms"), "less",
        ("floor latency", "p99_ms"), "floor", must=2.0),
    Row("delay", "delay() alone, durable, no worker on its queue, p50", "ms", ("delay", "p50_ms"), "less",
        ("commit and call", "p50_ms"), "commit + empty call", must=1.6, aim=1.3),
    Row("threads", "{threads} threads, each delay().get() in a loop", "tasks/s", ("threads", "per_second"), "more",
        ("floor threads", "per_second"), "bare coalescing client", must=0.6, aim=0.85),
)  # fmt: skip
