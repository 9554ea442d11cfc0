"""`grpcflow graph`: look at submitted graphs, cancel them, run again what failed, ask why a task waits.

Asks and chooses the exit code. What is drawn on a screen is built in `graph_screen`, pictures in `grpcflow.graph`.
"""

import threading
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

import click

from grpcflow import errors
from grpcflow.cli.control import check_signal
from grpcflow.cli.invocation import (
    EXIT_FAILED,
    EXIT_NOT_SETTLED,
    Bounded,
    Invocation,
    invocation,
    json_option,
    reach_options,
)
from grpcflow.cli.live_names import STATE, TASK
from grpcflow.cli.printing import echo_json
from grpcflow.cli.times import since_option
from grpcflow.cli.waiting import Waiting
from grpcflow.graph.boxes import LIMIT
from grpcflow.graph.view import GraphView, explain, graphs

if TYPE_CHECKING:
    from grpcflow.graph import Summary

__all__ = ["explain_task", "graph"]

#: States with which a graph ended as it should.
_GOOD: Final = ("SUCCESS", "IGNORED")

#: Graphs of a list, unless the options say.
_LISTED: Final = 20

#: Seconds between two looks, and for which a lost coordinator is waited for.
_INTERVAL: Final = 1.0
_PATIENCE: Final = 60.0


class _ShowByDefault(click.Group):
    """A group whose first argument may be an id: then `show` is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `show` before what is no command of the group's."""
        own = {name: option for option in self.get_params(ctx) for name in option.opts}
        at = 0
        while at < len(args) and (option := own.get(args[at].partition("=")[0])) is not None:
            takes_word = isinstance(option, click.Option) and not option.is_flag and "=" not in args[at]
            at += 2 if takes_word else 1
        if at < len(args) and args[at] not in self.commands:
            args = [*args[:at], "show", *args[at:]]
        return super().parse_args(ctx, args)


@click.group("graph", cls=_ShowByDefault, subcommand_metavar="ID | COMMAND [ARGS]...")
@reach_options
def graph() -> None:
    """Look at submitted graphs and act on them; `grpcflow graph ID` shows one.

    ID is that of any task of the graph, or the graph's own 24 hexadecimal digits.
    """


def _view(id: str) -> tuple[Invocation, GraphView]:
    said = invocation()
    return said, GraphView(said, id)


# --- show --------------------------------------------------------------------------------------------------


@graph.command("show")
@click.argument("id", metavar="ID")
@click.option("--watch", "-w", is_flag=True, help="Draw it again and again until it has ended.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Bounded(min=0.05, max=3600),
    default=_INTERVAL,
    show_default=True,
    help="With --watch: between two looks.",
)
@click.option("--ids", is_flag=True, help="Show the id of each task.")
@click.option("--dot", "as_dot", is_flag=True, help="Print it in Graphviz's language.")
@click.option("--svg", "svg_file", metavar="FILE", type=click.File("w", encoding="utf-8"), help="Draw it; - is stdout.")
@click.option("--every", is_flag=True, help="With --json: every task of every run.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1, max=100_000),
    default=LIMIT,
    show_default=True,
    help="Boxes of a picture, lines of the tree.",
)
@json_option
@reach_options
def show(
    id: str, watch: bool, interval: float, ids: bool, as_dot: bool, svg_file: IO[str] | None, every: bool, limit: int
) -> None:
    """Show the graph of the task ID: its tasks, where they stand, workers, times and errors."""
    said, view = _view(id)
    if sum((watch, said.as_json, as_dot, svg_file is not None)) > 1:
        raise click.UsageError("--watch, --json, --dot and --svg are four ways to show it; give one.")
    if said.as_json:
        for piece in view.to_json(every=every):
            click.echo(piece, nl=False)
        click.echo()
    elif as_dot:
        click.echo(view.dot(limit), nl=False)
    elif svg_file is not None:
        svg_file.write(view.svg(limit))
    elif watch:
        _watch(view, limit, interval, ids=ids)
    else:
        from grpcflow.cli.graph_screen import console, drawn

        console().print(drawn(view.picture(limit), ids=ids))


def _watch(view: GraphView, limit: int, interval: float, *, ids: bool) -> None:
    """Draw a graph until it has ended, and end the program with the exit code of its state.

    Raises:
        NotFound: It expired meanwhile; the message says so.
        CoordinatorUnavailable: The coordinator was lost, and did not come back in a minute.
    """
    from rich.live import Live

    from grpcflow.cli.graph_screen import console, drawn

    screen, picture = console(), view.picture(limit)
    heard = time.monotonic()
    note = ""
    with Live(console=screen, auto_refresh=False, vertical_overflow="visible", transient=False) as live:
        while True:
            live.update(drawn(picture, ids=ids, note=note, cut=screen.is_terminal), refresh=True)
            if picture.summary.ended:
                break
            threading.Event().wait(interval)
            try:
                picture, heard, note = view.picture(limit), time.monotonic(), ""
            except errors.NotFound as error:
                message = f"the graph {picture.summary.id} has expired while it was watched; nothing of it is left"
                raise errors.NotFound(message, code=error.code) from error
            except (errors.CoordinatorUnavailable, errors.TimeoutError) as error:
                if time.monotonic() - heard > _PATIENCE:
                    raise
                note = f"{error}; trying again"
    _end_for(picture.summary)


