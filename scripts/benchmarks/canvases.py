"""Canvases: groups, chords, chains, large payloads, and a chord of a hundred thousand. Every value is checked."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bulk import LIMIT, check, run_group
from benchmarks.cluster import Cluster
from benchmarks.floor import Floor
from benchmarks.rows import Figures, Measurement, Row, Sizes
from benchmarks.tasks import add, echo, total, total_noted
from grpcflow import Signature, chain, chord, group


def timed(canvas: Signature, expected: object, what: str) -> float:
    """Run a canvas and check its value; return the seconds from its submission to the value."""
    start = time.perf_counter()
    value: Any = canvas.apply_async().get(timeout=LIMIT)
    seconds = time.perf_counter() - start
    check(value, expected, what)
    return seconds


def _group(_cluster: Cluster, sizes: Sizes) -> Figures:
    return {"ms": run_group(sizes.members) * 1e3}


def chord_of(count: int) -> float:
    """Run a chord; return the seconds from the first signature to the sum."""
    start = time.perf_counter()
    value = chord((add.s(i, i) for i in range(count)), total.s())().get(timeout=LIMIT)
    seconds = time.perf_counter() - start
    check(value, count * (count - 1), f"a chord of {count}")
    return seconds


def _chord(_cluster: Cluster, sizes: Sizes) -> Figures:
    seconds = chord_of(sizes.members)
    return {"ms": seconds * 1e3, "us_a_member": seconds / sizes.members * 1e6}


def _large_chord(_cluster: Cluster, sizes: Sizes) -> Figures:
    """Run it with a body that leaves a mark each time it runs, and see that there is one mark."""
    count = sizes.large_chord
    handle, name = tempfile.mkstemp(prefix="body-")
    os.close(handle)
    start = time.perf_counter()
    value = chord((add.s(i, i) for i in range(count)), total_noted.s(name))().get(timeout=LIMIT)
    seconds = time.perf_counter() - start
    check((value, Path(name).read_bytes()), (count * (count - 1), b"x"), f"a chord of {count}")
    Path(name).unlink()
    return {"ms": seconds * 1e3, "us_a_member": seconds / count * 1e6}


def _chords(_cluster: Cluster, sizes: Sizes) -> Figures:
    start = time.perf_counter()
    inner = [chord([add.s(i, 1) for i in range(sizes.chord_members)], total.s()) for _ in range(sizes.chords)]
    value = chord(inner, total.s())().get(timeout=LIMIT)
    seconds = time.perf_counter() - start
    each = sizes.chord_members * (sizes.chord_members + 1) // 2
    check(value, sizes.chords * each, "chords in a chord")
    return {"ms": seconds * 1e3}


def _chain(_cluster: Cluster, sizes: Sizes) -> Figures:
    start = time.perf_counter()
    value = chain(add.s(0, 1), *(add.s(1) for _ in range(sizes.steps - 1)))().get(timeout=LIMIT)
    seconds = time.perf_counter() - start
    check(value, sizes.steps, "a chain")
    return {"ms": seconds * 1e3}


def _texts(sizes: Sizes) -> list[str]:
    return [f"{number:08}" + "x" * (sizes.payload_bytes - 8) for number in range(sizes.payloads)]


def _floor_payloads(_none: None, sizes: Sizes) -> Figures:
    """The same on the bare parts: the second of two runs, as well."""
    texts = _texts(sizes)
    with Floor(workers=2, large=True) as floor:
        floor.payloads(texts)
        return {"ms": floor.payloads(texts) * 1e3}


def _payloads(_cluster: Cluster, sizes: Sizes) -> Figures:
    """Time the second of two runs: in the first one all processes, Redis too, take their memory from the system."""
    texts = _texts(sizes)
    timed(group(echo.s(text) for text in texts), texts, "large payloads")
    return {"ms": timed(group(echo.s(text) for text in texts), texts, "large payloads") * 1e3}


MEASUREMENTS = (
    Measurement("group", "cluster", _group),
    Measurement("chord", "cluster", _chord),
    Measurement("chords", "cluster", _chords),
    Measurement("chain", "cluster", _chain),
    Measurement("payloads", "cluster", _payloads),
    Measurement("floor payloads", "own", _floor_payloads),
    Measurement("large chord", "cluster", _large_chord),
)


def _beside_celery(name: str, measure: str, must: float, aim: float) -> Row:
    compared = ("celery", name)
    return Row(name, measure, "ms", (name, "ms"), "less", compared, "Celery", must=must, aim=aim, faster=True)


ROWS = (
    _beside_celery("group", "group of {members:,}", 12, 40),
    _beside_celery("chord", "chord of {members:,}", 15, 50),
    _beside_celery("chords", "{chords} chords of {chord_members}, then a sum", 12, 40),
    _beside_celery("chain", "chain of {steps}", 2, 2.3),
    _beside_celery("payloads", "{payloads} payloads of {payload_bytes:,} B", 4, 8),
    Row("payloads_floor", "{payloads} payloads of {payload_bytes:,} B, beside the floor", "ms", ("payloads", "ms"),
        "less", ("floor payloads", "ms"), "floor"),
    Row("chord_100000", "chord of {large_chord:,}, a member", "us", ("large chord", "us_a_member"), "less",
        ("chord", "us_a_member"), "the smaller chord", must=1.5, aim=1.0),
)  # fmt: skip
