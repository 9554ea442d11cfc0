"""grpcflow's peers, measured: each at its best documented settings, in an environment that is made for them.

`run` is what scripts/bench calls. The drivers run in the peers' own Python, which has nothing of grpcflow: this file
imports the standard library only, and the rest at first use.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.plan import STEPS, UNITS
from benchmarks.rows import Sizes

if TYPE_CHECKING:
    from benchmarks.peers.running import Found

#: Each name that may be asked for, and the peers that it stands for.
NAMES: dict[str, tuple[str, ...]] = {
    "celery": ("celery",),
    "dramatiq": ("dramatiq",),
    "taskiq": ("taskiq",),
    "rq": ("rq",),
    "huey": ("huey-redis", "huey-sqlite"),
    "huey-redis": ("huey-redis",),
    "huey-sqlite": ("huey-sqlite",),
    "dask": ("dask",),
    "procrastinate": ("procrastinate",),
}

#: Peers on Redis, which can also be asked for with every write synced, as `celery-fsync`.
ON_REDIS = ("celery", "dramatiq", "taskiq", "rq", "huey-redis")


def peers_of(names: Sequence[str]) -> list[str]:
    """Return the peers that names stand for, each once and in order.

    Raises:
        ValueError: there is no peer of such a name.
    """
    known = {**NAMES, **{f"{name}-fsync": (f"{name}-fsync",) for name in ON_REDIS}}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no peer is called {', '.join(unknown)}; there are: {', '.join(known)}")
    return list(dict.fromkeys(peer for name in names for peer in known[name]))


def run(names: Sequence[str], rounds: int, sizes: Sizes, steps: Sequence[str] = ()) -> list[dict[str, object]]:
    """Measure peers, in turn within each round, and return a row for every peer and measure.

    A row has `peer`, `measure`, `settings` and `durability`, and either `value` (the median), `unit`, `count` (of how
    many tasks) and `rounds` (every value), or `left_out` with the reason why there is no figure.

    Args:
        names: of peers; `huey` stands for both of its stores, and `-fsync` behind a name for a synced Redis.
        rounds: how often each is measured.
        sizes: how much of everything.
        steps: which of `plan.STEPS`; all by default.

    Raises:
        ValueError: there is no peer or no step of such a name.
        SystemExit: the peers cannot be installed.
    """
    from benchmarks.peers import installation

    peers = peers_of(names)
    if not set(steps) <= set(STEPS):
        raise ValueError(f"no step is called {', '.join(set(steps) - set(STEPS))}; there are: {', '.join(STEPS)}")
    python = installation.python()
    found: dict[str, list[Found]] = {peer: [] for peer in peers}
    for number in range(rounds):
        for peer in peers:
            print(f"round {number + 1}: {peer}", file=sys.stderr)
            found[peer].append(_measured(python, peer, sizes, steps))
    return [row for peer in peers for row in rows(peer, found[peer], steps)]


def _measured(python: Path, peer: str, sizes: Sizes, steps: Sequence[str]) -> Found:
    """Run the driver of a peer."""
    from benchmarks.peers import running
    from benchmarks.processes import held_port

    system = peer.partition("-")[0]
    command = [str(python), "-m", f"benchmarks.peers.{system}_peer"]
    with held_port() as port:
        environment = {
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PATH": os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath))),
            "BENCH_PEER": peer,
            "BENCH_PORT": str(port),
            "BENCH_FSYNC": "1" if peer.endswith("-fsync") else "0",
        }
        return running.measure(command, environment, sizes, running.limits_for(sizes.tasks), steps)


def rows(peer: str, found: list[Found], steps: Sequence[str] = ()) -> list[dict[str, object]]:
    """Return the rows of a peer from what its rounds gave; a measure that failed in some of them has fewer values."""
    made: list[dict[str, object]] = []
    for measure in (measure for step in (steps or STEPS) for measure in STEPS[step]):
        values = [one.values[measure] for one in found if measure in one.values]
        reasons = [one.left_out[measure] for one in found if measure in one.left_out]
        told = next((one for one in found if one.settings), found[0])
        row: dict[str, object] = {"peer": peer, "measure": measure}
        if values:
            counts = next(one.counts[measure] for one in found if measure in one.counts)
            row |= {"value": statistics.median(values), "unit": UNITS[measure], "count": counts, "rounds": values}
        else:
            row["left_out"] = reasons[0] if reasons else "the driver gave no figure"
        made.append(row | {"durability": told.durability, "settings": told.settings})
    return made
