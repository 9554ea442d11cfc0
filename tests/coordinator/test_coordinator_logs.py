"""Where the coordinator's log goes, and as what."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.logs import set_up_log


@contextmanager
def logging_as(config: Config) -> Iterator[None]:
    """Sets up the log in a root logger that nobody else uses; afterwards it is what it was."""
    root = logging.getLogger()
    level = root.level
    with mock.patch.object(root, "handlers", []):
        try:
            set_up_log(config)
            yield
        finally:
            root.setLevel(level)
            for handler in root.handlers:
                handler.close()


def settings(**given: str) -> Config:
    """Returns settings."""
    return Config(data="x", **given)  # type: ignore[arg-type]


def test_text_goes_to_standard_error_with_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as(settings()):
        logging.getLogger("grpcflow_coordinator").info("hello")
        logging.getLogger("grpcflow_coordinator").debug("not this")
    line = capsys.readouterr().err
    assert line.endswith(" INFO    hello\n")
    assert line.startswith("20")


def test_json_is_an_object_a_line_that_names_the_coordinator(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_as(settings(log_format="json", log_level="DEBUG")):
        logging.getLogger("grpcflow_coordinator.engine").debug("two\nlines")
    found = json.loads(capsys.readouterr().err)
    assert (found["message"], found["service"]) == ("two\nlines", "coordinator")
    assert found["logger"] == "grpcflow_coordinator.engine"


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with logging_as(settings(log_file=str(path))):
        logging.getLogger("a").warning("first")
        path.rename(tmp_path / "log.1")
        logging.getLogger("a").warning("second")
    assert "first" in (tmp_path / "log.1").read_text()
    assert "second" in path.read_text()
    assert "first" not in path.read_text()


def test_a_file_that_cannot_be_written_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    nowhere = settings(log_file=str(tmp_path / "none" / "log"))
    with pytest.raises(ConfigurationError, match="name another with --log-file"), logging_as(nowhere):
        pass
    with pytest.raises(ConfigurationError, match="log_format 'xml' is not one of text, json"):
        settings(log_format="xml")
