"""What a row of the table is, what a measurement is, and how a row is judged. Measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

#: What one measurement found.
Figures: TypeAlias = Mapping[str, float]

#: Where a measurement takes place: beside the floor or on a cluster, each with workers or without; or it makes its own.
Place = Literal["floor", "cluster", "floor alone", "cluster alone", "own"]

#: Which option runs a row: the table of every run, or one of those that take minutes.
Family = Literal["rounds", "backlog", "idle", "open-loop"]


@dataclass(frozen=True)
class Sizes:
    """How much of everything; `SMALL` is a smoke run."""

    tasks: int = 20_000
    loop: int = 5_000
    calls: int = 300
    members: int = 1_000
    steps: int = 100
    chords: int = 20
    chord_members: int = 50
    payloads: int = 50
    payload_bytes: int = 1 << 20
    large_chord: int = 100_000
    threads: int = 16
    each_thread: int = 200
    concurrent: int = 5_000
    backlog: int = 5_000_000
    backlog_group: int = 20_000
    drained: int = 40_000
    lanes: int = 1_000
    idle: int = 500
    idle_seconds: float = 20.0
    busy: int = 200
    open_loop_seconds: float = 600.0


SMALL = Sizes(
    tasks=200, loop=50, calls=20, members=20, steps=5, chords=3, chord_members=4, payloads=3, payload_bytes=1 << 14,
    large_chord=200, each_thread=5, concurrent=50, backlog=2_000, backlog_group=200, drained=400, lanes=20, idle=20,
    idle_seconds=1.0, busy=4, open_loop_seconds=1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """Something that is measured once in each round; several rows may show what it found."""

    name: str
    place: Place
    #: Takes the floor or the cluster (None: it makes its own) and the sizes.
    run: Callable[[Any, Sizes], Figures]
    #: Seconds after which it is given up.
    limit: float = 180.0


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What --only and the JSON lines call it.
        measure: What it is, for people; names of `Sizes` in braces stand for their numbers.
        unit: Of the value.
        ours: Measurement and figure.
        direction: "more": more is better.
        compared: Measurement and figure that the value is compared with; None: the value itself is judged.
        beside: What that is, for people.
        must: Bound of the ratio (of the value, where nothing is compared); None: the row only informs.
        aim: The bound that is hoped for.
        faster: True: the ratio says how many times better we are, whatever the direction; else it is ours to theirs.
        family: Which option runs it.
    """

    name: str
    measure: str
    unit: str
    ours: tuple[str, str]
    direction: Literal["more", "less"]
    compared: tuple[str, str] | None = None
    beside: str = ""
    must: float | None = None
    aim: float | None = None
    faster: bool = False
    family: Family = "rounds"

    def ratio(self, value: float, compared: float) -> float | None:
        """Return the ratio of a round; None where the kernel's clock found nothing to divide by."""
        over, under = (compared, value) if self.faster and self.direction == "less" else (value, compared)
        return over / under if under else None

    def met(self, judged: float, bound: float | None) -> bool | None:
        """Return whether a bound is kept; None where there is none."""
        if bound is None:
            return None
        return judged >= bound if self.direction == "more" or self.faster else judged <= bound


@dataclass(frozen=True)
class Line:
    """What one round found for one row."""

    row: str
    #: What it is, for people, with the sizes of that run.
    measure: str
    round: int
    value: float
    compared: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What all rounds found for one row: medians, and how far the rounds lie apart, as a part of the median."""

    row: Row
    measure: str
    rounds: int
    value: float
    compared: float | None
    ratio: float | None
    spread: float

    @property
    def met(self) -> bool | None:
        """Whether the must is kept; None where there is none, or nothing that it is compared with was measured."""
        return self._keeps(self.row.must)

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None as for `met`."""
        return self._keeps(self.row.aim)

    def _keeps(self, bound: float | None) -> bool | None:
        judged = self.ratio if self.row.compared else self.value
        return None if judged is None else self.row.met(judged, bound)


def lines(rows: Iterable[Row], number: int, found: Mapping[str, Figures], sizes: Sizes) -> list[Line]:
    """Return what a round of these sizes found for each row that it measured."""
    made, told = [], asdict(sizes)
    for row in rows:
        measurement, figure = row.ours
        if measurement not in found:
            continue
        value, compared, ratio = found[measurement][figure], None, None
        if row.compared is not None:
            compared = found.get(row.compared[0], {}).get(row.compared[1])
        if compared is not None:
            ratio = row.ratio(value, compared)
        made.append(Line(row.name, row.measure.format_map(told), number, value, compared, ratio))
    return made


def judged(rows: Iterable[Row], told: Sequence[Line]) -> list[Verdict]:
    """Return the verdict on each row of which there are lines.

    The ratio is the median of the rounds' ratios: the two figures of one round were measured in the same minute, and
    the machine's speed drifts.
    """
    verdicts = []
    for row in rows:
        mine = [line for line in told if line.row == row.name]
        if not mine:
            continue
        compared = [line.compared for line in mine if line.compared is not None]
        ratios = [line.ratio for line in mine if line.ratio is not None]
        spread_of = ratios or [line.value for line in mine]
        middle = statistics.median(spread_of)
        verdicts.append(
            Verdict(
                row,
                mine[-1].measure,
                len(mine),
                statistics.median(line.value for line in mine),
                statistics.median(compared) if compared else None,
                statistics.median(ratios) if ratios else None,
                (max(spread_of) - min(spread_of)) / middle if middle else 0.0,
            )
        )
    return verdicts


def as_record(line: Line) -> dict[str, object]:
    """Return a line for JSON."""
    return {"kind": "row", **asdict(line)}


def from_record(record: Mapping[str, Any]) -> Line:
    """Return the line of a record that `as_record` made, with more beside it or not."""
    return Line(*(record[name] for name in ("row", "measure", "round", "value", "compared", "ratio")))
