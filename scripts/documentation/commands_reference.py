"""A page for each of the three programs, written from what they tell of themselves: usage, options, examples.

Asks click and no cluster. Words of a help are taken as they are; what stands in lines of its own there stays so.
"""

import inspect
import re
from collections.abc import Iterator

import click

from grpcflow.cli import command_line

__all__ = ["command_pages", "programs"]


def programs() -> dict[str, click.Command]:
    """Returns the programs by the names that are typed."""
    import grpcflow_coordinator.__main__ as coordinator
    import grpcflow_worker.__main__ as worker

    return {"grpcflow": command_line, "grpcflow-coordinator": coordinator.command, "grpcflow-worker": worker.command}


def command_pages() -> dict[str, str]:
    """Returns the pages by their places in the site."""
    return {f"reference/{name}.md": _page(name, command) for name, command in programs().items()}


def _page(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    head = f"# The command {name}\n\nWritten from the program itself; `{name} --help` says the same in a terminal.\n"
    return "\n".join([head, *_told(context, command), *_below(context, command, 2)]) + "\n"


def _below(context: click.Context, group: click.Command, level: int) -> Iterator[str]:
    """Yields what is told of the commands of a group, and of theirs."""
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        # `ctl` holds commands that stand beside it as well.
        if command is None or command.hidden or context.info_name == "ctl":
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield f"{'#' * min(level, 4)} {inner.command_path}\n"
        yield from _told(inner, command)
        yield from _below(inner, command, level + 1)


def _told(context: click.Context, command: click.Command) -> Iterator[str]:
    yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
    yield _prose(command.help or "")
    rows = [row for parameter in command.get_params(context) if (row := parameter.get_help_record(context))]
    if rows:
        lines = [f"| `{_cell(names)}` | {_words(told)} |" for names, told in rows]
        yield "\n".join(["| option | meaning |", "| --- | --- |", *lines]) + "\n"
    if command.epilog:
        yield _prose(command.epilog)


def _prose(text: str) -> str:
    """Returns a help's paragraphs; those that click leaves in their lines are code."""
    made = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text.replace("\f", ""))):
        kept, lines = paragraph.startswith("\b"), inspect.cleandoc(paragraph.removeprefix("\b").lstrip("\n"))
        made.append(f"```text\n{lines}\n```" if kept else _words(" ".join(lines.split())))
    return "\n\n".join(each for each in made if each) + "\n"


def _words(text: str) -> str:
    """Returns text in which nothing is markup: a name with underscores or stars stays one."""
    return re.sub(r"([\\*_<>|\[\]])", r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
