"""Groups of commands that are listed in sections, and imported when they are typed and not before.

A row says where a command is and what it does in one line, so that `--help` and the completion of its name import
nothing. It may not import grpc, rich or any command.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from grpcflow.cli.examples import give_examples

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["Row", "SectionedGroup"]


@dataclass(frozen=True, slots=True)
class Row:
    """One command of a group.

    Attributes:
        name: As it is typed.
        place: `module:attribute` of the command.
        summary: One line for people.
        path: What the group of its examples is called; empty: the name. A command that stands in two groups has one.
    """

    name: str
    place: str
    summary: str
    path: str = ""


class SectionedGroup(click.Group):
    """A group whose commands are imported late and listed in sections.

    Args:
        sections: Heads with the rows below them, in the order of the help.
        elsewhere: Names that users may type and that are no command here, with what to use instead.
        **settings: Those of `click.Group`.
    """

    def __init__(
        self,
        *,
        sections: Iterable[tuple[str, Sequence[Row]]] = (),
        elsewhere: Mapping[str, str] = MappingProxyType({}),
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.elsewhere = elsewhere
        self.sections = tuple((head, tuple(rows)) for head, rows in sections)
        self._rows = {row.name: row for _, rows in self.sections for row in rows}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return [*self._rows, *(name for name in super().list_commands(ctx) if name not in self._rows)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command the first time that it is asked for; None: there is no such command."""
        row = self._rows.get(cmd_name)
        if row is not None and cmd_name not in self.commands:
            module, _, attribute = row.place.partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            give_examples(command, row.path or row.name)
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is typed; where there is none, the nearest name is offered."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            if args[0] in self.elsewhere:
                ctx.fail(f"No such command {args[0]!r}: {self.elsewhere[args[0]]}.")
            ctx.fail(_unknown(args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for head, rows in self.sections:
            with formatter.section(head):
                formatter.write_dl([(row.name, row.summary) for row in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """Complete the name of a command, from the rows alone; options as click does."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(row.name, help=row.summary) for row in self._rows.values() if row.name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def _unknown(name: str, known: Sequence[str]) -> str:
    """Say that there is no such command, and which is the nearest."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")
