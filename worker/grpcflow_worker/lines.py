"""What a line of the worker's log looks like, and which file it goes to.

This file may NOT touch a logger: which of them write such lines is decided in `logs`.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from grpcflow import state
from grpcflow.log import TaskFormatter
from grpcflow_protos.log_lines import JsonLines
from grpcflow_worker.names import expand
from grpcflow_worker.printed import PRINTED_BY, Printed

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Name of the handlers made here, by which they are found again.
_HANDLER: Final = "grpcflow-worker"

_DATES: Final = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a worker logs, and where.

    Attributes:
        level: name of the log level; "": the log is left as it is.
        worker: the worker's name, for each line and for the name of the file.
        file: path of the file, with ``%n %h %d %p %i %I``; "": standard error.
        color: True or False: lines are coloured or not; None: as the app says, or where they go to a terminal.
        as_json: True: each line is a JSON object.
    """

    level: str
    worker: str
    file: str = ""
    color: bool | None = None
    as_json: bool = False

    @property
    def by_child(self) -> bool:
        """True where each child process has a file of its own."""
        return expand(self.file, self.worker, 1) != expand(self.file, self.worker, 2)

    def path(self, index: int = 0) -> str:
        """The path of the file of a process.

        Args:
            index: which child it is, from 1; 0: none.
        """
        return expand(self.file, self.worker, index)

    def colors(self, settings: Mapping[str, Any]) -> bool:
        """True where lines are coloured.

        Args:
            settings: the app's, by name.
        """
        wanted = settings.get("worker_log_color") if self.color is None else self.color
        return bool(wanted) if wanted is not None else not self.file and Printed.original_of(sys.stderr).isatty()


class LineFormatter(TaskFormatter):
    """Formats a line; one that a task logs or prints tells which task that is.

    Args:
        options: gives the worker's name.
        settings: the app's, by name; read are those of formats and of dates.
        of_tasks: True: for the loggers of tasks only.
    """

    #: Which child this process is, from 1; 0: none.
    index: ClassVar = 0

    def __init__(self, options: LogOptions, settings: Mapping[str, Any], *, of_tasks: bool = False) -> None:
        worker = options.worker.replace("%", "%%")
        head = f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {worker}: "
        own, own_of_task = settings.get("worker_log_format"), settings.get("worker_task_log_format")
        self.plain: str = own or f"{head}%(message)s"
        self.of_task: str = own_of_task or f"{head}%(task_name)s[%(task_id)s]: %(message)s"
        super().__init__(self.of_task if of_tasks else self.plain, use_color=False)
        self._tasks_only = of_tasks
        self._plain_chosen = bool(own)
        self._task_style = logging.PercentStyle(self.of_task)
        dates, dates_of_task = settings.get("worker_log_datefmt"), settings.get("worker_task_log_datefmt")
        chosen = own_of_task if of_tasks else own
        self.datefmt = (dates_of_task if of_tasks else dates) or (None if chosen else _DATES)
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        if LineFormatter.index:
            record.processName = f"ForkPoolWorker-{LineFormatter.index}"
        return super().format(record)

    def usesTime(self) -> bool:  # noqa: N802 - the library's name
        """True: both forms begin with the time."""
        return True

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line without its traceback."""
        if not self._tasks_only and self._is_a_tasks(record):
            return self._task_style.format(record)
        return super().formatMessage(record)

    def _is_a_tasks(self, record: logging.LogRecord) -> bool:
        """True where a task wrote it, and nothing else says which."""
        if PRINTED_BY in record.__dict__:
            owner: tuple[str, str] | None = record.__dict__[PRINTED_BY]
            if owner is not None:
                # It may come out while another task runs, or none.
                record.__dict__["task_name"], record.__dict__["task_id"] = owner
            return owner is not None
        ours = record.name.partition(".")[0] == "grpcflow"
        return not ours and not self._plain_chosen and state.current_request() is not None


class JsonLineFormatter(JsonLines):
    """Formats a line as a JSON object, with the worker's name and, of a task, the task's name and id.

    Args:
        options: gives the worker's name.
    """

    def __init__(self, options: LogOptions) -> None:
        super().__init__(service="worker", worker=options.worker)

    def more(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what else the line tells.

        Args:
            record: the record.
        """
        found = super().more(record)
        owner = found.pop(PRINTED_BY, None)
        request = state.current_request()
        if owner is None and request is not None:
            owner = (request.task or "", request.id or "")
            if request._trace is not None:
                found = dict(zip(("trace_id", "span_id"), request._trace, strict=True)) | found
        if owner is not None:
            found["task_name"], found["task_id"] = owner
        if LineFormatter.index:
            found["child"] = LineFormatter.index
        return found


def formatter_of(
    options: LogOptions, settings: Mapping[str, Any], *, of_tasks: bool = False
) -> LineFormatter | JsonLineFormatter:
    """Make what writes lines as the options and the app's settings want them.

    Args:
        options: what is logged and where.
        settings: the app's, by name; those of formats say nothing where lines are JSON.
        of_tasks: True: for the loggers of tasks only.
    """
    return JsonLineFormatter(options) if options.as_json else LineFormatter(options, settings, of_tasks=of_tasks)


def our_handlers(logger: logging.Logger) -> list[logging.Handler]:
    """The handlers of a logger that were made here."""
    return [handler for handler in logger.handlers if handler.name == _HANDLER]


def stream_handler(options: LogOptions) -> logging.Handler:
    """Make the handler that writes to standard error, past any redirection."""
    return _named(logging.StreamHandler(Printed.original_of(sys.stderr)), options)


def file_handler(options: LogOptions, index: int = 0) -> logging.Handler:
    """Make the handler that writes to the file; a file that was moved away is begun anew.

    Args:
        options: names the file.
        index: which child this process is, from 1; 0: none.

    Raises:
        OSError: the file cannot be written.
    """
    return _named(logging.handlers.WatchedFileHandler(Path(options.path(index)), encoding="utf-8"), options)


def _named(handler: logging.Handler, options: LogOptions) -> logging.Handler:
    handler.name = _HANDLER
    vars(handler)["options"] = options
    return handler
