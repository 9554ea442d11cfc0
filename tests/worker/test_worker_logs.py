"""The log where the app is: lines with the worker's name, tasks under their own, and users who do it themselves."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.log_state import logs_put_back

from grpcflow import signals
from grpcflow.log import get_task_logger
from grpcflow_worker.lines import LineFormatter, LogOptions
from grpcflow_worker.logs import begin_child, log_stream, set_up_app_log, set_up_log, set_up_plain_log

#: Lines on the terminal of the test, without redirection of what it prints itself.
PLAIN = {"worker_redirect_stdouts": False}
Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """Loggers and receivers are put back."""
    streams = sys.stdout, sys.stderr
    with logs_put_back():
        yield
        sys.stdout, sys.stderr = streams
    LineFormatter.index = 0
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


def test_what_tasks_print_goes_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_app_log(LogOptions("INFO", "w1"), {"worker_redirect_stdouts_level": "ERROR"})
    print("hello")
    told = capsys.readouterr()
    assert (told.out, told.err.rpartition("Z ")[2]) == ("", "ERROR   w1: hello\n")


def test_formats_dates_and_colours_of_the_app_hold(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {
        **PLAIN,
        "worker_log_format": "%(asctime)s %(processName)s %(message)s",
        "worker_log_datefmt": "now",
        "worker_task_log_format": "%(task_name)s %(message)s",
        "worker_log_color": True,
    }
    set_up_app_log(LogOptions("INFO", "w1"), settings)
    logging.getLogger("warehouse").warning("late")
    get_task_logger("shop.tasks").info("sold")
    begin_child(3)
    logging.getLogger("warehouse").info("from a child")
    assert capsys.readouterr().err.splitlines() == [
        "\x1b[33mnow MainProcess late\x1b[0m",
        "??? sold",
        "now ForkPoolWorker-3 from a child",
    ]


def test_no_colour_is_stronger_than_the_app(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_app_log(LogOptions("INFO", "w1", color=False), {**PLAIN, "worker_log_color": True})
    logging.getLogger("warehouse").error("late")
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("hijacks", [True, False])
def test_handlers_of_the_app_on_the_root_are_removed_unless_it_keeps_them(
    hijacks: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    own = logging.StreamHandler(sys.stderr)
    own.setFormatter(logging.Formatter("own %(message)s"))
    logging.getLogger().handlers = [own]
    set_up_app_log(LogOptions("INFO", "w1"), {**PLAIN, "worker_hijack_root_logger": hijacks})
    logging.getLogger("warehouse").info("hello")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("w1: hello") if hijacks else line == "own hello"


def test_a_file_has_all_lines_and_each_child_its_own_where_the_name_says_so(tmp_path: Path) -> None:
    options = LogOptions("INFO", "w1@box.example", file=str(tmp_path / "%n%I-%h.log"))
    set_up_log(options)
    logging.getLogger("grpcflow.worker").info("starts")
    logging.getLogger("warehouse").warning("the app is not there yet, so this is not ours")
    set_up_app_log(options, PLAIN)
    logging.getLogger("warehouse").info("imported")
    begin_child(2)
    logging.getLogger("warehouse").info("in a child")
    get_task_logger("shop.tasks").info("in a task")
    assert log_stream().name == str(tmp_path / "w1-2-box.example.log")
    written = {
        path.name: [line.rpartition(": ")[2] for line in path.read_text().splitlines()] for path in tmp_path.iterdir()
    }
    assert written == {
        "w1-box.example.log": ["starts", "imported"],
        "w1-2-box.example.log": ["in a child", "in a task"],
    }


def test_one_file_for_all_stays_one_in_a_child(tmp_path: Path) -> None:
    options = LogOptions("INFO", "w1", file=str(tmp_path / "%p.log"))
    set_up_app_log(options, PLAIN)
    begin_child(2)
    logging.getLogger("warehouse").info("in a child")
    assert [path.name for path in tmp_path.iterdir()] == ["w1.log"]


def test_the_supervisor_takes_the_form_that_the_app_wants(capsys: pytest.CaptureFixture[str]) -> None:
    options = LogOptions("INFO", "w1")
    set_up_log(options)
    logging.getLogger("grpcflow.worker").info("starts")
    set_up_plain_log(options, {"worker_log_format": "mine: %(message)s"})
    logging.getLogger("grpcflow.worker").info("runs")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO    w1: starts")
    assert second == "mine: runs"
