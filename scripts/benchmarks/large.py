"""Large canvases: time, peak memory of the coordinator, bytes of a node on disk, and how long others wait meanwhile.

    scripts/bench --large

Memory is anonymous memory (Anonymous of /proc/PID/smaps_rollup), sampled while the canvas runs; the figure is what
it grew by. The other client submits one small task every 20 ms to a queue that nobody serves.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import psutil

from benchmarks.cluster import Cluster
from benchmarks.processes import anonymous_bytes
from benchmarks.tasks import add, app, total
from grpcflow import Signature, chain, chord, group

#: Seconds after which a wait is given up.
LIMIT = 300.0


def _chords(outer: int, inner: int) -> Signature:
    return chord([chord([add.s(i, 1) for i in range(inner)], total.s()) for _ in range(outer)], total.s())


def _nested(depth: int) -> Signature:
    """Return groups in groups: each level holds a call and the next one, behind a call."""
    canvas: Signature = add.si(1, 1)
    for _ in range(depth):
        canvas = group(add.si(1, 1), chain(add.si(1, 1), group(add.si(1, 1), canvas)))
    return canvas


def canvases(scale: float) -> dict[str, tuple[Callable[[], Signature], int, Any]]:
    """Return name -> (maker, nodes, value to check; None: not compared)."""
    many, steps, side, depth = int(100_000 * scale), int(10_000 * scale), int(300 * scale**0.5), int(50 * scale**0.25)
    return {
        f"group of {many:,}": (lambda: group(add.s(i, 1) for i in range(many)), many + 1, None),
        f"chord of {many:,}": (
            lambda: chord((add.s(i, i) for i in range(many)), total.s()),
            many + 2,
            many * (many - 1),
        ),
        f"chain of {steps:,}": (lambda: chain(add.s(0, 1), *(add.s(1) for _ in range(steps - 1))), steps, steps),
        f"chord of {side} chords of {side}": (
            lambda: _chords(side, side),
            side * (side + 2) + 2,
            side * (side * (side + 1) // 2),
        ),
        f"group nested {depth} deep": (lambda: _nested(depth), 5 * depth + 1, None),
    }


def _bother(address: str, stop: Any, longest: Synchronized[float], usual: Synchronized[float]) -> None:
    """Submit one small task after another; note the longest wait and the 99th of a hundred. A process of its own."""
    app.conf.update(coordinator=address)
    add.apply_async((1, 1), queue="nobody")
    waits: list[float] = []
    while not stop.wait(0.02):
        start = time.perf_counter()
        add.apply_async((1, 1), queue="nobody")
        waits.append(time.perf_counter() - start)
    waits.sort()
    longest.value, usual.value = (waits[-1], waits[len(waits) * 99 // 100]) if waits else (0.0, 0.0)


class _Watch:
    """Samples the coordinator's memory, and runs the other client, while something runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._pid = cluster.coordinator
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._longest: Any = context.Value("d", 0.0)
        self._usual: Any = context.Value("d", 0.0)
        told = (self._longest, self._usual)
        self._other = context.Process(target=_bother, args=(cluster.address, self._stop, *told))
        self._sampler = threading.Thread(target=self._sample)

    def __enter__(self) -> _Watch:
        self._first = self.peak = anonymous_bytes(self._pid)
        self._other.start()
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._other.join(30)
        self._sampler.join(30)

    def _sample(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, anonymous_bytes(self._pid))

    @property
    def figures(self) -> dict[str, float]:
        """Return growth in MB, and the longest wait of the other client and the 99th of a hundred in ms.

        One slow fsync of the disk is in the longest wait; the other figure tells what the coordinator does.
        """
        grown = (self.peak - self._first) / 1e6
        return {"peak_mb": grown, "other_ms": self._longest.value * 1e3, "other_p99_ms": self._usual.value * 1e3}


def measure(scale: float = 1.0) -> dict[str, dict[str, float]]:
    """Run every large canvas on a cluster of its own, and return the figures by name."""
    found: dict[str, dict[str, float]] = {}
    for name, (make, nodes, expected) in canvases(scale).items():
        with Cluster() as cluster:
            add.delay(1, 1).get(timeout=LIMIT)
            before = psutil.Process().memory_info().rss
            with _Watch(cluster) as watch:
                start = time.perf_counter()
                result = make().apply_async()
                submitted = time.perf_counter() - start
                value = result.get(timeout=LIMIT)
                seconds = time.perf_counter() - start
            if expected is not None and value != expected:
                raise SystemExit(f"{name} gave {value!r}, not {expected!r}")
            found[name] = {
                "nodes": nodes,
                "submit_s": submitted,
                "seconds": seconds,
                "us_a_node": seconds / nodes * 1e6,
                "client_mb": (psutil.Process().memory_info().rss - before) / 1e6,
                "disk_bytes_a_node": cluster.bytes_on_disk() / nodes,
                **watch.figures,
            }
            print(name, {key: round(figure, 2) for key, figure in found[name].items()}, flush=True)
    return found
