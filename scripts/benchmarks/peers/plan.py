"""What is measured of every peer: steps, the figures that each step gives, and their units.

A measure is called as the row of the table that shows the same of grpcflow. Both sides of the protocol read this file,
each with a Python of its own: it imports the standard library only.
"""

from __future__ import annotations

#: Steps in the order in which they run, and the measures that each gives. The first one needs that no worker is there.
STEPS: dict[str, tuple[str, ...]] = {
    "submit": ("submit",),
    "bulk": ("bulk", "cpu"),
    "latency": ("latency_p50", "latency_p99"),
    "group": ("group",),
    "chord": ("chord",),
    "chords": ("chords",),
    "chain": ("chain",),
    "payloads": ("payloads",),
}

UNITS: dict[str, str] = {
    measure: "tasks/s" if measure in {"submit", "bulk"} else "us" if measure == "cpu" else "ms"
    for measures in STEPS.values()
    for measure in measures
}

#: How the name of a driver's own folder begins: nothing else is ever removed.
FOLDER_PREFIX = "bench-peer-"
