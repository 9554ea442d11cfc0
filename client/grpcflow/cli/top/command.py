"""`grpcflow top`: reads options, sees to it that there is a terminal and what draws on it, and runs the app.

textual is imported when all of that is sure.
"""

import importlib.util
import logging
import os
import sys

import click

from grpcflow.cli.invocation import Misconfigured, invocation, reach_options

__all__ = ["top"]


@click.command("top")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="Between two looks.",
)
@reach_options
def top(interval: float) -> None:
    """Watch the cluster: workers, queues, what runs and what failed, on the whole terminal.

    Keys pause queues, cancel and retry graphs, and look into them; ? explains them all, q quits.
    """
    _check_terminal()
    _check_installed()
    # What grpc's core writes by itself would be written across the screen.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    said = invocation()
    addresses = ", ".join(said.connection.addresses)
    from grpcflow.cli.top.app import Top
    from grpcflow.cli.top.watch import Watch

    watch = Watch(said, addresses, interval)
    app = Top(watch, interval)
    logging.disable(logging.CRITICAL)  # an app's own handlers write to the terminal, too
    try:
        code = app.run()
    finally:
        logging.disable(logging.NOTSET)
        watch.stop()
    if app.crash is not None:
        raise app.crash
    click.get_current_context().exit(app.return_code or 1 if code is None else code)


def _check_terminal() -> None:
    """Refuse to draw where nobody sees it, or nobody can press a key.

    Raises:
        UsageError: One of the three is no terminal, or can do nothing but print.
    """
    instead = "For programs and files: grpcflow inspect --json."
    for name, stream in (("output", sys.stdout), ("input", sys.stdin), ("error output", sys.stderr)):
        if not stream.isatty():
            raise click.UsageError(f"grpcflow top needs a terminal, and its {name} is none. {instead}")
    if os.environ.get("TERM") == "dumb":
        raise click.UsageError(f"grpcflow top needs a terminal that can move its cursor, and TERM is dumb. {instead}")


def _check_installed() -> None:
    """Say what is missing.

    Raises:
        Misconfigured: textual is not installed.
    """
    if importlib.util.find_spec("textual") is None:
        raise Misconfigured(
            "grpcflow top draws with textual, which is not installed: pip install 'grpcflow[top]'. "
            "Without it: grpcflow inspect, grpcflow events --follow."
        )
