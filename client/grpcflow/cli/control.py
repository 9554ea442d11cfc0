"""`grpcflow ctl control`: commands that change what workers and the coordinator do.

Asks and chooses the exit code; what is shown is built in `printing`.
"""

import signal
from collections.abc import Mapping
from typing import Any

import click

from grpcflow.cli.answers import show_replies
from grpcflow.cli.invocation import EXIT_UNKNOWN, invocation, json_option, reach_options, worker_options
from grpcflow.cli.printing import echo_json


@click.group("control", subcommand_metavar="COMMAND [ARGS]...")
@worker_options
def control() -> None:
    """Change what workers do, one, some or all, and revoke tasks."""


def _command(name: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Send one command to the workers that the options name, and show what they answer."""
    said = invocation()
    show_replies(said.control.command(name, arguments, destination=said.destination, timeout=said.timeout), said)


@control.command("add_consumer")
@click.argument("queue")
@click.argument("weight", type=click.IntRange(1, 100), required=False)
@worker_options
def add_consumer(queue: str, weight: int | None) -> None:
    """Serve QUEUE from now on, with a WEIGHT of 1 to 100 beside the other queues."""
    _command("add_consumer", {"queue": queue} if weight is None else {"queue": queue, "weight": weight})


@control.command("cancel_consumer")
@click.argument("queue")
@worker_options
def cancel_consumer(queue: str) -> None:
    """Stop serving QUEUE, be it the last one."""
    _command("cancel_consumer", {"queue": queue})


@control.command("shutdown")
@worker_options
def shutdown() -> None:
    """Finish what runs, hand back the rest, and exit."""
    _command("shutdown")


def check_signal(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Turn TERM, SIGTERM, sigterm and 15 into SIGTERM."""
    name = f"SIG{value.upper().removeprefix('SIG')}"
    try:
        return signal.Signals(int(value)).name if value.isdecimal() else signal.Signals[name].name
    except (KeyError, ValueError):
        raise click.BadParameter(f"{value!r} is not a signal of this system; for example SIGTERM or SIGKILL.") from None


def _revoke(ids: tuple[str, ...], terminate: bool, signal_name: str) -> None:
    """Have the coordinator revoke tasks, and show what it did."""
    said = invocation()
    if said.destination is not None:
        raise click.UsageError("--destination does not apply: the coordinator revokes a task wherever it is.")
    revoked = said.control.revoke(ids, terminate, signal_name)
    if said.as_json:
        echo_json({"revoked": revoked.revoked, "unknown": list(revoked.unknown)})
    else:
        click.echo(f"{revoked.revoked} {'task' if revoked.revoked == 1 else 'tasks'} revoked.")
    if revoked.unknown:
        click.echo(f"The coordinator does not know {', '.join(revoked.unknown)}.", err=True)
        if not revoked.revoked:
            click.get_current_context().exit(EXIT_UNKNOWN)


@control.command("revoke")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--terminate", is_flag=True, help="Stop those that run, too.")
@click.option("--signal", "-s", "signal_name", default="SIGTERM", callback=check_signal, help="What to stop them with.")
@json_option
@reach_options
def revoke(ids: tuple[str, ...], terminate: bool, signal_name: str) -> None:
    """Revoke tasks by their ids, wherever they are."""
    _revoke(ids, terminate, signal_name)


@control.command("terminate")
@click.argument("signal_name", metavar="SIGNAL", callback=check_signal)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
@reach_options
def terminate(signal_name: str, ids: tuple[str, ...]) -> None:
    """Revoke tasks and stop those that run with SIGNAL."""
    _revoke(ids, True, signal_name)
