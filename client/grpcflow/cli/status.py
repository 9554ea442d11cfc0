"""`grpcflow ctl status`: who is there, in as few lines as can be."""

import click

from grpcflow.cli.answers import show_replies
from grpcflow.cli.invocation import invocation, worker_options


@click.command("status")
@worker_options
def status() -> None:
    """Say which workers are there; exit code 69 when none is."""
    said = invocation()
    show_replies(said.control.inspect(said.destination, said.timeout).ping(), said, bodies=False)
