"""Sets up the log of a process of the worker: readable lines with time (UTC), level and worker name.

The supervisor's process has no app; where the app is, its receivers of `setup_logging`, `after_setup_logger` and
`after_setup_task_logger` have their say. This file may NOT log anything itself.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Name of the handlers made here, by which they are found again.
_HANDLER: Final = "grpcflow-worker"

#: Parent of the loggers that `get_task_logger` gives.
_TASKS: Final = "grpcflow.task"

#: Logger of what happens to each single task; at INFO that is a line for every one of them.
_TRACE: Final = "grpcflow.trace"


def set_up_log(level: str, name: str) -> None:
    """Log to standard error, in a process that runs no code of the user.

    Args:
        level: name of the log level.
        name: the worker's name, for each line.
    """
    root = logging.getLogger()
    if not any(handler.name == _HANDLER for handler in root.handlers):
        root.addHandler(_handler(logging.Formatter(_format(name), _DATES)))
    root.setLevel(max(logging.getLevelName(level), logging.INFO))
    # DEBUG is for our own lines; that of asyncio and gRPC would drown them.
    logging.getLogger("grpcflow").setLevel(level)
    logging.getLogger(_TRACE).setLevel(level if level == "DEBUG" else max(logging.getLevelName(level), logging.WARNING))


def set_up_app_log(level: str, name: str) -> None:
    """Log to standard error where the app is, as far as its receivers of `setup_logging` do not see to it.

    Args:
        level: name of the log level; "": leave the log as it is.
        name: the worker's name, for each line.
    """
    from grpcflow import signals
    from grpcflow_worker.hooks import tell

    if not level:
        return
    arguments: Mapping[str, Any] = {
        "loglevel": logging.getLevelName(level),
        "logfile": None,
        "format": _format(name),
        "colorize": False,
    }
    root, tasks = logging.getLogger(), logging.getLogger(_TASKS)
    if signals.setup_logging.has_listeners():
        for logger in (root, tasks):
            _remove(logger)
        tell(signals.setup_logging, None, **arguments)
        return
    set_up_log(level, name)
    _set_up_tasks(tasks, level, name)
    tell(signals.after_setup_logger, None, logger=root, **arguments)
    tell(signals.after_setup_task_logger, None, logger=tasks, **{**arguments, "format": _task_format(name)})


def _set_up_tasks(tasks: logging.Logger, level: str, name: str) -> None:
    """What tasks log bears the task's name and id."""
    from grpcflow.log import TaskFormatter

    _remove(tasks)
    formatter = TaskFormatter(_task_format(name), use_color=False)
    formatter.datefmt = _DATES
    tasks.addHandler(_handler(formatter))
    tasks.setLevel(level)
    tasks.propagate = False


_DATES: Final = "%Y-%m-%dT%H:%M:%S"


def _format(name: str) -> str:
    worker = name.replace("%", "%%")
    return f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {worker}: %(message)s"


def _task_format(name: str) -> str:
    worker = name.replace("%", "%%")
    return f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {worker}: %(task_name)s[%(task_id)s]: %(message)s"


def _handler(formatter: logging.Formatter) -> logging.Handler:
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.name = _HANDLER
    handler.setFormatter(formatter)
    return handler


def _remove(logger: logging.Logger) -> None:
    for handler in [each for each in logger.handlers if each.name == _HANDLER]:
        logger.removeHandler(handler)
