"""What user code prints becomes lines of the log, each with the task that printed it.

Text is kept until its line is whole; what a task leaves without an end of line comes out with the next text of its
thread, on a flush, or when the process ends in order. This file may NOT set up any logger.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from grpcflow import state

if TYPE_CHECKING:
    from typing import TextIO

#: What a record of a printed line has besides: name and id of the task that printed it, or None.
PRINTED_BY: Final = "printed_by"

#: Characters after which a line that does not end is logged in pieces.
_LONGEST: Final = 65_536


class _Kept(threading.local):
    """What one thread has printed since its last end of line."""

    text = ""
    #: Name and id of the task that did; None outside of a task.
    owner: tuple[str, str] | None = None
    #: True while a line is logged: what is printed by that goes to the original stream.
    busy = False


class Printed(io.TextIOBase):
    """A stream whose lines go to a logger.

    Args:
        original: the stream that this one stands for.
        logger: where the lines go.
        level: the level that they have there.
    """

    def __init__(self, original: TextIO, logger: logging.Logger, level: int) -> None:
        self.original = original
        self._logger = logger
        self._level = level
        self._kept = _Kept()

    @staticmethod
    def original_of(stream: Any) -> TextIO:
        """The stream itself, or the one that it stands for."""
        return cast("TextIO", stream.original if isinstance(stream, Printed) else stream)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the original."""
        return self.original.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """That of the original."""
        return self.original.errors

    def writable(self) -> bool:
        """True."""
        return True

    def isatty(self) -> bool:
        """False: a log is no terminal."""
        return False

    def fileno(self) -> int:
        """That of the original, which other programs may be given to write to."""
        return self.original.fileno()

    def write(self, text: str, /) -> int:
        """Log the lines that are whole now. Returns the number of characters."""
        kept = self._kept
        if kept.busy:
            return self.original.write(text)
        owner = _owner()
        if kept.text and kept.owner != owner:
            self.flush()
        kept.owner = owner
        *lines, kept.text = (kept.text + text).split("\n")
        for line in lines:
            self._log(line, owner)
        if len(kept.text) > _LONGEST:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Log what has been printed and is no whole line yet."""
        kept = self._kept
        text, kept.text = kept.text, ""
        self._log(text, kept.owner)

    def _log(self, line: str, owner: tuple[str, str] | None) -> None:
        if not line.strip():
            return
        self._kept.busy = True
        try:
            self._logger.log(self._level, "%s", line.rstrip("\r"), extra={PRINTED_BY: owner})
        finally:
            self._kept.busy = False


def redirect(logger: logging.Logger, level: str) -> None:
    """Have what is printed from now on, to either stream, go to a logger. Again it does nothing but set the level.

    Args:
        logger: where it goes.
        level: name of the level that it has there.
    """
    number = logging.getLevelNamesMapping()[level]
    sys.stdout = cast("TextIO", Printed(Printed.original_of(sys.stdout), logger, number))
    sys.stderr = cast("TextIO", Printed(Printed.original_of(sys.stderr), logger, number))


def _owner() -> tuple[str, str] | None:
    task, request = state.get_current_task(), state.current_request()
    return None if task is None or request is None else (str(task.name), str(request.id))
