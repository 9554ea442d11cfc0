"""The options of scripts/bench. Measures nothing, and imports nothing of grpcflow."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peers import peers_of
from benchmarks.rows import SMALL, Family, Sizes

#: What --growth can measure; growth.py says how.
GROWTH = ("backlog", "graph", "fan-in", "workers", "payload", "load")

#: Measures with tables of their own, each a module.
OTHERS = ("large", "mixed", "pruning", "control")


@dataclass(frozen=True)
class Options:
    """What to measure and how to tell it; the names are those of the command line."""

    sizes: Sizes
    rounds: int
    small: bool
    #: Families of rows; empty: none.
    families: tuple[Family, ...]
    only: tuple[str, ...]
    compare: tuple[str, ...]
    #: Lines of growth; empty: none.
    growth: tuple[str, ...]
    micro: bool
    #: One of `OTHERS`, or nothing.
    other: str
    seed: int | None
    json: Path | None
    #: Files of earlier runs.
    read: tuple[Path, ...]
    markdown: bool
    plots: Path | None
    #: The page whose tables and plots are written anew.
    into: Path | None
    check: bool


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure grpcflow beside the floor of its parts, and beside others."
    )
    what = parser.add_argument_group("what is measured (the table of ratios, where nothing is named)")
    what.add_argument("--only", type=_names, default=(), metavar="ROW,...", help="these rows; an unknown one lists all")
    what.add_argument("--all", action="store_true", help="every row, those too that take minutes")
    what.add_argument("--backlog", type=int, nargs="?", const=Sizes.backlog, metavar="N", help="queued calls (5000000)")
    what.add_argument("--idle", type=int, nargs="?", const=Sizes.idle, metavar="N", help="idle workers (500)")
    what.add_argument(
        "--open-loop", type=float, nargs="?", const=Sizes.open_loop_seconds, metavar="SECONDS", help="open load (600)"
    )
    what.add_argument("--busy", type=int, default=None, metavar="N", help="workers of the open load (200)")
    what.add_argument("--compare", type=_names, default=(), metavar="NAMES", help="others, such as celery,dramatiq")
    what.add_argument(
        "--growth",
        type=_names,
        nargs="?",
        const=GROWTH,
        default=(),
        metavar="LINE,...",
        help=f"how cost grows: {', '.join(GROWTH)} (all)",
    )
    what.add_argument("--micro", action="store_true", help="core and store alone")
    for name in OTHERS:
        what.add_argument(f"--{name}", action="store_true", help=f"see scripts/benchmarks/{name}.py")
    how = parser.add_argument_group("how much")
    how.add_argument("--rounds", type=int, default=5, help="how often the rows are measured (5)")
    how.add_argument("--tasks", type=int, default=None, help="tasks of a bulk (20000)")
    how.add_argument("--small", action="store_true", help="a few tasks of everything, once")
    how.add_argument("--seed", type=int, help="of the order of --mixed; it is printed")
    told = parser.add_argument_group("how it is told")
    told.add_argument("--json", type=Path, metavar="FILE", help="write JSON lines: one for each round and row")
    told.add_argument(
        "--from", type=Path, nargs="+", default=[], metavar="FILE", dest="read", help="read such files first"
    )
    told.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    told.add_argument("--plots", type=Path, metavar="FOLDER", help="draw --growth as SVG")
    told.add_argument("--into", type=Path, metavar="PAGE", help="write tables and plots between the marks of a page")
    told.add_argument("--check", action="store_true", help="end with 1 where a must is missed")
    return parser


def _families(given: argparse.Namespace) -> tuple[Family, ...]:
    """Return the families that were asked for; the table where nothing else was."""
    asked: dict[Family, bool] = {
        "backlog": given.backlog is not None, "idle": given.idle is not None, "open-loop": given.open_loop is not None
    }  # fmt: skip
    if given.all:
        return ("rounds", *asked)
    found: tuple[Family, ...] = tuple(name for name, there in asked.items() if there)
    if given.compare and not given.only:
        return ("rounds", *found)
    if found or given.only or given.growth or given.micro or given.read:
        return found
    return ("rounds",)


def _sizes(given: argparse.Namespace) -> Sizes:
    told = {
        "tasks": given.tasks, "backlog": given.backlog, "idle": given.idle, "busy": given.busy,
        "open_loop_seconds": given.open_loop,
    }  # fmt: skip
    base = SMALL if given.small else Sizes()
    defaults = {name: getattr(Sizes, name) for name in told}
    # With --small, an option that only names its family keeps the small size.
    kept = {
        name: value
        for name, value in told.items()
        if value is not None and (base is not SMALL or value != defaults[name])
    }
    return replace(base, **kept)


def parse(words: Sequence[str] | None = None) -> Options:
    """Read the command line.

    Args:
        words: of it; None: those of this process.
    """
    parser = _parser()
    given = parser.parse_args(words)
    others = [name for name in OTHERS if getattr(given, name)]
    unknown = [name for name in given.growth if name not in GROWTH]
    if unknown:
        parser.error(f"--growth knows no line {', '.join(unknown)}; there are: {', '.join(GROWTH)}")
    if len(others) > 1:
        parser.error(f"--{others[0]} and --{others[1]} each write a table of their own: choose one")
    try:
        peers_of(given.compare)
    except ValueError as error:
        parser.error(str(error))
    if given.rounds < 1:
        parser.error("--rounds is at least 1")
    if given.plots is not None and not given.growth and not given.read:
        given.growth = GROWTH
    return Options(
        sizes=_sizes(given),
        rounds=1 if given.small else given.rounds,
        small=given.small,
        families=_families(given),
        only=given.only,
        compare=given.compare,
        growth=given.growth,
        micro=given.micro,
        other=others[0] if others else "",
        seed=given.seed,
        json=given.json,
        read=tuple(given.read),
        markdown=given.markdown,
        plots=given.plots,
        into=given.into,
        check=given.check,
    )
