"""Commands that an app defines, on both sides of a worker.

`declared`, `carry_out` are for where the app is; `CommandBook` is the supervisor's, which has no app: it knows what was
declared, checks arguments, and has the executor carry out the rest. It may NOT run user code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from grpcflow_protos import limits

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow_protos.v1 import command_pb2
    from grpcflow_worker.hooks import WorkerFacts

#: Takes a reply as JSON, and what went wrong; one of them is empty.
Told = Callable[[bytes, str], None]

#: The JSON types that an argument of a type may have.
_ACCEPTED: Final[Mapping[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
}


class BadCommand(ValueError):
    """A command was given arguments that it does not take; the text says what it takes."""


def declared(app: Grpcflow) -> list[dict[str, Any]]:
    """Return the commands of an app as plain JSON.

    Args:
        app: the app, finalized.
    """
    return [app.commands[name].described() for name in sorted(app.commands)]


def carry_out(facts: WorkerFacts, name: str, data: bytes) -> tuple[bytes, str]:
    """Run a command's handler; returns its reply as JSON, or what went wrong. Raises nothing.

    Args:
        facts: the worker.
        name: of the command.
        data: its arguments, one JSON object that `CommandBook.check` let through.
    """
    from grpcflow.app_commands import CommandState, type_name
    from grpcflow_worker.showing import plain

    try:
        command = facts.app.commands[name]
        arguments = json.loads(data)
        for argument, kind in command.args:
            if argument in arguments and type_name(kind) == "json" and callable(kind):
                arguments[argument] = kind(arguments[argument])
        reply = command.function(CommandState(facts.app, facts.hostname), **arguments)
        encoded = json.dumps(plain(reply), allow_nan=False).encode()
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises, SystemExit too, is its caller's to know
        return b"", f"{type(error).__name__}: {error}"
    if len(encoded) > limits.PAYLOAD_LIMIT:
        text = f"the answer to {name} has {len(encoded)} bytes, at most {limits.PAYLOAD_LIMIT} can be sent"
        return b"", f"{text}: have it answer less"
    return encoded, ""


class CommandBook:
    """The commands that the app of a worker defines.

    Args:
        commands: as `declared` gave them.
    """

    def __init__(self, commands: Sequence[Mapping[str, Any]]) -> None:
        """Take them."""
        self._commands = {one["name"]: one for one in commands}

    def __contains__(self, name: str) -> bool:
        """Return whether the app defines a command of this name."""
        return name in self._commands

    def messages(self) -> tuple[command_pb2.CommandInfo, ...]:
        """Return what a hello says of them."""
        from grpcflow_protos.v1 import command_pb2

        return tuple(
            command_pb2.CommandInfo(
                name=one["name"],
                control=one["control"],
                help=one["help"],
                variadic=one["variadic"],
                default_timeout_ms=one["default_timeout_ms"],
                hidden=one["hidden"],
                arguments=[
                    command_pb2.CommandArgument(name=name, type=kind, optional=optional)
                    for name, kind, optional in one["arguments"]
                ],
            )
            for one in self._commands.values()
        )

    def check(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Check the arguments of a command.

        Raises:
            BadCommand: one is missing, unknown, or of another type.
        """
        command = self._commands[name]
        types = {argument: kind for argument, kind, _ in command["arguments"]}
        variadic = command["variadic"]
        if variadic:
            types[variadic] = "list"
        for argument, value in arguments.items():
            if argument not in types:
                raise BadCommand(_unknown(name, argument, types))
            kind = types[argument]
            if not _fits(value, kind):
                raise BadCommand(f"{name}: {argument} is of the type {kind}, not {type(value).__name__}")
        missing = [each for each, _, optional in command["arguments"] if each not in arguments and not optional]
        if missing:
            raise BadCommand(f"{name}: {', '.join(missing)} missing; it takes {_listed(types)}")


def _fits(value: Any, kind: str) -> bool:
    if kind == "list":
        return isinstance(value, list)
    if kind not in _ACCEPTED:
        return True
    return isinstance(value, _ACCEPTED[kind]) and (kind == "bool" or not isinstance(value, bool))


def _unknown(name: str, argument: str, types: Mapping[str, str]) -> str:
    near = get_close_matches(argument, types, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {_listed(types)}"
    return f"{name} takes no argument {argument[:40]!r}; {hint}"


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in types.items()) or "none"
