"""What the code of a task prints and logs is heard here, besides going wherever the log goes.

Records are heard where `logging` makes them, behind the levels of their loggers and before any handler: so that users'
handlers, filters and settings change nothing, and nothing here changes theirs. What is printed comes from `printed`.
This file may NOT log or print, or know what becomes of a line.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from grpcflow import state
from grpcflow_protos.limits import LOG_LINE_BYTES
from grpcflow_worker.log_lines import LogLine

#: Our own loggers, and those of them that speak for tasks.
_OURS: Final = "grpcflow."
_TASKS: Final = "grpcflow.task"
_REDIRECTED: Final = "grpcflow.redirected"

_format: Final = logging.Formatter("%(message)s").format
_make = logging.getLogRecordFactory()


def hear_logging() -> None:
    """Hear every record from now on; a second call changes nothing, unless another factory was put there since."""
    global _make
    factory = logging.getLogRecordFactory()
    if factory is not _record:
        _make = factory
        logging.setLogRecordFactory(_record)


def say_printed(text: str, level: int) -> None:
    """Keep a printed line for the attempt that runs here; outside of one nothing happens.

    Args:
        text: the line.
        level: the level that it has in the log.
    """
    request = state.logging_request()
    if request is not None:
        request._log(request._token, _line(time.time(), logging.getLevelName(level), "", text))


def _record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Make a record as ever, and keep it for the attempt that runs here."""
    record = _make(*args, **kwargs)
    request = state.logging_request()
    if request is not None and not _is_ours(record.name):
        try:
            text = _format(record)
        except Exception as error:  # noqa: BLE001 - arguments that do not fit: `logging` itself says so to standard error
            text = f"{record.msg} (its arguments do not fit: {error})"
        request._log(request._token, _line(record.created, record.levelname, record.name, text))
    return record


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS) and not (name == _TASKS or name.startswith(_TASKS + "."))


def _line(at: float, level: str, logger: str, text: str) -> LogLine:
    """Return a line that every side can take: of bounded length, and text that UTF-8 can carry."""
    if not text.isascii():
        data = text.encode("utf-8", "replace")
        text = data.decode() if len(data) <= LOG_LINE_BYTES else data[: LOG_LINE_BYTES - 100].decode("utf-8", "ignore")
    if len(text) > LOG_LINE_BYTES:
        text = f"{text[: LOG_LINE_BYTES - 100]}... ({len(text) - LOG_LINE_BYTES + 100:,} characters more)"
    return int(at * 1000), level[:32], logger[:255].encode("utf-8", "replace").decode(), text
