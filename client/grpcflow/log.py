"""Logging for tasks: loggers with one parent, and formatters that know which task writes.

It may not import grpc, protobuf or the codec.
"""

import logging
from typing import ClassVar, Final

from grpcflow import state

__all__ = ["ColorFormatter", "TaskFormatter", "get_task_logger"]

_PARENT: Final = "grpcflow.task"
_RESET: Final = "\x1b[0m"
#: What stands for the name and the id where no task runs, as in Celery.
_NOBODY: Final = "???"
_UNTRACED: Final = ("", "")


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for a module of tasks, whose records also go where those of ``grpcflow.task`` go.

    Args:
        name: Name of the logger, most often ``__name__``.

    Raises:
        RuntimeError: The name is one that grpcflow uses itself.
    """
    if name in ("grpcflow", _PARENT):
        raise RuntimeError(f"the logger {name!r} is grpcflow's own: use the name of your module, __name__")
    logger = logging.getLogger(name)
    if logger.parent is None or not f"{logger.parent.name}.".startswith(f"{_PARENT}."):
        logger.parent = logging.getLogger(_PARENT)
    return logger


class ColorFormatter(logging.Formatter):
    """A formatter that colours warnings and errors.

    Args:
        fmt: The format, as for ``logging.Formatter``.
        use_color: False: no colours. Default True.
    """

    COLORS: ClassVar[dict[str, str]] = {
        "DEBUG": "\x1b[34m",
        "WARNING": "\x1b[33m",
        "ERROR": "\x1b[31m",
        "CRITICAL": "\x1b[35m",
    }

    def __init__(self, fmt: str | None = None, use_color: bool = True) -> None:
        super().__init__(fmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        text = super().format(record)
        color = self.COLORS.get(record.levelname) if self.use_color else None
        return f"{color}{text}{_RESET}" if color else text


class TaskFormatter(ColorFormatter):
    """A formatter for which every record has ``task_name`` and ``task_id``, of the task that writes it.

    Likewise ``trace_id`` and ``span_id`` where the call is traced; both are empty elsewhere.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; ``???`` stands for both outside of a task."""
        task, request = state.get_current_task(), state.current_request()
        if task is not None and request is not None:
            record.__dict__.update(task_name=task.name, task_id=request.id)
        else:
            record.__dict__.setdefault("task_name", _NOBODY)
            record.__dict__.setdefault("task_id", _NOBODY)
        traced = None if request is None else request._trace
        for name, value in zip(("trace_id", "span_id"), traced or _UNTRACED, strict=True):
            record.__dict__.setdefault(name, value)
        return super().format(record)
