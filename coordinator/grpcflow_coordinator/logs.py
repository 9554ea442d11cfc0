"""Where the coordinator's log goes, and as what. This file may not log anything itself."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import MutableMapping
from typing import Any

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_protos.log_lines import JsonLines


def set_up_log(config: Config) -> None:
    """Have all loggers write where the settings say; what others set up before stays.

    Args:
        config: the settings.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = _handler(config)
        handler.setFormatter(_formatter(config))
        root.addHandler(handler)
    root.setLevel(config.log_level.upper())


def _handler(config: Config) -> logging.Handler:
    if not config.log_file:
        return logging.StreamHandler(sys.stderr)
    try:
        return logging.handlers.WatchedFileHandler(config.log_file, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as error:
        reason = f"the log file {config.log_file} cannot be written: {error}"
        raise ConfigurationError(f"{reason}; name another with --log-file") from error


def _formatter(config: Config) -> logging.Formatter:
    if config.log_format == "json":
        return JsonLines(service="coordinator")
    return logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")


class NamespaceLog(logging.LoggerAdapter[logging.Logger]):
    """What is told of one namespace: each line names it.

    Args:
        log: where that goes.
        name: the namespace.
    """

    def __init__(self, log: logging.Logger, name: str) -> None:
        super().__init__(log)
        self._name = name

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the name to a line, in the text and as a field."""
        return f"namespace {self._name}: {msg}", {**kwargs, "extra": {"namespace": self._name}}
