"""`grpcflow ctl control`: commands that change what workers and the coordinator do.

Asks and chooses the exit code; what is shown is built in `printing`.
"""

import signal

import click

from grpcflow.cli.asking import send, target_options
from grpcflow.cli.invocation import EXIT_UNKNOWN, Bounded, agreed, invocation, json_option, reach_options, yes_option
from grpcflow.cli.live_commands import LiveGroup, list_option
from grpcflow.cli.live_names import TASK
from grpcflow.cli.printing import echo_json
from grpcflow.targets import EVERYBODY

#: A time limit; 0 stands for none.
_SECONDS = Bounded(min=0, max=1e9)


class _ControlGroup(LiveGroup):
    """Commands that change something, of ours and of apps."""

    control = True


@click.group("control", cls=_ControlGroup, subcommand_metavar="COMMAND [ARGS]...")
@list_option
@target_options
def control() -> None:
    """Change what workers do, one, some or all, and revoke tasks."""


@control.command("add_consumer")
@click.argument("queue")
@click.argument("weight", type=click.IntRange(1, 100), required=False)
@target_options
def add_consumer(queue: str, weight: int | None) -> None:
    """Serve QUEUE from now on, with a WEIGHT of 1 to 100 beside the other queues."""
    send("add_consumer", {"queue": queue} if weight is None else {"queue": queue, "weight": weight})


@control.command("cancel_consumer")
@click.argument("queue")
@target_options
def cancel_consumer(queue: str) -> None:
    """Stop serving QUEUE, be it the last one."""
    send("cancel_consumer", {"queue": queue})


@control.command("shutdown")
@yes_option
@target_options
def shutdown(yes: bool) -> None:
    """Finish what runs, hand back the rest, and exit; asks before unless workers are named."""
    said = invocation()
    if not yes and said.destination is None:
        which = "Every connected worker" if said.targets == EVERYBODY else "Every worker that fits"
        agreed(f"{which} is to finish what it runs and exit. Go on?", "--yes")
    send("shutdown")


@control.command("time_limit")
@click.argument("task", type=TASK)
@click.argument("soft", type=_SECONDS)
@click.argument("hard", type=_SECONDS, required=False)
@target_options
def time_limit(task: str, soft: float, hard: float | None) -> None:
    """Stop TASK after HARD seconds, and tell it after SOFT, in calls that reach the workers from now on; 0: never."""
    send("time_limit", {"task_name": task, "soft": soft or None, "hard": hard or None})


def _plain(name: str, told: str) -> None:
    """Add a command without arguments."""

    @control.command(name, help=told)
    @target_options
    def run() -> None:
        send(name)


_plain("enable_events", "Nothing: events are always there and need no switch.")
_plain("disable_events", "Nothing: events are always there and need no switch.")
_plain("heartbeat", "Have workers say at once that they are alive.")


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


@control.command("revoke_by_stamped_headers")
@click.argument("stamps", metavar="NAME=VALUE...", nargs=-1, required=True)
@click.option("--terminate", is_flag=True, help="Stop those that run, too.")
@click.option("--signal", "-s", "signal_name", default="SIGTERM", callback=check_signal, help="What to stop them with.")
@yes_option
@json_option
@reach_options
def revoke_by_stamped_headers(stamps: tuple[str, ...], terminate: bool, signal_name: str, yes: bool) -> None:
    """Revoke all tasks that bear one of these stamps, wherever they are."""
    said = invocation()
    if said.destination is not None:
        raise click.UsageError("--destination does not apply: the coordinator revokes a task wherever it is.")
    headers: dict[str, list[str]] = {}
    for stamp in stamps:
        name, equals, value = stamp.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{stamp!r} is not NAME=VALUE.", param_hint="stamps")
        headers.setdefault(name, []).append(value)
    if not yes:
        agreed(f"Revoke every task with {' or '.join(stamps)}{', and stop those that run' * terminate}?", "--yes")
    revoked = said.control.revoke_by_stamped_headers(headers, terminate=terminate, signal=signal_name).revoked
    if said.as_json:
        echo_json({"revoked": revoked})
    else:
        click.echo(f"{revoked} {'task' if revoked == 1 else 'tasks'} revoked.")
