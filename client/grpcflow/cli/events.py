"""`grpcflow events`: what happened in the cluster, a line each, and what happens.

Reads options and chooses what goes where; how a line looks is in ``events_screen``.
"""

import json
from datetime import UTC, datetime
from typing import Any

import click

from grpcflow.cli.invocation import invocation, reach_options
from grpcflow.cli.live_names import QUEUE, TASK, WORKERS
from grpcflow.cli.times import since_option
from grpcflow.event_model import KINDS

__all__ = ["events"]


@click.command("events")
@click.option("--follow", "-f", is_flag=True, help="Go on as events happen, until Ctrl-C.")
@click.option("--since", metavar="AGE|MOMENT", callback=since_option, help="From then on: 10m, 2h, ...")
@click.option("--after", metavar="OFFSET", type=click.IntRange(min=0), help="Behind this one; --json tells offsets.")
@click.option("--task", metavar="PATTERN", type=TASK, default="", help="Name of the task, with * and ?.")
@click.option("--queue", "-Q", metavar="QUEUE", type=QUEUE, default="", help="Name of its queue.")
@click.option("--worker", metavar="PATTERN", type=WORKERS, default="", help="Name of the worker, with * and ?.")
@click.option(
    "--kind", "kinds", metavar="KIND", type=click.Choice(KINDS), multiple=True, help="task-failed, ...; again for more."
)
@click.option("--id", "id", metavar="ID", default="", help="Id of a task: only events of its graph.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="How many.")
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object for each event, a line each.")
@reach_options
def events(as_json: bool, **wanted: Any) -> None:
    """Show what happened: all that is kept, or from --since on; with --follow what happens from now on.

    How many events were asked for and are no longer kept is said on stderr.
    """
    if wanted["since"] is not None and wanted["after"] is not None:
        raise click.UsageError("--since and --after both say where to begin; give one.")
    from grpcflow.cli.events_screen import line_of, missed_text, show
    from grpcflow.event_control import Events

    today = datetime.now(UTC).astimezone().date()
    missed = count = 0
    with Events(invocation()).read(**wanted) as stream:
        for event in stream:
            if stream.missed > missed:
                click.echo(missed_text(stream.missed - missed), err=True)
                missed = stream.missed
            count += 1
            if as_json:
                click.echo(json.dumps(event.to_dict(), allow_nan=False))
            else:
                show(line_of(event, today))
        if stream.missed > missed:
            click.echo(missed_text(stream.missed - missed), err=True)
    if not count and not as_json:
        click.echo("Nothing that happened is kept, or the filters let nothing pass.", err=True)
