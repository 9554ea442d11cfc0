"""What a run says: tables for people, in the terminal or as Markdown, and JSON lines. Measures nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich.console
import rich.table

from benchmarks.rows import Verdict

#: Columns of the table.
COLUMNS = (
    "measure", "grpcflow", "compared with", "ratio", "rounds", "spread", "must", "kept", "aim", "reached"
)  # fmt: skip

#: Characters of a line, at least: a table that is folded to less cannot be read.
WIDTH = 190

#: Those of figures; words stand to the left.
_FIGURES = frozenset({"grpcflow", "ratio", "rounds", "spread", "must", "kept", "aim", "reached"})


_YES = {True: "yes", False: "NO", None: "-"}

#: Kind of a record -> what its tables are called.
_KINDS = {"growth": "how cost grows", "micro": "alone"}


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes:
        title: What stands above it.
        columns: Their names.
        rows: Lines, each with a text for each column.
        figures: Names of the columns of figures, which stand to the right.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Collection[str] = ()


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
    return [
        verdict.measure, f"{figure(verdict.value)} {row.unit}", beside, figure(verdict.ratio), str(verdict.rounds),
        f"{verdict.spread:.0%}" if verdict.rounds > 1 else "-",
        _bound(verdict, row.must), _YES[verdict.met], _bound(verdict, row.aim), _YES[verdict.reached],
    ]  # fmt: skip


def ratios(verdicts: Sequence[Verdict], machine: Mapping[str, object]) -> Table:
    """Return the table of rows.

    Args:
        verdicts: on each.
        machine: facts of the machine.
    """
    versions = ", ".join(f"{name} {machine[name]}" for name in ("grpcio", "protobuf", "lmdb") if name in machine)
    title = f"medians of the rounds, on {machine.get('cpus')} CPUs, Python {machine.get('python')}, {versions}"
    return Table(title, COLUMNS, [cells(verdict) for verdict in verdicts], _FIGURES)


def points(records: Iterable[Mapping[str, Any]]) -> list[Table]:
    """Return a table for each line of growth, and for each part that was measured alone."""
    left_out = {"kind", "line", "name", "time", "machine", "x"}
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        lines.setdefault(str(record["line"]), []).append(record)
    made = []
    for line, found in lines.items():
        names = list(dict.fromkeys(name for record in found for name in record if name not in left_out))
        rows = [[str(one["name"]), *(figure(one.get(name)) for name in names)] for one in found]
        columns = [name.replace("_", " ") for name in names]
        made.append(Table(f"{_KINDS[found[0]['kind']]}: {line}", (line, *columns), rows, columns))
    return made


def show(table: Table) -> None:
    """Print a table for the terminal."""
    drawn = rich.table.Table(title=table.title)
    for name in table.columns:
        drawn.add_column(name, justify="right" if name in table.figures else "left")
    for row in table.rows:
        drawn.add_row(*row)
    console = rich.console.Console()
    console.width = max(console.width, WIDTH)
    console.print(drawn)


def markdown(table: Table) -> str:
    """Return a table as Markdown, its title above it."""
    rule = ["---:" if name in table.figures else "---" for name in table.columns]
    lines = ["| " + " | ".join(cells) + " |" for cells in (table.columns, rule, *table.rows)]
    return f"{table.title[:1].upper()}{table.title[1:]}.\n\n" + "\n".join(lines) + "\n"


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
