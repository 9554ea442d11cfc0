"""What user code prints becomes lines of the log, each with the task that printed it.

Text is kept until its line is whole; what a task leaves without an end of line comes out when the task ends. This file
may NOT set up any logger.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from grpcflow import state
from grpcflow_worker.captured import say_printed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

#: What a record of a printed line has besides: name and id of the task that printed it, or None.
PRINTED_BY: Final = "printed_by"

#: Characters after which a line that does not end is logged in pieces.
_LONGEST: Final = 65_536

#: Tasks of one thread whose lines have not ended, after which all of these are logged.
_MOST_OWNERS: Final = 1_000


#: Name and id of the task that printed something; None outside of a task.
Owner = tuple[str, str] | None


class _Kept(threading.local):
    """What one thread has printed since its last ends of lines."""

    def __init__(self) -> None:
        self.texts: dict[Owner, str] = {}
        #: True while a line is logged: what is printed by that goes to the original stream.
        self.busy = False


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
        # Coroutines print in turns; anywhere else, who printed before has ended.
        if kept.texts and (len(kept.texts) >= _MOST_OWNERS or not _in_a_loop()):
            self._log_rests(each for each in list(kept.texts) if each != owner)
        *lines, rest = (kept.texts.pop(owner, "") + text).split("\n")
        for line in lines:
            self._log(line, owner)
        if len(rest) > _LONGEST:
            self._log(rest, owner)
        elif rest:
            kept.texts[owner] = rest
        return len(text)

    def flush(self) -> None:
        """Log what has been printed and is no whole line yet: by this task, or by all where none runs here."""
        owner = _owner()
        self._log_rests(list(self._kept.texts) if owner is None else [owner])

    @property
    def has_rest(self) -> bool:
        """True where something was printed in this thread that is no whole line yet."""
        return bool(self._kept.texts)

    def _log_rests(self, owners: Iterable[Owner]) -> None:
        for owner in owners:
            self._log(self._kept.texts.pop(owner, ""), owner)

    def _log(self, line: str, owner: Owner) -> None:
        if not line.strip():
            return
        self._kept.busy = True
        try:
            if owner is not None and owner == _owner():
                say_printed(line.rstrip("\r"), self._level)
            self._logger.log(self._level, "%s", line.rstrip("\r"), extra={PRINTED_BY: owner})
        finally:
            self._kept.busy = False


def end_printed_line() -> None:
    """Log what the task that runs here has printed and not ended by a line's end: it ends now."""
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is Printed and stream.has_rest:
            stream.flush()


def redirect(logger: logging.Logger, level: str) -> None:
    """Have what is printed from now on, to either stream, go to a logger. Again it does nothing but set the level.

    Args:
        logger: where it goes.
        level: name of the level that it has there.
    """
    number = logging.getLevelNamesMapping()[level]
    sys.stdout = cast("TextIO", Printed(Printed.original_of(sys.stdout), logger, number))
    sys.stderr = cast("TextIO", Printed(Printed.original_of(sys.stderr), logger, number))


def _in_a_loop() -> bool:
    # Where nothing has imported asyncio, no loop runs; importing it here would cost each start of a worker 30 ms.
    get_running_loop = getattr(sys.modules.get("asyncio"), "get_running_loop", None)
    if get_running_loop is None:
        return False
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def _owner() -> Owner:
    task, request = state.get_current_task(), state.current_request()
    return None if task is None or request is None else (str(task.name), str(request.id))
