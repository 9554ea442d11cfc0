"""`grpcflow failed`: the calls that failed for good; list them, show one, run them again, take them off the list.

Reads options, asks and chooses the exit code; how it looks is in ``failed_screen``.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from grpcflow import errors
from grpcflow.cli.invocation import (
    EXIT_FAILED,
    EXIT_NOT_SETTLED,
    EXIT_UNKNOWN,
    Invocation,
    agreed,
    invocation,
    json_option,
    reach_options,
    yes_option,
)
from grpcflow.cli.live_names import QUEUE, TASK
from grpcflow.cli.printing import echo_json
from grpcflow.cli.times import since_option
from grpcflow.cli.waiting import Waiting
from grpcflow.failed_control import FailedControl
from grpcflow.failed_model import FailedCall, RetriedCalls

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Calls of a list, unless the options say.
_LISTED: Final = 20


@click.group("failed")
@reach_options
def failed() -> None:
    """Calls that failed for good: list, show, run again, take off the list."""


def _filters(command: _Command) -> _Command:
    """Add the options that say which calls of the list are meant."""
    for option in (
        click.option("--lost", is_flag=True, help="Only those given up because their workers died under them."),
        click.option("--since", metavar="AGE|MOMENT", callback=since_option, help="Failed then or later: 2h, 7d, ..."),
        click.option("--type", metavar="PATTERN", default="", help="Class name of the error, with * and ?."),
        click.option("--queue", "-Q", metavar="QUEUE", type=QUEUE, default="", help="Name of their queue."),
        click.option("--task", metavar="PATTERN", type=TASK, default="", help="Name of the task, with * and ?."),
    ):
        command = option(command)
    return command


# --- list and show -----------------------------------------------------------------------------------------


@failed.command("list")
@_filters
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help=f"How many. Default {_LISTED}.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@json_option
@reach_options
def list_failed(limit: int | None, everything: bool, **filters: Any) -> None:
    """List the calls that failed for good, those of the newest graph first."""
    if everything and limit is not None:
        raise click.UsageError("--all and --limit contradict each other; give one.")
    from grpcflow.cli import failed_screen

    most = None if everything else limit or _LISTED
    found = _failed().list(**filters, limit=most)
    if invocation().as_json:
        echo_json([one.to_dict() for one in found])
    else:
        failed_screen.draw_list(found, datetime.now(UTC), most)


@failed.command("show")
@click.argument("id", metavar="ID")
@json_option
@reach_options
def show(id: str) -> None:
    """Show why the call ID failed: the error, its arguments, its graph."""
    from grpcflow.cli import failed_screen, failed_story

    said = invocation()
    story = failed_story.told(said, id)
    if said.as_json:
        echo_json(story.to_dict())
    else:
        failed_screen.draw_one(story, datetime.now(UTC))


# --- retry and purge ---------------------------------------------------------------------------------------


@failed.command("retry")
@click.argument("ids", metavar="ID...", nargs=-1)
@_filters
@click.option("--all", "everything", is_flag=True, help="All of the list, or all that the filters name.")
@yes_option
@json_option
@reach_options
def retry(ids: tuple[str, ...], everything: bool, yes: bool, **filters: Any) -> None:
    """Run again what did not succeed of the graphs of ID; what succeeded keeps its value.

    Exit code 66 where ID is not known, 75 where its graph has not ended.
    """
    found = _meant(ids, everything, filters)
    if found is not None and not _agreed(found, yes, "Run again what failed of {graphs}, with {calls} on the list?"):
        return
    with Waiting("Submitting again"):
        done = _failed().retry(ids if found is None else found)
    if invocation().as_json:
        refused = [{"id": one.id, "code": one.error.code, "error": str(one.error)} for one in done.refused]
        tasks = list(done.unknown_tasks)
        echo_json({"retried": done.retried, "graphs": done.graphs, "unknown_tasks": tasks, "refused": refused})
    elif done.retried or not done.refused:
        click.echo(str(done))
    _tell_refused(done)


def _tell_refused(done: RetriedCalls) -> None:
    """Say what was not retried, and end with the exit code of the first of it; 1 where the rest was retried."""
    for one in done.refused:
        click.echo(f"Not retried: {one.id}: {one.error}", err=True)
    if not done.refused:
        return
    first = done.refused[0].error
    code = EXIT_FAILED
    if not done.retried and isinstance(first, errors.NotFound):
        code = EXIT_UNKNOWN
    elif not done.retried and isinstance(first, errors.StillRunning):
        code = EXIT_NOT_SETTLED
    click.get_current_context().exit(code)


@failed.command("purge")
@click.argument("ids", metavar="ID...", nargs=-1)
@_filters
@click.option("--all", "everything", is_flag=True, help="All of the list, or all that the filters name.")
@yes_option
@json_option
@reach_options
def purge(ids: tuple[str, ...], everything: bool, yes: bool, **filters: Any) -> None:
    """Take ID off the list; its result and its graph stay as long as they would have.

    Exit code 66 where no ID is on the list.
    """
    found = _meant(ids, everything, filters)
    if found is not None and not _agreed(found, yes, "Take {calls} of {graphs} off the list?"):
        return
    with Waiting("Taking off the list"):
        count = _failed().purge(ids if found is None else found)
    if invocation().as_json:
        echo_json({"purged": count})
    elif count or found is not None:
        click.echo(f"Taken off the list: {_counted(count, 'call')}.")
    if found is None and count < len(set(ids)):
        missing = len(set(ids)) - count
        which = "None of them is" if not count else f"{missing:,} of them {'was' if missing == 1 else 'were'} not"
        click.echo(f"{which} on the list; `grpcflow failed list` shows it.", err=True)
        if not count:
            click.get_current_context().exit(EXIT_UNKNOWN)


def _meant(ids: tuple[str, ...], everything: bool, filters: dict[str, Any]) -> list[FailedCall] | None:
    """Return the calls that --all means; None where ids are named."""
    if bool(ids) == everything:
        raise click.UsageError("Name ids, or say --all, alone or with filters such as --task.")
    if ids and any(filters.values()):
        raise click.UsageError("Filters go with --all; ids are named already.")
    if ids:
        return None
    with Waiting("Looking for what is meant"):
        return list(_failed().list(**filters))


def _agreed(found: list[FailedCall], yes: bool, question: str) -> bool:
    """Return whether something is to be done with calls; says so where there are none, and asks unless told not to."""
    if not found:
        if invocation().as_json:
            return True
        click.echo("Nothing that failed is on the list, or the filters let nothing pass.")
        return False
    if not yes:
        graphs = _counted(len({one.graph for one in found}), "graph")
        agreed(question.format(calls=_counted(len(found), "call"), graphs=graphs), "--yes")
    return True


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _failed() -> FailedControl:
    said: Invocation = invocation()
    return FailedControl(said)
