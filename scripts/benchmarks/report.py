"""What a run says: tables for people, in the terminal or as Markdown, and JSON lines. Measures nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.console
import rich.table

from benchmarks.rows import Verdict

#: Columns of the table.
COLUMNS = ("measure", "grpcflow", "compared with", "ratio", "spread", "must", "met", "aim")

#: Columns of the table of other systems.
PEER_COLUMNS = ("measure", "peer", "durability", "theirs", "grpcflow", "times better")

#: Characters of a line, at least: a table that is folded to less cannot be read.
WIDTH = 170

#: What stands beside the durability of others.
OURS = "grpcflow syncs every commit before it says yes"

_LEFT = frozenset({"measure", "compared with", "peer", "durability"})


def figure(value: float | None) -> str:
    """Return a figure with three digits that count."""
    if value is None:
        return "-"
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{places}f}"


def _bound(verdict: Verdict, bound: float | None) -> str:
    if bound is None:
        return "-"
    row = verdict.row
    sign = ">=" if row.direction == "more" or row.faster else "<="
    unit = " x" if row.compared else f" {row.unit}"
    return f"{sign} {bound:g}{unit}"


def cells(verdict: Verdict) -> list[str]:
    """Return the line of the table for a row."""
    row = verdict.row
    beside = f"{row.beside}: {figure(verdict.compared)}" if row.compared else "-"
    met = {True: "yes", False: "NO", None: "-"}[verdict.met]
    return [
        verdict.measure, f"{figure(verdict.value)} {row.unit}", beside, figure(verdict.ratio), f"{verdict.spread:.0%}",
        _bound(verdict, row.must), met, _bound(verdict, row.aim),
    ]  # fmt: skip


def peer_cells(record: Mapping[str, Any]) -> list[str]:
    """Return the line of the table for one measure of another system."""
    told = (record["measure"], record["peer"], record["durability"])
    theirs = f"{figure(record['value'])} {record['unit']}" if record["value"] is not None else record["left_out"]
    return [*map(str, told), theirs, figure(record["ours"]), figure(record["better"])]


def heading(machine: Mapping[str, object], rounds: int) -> str:
    """Return what stands above a table."""
    told = ", ".join(f"{name} {machine[name]}" for name in ("grpcio", "lmdb") if name in machine)
    return f"medians of {rounds} rounds on {machine.get('cpus')} CPUs, Python {machine.get('python')}, {told}"


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table for the terminal."""
    table = rich.table.Table(title=title)
    for name in columns:
        table.add_column(name, justify="left" if name in _LEFT else "right")
    for row in rows:
        table.add_row(*row)
    console = rich.console.Console()
    console.width = max(console.width, WIDTH)
    console.print(table)


def print_markdown(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown."""
    print(markdown(title, columns, rows))


def markdown(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown, its title above it."""
    rule = ["---" if name in _LEFT else "---:" for name in columns]
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows)]
    return f"{title[:1].upper()}{title[1:]}.\n\n" + "\n".join(lines) + "\n"


class Journal:
    """The JSON lines of a run: one for each round and row, with the facts of the machine; kept, and written at once.

    Args:
        machine: facts that stand in each line.
        file: where they go; None: nowhere.
    """

    def __init__(self, machine: Mapping[str, object], file: Path | None) -> None:
        self._machine = dict(machine)
        self._file = file
        self.records: list[dict[str, Any]] = []
        if file is not None:
            file.write_text("")

    def write(self, records: Iterable[Mapping[str, Any]], **facts: object) -> None:
        """Keep records, with facts of this moment beside those of the machine."""
        for record in records:
            full = {**record, "time": round(time.time(), 3), "machine": {**self._machine, **facts}}
            self.records.append(full)
            if self._file is not None:
                with self._file.open("a") as lines:
                    lines.write(json.dumps(full) + "\n")


def read(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the records of files that earlier runs wrote; of a row that stands in two, the last one's."""
    found: list[dict[str, Any]] = []
    for file in files:
        fresh = [json.loads(line) for line in file.read_text().splitlines()]
        replaced = {_key(record) for record in fresh}
        found = [record for record in found if _key(record) not in replaced] + fresh
    return found


def _key(record: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(record.get(name) for name in ("kind", "row", "peer", "measure", "line", "name"))


def plain(record: Mapping[str, Any]) -> str:
    """Return a record that has no table as one line of text."""
    left_out = {"kind", "line", "name", "time", "machine", "x"}
    told = ", ".join(f"{name} {figure(value)}" for name, value in record.items() if name not in left_out)
    return f"{record['line']} {record['name']}: {told}"
