"""Other systems beside ours, in the same rounds. How each is set up and run is in peers/, imported only here."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.machine import deadline
from benchmarks.peers.plan import STEPS
from benchmarks.registry import ROWS
from benchmarks.rows import Figures, Measurement, Row, Sizes

#: What our own figures stand under among those of others.
OURS = "grpcflow"

#: What holds for them.
OUR_DURABILITY = "every commit is synced to disk before anything is acknowledged, results too"

#: The rows that others are measured for, too, under the same names.
SHARED: dict[str, Row] = {measure: ROWS[measure] for measures in STEPS.values() for measure in measures}

#: Seconds after which one round of all peers is given up; the first one also sets them up.
LIMIT = 1_800.0


def steps_for(measurements: Iterable[Measurement]) -> list[str]:
    """Return the steps of the peers that compare with what is measured of ours."""
    ours = {one.name for one in measurements}
    return [step for step, measures in STEPS.items() if any(SHARED[measure].ours[0] in ours for measure in measures)]


def run_round(names: Sequence[str], sizes: Sizes, steps: Sequence[str]) -> list[dict[str, Any]]:
    """Measure every named peer once.

    Args:
        names: of peers; those that there are stand in peers/.
        sizes: how much of everything.
        steps: which.

    Returns:
        Rows with "peer", "measure", "durability", "settings", and "value"; or "left_out" with a reason.
    """
    if not (names and steps):
        return []
    peers = importlib.import_module("benchmarks.peers")
    with deadline(LIMIT, f"a round of {', '.join(names)}"):
        found: list[dict[str, Any]] = peers.run(names, 1, sizes, steps)
    return found


def celery(found: Iterable[Mapping[str, Any]]) -> Figures:
    """Return what Celery gave, by measure, for the rows that are judged beside it; nothing where it did not run."""
    return {str(row["measure"]): float(row["value"]) for row in found if row["peer"] == "celery" and "value" in row}


def records(
    number: int, theirs: Sequence[Mapping[str, Any]], ours: Mapping[str, Figures], sizes: Sizes
) -> list[dict[str, Any]]:
    """Return a record for each measure of ours and of the peers in a round, and how many times better than Celery's.

    Args:
        number: of the round.
        theirs: what `run_round` returned.
        ours: what was measured of ours in that round.
        sizes: how much of everything.
    """
    measured = {str(row["measure"]) for row in theirs}
    mine = [
        {"peer": OURS, "measure": measure, "value": ours[row.ours[0]][row.ours[1]], "durability": OUR_DURABILITY}
        for measure, row in SHARED.items()
        if measure in measured and row.ours[0] in ours
    ]
    base = celery(theirs)
    made = []
    for found in (*mine, *theirs):
        row = SHARED[found["measure"]]
        told = {"told": row.measure.format_map(asdict(sizes)), "unit": row.unit, "value": None, **found}
        times = None
        if told["value"] is not None and found["measure"] in base:
            over, under = base[found["measure"]], told["value"]
            over, under = (under, over) if row.direction == "more" else (over, under)
            times = over / under if under else None
        made.append({"kind": "peer", "round": number, **told, "times_celery": times})
    return made


def medians(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one record for each system and measure: medians in the place of what rounds gave, and their spread."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in told:
        groups.setdefault((str(record["peer"]), str(record["measure"])), []).append(record)
    made = []
    for same in groups.values():
        middle = dict(next((record for record in same if record["value"] is not None), same[0]))
        for name in ("value", "times_celery"):
            values = [float(record[name]) for record in same if record[name] is not None]
            middle[name] = statistics.median(values) if values else None
        values = [float(record["value"]) for record in same if record["value"] is not None]
        apart = len(values) > 1 and middle["value"]
        middle["spread"] = (max(values) - min(values)) / middle["value"] if apart else None
        made.append(middle)
    return made


def beats(theirs: Mapping[str, Any], ours: Mapping[str, Any] | None) -> bool:
    """Return whether a system's median of a measure is better than ours."""
    if ours is None or theirs is ours or theirs["value"] is None or ours["value"] is None:
        return False
    more = SHARED[theirs["measure"]].direction == "more"
    return bool(theirs["value"] > ours["value"] if more else theirs["value"] < ours["value"])
