"""What tasks print: whole lines in the log, each with the task that printed it."""

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from grpcflow import Grpcflow, state
from grpcflow.context import Context
from grpcflow_worker.lines import LineFormatter, LogOptions
from grpcflow_worker.printed import Printed, redirect

app = Grpcflow("printing", set_as_current=False)


@app.task(name="shop.sell")
def sell() -> None:
    """Only its name counts."""


class Log:
    """A logger whose lines are kept, and streams that lead there."""

    def __init__(self) -> None:
        self.original = io.StringIO()
        self.text = io.StringIO()
        self.logger = logging.Logger("grpcflow.redirected", "DEBUG")  # noqa: LOG001 - of this test alone
        handler = logging.StreamHandler(self.text)
        handler.setFormatter(LineFormatter(LogOptions("INFO", "w1"), {}))
        self.logger.addHandler(handler)
        self.stream = Printed(self.original, self.logger, logging.WARNING)

    def lines(self) -> list[str]:
        """What was logged, from the worker's name on."""
        return [line.partition(" WARNING ")[2].strip() for line in self.text.getvalue().splitlines()]


@pytest.fixture
def log() -> Log:
    return Log()


class Running:
    """A task that runs while the body does."""

    def __init__(self, task_id: str) -> None:
        self.request = Context(task="shop.sell", id=task_id, called_directly=False)

    def __enter__(self) -> None:
        sell.push_request(self.request)

    def __exit__(self, *_: object) -> None:
        sell.pop_request()


def test_a_line_that_is_printed_in_pieces_is_one_line_with_name_and_id(log: Log) -> None:
    with Running("id-1"):
        print("sold", 3, "of", 5, file=log.stream)
        print("two\nlines", file=log.stream)
    assert log.lines() == [
        "w1: shop.sell[id-1]: sold 3 of 5",
        "w1: shop.sell[id-1]: two",
        "w1: shop.sell[id-1]: lines",
    ]


def test_outside_of_a_task_a_line_names_none(log: Log) -> None:
    print("hello", file=log.stream)
    print(file=log.stream)
    assert log.lines() == ["w1: hello"], "an empty line says nothing"


def test_what_has_no_end_of_line_comes_under_the_name_of_its_own_task(log: Log) -> None:
    with Running("id-1"):
        print("half", end="", file=log.stream)
    with Running("id-2"):
        print("whole", file=log.stream)
        print("flushed", end="", flush=True, file=log.stream)
    assert [line.partition("[")[2] for line in log.lines()] == ["id-1]: half", "id-2]: whole", "id-2]: flushed"]


def test_threads_do_not_mix_their_lines(log: Log) -> None:
    first, second = threading.Event(), threading.Event()

    def one() -> None:
        log.stream.write("one ")
        first.set()
        assert second.wait(60)
        log.stream.write("and one\n")

    def two() -> None:
        assert first.wait(60)
        log.stream.write("two\n")
        second.set()

    threads = [threading.Thread(target=each) for each in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert log.lines() == ["w1: two", "w1: one and one"]


async def test_coroutines_that_print_in_turns_do_not_mix_their_lines(log: Log) -> None:
    async def say(task_id: str) -> None:
        with Running(task_id):
            print("I", end=" ", file=log.stream)
            await asyncio.sleep(0)
            print("am", task_id, file=log.stream)

    await asyncio.gather(say("a"), say("b"))
    assert log.lines() == ["w1: shop.sell[a]: I am a", "w1: shop.sell[b]: I am b"]


def test_a_log_that_fails_prints_on_the_original_and_does_not_go_in_circles(log: Log) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.stream.write("the log is full\n")

    log.logger.handlers = [Broken()]
    log.stream.write("hello\n")
    assert log.original.getvalue() == "the log is full\n"


def test_a_line_without_end_does_not_grow_for_ever(log: Log) -> None:
    for _ in range(3):
        log.stream.write("x" * 30_000)
    assert len(log.lines()) == 1
    log.stream.flush()
    assert len(log.lines()) == 1


def test_code_that_looks_at_the_stream_finds_one(log: Log) -> None:
    stream = log.stream
    assert (stream.writable(), stream.isatty(), stream.encoding) == (True, False, log.original.encoding)
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()  # the original of this test has none; what it raises is raised


@pytest.fixture
def streams() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    yield
    sys.stdout, sys.stderr = before


@pytest.mark.usefixtures("streams")
def test_both_streams_are_redirected_once(log: Log) -> None:
    original = sys.stdout
    redirect(log.logger, "WARNING")
    redirect(log.logger, "ERROR")
    print("hello")
    print("trouble", file=sys.stderr)
    assert Printed.original_of(sys.stdout) is original
    assert log.text.getvalue().count("ERROR") == 2


def test_in_a_task_all_but_our_own_lines_name_it() -> None:
    formatter = LineFormatter(LogOptions("INFO", "w1"), {})

    def line(logger: str) -> str:
        return formatter.format(logging.LogRecord(logger, logging.INFO, "f", 1, "hello", (), None)).partition("w1: ")[2]

    with Running("id-1"):
        assert state.current_request() is not None
        assert line("warehouse.models") == "shop.sell[id-1]: hello"
        assert line("grpcflow.worker") == "hello"
    assert line("warehouse.models") == "hello"
