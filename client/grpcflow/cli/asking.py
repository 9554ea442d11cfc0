"""How the commands of `grpcflow ctl` ask: the options that choose workers, and one way to send and one to ask.

It may not import grpc or rich.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import click

from grpcflow.cli.answers import show_replies
from grpcflow.cli.invocation import Invocation, invocation, worker_options

__all__ = ["question", "send", "target_options", "upcoming_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def question(name: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Ask the workers that the options name, and show what they answer."""
    from grpcflow.inspection import Inspect

    said = invocation()
    asked = Inspect(said, said.destination, said.timeout, targets=said.targets)
    show_replies(asked.ask(name, arguments), said)


def send(name: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Send one command to the workers that the options name, and show what they answer."""
    said = invocation()
    replies = said.control.command(
        name, arguments, destination=said.destination, timeout=said.timeout, targets=said.targets
    )
    show_replies(replies, said)


def target_options(command: _Command) -> _Command:
    """Add the options of ``worker_options``, and those that name workers by what they are."""
    texts = (
        (("--pattern",), "patterns", "Only workers whose names fit, with * and ?; repeatable."),
        (("--queue", "-Q"), "queues", "Only workers that serve this queue; repeatable."),
        (("--label",), "labels", "Only workers with this label; with all of them where repeated."),
    )
    for options, attribute, told in reversed(texts):
        command = click.option(
            *options,
            f"only_{attribute}",
            metavar="TEXT",
            multiple=True,
            expose_value=False,
            callback=_narrow(attribute),
            help=told,
        )(command)
    regex = click.option(
        "--regex", is_flag=True, expose_value=False, callback=_narrow("regex"), help="Patterns are regular expressions."
    )
    return worker_options(regex(command))


def upcoming_option(command: _Command) -> _Command:
    """Add `--upcoming`, for what the coordinator adds to workers' answers."""
    option = click.option(
        "--upcoming",
        metavar="N",
        type=click.IntRange(min=1, max=10_000),
        expose_value=False,
        callback=_narrow("upcoming"),
        help="At most N of what the coordinator holds, for each worker. Default 100.",
    )
    return option(command)


def _narrow(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return a callback that notes an option in the targets of this call, if it was given."""

    def callback(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value:
            said = ctx.ensure_object(Invocation)
            said.targets = replace(said.targets, **{attribute: value})

    return callback
