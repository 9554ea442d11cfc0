"""`grpcflow ctl status`: who is there, in as few lines as can be."""

from typing import Final

import click

from grpcflow.cli.answers import show_replies
from grpcflow.cli.invocation import Invocation, invocation, worker_options
from grpcflow.control import Replies

#: What is told of how busy a worker is.
_LOAD: Final = ("active", "processed", "loadavg", "memory")


@click.command("status")
@worker_options
def status() -> None:
    """Say which workers are there; exit code 69 when none is."""
    said = invocation()
    replies = said.control.inspect(said.destination, said.timeout).ping()
    if said.as_json:
        _add_loads(replies, said)
    show_replies(replies, said, bodies=False)


def _add_loads(replies: Replies, said: Invocation) -> None:
    """Add to what each worker answered how busy it is, where it said so."""
    from grpcflow.event_wire import load_fields

    for worker in said.connection.list_workers():
        if worker.HasField("load") and isinstance(reply := replies.get(worker.name), dict):
            told = load_fields(worker.load)
            replies[worker.name] = {**reply, **{name: told[name] for name in _LOAD if name in told}}
