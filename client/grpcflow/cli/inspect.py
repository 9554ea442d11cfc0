"""`grpcflow ctl inspect`: questions to workers that change nothing; without a question, an overview.

Asks and chooses the exit code; what is shown is built in `printing` and `overview`.
"""

from collections.abc import Callable
from typing import Final

import click

from grpcflow.cli.asking import question, target_options, upcoming_option
from grpcflow.cli.invocation import invocation
from grpcflow.cli.live_commands import LiveGroup, list_option

#: Questions that take no arguments, with the line that help shows.
QUESTIONS: Final = {
    "active_queues": "Queues that each worker serves.",
    "clock": "How many messages each worker has sent.",
    "memsample": "Memory that each worker's supervisor takes.",
    "ping": "Who is there.",
    "report": "Versions, and what each worker is.",
    "stats": "Figures: uptime, pool, tasks done.",
}

#: The same, of what the coordinator holds.
HELD: Final = {
    "reserved": "Tasks that a worker has taken and not started, and those that it could be given next.",
    "revoked": "Tasks that were revoked lately, the newest first.",
    "scheduled": "Tasks that wait for their time, and that a worker could be given then.",
}


@click.group("inspect", cls=LiveGroup, invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@list_option
@target_options
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
        question(name)

    return ask


for _name, _summary in QUESTIONS.items():
    inspect.add_command(click.command(_name, help=_summary)(target_options(_question(_name))))
for _name, _summary in HELD.items():
    inspect.add_command(click.command(_name, help=_summary)(target_options(upcoming_option(_question(_name)))))


@inspect.command("active")
@click.option("--safe", is_flag=True, help="Arguments as text.")
@target_options
def active(safe: bool) -> None:
    """Tasks that run now."""
    question("active", {"safe": True} if safe else None)


@inspect.command("conf")
@click.option("--with-defaults", is_flag=True, help="Also what nobody set.")
@target_options
def conf(with_defaults: bool) -> None:
    """Settings of the app that each worker runs; secrets are not shown."""
    question("conf", {"with_defaults": True} if with_defaults else None)


@inspect.command("registered")
@click.argument("attributes", nargs=-1)
@target_options
def registered(attributes: tuple[str, ...]) -> None:
    """Tasks that each worker can run, with these ATTRIBUTES: rate_limit, time_limit, queue, ..."""
    question("registered", {"attrs": list(attributes)} if attributes else None)


@inspect.command("query_task")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@target_options
def query_task(ids: tuple[str, ...]) -> None:
    """Where tasks are, if a worker holds them."""
    question("query_task", {"ids": list(ids)})
