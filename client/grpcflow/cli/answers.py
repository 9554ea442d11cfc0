"""Show what workers answered, and choose the exit code that a script can trust."""

from typing import TYPE_CHECKING

import click

from grpcflow.cli.invocation import EXIT_FAILED, EXIT_UNAVAILABLE, Invocation
from grpcflow.cli.printing import echo_json, nodes_online, replies_text

if TYPE_CHECKING:
    from grpcflow.replies import Replies


def show_replies(replies: "Replies", said: Invocation, *, bodies: bool = True) -> None:
    """Print replies as the options ask, and end the program if the answer is not a good one.

    Exit code 69 if nobody answered, 1 if somebody answered with an error. Workers that did not answer are named,
    on stderr where stdout holds JSON.

    Args:
        replies: What came back.
        said: The options of this call.
        bodies: False: one line for each worker, without what it said.
    """
    if said.as_json:
        echo_json(dict(replies))
        for line in silent_lines(replies, said.timeout):
            click.echo(line, err=True)
    else:
        if text := replies_text(replies, bodies=bodies):
            click.echo(text)
        for line in silent_lines(replies, said.timeout):
            click.echo(f"-> {line}")
        if replies or replies.no_reply or replies.disconnected:
            click.echo()
            click.echo(nodes_online(len(replies)))
        else:
            click.echo("0 nodes online: no worker is connected.")
    end_for(replies)


def silent_lines(replies: "Replies", timeout: float) -> list[str]:
    """Return one line for each worker that did not answer, with the reason."""
    return [f"{worker}: NO REPLY in {timeout:g} s" for worker in replies.no_reply] + [
        f"{worker}: NOT CONNECTED, its stream is broken" for worker in replies.disconnected
    ]


def end_for(replies: "Replies") -> None:
    """End the program with the exit code of these replies, unless all is well."""
    context = click.get_current_context()
    if not replies:
        context.exit(EXIT_UNAVAILABLE)
    if replies.errors:
        context.exit(EXIT_FAILED)
