"""All measurements and rows, in the order of the table, and a round of them. Knows no figure."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from benchmarks import backlog, bulk, calls, canvases, load
from benchmarks.cluster import Cluster
from benchmarks.floor import Floor
from benchmarks.machine import deadline
from benchmarks.rows import Figures, Measurement, Place, Row, Sizes

_FAMILIES = (bulk, calls, canvases, backlog, load)

#: By name; in the order in which those of one place are run.
MEASUREMENTS: dict[str, Measurement] = {one.name: one for family in _FAMILIES for one in family.MEASUREMENTS}

#: By name.
ROWS: dict[str, Row] = {row.name: row for family in _FAMILIES for row in family.ROWS}


@contextlib.contextmanager
def _warm_cluster(sizes: Sizes) -> Iterator[Cluster]:
    """A cluster of which connections, caches and the pace of frames are warm, as the floor's are."""
    with Cluster() as cluster:
        bulk.run_group(min(sizes.tasks, 2_000))
        yield cluster


#: How a place is opened.
_PLACES: dict[Place, Callable[[Sizes], contextlib.AbstractContextManager[Any]]] = {
    "floor": lambda _: Floor(workers=2),
    "cluster": _warm_cluster,
    "floor alone": lambda _: Floor(workers=0),
    "cluster alone": lambda _: Cluster(workers=0),
    "own": lambda _: contextlib.nullcontext(),
}

#: The places of a round: those that are open at the same time, one of them at rest while the other is measured.
_TOGETHER: tuple[tuple[Place, ...], ...] = (("floor", "cluster"), ("floor alone", "cluster alone"), ("own",))


def chosen(names: Sequence[str], families: Iterable[str]) -> list[Row]:
    """Return the rows of these names; where there are none, those of these families.

    Raises:
        SystemExit: there is no such row; the message lists all.
    """
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise SystemExit(f"there is no row {', '.join(unknown)}; there are: {', '.join(ROWS)}")
    kept = set(families)
    return [row for row in ROWS.values() if (row.name in names if names else row.family in kept)]


def needed(rows: Iterable[Row]) -> list[Measurement]:
    """Return the measurements that rows show or are compared with."""
    names = {part[0] for row in rows for part in (row.ours, row.compared) if part is not None}
    return [one for name, one in MEASUREMENTS.items() if name in names]


def in_turn(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return measurements in the order of a round: each right behind what its rows are compared with.

    The machine's speed drifts within seconds: what is compared is measured in the same ones.
    """
    by_name = {one.name: one for one in measurements}
    beside: dict[str, list[str]] = {}
    for row in ROWS.values():
        if row.compared is not None:
            beside.setdefault(row.ours[0], []).append(row.compared[0])
    compared = {name for names in beside.values() for name in names}
    order = [
        name
        for one in measurements
        if one.name not in compared or one.name in beside
        for name in (*beside.get(one.name, ()), one.name)
        if name in by_name
    ]
    return [by_name[name] for name in dict.fromkeys([*order, *by_name])]


def run_round(measurements: Sequence[Measurement], sizes: Sizes) -> dict[str, Figures]:
    """Measure everything once, in turn."""
    found: dict[str, Figures] = {}
    for places in _TOGETHER:
        here = in_turn([one for one in measurements if one.place in places])
        with contextlib.ExitStack() as stack:
            opened: dict[Place, Any] = {}
            for place in places:
                limits = [one.limit for one in here if one.place == place]
                if limits:
                    with deadline(limits[0], f"starting the {place}"):
                        opened[place] = stack.enter_context(_PLACES[place](sizes))
            for one in here:
                gc.collect()  # what earlier ones left behind is nobody's cost here
                with deadline(one.limit, one.name):
                    found[one.name] = one.run(opened[one.place], sizes)
    return found
