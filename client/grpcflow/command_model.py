"""What is told of commands of remote control. Plain data; it may not import grpc or protobuf."""

from dataclasses import dataclass
from typing import Any

__all__ = ["CommandArgument", "CommandDescription", "described"]


@dataclass(frozen=True, slots=True)
class CommandArgument:
    """An argument of a command.

    Attributes:
        name: Its name.
        type: "int", "float", "bool", "str", or "json" for anything else.
        optional: True: it may be left out.
    """

    name: str
    type: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CommandDescription:
    """A command that can be sent to workers.

    Attributes:
        name: Its name.
        control: True: it changes something; False: it only tells.
        help: What it does.
        arguments: Its arguments, in order.
        variadic: Name of the argument that takes all that are left; empty: none.
        workers: The workers whose apps define it; empty: it is one of our own, which every worker has.
        default_timeout: Seconds to wait for its answers where the caller does not say.
        hidden: True: no list shows it.
    """

    name: str
    control: bool
    help: str = ""
    arguments: tuple[CommandArgument, ...] = ()
    variadic: str = ""
    workers: tuple[str, ...] = ()
    default_timeout: float = 1.0
    hidden: bool = False


def described(message: Any) -> CommandDescription:
    """Return one ``AvailableCommand`` of the wire."""
    told = message.command
    arguments = tuple(CommandArgument(one.name, one.type, one.optional) for one in told.arguments)
    return CommandDescription(
        told.name,
        told.control,
        told.help,
        arguments,
        told.variadic,
        tuple(message.workers),
        told.default_timeout_ms / 1_000 or 1.0,
        told.hidden,
    )
