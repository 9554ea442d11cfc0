"""How `grpcflow failed list` and `show` look. Pure but for the drawing; rich comes late."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from grpcflow.cli.overview import plain_table, wide_console
from grpcflow.cli.printing import duration
from grpcflow.failed_model import LOST, FailedCall

if TYPE_CHECKING:
    from rich.console import Console

    from grpcflow.cli.failed_story import Story

__all__ = ["draw_list", "draw_one"]

#: Where less than this would be left for the error, a call is shown on lines of its own.
_ERROR: Final = 40

#: Characters of a line that is drawn for a call, beside its task, its id, its worker and the error.
_BESIDE: Final = 35

#: Calls that are drawn at a time, so that a long list need not be held.
_TABLE: Final = 500

#: Longest text of one argument, in characters.
_ARGUMENT: Final = 500


def draw_list(found: Iterable[FailedCall], now: datetime, most: int | None, console: "Console | None" = None) -> None:
    """Draw calls that failed, as many as there are.

    Args:
        found: The calls.
        now: What ages are counted to.
        most: How many were asked for; None: all.
        console: Where to; None: stdout.
    """
    console = console or wide_console()
    calls, count = iter(found), 0
    while part := list(islice(calls, _TABLE)):
        if console.width - _taken(part) >= _ERROR:
            _draw_table(console, part, now, head=count == 0)
        else:
            _draw_blocks(console, part, now)
        count += len(part)
    if not count:
        console.print("Nothing that failed is on the list, or the filters let nothing pass.")
    elif count == most:
        console.print(f"The newest {count:,}; --limit or --all for more.", style="bright_black")


def _taken(part: list[FailedCall]) -> int:
    """Return how wide a line for each call is without its error."""
    names = ((one.task for one in part), (one.id for one in part), (one.worker for one in part))
    return _BESIDE + sum(max(map(len, column)) for column in names)


def _draw_table(console: "Console", part: list[FailedCall], now: datetime, *, head: bool) -> None:
    """Draw a line for each call; the error takes what room is left."""
    from rich.text import Text

    table = plain_table("WHEN", "TASK", "ID", "RETRIES", "WORKER", right=("RETRIES",), fold=("TASK", "WORKER"))
    table.add_column("ERROR", no_wrap=True, overflow="ellipsis", ratio=1)
    table.expand, table.show_header = True, head
    for one in part:
        table.add_row(
            Text(_ago(one.failed_at, now)),
            Text(one.task, style="bold"),
            Text(one.id, style="cyan"),
            Text(str(one.retries)),
            Text(one.worker or "-"),
            Text(_on_one_line(one.error), style="red"),
        )
    console.print(table)


def _draw_blocks(console: "Console", part: list[FailedCall], now: datetime) -> None:
    """Draw lines of its own for each call: which it is, and below it when and why."""
    from rich.text import Text

    for one in part:
        first = Text.assemble((one.id, "cyan"), "  ", (one.task, "bold"))
        after = f", {one.retries} {'retry' if one.retries == 1 else 'retries'}" if one.retries else ""
        where = f"  {_ago(one.failed_at, now)}{f' on {one.worker}' if one.worker else ''}{after}"
        console.print(first, overflow="fold")
        console.print(Text(where, style="bright_black"), overflow="fold")
        console.print(Text(f"  {_on_one_line(one.error)}", style="red"), no_wrap=True, overflow="ellipsis")


def draw_one(story: "Story", now: datetime, console: "Console | None" = None) -> None:
    """Draw one call that failed: what it is, and the traceback below it.

    Args:
        story: All that is known of it.
        now: What ages are counted to.
        console: Where to; None: stdout.
    """
    from rich.text import Text

    console = console or wide_console()
    console.print(Text.assemble((story.id, "bold"), "  ", (story.state, "bold red"), "  ", story.task))
    table = plain_table("", "", fold=("",))
    table.show_header = False
    for name, value in _facts(story, now):
        table.add_row(Text(name, style="bold"), Text(value, style="red" if name == "error" else ""))
    console.print(table)
    if story.traceback:
        console.print()
        console.print(Text(story.traceback), overflow="fold")


def _facts(story: "Story", now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what is told of a call, a line or some each."""
    node, graph = story.node, story.graph
    yield "error", story.error or "none was told"
    if story.origin:
        yield "because of", f"{story.origin}  (grpcflow failed show {story.origin})"
    if story.failed_at is not None:
        by = f", on {story.worker}" if story.worker else ""
        yield "failed", f"{story.failed_at:%Y-%m-%d %H:%M:%S %Z}, {_ago(story.failed_at, now)}{by}"
    if story.task:
        yield "call", f"{story.task}(...), arguments {story.arguments}" if story.arguments else _call(story)
        # How often a call was lost that was given up for it is told by its error.
        yield "attempts", _attempts(node.retries, 0 if story.reason == LOST else node.losses)
        yield "queue", f"{story.queue}, priority {story.priority}"
    place = f"call {node.index + 1:,} of {graph.tally.nodes:,}" if graph.tally.nodes > 1 else "this call alone"
    yield "graph", f"{graph.state}, {place}: {graph.tally}  (grpcflow graph {graph.id})"
    yield "why", str(story.why)


def _attempts(retries: int, losses: int) -> str:
    retried = f"retried {retries} {'time' if retries == 1 else 'times'}" if retries else "not retried"
    return retried + (f", lost with its worker {losses} {'time' if losses == 1 else 'times'}" if losses else "")


def _call(story: "Story") -> str:
    """Return the call as Python writes it, arguments cut where they are long."""
    parts = [_shortened(value) for value in story.args or ()]
    parts += [f"{name}={_shortened(value)}" for name, value in (story.kwargs or {}).items()]
    return f"{story.task}({', '.join(parts)})"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _ARGUMENT else text[: _ARGUMENT - 1] + "…"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _ago(moment: datetime, now: datetime) -> str:
    return f"{duration((now - moment).total_seconds())} ago"
