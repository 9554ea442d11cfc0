"""The log where the app is: lines with the worker's name, tasks under their own, and users who do it themselves."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from grpcflow import signals
from grpcflow.log import get_task_logger
from grpcflow_worker.lines import LogOptions
from grpcflow_worker.logs import set_up_app_log

LOGGERS = (None, "grpcflow", "grpcflow.task", "grpcflow.trace")
Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """Loggers and receivers are put back."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each, each.level, each.propagate, list(each.handlers)) for each in loggers]
    yield
    for each, level, propagate, handlers in before:
        each.setLevel(level)
        each.propagate, each.handlers = propagate, handlers
    for signal in (signals.setup_logging, signals.after_setup_logger, signals.after_setup_task_logger):
        signal.receivers.clear()


def listen(*wanted: signals.Signal) -> Told:
    told: Told = []

    def hear(signal: signals.Signal, **arguments: Any) -> None:
        told.append((signal.name, arguments))

    for each in wanted:
        each.connect(hear, weak=False)
    return told


def test_lines_bear_the_worker_and_those_of_tasks_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_app_log(LogOptions("INFO", "w1%s"), {})
    set_up_app_log(LogOptions("INFO", "w1%s"), {})  # twice is once: a worker of threads has set up its own log before
    logging.getLogger("grpcflow.worker").info("hello")
    get_task_logger("shop.tasks").info("sold")
    logging.getLogger("grpcflow.trace").info("a line for each task is for DEBUG")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO    w1%s: hello")
    assert second.endswith("INFO    w1%s: ???[???]: sold")


def test_receivers_change_what_was_set_up() -> None:
    told = listen(signals.after_setup_logger, signals.after_setup_task_logger)
    set_up_app_log(LogOptions("WARNING", "w1"), {})
    assert [name for name, _ in told] == ["after_setup_logger", "after_setup_task_logger"]
    assert told[0][1]["logger"] is logging.getLogger()
    assert told[1][1]["logger"] is logging.getLogger("grpcflow.task")
    assert {"loglevel", "logfile", "format", "colorize"} <= told[0][1].keys()
    assert told[0][1]["loglevel"] == logging.WARNING


def test_who_sets_up_logging_does_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_app_log(LogOptions("INFO", "w1"), {})
    told = listen(signals.setup_logging, signals.after_setup_logger)
    set_up_app_log(LogOptions("INFO", "w1"), {})
    assert [name for name, _ in told] == ["setup_logging"]
    get_task_logger("shop.tasks").info("to nobody of ours")
    assert capsys.readouterr().err == ""


def test_without_a_level_the_log_is_left_as_it_is() -> None:
    told = listen(signals.setup_logging, signals.after_setup_logger)
    set_up_app_log(LogOptions("", "w1"), {})
    assert told == []
