"""`grpcflow call`: send one task by its name.

Reads the options and hands the call to the app; what travels and how is the app's own affair.
"""

import json
import sys
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import click

from grpcflow.cli.invocation import Bounded, Failed, invocation, json_option, reach_options
from grpcflow.cli.live_names import QUEUE, TASK
from grpcflow.cli.printing import echo_json
from grpcflow.cli.result import followed, show, wait_for
from grpcflow.errors import ContentDisallowed, ImproperlyConfigured

#: Seconds that `--wait` waits unless `--timeout` says otherwise.
WAIT_TIMEOUT: Final = 60.0

_HIGHEST_PRIORITY: Final = 9

_SERIALIZERS: Final = ("json", "msgpack", "yaml", "pickle")


def json_of(kind: type, example: str) -> Any:
    """Return a callback that reads an option as JSON of one type."""

    def callback(_ctx: click.Context, _parameter: click.Parameter, text: str) -> Any:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise click.BadParameter(f"is not JSON: {error}. For example {example}.") from None
        if not isinstance(value, kind):
            raise click.BadParameter(f"is a JSON {type(value).__name__}; write a {kind.__name__}, as in {example}.")
        return value

    return callback


def moment_option(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    """Read an ISO 8601 moment; without an offset it is in the app's time zone."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a moment; for example 2030-01-31T12:00:00+00:00.") from None


def _expiry(ctx: click.Context, parameter: click.Parameter, text: str | None) -> float | datetime | None:
    """Read seconds from now, or a moment."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return moment_option(ctx, parameter, text)
    if not 0 < seconds < timedelta.max.total_seconds():
        raise click.BadParameter("must be above 0 seconds.")
    return seconds


def _no_exchanges(_ctx: click.Context, parameter: click.Parameter, text: str | None) -> None:
    """Refuse what only a broker has; a call that went another way in silence would be worse."""
    if text is not None:
        raise click.BadParameter("there are no exchanges here: name the queue with --queue.", param=parameter)


@click.command("call")
@click.argument("name", type=TASK)
@click.option("--args", "-a", default="[]", metavar="JSON", callback=json_of(list, "'[2, 3]'"), help="A list.")
@click.option("--kwargs", "-k", default="{}", metavar="JSON", callback=json_of(dict, "'{\"x\": 2}'"), help="An object.")
@click.option("--eta", metavar="MOMENT", callback=moment_option, help="Not before this moment, ISO 8601.")
@click.option("--countdown", metavar="SECONDS", type=Bounded(min=0), help="Not before so many seconds.")
@click.option("--expires", metavar="SECONDS|MOMENT", callback=_expiry, help="Not after.")
@click.option("--queue", "-Q", metavar="NAME", type=QUEUE, help="The queue; else as the app routes it.")
@click.option("--priority", metavar="0-9", type=click.IntRange(0, _HIGHEST_PRIORITY), help="9 goes first.")
@click.option(
    "--serializer", type=click.Choice(_SERIALIZERS), help="How the arguments are written; else as the app says."
)
@click.option("--compression", metavar="NAME", help="gzip, bzip2, zlib, lzma, brotli or zstd; else as the app says.")
@click.option("--exchange", metavar="NAME", callback=_no_exchanges, expose_value=False, help="Refused: see --queue.")
@click.option("--routing-key", metavar="KEY", callback=_no_exchanges, expose_value=False, help="Refused: see --queue.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it; a terminal shows a bar.")
@click.option("--progress", is_flag=True, help="The same; without a terminal a line for each state on stderr.")
@click.option("--timeout", "-t", metavar="SECONDS", type=Bounded(min=0, min_open=True), help="How long. Default 60.")
@json_option
@reach_options
def call(
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    wait: bool,
    progress: bool,
    timeout: float | None,
    **options: Any,
) -> None:
    """Call the task NAME and print its id, or with --wait its result.

    Where an app is named, its routes and the task's own options hold. Without an app the call goes to the
    default queue, or to --queue. The bar of --progress moves by what the task says with
    update_state(meta={"current": 3, "total": 10}).
    """
    wait = wait or progress
    if options["eta"] is not None and options["countdown"] is not None:
        raise click.UsageError("--eta and --countdown say the same thing twice; give one.")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout says how long to wait; give --wait or --progress too.")
    said = invocation()
    app = said.app_or_plain()
    given = {option: value for option, value in options.items() if value is not None}
    app.load_includes()
    if app.tasks and name not in app.tasks:
        click.echo(f"Note: the app {app.main!r} has no task {name!r}; it waits until a worker knows it.", err=True)
    try:
        task_id = app.send_task(name, args, kwargs, **given).id
    except (TypeError, ValueError, ContentDisallowed, ImproperlyConfigured) as error:
        # These arguments would fail on the worker, a name or a key cannot be, there is no such compression, or its
        # package is missing.
        raise click.UsageError(str(error)) from error
    if not wait:
        echo_json({"id": task_id}) if said.as_json else click.echo(task_id)
        return
    click.echo(task_id, err=True)
    said.use_connection(app.connection)
    follow = partial(followed, name) if progress or sys.stderr.isatty() else wait_for
    settled = follow(task_id, timeout or WAIT_TIMEOUT, said)
    if settled is None:
        raise Failed(f"The coordinator no longer knows {task_id}.")
    show(task_id, settled, said)
