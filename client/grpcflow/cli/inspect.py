"""`grpcflow ctl inspect`: questions to workers that change nothing; without a question, an overview.

Asks and chooses the exit code; what is shown is built in `printing` and `overview`.
"""

from collections.abc import Callable
from typing import Final

import click

from grpcflow.cli.answers import show_replies
from grpcflow.cli.invocation import invocation, worker_options

#: Questions that take no arguments, with the line that help shows.
QUESTIONS: Final = {
    "active": "Tasks that run now.",
    "active_queues": "Queues that each worker serves.",
    "conf": "Settings of the app that each worker runs.",
    "ping": "Who is there.",
    "registered": "Names of the tasks that each worker can run.",
    "reserved": "Tasks that a worker has taken and not started.",
    "scheduled": "Tasks that wait at a worker for their time.",
    "stats": "Figures: uptime, pool, tasks done.",
}


@click.group("inspect", invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@worker_options
@click.pass_context
def inspect(ctx: click.Context) -> None:
    """Ask workers what they do.

    Without a command: an overview of the workers, what they run, and what waits and why.
    """
    if ctx.invoked_subcommand is None:
        from grpcflow.cli.overview import show_overview

        show_overview(invocation())


def _question(name: str) -> Callable[[], None]:
    """Return the function behind one question."""

    def ask() -> None:
        said = invocation()
        show_replies(said.control.inspect(said.destination, said.timeout).ask(name), said)

    return ask


for _name, _summary in QUESTIONS.items():
    inspect.add_command(click.command(_name, help=_summary)(worker_options(_question(_name))))


@inspect.command("query_task")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@worker_options
def query_task(ids: tuple[str, ...]) -> None:
    """Where tasks are, if a worker holds them."""
    said = invocation()
    show_replies(said.control.inspect(said.destination, said.timeout).query_task(*ids), said)
