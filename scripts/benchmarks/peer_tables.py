"""The tables of other systems: what each gave beside ours, how it was set up, and what it has no way to do.

Measures nothing, and prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.comparing import OURS, SHARED, beats
from benchmarks.report import Table, figure

#: Stands behind a figure that is better than ours.
BETTER = " *"

#: What the first table says of itself.
LEGEND = "in brackets: times as good as Celery on Redis in the same rounds;" + BETTER + " better than grpcflow"


def tables(medians: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables of what `comparing.medians` made; none where nobody was compared."""
    if not medians:
        return []
    found = {(record["peer"], record["measure"]): record for record in medians}
    peers = list(dict.fromkeys(str(record["peer"]) for record in medians))
    return [_figures(found, peers), _systems(found, peers)]


def _figures(found: Mapping[tuple[str, str], Mapping[str, Any]], peers: Sequence[str]) -> Table:
    """Return the table with a line for each measure, and one for how far the rounds lie apart."""
    lines = []
    for measure in SHARED:
        here = [found[peer, measure] for peer in peers if (peer, measure) in found]
        if here:
            ours = found.get((OURS, measure))
            told = f"{here[0]['told']}, {here[0]['unit']}"
            lines.append([told, *(_cell(found.get((peer, measure)), ours) for peer in peers)])
    lines.append(["largest spread of the rounds", *(_spread(found, peer) for peer in peers)])
    return Table(f"beside others; {LEGEND}", ("measure", *peers), lines, peers)


def _cell(record: Mapping[str, Any] | None, ours: Mapping[str, Any] | None) -> str:
    if record is None or record["value"] is None:
        return "-"
    times = record["times_celery"]
    told = figure(record["value"]) + (
        f" ({figure(times)} x)" if times is not None and record["peer"] != "celery" else ""
    )
    return told + (BETTER if beats(record, ours) else "")


def _spread(found: Mapping[tuple[str, str], Mapping[str, Any]], peer: str) -> str:
    spreads = [record["spread"] for key, record in found.items() if key[0] == peer and record["spread"] is not None]
    return f"{max(spreads):.0%}" if spreads else "-"


def _systems(found: Mapping[tuple[str, str], Mapping[str, Any]], peers: Sequence[str]) -> Table:
    """Return the table that says of each system how it was set up, and of what there is no figure."""
    lines = []
    for peer in peers:
        mine = [record for key, record in found.items() if key[0] == peer]
        reasons: dict[str, list[str]] = {}
        for record in mine:
            if record["value"] is None:
                reasons.setdefault(str(record["left_out"]), []).append(str(record["measure"]))
        missing = "; ".join(f"{', '.join(measures)}: {reason}" for reason, measures in reasons.items())
        about = next((record for record in mine if record["durability"]), mine[0])
        settings = about.get("settings") or "one worker with two prefork children, JSON"
        lines.append([peer, about["durability"] or "-", settings, missing or "-"])
    return Table(
        "how each was set up", ("system", "durable when a submit has returned", "settings", "no figure"), lines
    )
