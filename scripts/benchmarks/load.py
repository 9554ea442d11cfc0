"""Many workers: hundreds that are connected and idle, and hundreds that are busy under an open load."""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from dataclasses import dataclass, field

import psutil

from benchmarks.bulk import LIMIT, check, concurrently, run_group
from benchmarks.calls import there_and_back, timed
from benchmarks.cluster import Cluster
from benchmarks.rows import Figures, Measurement, Row, Sizes
from benchmarks.tasks import add, app

#: Seconds for which an open load runs before its waits count: connections and caches are warm then.
WARM = 0.5

#: Calls under way above which an open load offers no more: the cluster does not keep up with it, and its waits would
#: only tell for how long that was tried.
MOST_UNDER_WAY = 50_000

#: Seconds between two words of how far a load is.
NEWS = 30.0


def _idle(_: None, sizes: Sizes) -> Figures:
    """Measure a real worker alone, beside idle ones and alone again; and the CPU of a coordinator that rests."""
    with Cluster() as cluster:
        timed(there_and_back, 20)  # warm
        before = timed(there_and_back, sizes.calls)
        cluster.start_simulated(sizes.idle, "idle", capacity=8)
        cluster.wait_for_workers(sizes.idle + 1)
        coordinator = psutil.Process(cluster.coordinator)
        used = sum(coordinator.cpu_times()[:2])
        start = time.perf_counter()
        time.sleep(sizes.idle_seconds)
        percent = (sum(coordinator.cpu_times()[:2]) - used) / (time.perf_counter() - start) * 100
        timed(there_and_back, 20)
        beside = timed(there_and_back, sizes.calls)
        cluster.wait_for_workers(sizes.idle + 1)  # none was lost meanwhile
        cluster.end("simulated")
        cluster.wait_for_workers(1)
        timed(there_and_back, 20)
        after = timed(there_and_back, sizes.calls)
    middle = sizes.calls // 2
    alone = (before[middle] + after[middle]) / 2  # the machine's speed drifts
    return {"cpu_percent": percent, "alone_p50_ms": alone, "beside_p50_ms": beside[middle]}


@dataclass
class Load:
    """An open load: calls begin at their times, whether earlier ones have ended or not.

    Attributes:
        rate: Calls a second.
        seconds: How long.
        waits: Seconds from the time at which each call was due to its value. A call that began late because this
            process was busy has waited, too: leaving that out would flatter whoever is slow.
    """

    rate: float
    seconds: float
    waits: array[float] = field(default_factory=lambda: array("d"))

    async def _one(self, number: int, due: float) -> None:
        result = await add.adelay(number, 1)
        check(await result.aget(timeout=LIMIT), number + 1, "a call of the load")
        self.waits.append(time.perf_counter() - due)

    async def _all(self) -> float:
        """Offer calls until the time is over or too many are under way; return calls served a second."""
        async with app:
            check(await (await add.adelay(0, 1)).aget(timeout=LIMIT), 1, "the first call")  # connected
            start, number, told_at = time.perf_counter(), 0, NEWS
            async with asyncio.TaskGroup() as calls:
                while (now := time.perf_counter() - start) < self.seconds:
                    while number / self.rate <= now:
                        calls.create_task(self._one(number, start + number / self.rate))
                        number += 1
                    if now >= told_at:
                        self._tell(now, number)
                        told_at += NEWS
                    if number - len(self.waits) > MOST_UNDER_WAY:
                        print(
                            "the cluster does not keep up with this load, which ends early", file=sys.stderr, flush=True
                        )
                        break
                    # No longer than to the next call, and no more wake-ups than a thousand a second.
                    await asyncio.sleep(max(0.001, start + number / self.rate - time.perf_counter()))
            return len(self.waits) / (time.perf_counter() - start)

    def _tell(self, now: float, offered: int) -> None:
        """Say how far it is, and how long the last calls waited."""
        last = sorted(self.waits[-1_000:])
        middle = f", p50 of the last thousand {last[len(last) // 2] * 1e3:.1f} ms" if last else ""
        done = f"{len(self.waits):,} of {offered:,} calls have ended{middle}"
        print(f"open load: {now:.0f} of {self.seconds:.0f} s, {done}", file=sys.stderr, flush=True)

    def run(self) -> Figures:
        """Run it; return p50 and p99 in milliseconds, and calls a second."""
        per_second = asyncio.run(self._all())
        counted = sorted(self.waits[min(int(WARM * self.rate), len(self.waits) // 2) :])
        p50, p99 = counted[len(counted) // 2], counted[int(len(counted) * 0.99)]
        return {"offered": self.rate, "per_second": per_second, "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3}


def peak(sizes: Sizes) -> float:
    """Return how many single calls a second coroutines run there and back; the better of two."""
    return sizes.concurrent / min(concurrently(sizes.concurrent) for _ in range(2))


def _busy(_: None, sizes: Sizes) -> Figures:
    """Measure two simulated workers, then many: bulk; and with many the peak of single calls, and half of it, open."""
    found: dict[str, float] = {}
    for name, count in (("two_per_second", 2), ("many_per_second", sizes.busy)):
        with Cluster(workers=0) as cluster:
            cluster.start_simulated(count, "default")
            cluster.wait_for_workers(count)
            run_group(min(sizes.tasks, 2000))  # warm
            found[name] = sizes.tasks / run_group(sizes.tasks)
            if name == "many_per_second":
                found["peak"] = peak(sizes)
                found |= Load(found["peak"] / 2, sizes.open_loop_seconds).run()
                cluster.wait_for_workers(count)  # none was lost meanwhile
    return found


MEASUREMENTS = (
    Measurement("idle", "own", _idle, limit=300.0),
    Measurement("busy", "own", _busy, limit=3_600.0),
)

ROWS = (
    Row("idle_cpu", "{idle:,} idle workers: CPU of the coordinator", "% of a core", ("idle", "cpu_percent"), "less",
        must=3.0, family="idle"),
    Row("idle_dispatch", "{idle:,} idle workers: one task there and back beside them, p50", "ms",
        ("idle", "beside_p50_ms"), "less", ("idle", "alone_p50_ms"), "without them", must=1.2, family="idle"),
    Row("busy_served", "{busy:,} busy workers, open load at half of the peak: served of what is offered", "tasks/s",
        ("busy", "per_second"), "more", ("busy", "offered"), "offered", must=0.95, family="open-loop"),
    Row("busy_p99", "{busy:,} busy workers, open load at half of the peak: p99", "ms", ("busy", "p99_ms"), "less",
        ("busy", "p50_ms"), "its p50", must=3.0, family="open-loop"),
    Row("busy_throughput", "{busy:,} busy workers: bulk", "tasks/s", ("busy", "many_per_second"), "more",
        ("busy", "two_per_second"), "two workers", must=0.8, family="open-loop"),
)  # fmt: skip
