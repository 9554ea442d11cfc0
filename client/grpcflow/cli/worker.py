"""`grpcflow worker`: the same program as `grpcflow-worker`, under the name people know from Celery.

The worker's package imports this one and never the other way round, so it is imported by name here, when
the command runs.
"""

import importlib

import click

from grpcflow.cli.invocation import Unavailable, invocation
from grpcflow.credentials import OPTIONS

_WORKER_MODULE = "grpcflow_worker.__main__"


@click.command(
    "worker",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[OPTIONS OF grpcflow-worker]",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def worker(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run a worker: the same as grpcflow-worker."""
    said = invocation()
    credentials = ((name, said.credentials.get(setting)) for name, (setting, _, _) in OPTIONS.items())
    given = (("-A", said.app), ("--coordinator", said.coordinator), *credentials)
    argv = [part for option, value in given if value for part in (option, value)] + list(arguments)
    try:
        module = importlib.import_module(_WORKER_MODULE)
    except ModuleNotFoundError as error:
        if error.name not in ("grpcflow_worker", _WORKER_MODULE):
            raise
        raise Unavailable("The worker is not installed here: pip install grpcflow.") from error
    ctx.exit(module.main(argv))