def _end_for(summary: "Summary") -> None:
    """End the program with the exit code of a graph's state, unless all is well."""
    if not summary.ended:
        click.get_current_context().exit(EXIT_NOT_SETTLED)
    if summary.state not in _GOOD:
        click.get_current_context().exit(EXIT_FAILED)


# --- list --------------------------------------------------------------------------------------------------


@graph.command("list")
@click.option("--state", "states", metavar="STATE", type=STATE, multiple=True, help="Only these; may be given again.")
@click.option("--task", metavar="PATTERN", type=TASK, default="", help="Only graphs that call this task; * and ? work.")
@click.option(
    "--since", metavar="AGE|MOMENT", callback=since_option, help="Submitted then or later: 2h, 7d, 2030-01-31."
)
@click.option("--until", metavar="AGE|MOMENT", callback=since_option, help="Submitted before.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help=f"How many. Default {_LISTED}.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@click.option("--attached", is_flag=True, help="Also those that run in place of a task of another one.")
@click.option("--unfinished", is_flag=True, help="Only those of which some task has not ended.")
@click.option("--oldest", is_flag=True, help="The oldest first; with --unfinished, what takes longest.")
@json_option
@reach_options
def list_graphs(
    states: tuple[str, ...],
    task: str,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    everything: bool,
    attached: bool,
    unfinished: bool,
    oldest: bool,
) -> None:
    """List submitted graphs, the newest first."""
    if everything and limit is not None:
        raise click.UsageError("--all and --limit contradict each other; give one.")
    said = invocation()
    most = None if everything else limit or _LISTED
    try:
        found = graphs(
            said,
            states=states,
            task=task,
            since=since,
            until=until,
            limit=most,
            attached=attached,
            unfinished=unfinished,
            oldest_first=oldest,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if said.as_json:
        _echo_list(found)
        return
    from grpcflow.cli.graph_screen import console, listed

    listed(console(), found, datetime.now(UTC), most, oldest=oldest)


def _echo_list(found: Any) -> None:
    """Print summaries as one JSON list, one on a line, as they come."""
    import json

    comma = "["
    for summary in found:
        click.echo(comma + "\n  " + json.dumps(summary.to_dict(), ensure_ascii=False), nl=False)
        comma = ","
    click.echo("[]" if comma == "[" else "\n]")


# --- what is done to one -----------------------------------------------------------------------------------


@graph.command("cancel")
@click.argument("id", metavar="ID")
@click.option("--terminate", is_flag=True, help="Stop tasks that run; else they end as they will, for nothing.")
@click.option("--signal", "-s", "signal_name", default="SIGTERM", callback=check_signal, help="What to stop them with.")
@json_option
@reach_options
def cancel(id: str, terminate: bool, signal_name: str) -> None:
    """End everything of the graph of the task ID that has not ended.

    A graph that had ended already is left as it is; the exit code is 0 then, too.
    """
    said, view = _view(id)
    with Waiting("Cancelling"):
        done = view.cancel(terminate, signal_name)
    if said.as_json:
        echo_json({"cancelled": done.cancelled, "running": done.running, "had_ended": done.had_ended})
    else:
        click.echo(str(done))


@graph.command("retry")
@click.argument("id", metavar="ID")
@click.option("--wait", is_flag=True, help="Show it until it has ended again.")
@json_option
@reach_options
def retry(id: str, wait: bool) -> None:
    """Run again what did not succeed of the graph of the task ID; what succeeded keeps its value.

    Exit code 75 where the graph has not ended.
    """
    said, view = _view(id)
    if wait and said.as_json:
        raise click.UsageError("--wait shows the graph, and --json prints the answer alone; give one.")
    try:
        with Waiting("Submitting again"):
            done = view.retry()
    except errors.StillRunning as error:
        click.echo(f"Error: {error}", err=True)
        click.get_current_context().exit(EXIT_NOT_SETTLED)
    if said.as_json:
        echo_json({"retried": done.retried, "unknown_tasks": list(done.unknown_tasks)})
    else:
        click.echo(str(done))
    if wait:
        _watch(view, LIMIT, _INTERVAL, ids=False)


@graph.command("explain")
@click.argument("id", metavar="ID")
@json_option
@reach_options
def explain_task(id: str) -> None:
    """Say why the task ID is where it is: what it waits for, where it runs, why it failed."""
    said = invocation()
    found = explain(said, id)
    if said.as_json:
        echo_json(found.to_dict())
    else:
        click.echo(str(found))
