"""`grpcflow retention`: how long, and how many, of the graphs that ended are kept of a task or a queue.

Reads options, asks and shows.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grpcflow.cli.invocation import invocation, json_option, reach_options
from grpcflow.cli.limits import SCOPE, scoped
from grpcflow.cli.live_names import SCOPED
from grpcflow.cli.overview import plain_table, wide_console
from grpcflow.cli.printing import duration, echo_json
from grpcflow.cli.times import length_option
from grpcflow.limit_model import Keep, Retention

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["draw_retention", "retention"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group("retention")
@reach_options
def retention() -> None:
    """How long, and how many, of the graphs that ended are kept."""


@retention.command("list")
@json_option
@reach_options
def list_retention() -> None:
    """Show what was set; all else is kept as its call or the coordinator says."""
    found = invocation().control.retentions()
    if invocation().as_json:
        echo_json([_as_json(one) for one in found])
    else:
        draw_retention(found)


def _kept_options(command: _Command) -> _Command:
    """Add the ages and the counts."""
    for option, what in (
        ("--keep-arguments", "Arguments of at most so many; 0: any number."),
        ("--keep-failures", "At most so many in which something failed, the newest; 0: any number."),
        ("--keep", "At most so many that succeeded, the newest; 0: any number."),
    ):
        command = click.option(option, metavar="N", type=click.IntRange(0, 4294967295), help=what)(command)
    for option, what in (
        ("--arguments", "How long arguments of calls are kept; without them a call cannot be retried."),
        ("--failures", "How long graphs are kept in which something failed: 30d."),
        ("--results", "How long graphs are kept that succeeded: 90s, 10m, 2h, 30d, 1w."),
    ):
        command = click.option(option, metavar="LENGTH", callback=length_option, help=what)(command)
    return command


@retention.command("set")
@click.argument("scope", metavar="task|queue", type=SCOPE)
@click.argument("name", type=SCOPED)
@_kept_options
@json_option
@reach_options
def set_retention(scope: str, name: str, **kept: Any) -> None:
    """Keep graphs of the task or the queue NAME so long, and so many; what is not named stays as it is.

    It holds for graphs that end from now on, and counts from their end. What is set for a task goes before what is set
    for a queue, and both before what calls say of themselves.
    """
    if all(value is None for value in kept.values()):
        raise click.UsageError("Say what to keep: --results, --failures, --arguments, --keep, --keep-failures, ...")
    task, queue = scoped(scope, name)
    done = invocation().control.retention(task, queue=queue, **kept)
    if invocation().as_json:
        echo_json(_as_json(done))
    else:
        click.echo(f"{scope.capitalize()} {name}: {_sentence(done)}.")


@retention.command("clear")
@click.argument("scope", metavar="task|queue", type=SCOPE)
@click.argument("name", type=SCOPED)
@json_option
@reach_options
def clear_retention(scope: str, name: str) -> None:
    """Take away what was set of the task or the queue NAME."""
    task, queue = scoped(scope, name)
    invocation().control.clear_retention(task, queue=queue)
    if invocation().as_json:
        echo_json({"scope": scope, "name": name, "cleared": True})
        return
    click.echo(f"{scope.capitalize()} {name}: kept as its calls or the coordinator say.")


def draw_retention(found: Sequence[Retention], console: "Console | None" = None) -> None:
    """Draw what was set as a table.

    Args:
        found: What was set.
        console: Where to; None: stdout.
    """
    from rich.text import Text

    console = console or wide_console()
    if not found:
        console.print("Nothing is set: all is kept as its call or the coordinator says.")
        return
    heads = ("RESULTS", "FAILURES", "ARGUMENTS")
    table = plain_table("ON", "NAME", *heads, fold=("NAME", *heads))
    for one in found:
        keeps = (one.results, one.failures, one.arguments)
        table.add_row(Text(one.scope), Text(one.name, style="bold"), *(Text(_kept(keep)) for keep in keeps))
    console.print(table)


def _sentence(kept: Retention) -> str:
    parts = (("results", kept.results), ("failures", kept.failures), ("arguments", kept.arguments))
    return "; ".join(f"{name} {_kept(keep)}" for name, keep in parts if keep != Keep()) or "nothing is set"


def _kept(keep: Keep) -> str:
    """Say how much is kept."""
    parts = [] if keep.age is None else [duration(keep.age.total_seconds()) if keep.age >= _MOMENT else "not at all"]
    parts += [f"the newest {keep.count:,}"] if keep.count else []
    return ", ".join(parts) or "-"


#: What is kept for less is gone before anybody can look.
_MOMENT = timedelta(seconds=1)


def _as_json(kept: Retention) -> dict[str, Any]:
    """Return what was set as JSON shows it: ages in seconds."""

    def plain(keep: Keep) -> dict[str, Any]:
        return {"age": None if keep.age is None else keep.age.total_seconds(), "count": keep.count or None}

    kinds = {"results": plain(kept.results), "failures": plain(kept.failures), "arguments": plain(kept.arguments)}
    return {"scope": kept.scope, "name": kept.name, **kinds}
