"""How far a task is, on stderr: a bar that moves on a terminal, a line for each state elsewhere.

Shows what it is told and asks nobody; rich is imported where there is a terminal to draw on.
"""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click

from grpcflow.cli.printing import as_plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressDisplay", "steps_of"]

#: Longest text beside a state, in characters.
_TEXT_LIMIT: Final = 60

#: Keys of a state's value that say in words what is done now.
_WORDS: Final = ("message", "description", "status")


class ProgressDisplay:
    """Shows the states of one task; to be used with ``with``.

    Args:
        name: What the task is called.
        terminal: True: draw a bar. False: print lines. None: a bar where stderr is a terminal.
    """

    def __init__(self, name: str, *, terminal: bool | None = None) -> None:
        self._name = name
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bar: Progress | None = None
        self._row: TaskID | None = None
        self._last = ""

    def __enter__(self) -> Self:
        if self._terminal:
            self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, state: str, value: Any) -> None:
        """Show a state.

        Args:
            state: Its name.
            value: What the task said with it: a mapping with ``current`` and ``total`` moves the bar.
        """
        steps, words = steps_of(value), _words(value)
        if self._bar is not None and self._row is not None:
            done, total = steps or (None, None)
            label = self._name if state in ("PROGRESS", "STARTED") else f"{self._name} {state}"
            self._bar.update(self._row, completed=done, total=total, label=label, words=words)
            return
        counted = "" if steps is None else f" {steps[0]:g}/{steps[1]:g}"
        line = f"{state}{counted}{' ' if words else ''}{words}"
        if line != self._last:
            self._last = line
            click.echo(line, err=True)

    def finish(self, succeeded: bool) -> None:
        """Show the end: a bar is full where the task has succeeded."""
        if succeeded and self._bar is not None and self._row is not None:
            total = self._bar.tasks[0].total
            self._bar.update(self._row, completed=total or 1, total=total or 1, label=self._name, words="")

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.fields[label]}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            console=Console(stderr=True, force_terminal=True),
        )
        self._row = self._bar.add_task("", total=None, label=self._name, words="")
        self._bar.start()


def steps_of(value: Any) -> tuple[float, float] | None:
    """Return how many steps of how many are done; None where the value does not say.

    Args:
        value: What a task said with its state.
    """
    if not isinstance(value, Mapping):
        return None
    done, total = value.get("current"), value.get("total")
    if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in (done, total)):
        return None
    assert isinstance(done, (int, float))
    assert isinstance(total, (int, float))
    return (min(max(done, 0), total), total) if total > 0 else None


def _words(value: Any) -> str:
    """Return what a state's value says beside its numbers, on one line."""
    if isinstance(value, Mapping):
        told = next((value[key] for key in _WORDS if isinstance(value.get(key), str)), None)
        if told is None:
            rest = {key: item for key, item in value.items() if key not in ("current", "total")}
            told = ", ".join(f"{key}={as_plain(item)}" for key, item in rest.items())
    else:
        told = "" if value is None else str(as_plain(value))
    text = " ".join(told.split())
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"
