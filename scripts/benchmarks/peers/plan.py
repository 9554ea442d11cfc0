"""What is measured of every peer: steps, the figures that each step gives, their units and sizes.

Both sides of the protocol read this file, each with a Python of its own: it imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Steps in the order in which they run, and the measures that each gives. The first one needs that no worker is there.
STEPS: dict[str, tuple[str, ...]] = {
    "submit": ("submit",),
    "bulk": ("bulk", "cpu_us"),
    "latency": ("latency_p50_ms", "latency_p99_ms"),
    "group": ("group_1000_ms",),
    "chord": ("chord_1000_ms",),
    "chords": ("chords_20x50_ms",),
    "chain": ("chain_100_ms",),
    "payloads": ("payloads_50x1MiB_ms",),
}

UNITS: dict[str, str] = {
    measure: "tasks/s" if measure in {"submit", "bulk"} else "us" if measure == "cpu_us" else "ms"
    for measures in STEPS.values()
    for measure in measures
}


@dataclass(frozen=True)
class Sizes:
    """How many tasks the steps take.

    Args:
        tasks: of the bulk, and of the submit without a worker.
        calls: one after another, for the latency.
        members: of the group and of the chord.
        chords: how many chords at once, before a sum.
        each: members of each of those chords.
        steps: of the chain.
        payloads: how many large values go there and back.
        payload_bytes: how large each of them is.
    """

    tasks: int = 20_000
    calls: int = 300
    members: int = 1_000
    chords: int = 20
    each: int = 50
    steps: int = 100
    payloads: int = 50
    payload_bytes: int = 1 << 20


#: How the name of a driver's own folder begins: nothing else is ever removed.
FOLDER_PREFIX = "bench-peer-"

#: A smoke run: a few tasks of everything, in seconds.
SMALL = Sizes(tasks=200, calls=20, members=20, chords=3, each=5, steps=5, payloads=3, payload_bytes=1 << 16)
