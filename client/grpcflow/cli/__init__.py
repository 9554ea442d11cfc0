"""The command `grpcflow`: remote control, calls and results from a shell.

Only puts the commands together. What they do stands in the modules beside this one, and none of them
imports grpc or rich before a command needs it.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from grpcflow import __version__
from grpcflow.cli.call import call
from grpcflow.cli.control import control
from grpcflow.cli.failed import failed
from grpcflow.cli.graph import explain_task, graph
from grpcflow.cli.inspect import inspect
from grpcflow.cli.invocation import EXIT_INTERRUPTED, Program, reach_options
from grpcflow.cli.limits import limit, rate_limit
from grpcflow.cli.pool import autoscale, pool_grow, pool_restart, pool_shrink
from grpcflow.cli.queues import pause, purge, resume, revoke_matching
from grpcflow.cli.result import result
from grpcflow.cli.retention import retention
from grpcflow.cli.schedule import beat, schedule
from grpcflow.cli.status import status
from grpcflow.cli.worker import worker

__all__ = ["command_line", "main"]

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# The line "\b" tells click to leave the paragraph below it as it is.
_HELP = """Ask and steer a grpcflow cluster, call tasks and read their results.

\b
grpcflow ctl status                 who is there
grpcflow ctl inspect                what they do, and what waits
grpcflow -A proj call proj.tasks.add --args '[2, 3]' --wait
grpcflow graph ID                   a submitted graph: its tasks and where they stand
grpcflow failed list                what failed for good
"""


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        click.echo(f"grpcflow {__version__}")
        ctx.exit()


@click.group("grpcflow", cls=Program, context_settings=_SETTINGS, help=_HELP)
@reach_options
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def command_line() -> None:
    """Hold the commands together; each of them does its own work."""


@click.group("ctl")
@reach_options
def ctl() -> None:
    """Ask and steer workers; needs no app."""


for _command in (pause, purge, rate_limit, resume, revoke_matching):
    control.add_command(_command)
for _command in (autoscale, pool_grow, pool_restart, pool_shrink):
    control.add_command(_command)
for _command in (inspect, control, status):
    ctl.add_command(_command)
    command_line.add_command(_command)
for _command in (ctl, call, result, worker, graph, explain_task, failed, limit, retention, schedule, beat):
    command_line.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        argv: The arguments without the program's name; None: those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        outcome = command_line.main(arguments, prog_name="grpcflow", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` for one, has gone. What Python still holds would raise once more at its exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return outcome if isinstance(outcome, int) else 0
