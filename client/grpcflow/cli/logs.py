"""`grpcflow logs`: what a task printed and logged, and with --follow what it does.

Lines go to stdout; what is said about them, such as that some are no longer kept, to stderr.
"""

import json
import os
import sys
from typing import Final

import click

from grpcflow.cli.invocation import invocation, reach_options
from grpcflow.log_model import LogLine

__all__ = ["logs"]

_COLOURS: Final = {"DEBUG": "bright_black", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


@click.command("logs")
@click.argument("task_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come, until the task has ended.")
@click.option("--tail", "-n", metavar="N", type=click.IntRange(1, 1_000_000), help="Only the last N lines.")
@click.option("--graph", "whole_graph", is_flag=True, help="Of every task of its graph, one after the other.")
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object for each line.")
@reach_options
def logs(task_id: str, follow: bool, tail: int | None, whole_graph: bool, as_json: bool) -> None:
    """Show what the task ID printed and logged, attempt by attempt."""
    if whole_graph and (follow or tail is not None):
        raise click.UsageError("--graph shows what is there now of every task; leave --follow and --tail out.")
    said = invocation()
    screen = _Screen(from_start=tail is None)
    for line in said.connection.read_logs(task_id, whole_graph=whole_graph, follow=follow, tail=tail or 0):
        if as_json:
            click.echo(json.dumps(line.to_dict()))
        else:
            screen.show(line)
        if follow:
            sys.stdout.flush()
    if not screen.shown and not as_json:
        others = "" if whole_graph else " --graph shows every task of its graph."
        click.echo(f"It has logged nothing, or what it logged is not kept.{others}", err=True)


class _Screen:
    """Lines as a person reads them: under a heading for each attempt.

    Args:
        from_start: True: all lines were asked for, so that those that lack are no longer kept.
    """

    def __init__(self, *, from_start: bool) -> None:
        self.shown = 0
        self._attempt = 0
        self._next = 0
        self._from_start = from_start
        self._colour = False if os.environ.get("NO_COLOR") else None

    def show(self, line: LogLine) -> None:
        """Print a line."""
        if line.attempt != self._attempt:
            if self._attempt:
                click.echo("", err=True)
            click.echo(click.style(f"{_printable(line.task)} {_printable(line.id)}", bold=True), err=True)
            self._attempt, self._next = line.attempt, 0 if self._from_start or self.shown else line.number
        if line.number > self._next:
            click.echo(f"({line.number - self._next:,} lines before this one are not kept)", err=True)
        self._next = line.number + 1
        self.shown += 1
        local = line.time.astimezone()
        when = click.style(f"{local:%H:%M:%S}.{local.microsecond // 1000:03}", fg="bright_black")
        level = click.style(f"{_printable(line.level):<7}", fg=_COLOURS.get(line.level))
        click.echo(f"{when} {level} {_printable(line.text)}", color=self._colour)


def _printable(text: str) -> str:
    """Return text without what a terminal would obey; its ends of lines and tabs stay."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else " " for letter in text)
