"""Logging for tasks: where records go, and which task they name."""

import logging

import pytest

from grpcflow import Context, Grpcflow
from grpcflow.log import ColorFormatter, TaskFormatter, get_task_logger


def record(level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("x", level, "f.py", 1, "words", None, None)


def test_a_task_logger_is_a_child_of_one_for_all_tasks() -> None:
    logger = get_task_logger("logt.tasks")
    assert logger is get_task_logger("logt.tasks") is logging.getLogger("logt.tasks")
    assert logger.parent is logging.getLogger("grpcflow.task")
    with pytest.raises(RuntimeError, match="__name__"):
        get_task_logger("grpcflow.task")


def test_records_name_the_task_that_writes() -> None:
    app = Grpcflow("logt", set_as_current=False)
    task = app.task(name="logt.add")(lambda: None)
    formatter = TaskFormatter("%(task_name)s[%(task_id)s] %(message)s", use_color=False)
    assert formatter.format(record()) == "???[???] words"
    task.push_request(Context(id="abc"))
    try:
        assert formatter.format(record()) == "logt.add[abc] words"
    finally:
        task.pop_request()


def test_errors_have_a_color_where_it_is_wanted() -> None:
    assert ColorFormatter("%(message)s").format(record(logging.ERROR)) == "\x1b[31mwords\x1b[0m"
    assert ColorFormatter("%(message)s").format(record()) == "words"
    assert ColorFormatter("%(message)s", use_color=False).format(record(logging.ERROR)) == "words"
