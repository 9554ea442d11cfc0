"""A table in cells of a terminal: columns that share a width, rows that are cut to it. Pure; no widget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from grpcflow.cli.top.text import fit

__all__ = ["Cell", "Column", "Row", "drawn", "heads", "widths"]

#: Text and its style, in rich's words.
Cell = tuple[str, str]

#: Cells between two columns.
_GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        head: What stands above it.
        least: Its width at least.
        most: Its width at most; 0: any.
        right: True: text stands at its right end.
        share: How much it gets of what the others leave; 0: it is as wide as what stands in it.
        keep: Where there is no room columns with the lowest number go first; 9: it stays.
    """

    head: str
    least: int
    most: int = 0
    right: bool = False
    share: int = 0
    keep: int = 9


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table.

    Attributes:
        key: What it is about; it is the same when the line comes again.
        cells: One for each column.
        detail: All that is known of it, for the line that the cursor is on.
    """

    key: str
    cells: Sequence[Cell]
    detail: str = ""


def widths(columns: Sequence[Column], rows: Sequence[Row], room: int) -> list[int]:
    """Return how wide each column is; 0 is left out.

    Args:
        columns: The columns.
        rows: What stands in them.
        room: Cells there are.
    """
    natural = [_natural(column, at, rows) for at, column in enumerate(columns)]
    shown = set(range(len(columns)))

    def left() -> int:
        return room - sum(natural[at] for at in shown) - _GAP * (len(shown) - 1)

    for at in sorted(shown, key=lambda one: columns[one].keep):
        if left() >= 0 or columns[at].keep == 9:
            break
        shown.discard(at)
    found = [natural[at] if at in shown else 0 for at in range(len(columns))]
    sharing = [at for at in sorted(shown) if columns[at].share]
    spare, shares = max(0, left()), sum(columns[at].share for at in sharing)
    for at in sharing:
        part = spare * columns[at].share // shares
        found[at] += part
        spare, shares = spare - part, shares - columns[at].share
    return found


def _natural(column: Column, at: int, rows: Sequence[Row]) -> int:
    """Return how wide a column would be; one that shares is as narrow as it may be."""
    if column.share:
        return column.least
    widest = max((cell_len(row.cells[at][0]) for row in rows), default=0)
    wanted = max(column.least, cell_len(column.head), widest)
    return min(wanted, column.most) if column.most else wanted


def heads(columns: Sequence[Column], sizes: Sequence[int], style: Style) -> list[Segment]:
    """Return the line above a table."""
    return _line([(column.head, "") for column in columns], columns, sizes, style)


def drawn(
    row: Row, columns: Sequence[Column], sizes: Sequence[int], base: Style, *, plain: bool = False
) -> list[Segment]:
    """Return a row as pieces of a line.

    Args:
        row: The row.
        columns: The columns.
        sizes: How wide each is.
        base: Style that lies below that of each cell.
        plain: True: with that style alone.
    """
    return _line([(text, "") for text, _ in row.cells] if plain else row.cells, columns, sizes, base)


def _line(cells: Sequence[Cell], columns: Sequence[Column], sizes: Sequence[int], base: Style) -> list[Segment]:
    pieces: list[Segment] = []
    for (text, style), column, width in zip(cells, columns, sizes, strict=True):
        if not width:
            continue
        if pieces:
            pieces.append(Segment(" " * _GAP, base))
        whole = fit(text, width, right=column.right)
        pieces.append(Segment(whole, base + Style.parse(style) if style else base))
    return pieces
