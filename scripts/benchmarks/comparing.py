"""Other systems beside ours, in the same rounds. How each is set up and run is in peers/, imported only here."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.machine import deadline
from benchmarks.rows import Figures

#: Measure of a peer -> our measurement and figure, and whether more is better.
OURS: dict[str, tuple[str, str, bool]] = {
    "bulk": ("bulk", "per_second", True),
    "cpu_us": ("bulk", "cpu_us", False),
    "latency_p50_ms": ("latency", "p50_ms", False),
    "submit": ("submit", "per_second", True),
    "group_1000_ms": ("group", "ms", False),
    "chord_1000_ms": ("chord", "ms", False),
    "chords_20x50_ms": ("chords", "ms", False),
    "chain_100_ms": ("chain", "ms", False),
    "payloads_50x1MiB_ms": ("payloads", "ms", False),
}

#: Seconds after which one round of all peers is given up; the first one also sets them up.
LIMIT = 1_800.0


def run_round(names: Sequence[str], small: bool) -> list[dict[str, Any]]:
    """Measure every named peer once.

    Args:
        names: of peers; those that there are stand in peers/.
        small: True: a smoke run.

    Returns:
        Rows with "peer", "measure", "durability", and "value" and "unit"; or "left_out" with a reason.
    """
    peers = importlib.import_module("benchmarks.peers")
    with deadline(LIMIT, f"a round of {', '.join(names)}"):
        found: list[dict[str, Any]] = peers.run(list(names), 1, small)
    return found


def celery(found: Iterable[Mapping[str, Any]]) -> Figures:
    """Return what Celery gave, by measure, for the rows that are judged beside it; nothing where it did not run."""
    return {str(row["measure"]): float(row["value"]) for row in found if row["peer"] == "celery" and "value" in row}


def records(number: int, found: Iterable[Mapping[str, Any]], ours: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """Return a record for each row of the peers: what they gave, what we gave in that round, how many times better."""
    made = []
    for row in found:
        record = {"value": None, "unit": "", "kind": "peer", "round": number, **row, "ours": None, "better": None}
        known = OURS.get(str(row["measure"]))
        if record["value"] is not None and known is not None and known[0] in ours:
            mine, theirs = ours[known[0]][known[1]], float(row["value"])
            over, under = (mine, theirs) if known[2] else (theirs, mine)
            record |= {"ours": mine, "better": over / under if under else None}
        made.append(record)
    return made


def medians(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one record for each peer and measure, with medians in the place of what rounds gave."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in told:
        groups.setdefault((str(record["measure"]), str(record["peer"])), []).append(record)
    made = []
    for same in groups.values():
        middle = dict(same[0])
        for name in ("value", "ours", "better"):
            values = [float(record[name]) for record in same if record[name] is not None]
            middle[name] = statistics.median(values) if values else None
        made.append(middle)
    return made
