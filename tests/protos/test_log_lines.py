"""Lines of a log as JSON objects."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from grpcflow_protos.log_lines import JsonLines


def written(formatter: logging.Formatter, message: str = "hello %s", *args: Any, **given: Any) -> dict[str, Any]:
    """Returns a line that was formatted, as what it says."""
    more = given.pop("extra", None)
    record = logging.getLogger("a.b").makeRecord("a.b", logging.INFO, "f.py", 3, message, args, None, extra=more)
    for name, value in given.items():
        setattr(record, name, value)
    line = formatter.format(record)
    assert "\n" not in line
    assert line.isascii()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_has_time_level_logger_message_process_and_what_always_stands_there() -> None:
    found = written(JsonLines(service="x"), "hello %s", "you", created=1_767_225_600.1234, process=7)
    assert found == {
        "time": "2026-01-01T00:00:00.123Z",
        "level": "INFO",
        "logger": "a.b",
        "message": "hello you",
        "process": 7,
        "service": "x",
    }


def test_line_ends_control_characters_and_lone_surrogates_break_no_line() -> None:
    found = written(JsonLines(), "a\nb\r\x00\u2028\udc80 %s", "\ud800é")
    assert found["message"] == "a\nb\r\x00\u2028\udc80 \ud800é"


def test_what_extra_gives_is_in_the_line_as_it_is_or_as_its_text() -> None:
    found = written(JsonLines(), "x", extra={"task_id": "1", "times": [1, 2.5], "odd": object})
    assert (found["task_id"], found["times"], found["odd"]) == ("1", [1, 2.5], "<class 'object'>")


def test_a_traceback_is_one_value() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        found = written(JsonLines(), "failed", exc_info=sys.exc_info())
    assert found["error"].startswith("Traceback")
    assert found["error"].endswith("ValueError: no")
