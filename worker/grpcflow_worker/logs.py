"""Sets up the log of a process of the worker: lines with time (UTC), level, worker name and, in a task, the task.

First `set_up_log`, before anything of the user's is imported: our own lines, where they are to go. Then, once the app
has been imported, `set_up_app_log` where it is, or `set_up_plain_log` where it is not (the supervisor of prefork), each
with the app's settings; where the app is, its receivers of `setup_logging`, `after_setup_logger` and
`after_setup_task_logger` have their say. This file may NOT log anything itself.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from grpcflow_worker.lines import (
    LineFormatter,
    LogOptions,
    file_handler,
    formatter_of,
    our_handlers,
    stream_handler,
)
from grpcflow_worker.printed import Printed, redirect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

#: Parent of all our loggers.
_OURS: Final = "grpcflow"

#: Parent of the loggers that `get_task_logger` gives.
_TASKS: Final = "grpcflow.task"

#: Logger of what happens to each single task; at INFO that is a line for every one of them.
_TRACE: Final = "grpcflow.trace"

#: Logger of what user code prints.
_REDIRECTED: Final = "grpcflow.redirected"


def set_up_log(options: LogOptions) -> None:
    """Log our own lines, in a process that has not imported the app.

    Args:
        options: what is logged and where.

    Raises:
        OSError: the file cannot be written.
    """
    ours = logging.getLogger(_OURS)
    if not our_handlers(ours) and not our_handlers(logging.getLogger()):
        ours.addHandler(_handler(options, formatter_of(options, {})))
        ours.propagate = False
    _set_levels(options.level)


def set_up_plain_log(options: LogOptions, settings: Mapping[str, Any]) -> None:
    """Log all lines, in a process that runs no code of the user, in the form that the app wants.

    Args:
        options: what is logged and where.
        settings: the app's, by name.
    """
    if options.level:
        _take_root(options, settings)
        _set_levels(options.level)


def set_up_app_log(options: LogOptions, settings: Mapping[str, Any]) -> None:
    """Log all lines where the app is, as far as its receivers of `setup_logging` do not see to it.

    Args:
        options: what is logged and where; no level: the log is left as it is.
        settings: the app's, by name.
    """
    from grpcflow import signals
    from grpcflow_worker.hooks import tell

    if not options.level:
        return
    root, tasks = logging.getLogger(), logging.getLogger(_TASKS)
    line, task_line = LineFormatter(options, settings), LineFormatter(options, settings, of_tasks=True)
    arguments: Mapping[str, Any] = {
        "loglevel": logging.getLevelName(options.level),
        "logfile": options.path() if options.file else None,
        "format": line.plain,
        "colorize": options.colors(settings),
    }
    if signals.setup_logging.has_listeners():
        _leave_to_the_user(root, tasks)
        tell(signals.setup_logging, None, **arguments)
        return
    _take_root(options, settings)
    _set_levels(options.level)
    _take(tasks, _handler(options, formatter_of(options, settings, of_tasks=True), settings))
    tasks.setLevel(options.level)
    tasks.propagate = False
    tell(signals.after_setup_logger, None, logger=root, **arguments)
    tell(signals.after_setup_task_logger, None, logger=tasks, **{**arguments, "format": task_line.of_task})
    if settings.get("worker_redirect_stdouts", True):
        redirect(logging.getLogger(_REDIRECTED), settings.get("worker_redirect_stdouts_level") or "WARNING")


def begin_child(index: int) -> None:
    """Make this process one of the children, after its fork: each has a file of its own where the name says so.

    Args:
        index: which child it is, from 1; the number of one that ended is used again.

    Raises:
        OSError: its file cannot be written.
    """
    LineFormatter.index = index
    for logger in (logging.getLogger(), logging.getLogger(_OURS), logging.getLogger(_TASKS)):
        for old in our_handlers(logger):
            options: LogOptions = vars(old)["options"]
            if options.by_child:
                logger.removeHandler(old)
                old.close()
                new = file_handler(options, index)
                new.setFormatter(old.formatter)
                logger.addHandler(new)


def log_stream() -> TextIO:
    """The stream that our lines go to, for what is written without the interpreter's help."""
    for logger in (logging.getLogger(), logging.getLogger(_OURS)):
        for handler in our_handlers(logger):
            if isinstance(handler, logging.StreamHandler) and handler.stream is not None:
                stream: TextIO = handler.stream
                return stream
    return Printed.original_of(sys.stderr)


def _set_levels(level: str) -> None:
    logging.getLogger().setLevel(max(logging.getLevelName(level), logging.INFO))
    # DEBUG is for our own lines; that of asyncio and gRPC would drown them.
    logging.getLogger(_OURS).setLevel(level)
    logging.getLogger(_TRACE).setLevel(level if level == "DEBUG" else max(logging.getLevelName(level), logging.WARNING))


def _take_root(options: LogOptions, settings: Mapping[str, Any]) -> None:
    """Have all loggers write where we do; a root that the user has set up is left to him where he wants that."""
    root, ours = logging.getLogger(), logging.getLogger(_OURS)
    if settings.get("worker_hijack_root_logger", True):
        for handler in list(root.handlers):
            root.removeHandler(handler)
    if not root.handlers or our_handlers(root):
        _take(root, _handler(options, formatter_of(options, settings), settings))
    _remove(ours)
    ours.propagate = True


def _leave_to_the_user(*loggers: logging.Logger) -> None:
    ours = logging.getLogger(_OURS)
    for logger in (*loggers, ours):
        _remove(logger)
    ours.propagate = True


def _handler(
    options: LogOptions, formatter: logging.Formatter, settings: Mapping[str, Any] | None = None
) -> logging.Handler:
    handler = file_handler(options, LineFormatter.index) if options.file else stream_handler(options)
    if isinstance(formatter, LineFormatter):
        formatter.use_color = options.colors(settings or {})
    handler.setFormatter(formatter)
    return handler


def _take(logger: logging.Logger, handler: logging.Handler) -> None:
    _remove(logger)
    logger.addHandler(handler)


def _remove(logger: logging.Logger) -> None:
    for handler in our_handlers(logger):
        logger.removeHandler(handler)
        handler.close()
