"""Groups of commands that also hold those which the apps of a live cluster define.

Nobody is asked before help is shown or a name is typed that is none of our own; where no coordinator answers, our own
are all there are. It may not import grpc or an app before that.
"""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import click
from click.types import StringParamType

from grpcflow.addresses import addresses_of
from grpcflow.cli.asking import question, send, target_options
from grpcflow.cli.invocation import Invocation, invocation

if TYPE_CHECKING:
    from grpcflow.command_model import CommandDescription

__all__ = ["LiveGroup"]

#: Seconds that help waits for a cluster.
_PATIENCE: Final = 1.0

#: Longest first sentence of a command's help, in characters.
_SENTENCE: Final = 200

#: Celery's other names of questions.
_ALIASES: Final = {
    "dump_active": "active",
    "dump_conf": "conf",
    "dump_reserved": "reserved",
    "dump_revoked": "revoked",
    "dump_schedule": "scheduled",
    "dump_tasks": "registered",
}


#: Before the names of an app's arguments, which may be those of options of ours.
_GIVEN: Final = "given_"


class _Json(StringParamType):
    """Any value, as JSON; what is none is text."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        del param, ctx
        try:
            return json.loads(value)
        except (TypeError, ValueError, RecursionError):
            return value


_TYPES: Final[Mapping[str, Any]] = {
    "int": click.INT,
    "float": click.FLOAT,
    "bool": click.BOOL,
    "str": click.STRING,
    "json": _Json(),
}


class LiveGroup(click.Group):
    """A group with the commands of apps behind its own; ``control`` says whether these change something."""

    control = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of our own, or of an app in the cluster."""
        found = super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))
        if found is not None or ctx.resilient_parsing:
            return found
        told = next((one for one in self._ask(ctx) if one.name == cmd_name and one.control is self.control), None)
        return None if told is None else _made(told)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of a wrong name say the nearest."""
        name = args[0]
        _look_ahead(ctx.ensure_object(Invocation), args[1:])
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            known = [*self.commands, *(one.name for one in self._listed(ctx))]
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(known))}."
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write our own commands, then those of apps that a cluster tells within a second."""
        with formatter.section("Commands"):
            formatter.write_dl(self._own_rows())
        rows = [(usage(one), one.help) for one in self._listed(ctx)]
        if rows:
            with formatter.section("Of the apps of this cluster"):
                formatter.write_dl(rows)

    def rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return name and help of each command that is to be seen."""
        return self._own_rows() + [(usage(one), one.help) for one in self._listed(ctx)]

    def _own_rows(self) -> list[tuple[str, str]]:
        """Return our own, each with its first sentence whole: what is cut tells nothing."""
        return [(name, self.commands[name].get_short_help_str(_SENTENCE)) for name in sorted(self.commands)]

    def _listed(self, ctx: click.Context) -> "list[CommandDescription]":
        return [one for one in self._ask(ctx) if one.control is self.control and not one.hidden]

    @staticmethod
    def _ask(ctx: click.Context) -> "list[CommandDescription]":
        """Return the commands of apps; none where nobody answers in time. One call of the program asks once."""
        told: list[CommandDescription] | None = ctx.meta.get(__name__)
        if told is None:
            answers: list[list[CommandDescription]] = []
            said = ctx.ensure_object(Invocation)

            def run() -> None:
                # Whatever is wrong on the way: help is shown all the same, and a command that is typed says it.
                with suppress(Exception):
                    if _may_answer(said):
                        answers.append([one for one in said.control.commands() if one.workers])

            thread = threading.Thread(target=run, name="grpcflow-commands", daemon=True)
            thread.start()
            thread.join(_PATIENCE)
            told = ctx.meta[__name__] = answers[0] if answers else []
        return told


def _look_ahead(said: Invocation, words: list[str]) -> None:
    """Note where the coordinator is if that is said behind a command, which must be known before that is read."""
    for word, behind in pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        value = value if equals else behind
        if option == "--coordinator" and said.coordinator is None:
            said.coordinator = value
        elif option in {"-A", "--app"} and said.app is None:
            said.app = value


def _may_answer(said: Invocation) -> bool:
    """Return whether it is worth asking: a coordinator listens, or an app says where one is. Imports nothing large."""
    import socket

    from grpcflow.loading import app_name

    if said.is_connected or (not said.coordinator and app_name(said.app) is not None):
        return True
    for address in addresses_of(said.coordinator):
        host, _, port = address.rpartition(":")
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), _PATIENCE):
            return True
    return False


def list_option(command: Any) -> Any:
    """Add `--list` to a group: its commands, one a line."""

    def show(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
        if wanted and isinstance(ctx.command, LiveGroup):
            rows = ctx.command.rows(ctx)
            width = max(len(name) for name, _ in rows)
            for name, told in rows:
                click.echo(f"{name:<{width}}  {told}")
            ctx.exit()

    option = click.option("--list", is_flag=True, expose_value=False, callback=show, help="List the commands and end.")
    return option(command)


def usage(told: "CommandDescription") -> str:
    """Return a command with its arguments: `NAME ARGUMENT [ARGUMENT] [REST]...`."""
    words = [f"[{one.name.upper()}]" if one.optional else one.name.upper() for one in told.arguments]
    rest = [f"[{told.variadic.upper()}]..."] if told.variadic else []
    return " ".join([told.name, *words, *rest])


def _made(told: "CommandDescription") -> click.Command:
    """Make a command of what a cluster tells of one."""

    def run(**given: Any) -> None:
        arguments = {name.removeprefix(_GIVEN): value for name, value in given.items() if value is not None}
        if told.variadic:
            arguments[told.variadic] = list(arguments.get(told.variadic, ()))
        said = invocation()
        said.waits = said.waits or told.default_timeout
        (send if told.control else question)(told.name, arguments)

    command: Any = click.command(told.name, help=told.help)(target_options(run))
    arguments = [
        click.Argument(
            [_GIVEN + one.name],
            metavar=one.name.upper(),
            type=_TYPES.get(one.type, _Json()),
            required=not one.optional,
        )
        for one in told.arguments
    ]
    if told.variadic:
        arguments.append(click.Argument([_GIVEN + told.variadic], metavar=f"[{told.variadic.upper()}]...", nargs=-1))
    made: click.Command = command
    made.params = [*arguments, *made.params]
    return made
