"""The command `grpcflow`: remote control, calls and results from a shell.

Only says which commands there are. What they do stands in the modules beside this one, which are imported when
they are typed, and none of them imports grpc or rich before a command needs it.
"""

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from grpcflow import __version__
from grpcflow.cli.celery_commands import ELSEWHERE
from grpcflow.cli.invocation import EXIT_INTERRUPTED, Program, reach_options
from grpcflow.cli.sections import Row, SectionedGroup
from grpcflow.credentials import OPTIONS as CREDENTIALS

__all__ = ["command_line", "main"]

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_INSPECT: Final = Row("inspect", "grpcflow.cli.inspect:inspect", "Ask workers what they do; alone: an overview.")
_CONTROL: Final = Row("control", "grpcflow.cli.remote:control", "Change what workers do; revoke, purge, pause.")
_STATUS: Final = Row("status", "grpcflow.cli.status:status", "Say which workers are there.")

#: What there is; a command of one's own is a row here.
_SECTIONS: Final = (
    (
        "Run",
        (
            Row("dev", "grpcflow.cli.dev:dev", "Coordinator and worker with reload in one terminal."),
            Row("worker", "grpcflow.cli.worker:worker", "Run a worker: the same as grpcflow-worker."),
            Row("call", "grpcflow.cli.call:call", "Call a task by its name."),
            Row("result", "grpcflow.cli.result:result", "How a task stands and what it returned."),
        ),
    ),
    (
        "Look",
        (
            _STATUS,
            _INSPECT,
            Row("top", "grpcflow.cli.top.command:top", "Watch all of it live, on the whole terminal."),
            Row("dashboard", "grpcflow.cli.dashboard:dashboard", "Watch and steer it in a browser."),
            Row("logs", "grpcflow.cli.logs:logs", "What a task printed and logged, and what it does now."),
            Row("graph", "grpcflow.cli.graph:graph", "Submitted graphs: show, watch, list, cancel, retry."),
            Row("explain", "grpcflow.cli.graph:explain_task", "Why a task is where it is."),
            Row("events", "grpcflow.cli.events:events", "What happened, and what happens, a line each."),
        ),
    ),
    (
        "Act",
        (
            _CONTROL,
            Row("ctl", "grpcflow.cli:ctl", "status, inspect and control in one place."),
            Row("failed", "grpcflow.cli.failed:failed", "What failed for good: list, show, retry, purge."),
            Row("erase", "grpcflow.cli.erase:erase", "Delete everything of tasks, graphs or stamps."),
        ),
    ),
    (
        "Set up",
        (
            Row("schedule", "grpcflow.cli.schedule:schedule", "What the coordinator calls by the clock."),
            Row("beat", "grpcflow.cli.schedule:beat", "Put the app's schedules; no beat runs."),
            Row("limit", "grpcflow.cli.limits:limit", "Limits for the whole cluster."),
            Row("retention", "grpcflow.cli.retention:retention", "What is kept of what ended, and how long."),
            Row("completion", "grpcflow.cli.completion:completion", "Tab completion for bash, zsh and fish."),
        ),
    ),
)

# The line "\b" tells click to leave the paragraph below it as it is.
_HELP = """Run, ask and steer a grpcflow cluster.

\b
grpcflow dev -A proj                                a cluster in this terminal
grpcflow -A proj call proj.add -a '[2, 3]' --wait    call a task
grpcflow ctl inspect active -d w1                   what a worker runs
"""


class _CommandLine(Program, SectionedGroup):
    """The outermost group: sections, and errors that become exit codes."""


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        click.echo(f"grpcflow {__version__}")
        ctx.exit()


@click.group(
    "grpcflow",
    cls=_CommandLine,
    sections=_SECTIONS,
    elsewhere=ELSEWHERE,
    context_settings=_SETTINGS,
    help=_HELP,
)
@reach_options
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def command_line() -> None:
    """Hold the commands together; each of them does its own work."""


# Every command takes --no-color and the options of credentials; the help of one of them is enough to say so.
for _option in command_line.params:
    if isinstance(_option, click.Option) and {"--no-color", *CREDENTIALS}.intersection(_option.opts):
        _option.hidden = False


@click.group("ctl", cls=SectionedGroup, sections=(("Commands", (_STATUS, _INSPECT, _CONTROL)),))
@reach_options
def ctl() -> None:
    """Ask and steer workers; needs no app."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        argv: The arguments without the program's name; None: those of the process.
    """
    if argv is None:  # the process is ours
        if os.getpid() == 1:  # in a container without an init
            importlib.import_module("grpcflow_protos.first_process").look_after()
        # What is imported stays: looking through it again and again was a twentieth of a short command.
        gc.set_threshold(50_000)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "_GRPCFLOW_COMPLETE" in os.environ:  # a shell asks what a word could become
        importlib.import_module("grpcflow.cli.completion")  # says how that is told
    try:
        _check_text(arguments)
        outcome = command_line.main(arguments, prog_name="grpcflow", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return outcome if isinstance(outcome, int) else 0


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse what a shell gave that is no text: nothing here has such a name, and nothing could print it."""
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"{word.encode(errors='surrogateescape')!r} is not UTF-8.") from None
