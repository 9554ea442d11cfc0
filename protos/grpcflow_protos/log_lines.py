"""Lines of a log as JSON objects, one a line, for machines that gather logs. Hand-written.

It stands here because coordinator and worker both write such lines, and this is the one package that both may import.
It imports nothing but the standard library, and may not touch a logger.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

#: What a log may be written as.
LOG_FORMATS: Final = ("text", "json")

#: What every record has; whatever else it has was given with `extra=`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object on one line.

    Its keys: ``time`` (UTC, RFC 3339), ``level``, ``logger``, ``message``, ``process`` (the id), what `extra=` gave,
    and ``error`` (the traceback) where there is one. All of it is ASCII, so that no line can break a reader.

    Args:
        **always: what stands in every line.
    """

    def __init__(self, **always: str) -> None:
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **self._always,
            **self.more(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["error"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str, separators=(",", ":"))

    def more(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what else the line tells.

        Args:
            record: the record.
        """
        return {name: value for name, value in vars(record).items() if name not in _OWN and not name.startswith("_")}
