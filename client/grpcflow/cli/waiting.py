"""A sign of life on stderr while the coordinator works on something that may take long.

It is drawn on a terminal alone, and only once half a second has passed; rich is imported then and not before.
"""

import sys
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Waiting"]

#: Seconds for which a screen may stand still.
_QUIET: Final = 0.5


class Waiting(AbstractContextManager["Waiting"]):
    """Shows what is waited for, and since when; to be used with ``with``.

    Args:
        text: What is done meanwhile.
        terminal: True or False: stderr is a terminal or not; None: find out.
        quiet: Seconds for which nothing is shown.
    """

    def __init__(self, text: str, *, terminal: bool | None = None, quiet: float = _QUIET) -> None:
        self._text = text
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._timer = threading.Timer(quiet, self._show)
        self._timer.daemon = True
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._terminal:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave no trace on the screen."""
        if self._terminal:
            self._timer.cancel()
            self._timer.join()
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True, force_terminal=True)
        parts = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*parts, console=console, transient=True)
        self._bar.add_task(self._text, total=None)
        self._bar.start()
