"""What `grpcflow graph` draws on a screen: a tree in colour, and the table of graphs. Asks nobody."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from grpcflow.cli.overview import wide_console
from grpcflow.cli.printing import duration
from grpcflow.graph.boxes import Picture
from grpcflow.graph.colours import colour_of
from grpcflow.graph.tree import BAR_WIDTH, Row, bar_parts, details, left_out_text, rows, span

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from grpcflow.graph import Summary, Tally

__all__ = ["console", "drawn", "listed"]

#: Characters that labels may take before what stands behind them is no longer in line.
_LABELS: Final = 60

#: Graphs of a table at a time, so that a long list need not be held.
_TABLE: Final = 1_000


def console() -> "Console":
    """Return the console on stdout, wide enough that nothing is cut where it is no terminal."""
    return wide_console()


def drawn(picture: Picture, *, ids: bool = False, note: str = "", cut: bool = False) -> "Text":
    """Return a graph as a tree in colour.

    Args:
        picture: What is shown.
        ids: True: with the id of each task.
        note: What is said below it; empty: nothing.
        cut: True: a line that is longer than the screen is cut, and not wrapped.
    """
    from rich.text import Text

    made = list(rows(picture))
    width = min(_LABELS, max((len(row.prefix + row.label) for row in made), default=0))
    lines = [_headline(picture.summary), *(_line(row, width, ids=ids) for row in made)]
    if picture.left_out:
        lines.append(Text(left_out_text(picture).replace("ask for more boxes", "--limit N"), style="italic"))
    if note:
        lines.append(Text(note, style="yellow"))
    whole = Text("\n").join(lines)
    whole.no_wrap, whole.overflow = (True, "ellipsis") if cut else (None, "fold")
    return whole


def _headline(summary: "Summary") -> "Text":
    from rich.text import Text

    line = Text.assemble((summary.id, "bold"), "  ", (summary.state, colour_of(summary.state).style), "  ")
    line.append_text(_bar(bar_parts(summary.tally, BAR_WIDTH)))
    line.append(f"  {summary.tally.settled:,} of {summary.tally.nodes:,}  {summary.tally}")
    if summary.cancelled:
        line.append("  cancelled", style="magenta")
    if summary.attached_to:
        line.append(f"  in place of {summary.attached_to}", style="bright_black")
    return line


def _bar(parts: list[tuple[str, int]]) -> "Text":
    """Return a bar: full where nodes have settled, thin where they have not."""
    from rich.text import Text

    line = Text()
    for state, width in parts:
        line.append(("─" if state == "WAITING" else "━") * width, style=colour_of(state).style)
    return line


def _line(row: Row, width: int, *, ids: bool) -> "Text":
    """Return one line of the tree."""
    from rich.text import Text

    line = Text(row.prefix, style="bright_black")
    group = row.box is None or row.box.run.join
    line.append(row.label.ljust(width - len(row.prefix)), style="" if group else "bold")
    node = row.node
    if row.box is not None and row.box.count == 1 and row.box.nodes:
        node = row.box.nodes[0]
    if node is not None:
        state = node.state if row.box is None else row.box.state
        line.append(f"  {state}", style=colour_of(state).style)
        for detail in details(node):
            wrong = bool(node.error) and detail in node.error
            line.append(f"  {detail}", style="red" if wrong else "bright_black")
        if ids:
            line.append(f"  {node.id}", style="cyan")
    elif row.box is not None:
        line.append("  ").append_text(_bar(bar_parts(row.box.tally, BAR_WIDTH)))
        line.append(f"  {row.box.tally}")
    return line


def listed(
    screen: "Console", found: "Iterable[Summary]", now: datetime, most: int | None, *, oldest: bool = False
) -> None:
    """Print graphs as a table, as many as there are.

    Args:
        screen: Where to.
        found: The graphs.
        now: What ages are counted to.
        most: How many were asked for; None: all.
        oldest: True: the oldest come first.
    """
    count = 0
    graphs = iter(found)
    while part := list(islice(graphs, _TABLE)):
        _table(screen, part, now, head=count == 0)
        count += len(part)
    if not count:
        screen.print("No graphs.")
    elif count == most:
        screen.print(
            f"The {'oldest' if oldest else 'newest'} {count:,}; --limit or --all for more.", style="bright_black"
        )


def _table(screen: "Console", part: "list[Summary]", now: datetime, *, head: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_header=head)
    for name in ("ID", "STATE", "DONE", "AGE", "TOOK", "TASK"):
        table.add_column(name, no_wrap=name != "TASK", overflow="fold", justify="left")
    for one in part:
        took = "" if one.settled is None else span((one.settled - one.created).total_seconds())
        more = f" and {one.templates - 1} more" if one.templates > 1 else ""
        table.add_row(
            one.id,
            Text(one.state + (" cancelled" if one.cancelled else ""), style=colour_of(one.state).style),
            _done(one.tally),
            duration((now - one.created).total_seconds()),
            took,
            Text(one.task + more),
        )
    screen.print(table)


def _done(tally: "Tally") -> str:
    failed = f", {tally.failed:,} failed" if tally.failed else ""
    return f"{tally.settled:,} of {tally.nodes:,}{failed}"
