"""A mixed load for some minutes, and whether memory grows meanwhile.

    scripts/soak                          thirty minutes
    scripts/soak --minutes 1              a short one
    scripts/soak --plot soak.svg --json soak.jsonl

A durable coordinator whose results expire after a minute, one worker with two prefork children, and a client that does
a little of everything (soaking/load.py) and checks every value. The anonymous memory of both daemons is what they hold
beside files that are mapped. It warms up for five minutes, and until the coordinator's feed of events is full, however
long that takes at this pace. It ends with 1 where one of them grew after that, and with 2 where the coordinator grew
and the feed was never full: that is no verdict.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.cluster import Cluster
from benchmarks.processes import anonymous_bytes, command, family
from grpcflow_coordinator.feed import LENGTH
from soaking.load import Load
from soaking.samples import Sample, draw, filled, judge, minutes_to_fill
from soaking.tasks import app

#: Seconds between two looks at most, and how many looks there are at least.
EVERY: Final = 2.0
LOOKS: Final = 30

#: Seconds for which results are kept.
KEPT: Final = "60"


class Soaked(Cluster):
    """The cluster under load."""

    def _start_coordinator(self) -> None:
        data = ("--data", str(self._data), "--listen", self.address, "--result-expires", KEPT)
        self._start("coordinator", command("grpcflow-coordinator"), *data)

    def start_worker(self, name: str, queues: str = "default") -> None:
        """Start a worker with two prefork children."""
        options = ("-A", "soaking.tasks", "-c", "2", "-P", "prefork", "-n", name, "--queues", queues)
        self._start(name, command("grpcflow-worker"), *options)

    def memory(self) -> tuple[int, int]:
        """Return the anonymous bytes of the coordinator and of the worker with its children."""
        [worker] = [process.pid for name, process in self._processes.items() if name != "coordinator"]
        return anonymous_bytes(self.coordinator), sum(map(anonymous_bytes, family(worker)))


def look(cluster: Soaked, load: Load, at: float) -> Sample:
    """Look at everything once."""
    coordinator, worker = cluster.memory()
    depth = sum(lane.waiting for lane in app.connection.list_queues().lanes)
    waits, load.waits = sorted(load.waits), []
    latency = waits[int(len(waits) * 0.99)] * 1000 if waits else 0.0
    return Sample(round(at, 1), coordinator, worker, depth, round(latency, 2), sum(load.done.values()), load.fed)


def soak(minutes: float, seed: int, pace: float) -> list[Sample]:
    """Run the load and look at it.

    Raises:
        SystemExit: something came to a wrong value, or not at all.
    """
    seconds = minutes * 60
    samples: list[Sample] = []
    failed: list[BaseException] = []
    every = min(EVERY, seconds / LOOKS)
    cluster = Soaked()
    with cluster:
        app.conf.update(coordinator=cluster.address)
        load = Load(seed, pace)

        def run() -> None:
            try:
                asyncio.run(load.run())
            except BaseException as error:  # noqa: BLE001  # told by the thread that looks
                failed.append(error)

        thread = threading.Thread(target=run)
        began = time.monotonic()
        thread.start()
        while (at := time.monotonic() - began) < seconds and not failed:
            try:
                samples.append(look(cluster, load, at))
            except TimeoutError as error:
                print(f"after {at:.0f} s: {error}", flush=True)
            thread.join(every)
        load.stop()
        thread.join(120)
        if failed:
            raise failed[0]
        app.connection.close()
        print(", ".join(f"{name} {count:,}" for name, count in sorted(load.done.items())))
    return samples


def main() -> int:
    """Run it; return 1 where memory grew, 2 where that cannot be told yet."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description="A mixed load, and whether memory grows.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument(
        "--warm", type=float, default=None, help="minutes that do not count (default a third, at most 5)"
    )
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between things are multiplied with this")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the load's chances")
    parser.add_argument("--plot", type=Path, help="write the plot here, as SVG")
    parser.add_argument("--json", type=Path, help="write the looks here, one JSON object a line")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    samples = soak(options.minutes, options.seed, options.pace)
    if options.json is not None:
        options.json.write_text("".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
    full = filled(samples, LENGTH)
    warm = max(60 * (options.warm if options.warm is not None else min(5.0, options.minutes / 3)), full or 0.0)
    if options.plot is not None:
        options.plot.write_text(draw(samples, warm, f"{options.minutes:g} minutes of mixed load"))
    verdicts = judge(samples, warm)
    print(*verdicts, sep="\n")
    slow = sorted(sample.latency_ms for sample in samples if sample.at >= warm)
    print(f"p99 of single calls: median {slow[len(slow) // 2]:.1f} ms, worst {slow[-1]:.1f} ms")
    print(f"tasks in queues: at most {max(sample.depth for sample in samples)}")
    print(_of_the_feed(samples, full))
    grew = [verdict.who for verdict in verdicts if verdict.grew]
    return 2 if full is None and grew == ["coordinator"] else int(bool(grew))


def _of_the_feed(samples: list[Sample], full: float | None) -> str:
    """Say whether the feed of events was full, until when the coordinator's memory grows as it should."""
    if full is not None:
        return f"the feed of events was full after {full:.0f} s"
    needed = minutes_to_fill(samples, LENGTH)
    return f"the feed of events was not full, so growth says nothing yet; at this pace it is after {needed:.0f} minutes"


if __name__ == "__main__":
    sys.exit(main())
