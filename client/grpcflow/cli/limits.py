"""`grpcflow limit` and `grpcflow control rate_limit`: limits that the coordinator holds for the whole cluster.

Reads options, asks and shows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from grpcflow.cli.invocation import invocation, json_option, reach_options
from grpcflow.cli.live_names import SCOPED, TASK
from grpcflow.cli.overview import plain_table, wide_console
from grpcflow.cli.printing import duration, echo_json
from grpcflow.limit_model import Limit, LimitInfo
from grpcflow.limits import Rate, parse_rate

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["draw_limits", "limit", "rate_limit", "scoped"]

#: What a limit or a retention is set on.
SCOPE: Final = click.Choice(("task", "queue"))


def scoped(scope: str, name: str) -> tuple[str | None, str | None]:
    """Return a name as the methods of ``app.control`` take it: as that of a task, or of a queue.

    Raises:
        UsageError: It is empty.
    """
    if not name:
        raise click.UsageError(f"The name of the {scope} is empty: name one.")
    return (name, None) if scope == "task" else (None, name)


@click.group("limit")
@reach_options
def limit() -> None:
    """Limits for the whole cluster: how often, and how many at once, something starts."""


def _rate_option(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """Refuse a rate that cannot be."""
    if text is not None:
        try:
            parse_rate(text)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None
    return text


@limit.command("list")
@json_option
@reach_options
def list_limits() -> None:
    """Show every limit that holds, and what it holds back now."""
    found = invocation().control.limits()
    if invocation().as_json:
        echo_json([_as_json(one) for one in found])
    else:
        draw_limits(found)


@limit.command("set")
@click.argument("scope", metavar="task|queue", type=SCOPE)
@click.argument("name", type=SCOPED)
@click.option("--rate", metavar="RATE", callback=_rate_option, help="Such as 10/s, 100/m, 3/h; 0: any number.")
@click.option("--concurrency", metavar="N", type=click.IntRange(0, 4294967295), help="How many at once; 0: any number.")
@json_option
@reach_options
def set_limit(scope: str, name: str, rate: str | None, concurrency: int | None) -> None:
    """Limit the task or the queue NAME; what is not named stays as it is.

    It goes before what the code says until `grpcflow limit clear`, also over restarts. What runs is not stopped.
    """
    if rate is None and concurrency is None:
        raise click.UsageError("Say --rate, --concurrency, or both.")
    task, queue = scoped(scope, name)
    holds = invocation().control.limit(task, queue=queue, rate=rate, concurrency=concurrency)
    _tell(scope, name, holds, f"{scope.capitalize()} {name}: {holds}.")


@limit.command("clear")
@click.argument("scope", metavar="task|queue", type=SCOPE)
@click.argument("name", type=SCOPED)
@json_option
@reach_options
def clear_limit(scope: str, name: str) -> None:
    """Take away what was set on the task or the queue NAME; what its code says holds again."""
    task, queue = scoped(scope, name)
    holds = invocation().control.clear_limit(task, queue=queue)
    _tell(scope, name, holds, f"{scope.capitalize()} {name}: {holds}, as its code says.")


@click.command("rate_limit")
@click.argument("task", type=TASK)
@click.argument("rate", callback=_rate_option)
@json_option
@reach_options
def rate_limit(task: str, rate: str) -> None:
    """Let TASK start at most RATE in the whole cluster: 10/s, 100/m, 3/h; 0: any number."""
    if invocation().destination is not None:
        raise click.UsageError("--destination does not apply: the coordinator holds the rate for the whole cluster.")
    holds = invocation().control.limit(scoped("task", task)[0], rate=rate)
    _tell("task", task, holds, f"Task {task}: {holds}.")


def _tell(scope: str, name: str, holds: Limit, sentence: str) -> None:
    if invocation().as_json:
        echo_json({"scope": scope, "name": name, **_limit_json(holds)})
    else:
        click.echo(sentence)


def _limit_json(holds: Limit) -> dict[str, Any]:
    return {"rate": None if holds.rate is None else str(holds.rate), "concurrency": holds.concurrency or None}


def _as_json(info: LimitInfo) -> dict[str, Any]:
    """Return a limit as JSON shows it."""
    return {
        "scope": info.scope,
        "name": info.name,
        **_limit_json(info.limit),
        "set": info.is_set,
        "running": info.running,
        "waiting_lines": info.waiting_lines,
        "next_in": info.next_in.total_seconds(),
    }


def draw_limits(found: Sequence[LimitInfo], console: "Console | None" = None) -> None:
    """Draw limits as a table.

    Args:
        found: The limits.
        console: Where to; None: stdout.
    """
    from rich.text import Text

    console = console or wide_console()
    if not found:
        console.print("There are no limits.")
        return
    table = plain_table("LIMIT ON", "RATE", "RUNNING", "FROM", "WAITING", "NEXT START", fold=("LIMIT ON",))
    for one in found:
        waiting = f"{one.waiting_lines:,} {'line' if one.waiting_lines == 1 else 'lines'}"
        most = f" of {one.limit.concurrency:,}" if one.limit.concurrency else ""
        table.add_row(
            Text.assemble(f"{one.scope} ", (one.name, "bold")),
            Text(_rate(one.limit.rate)),
            Text(f"{one.running:,}{most}"),
            Text("set" if one.is_set else "code", style="yellow" if one.is_set else ""),
            Text(waiting if one.waiting_lines else "-", style="yellow" if one.waiting_lines else ""),
            Text(_next(one)),
        )
    console.print(table)


def _rate(rate: Rate | None) -> str:
    return "any" if rate is None else str(rate)


def _next(info: LimitInfo) -> str:
    """Say when the next one may start."""
    if info.limit.concurrency and info.running >= info.limit.concurrency:
        return "when one ends"
    seconds = info.next_in.total_seconds()
    return f"in {duration(seconds)}" if seconds else "now"
