"""What the code of a task logs and prints, as it is kept: whoever set up logging, and whatever is logged."""

import logging
from collections.abc import Iterator

import pytest

from grpcflow import Grpcflow
from grpcflow.context import Context
from grpcflow_protos.limits import LOG_LINE_BYTES
from grpcflow_worker import captured
from grpcflow_worker.log_lines import LogLine

app = Grpcflow("captured", set_as_current=False)


@app.task(name="shop.sell")
def sell() -> None:
    """Only its name counts."""


Kept = list[tuple[int, LogLine]]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """The lines of a task that runs meanwhile."""
    before = logging.getLogRecordFactory(), captured._make
    captured.hear_logging()
    lines: Kept = []
    request = Context(task="shop.sell", id="1", called_directly=False)
    request._token, request._log = 7, lambda token, line: lines.append((token, line))
    sell.push_request(request)
    yield lines
    sell.pop_request()
    logging.setLogRecordFactory(before[0])
    captured._make = before[1]


log = logging.getLogger("shop")


def test_a_record_is_kept_with_its_attempt_level_and_logger(kept: Kept) -> None:
    log.error("sold %d", 3)
    [(token, (at, level, logger, text))] = kept
    assert (token, level, logger, text) == (7, "ERROR", "shop", "sold 3")
    assert at > 1_700_000_000_000


def test_a_traceback_is_part_of_its_record(kept: Kept) -> None:
    try:
        raise LookupError("gone")
    except LookupError:
        log.exception("it broke")
    assert kept[0][1][3].startswith("it broke\nTraceback (most recent call last):")
    assert kept[0][1][3].endswith("LookupError: gone")


def test_the_level_of_the_logger_holds_and_that_of_handlers_does_not(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = logging.Logger("quiet", "ERROR")  # noqa: LOG001 - of this test alone
    quiet.warning("no")
    quiet.error("yes")
    monkeypatch.setattr(log, "propagate", False)
    log.warning("no handler hears this")
    assert [line[3] for _, line in kept] == ["yes", "no handler hears this"]


def test_our_own_lines_are_not_the_task_s_but_its_logger_is(kept: Kept) -> None:
    for name in ("grpcflow.worker", "grpcflow.trace", "grpcflow.redirected", "grpcflow.task", "grpcflow.task.shop"):
        logging.getLogger(name).warning("x")
    assert [line[2] for _, line in kept] == ["grpcflow.task", "grpcflow.task.shop"]


def test_arguments_that_do_not_fit_are_said(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.warning("%d pieces", "three")
    assert kept[0][1][3].startswith("%d pieces (its arguments do not fit: ")


@pytest.mark.parametrize("letter", ["x", "\u20ac", "\ud800"])
def test_a_line_has_a_bound_and_can_be_told_to_anyone(kept: Kept, letter: str) -> None:
    apart = logging.Logger("shop")  # noqa: LOG001 - what pytest writes down must be text that it can write
    apart.addHandler(logging.NullHandler())
    apart.warning(letter * 100_000)
    captured.say_printed(letter * 100_000, logging.WARNING)
    for _, (_, _, _, text) in kept:
        assert LOG_LINE_BYTES // 2 < len(text.encode()) <= LOG_LINE_BYTES
    assert [logger for _, (_, _, logger, _) in kept] == ["shop", ""]


def test_a_factory_of_the_user_s_own_is_asked_as_ever(kept: Kept) -> None:
    def factory(*args: object, **kwargs: object) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)  # type: ignore[arg-type]
        record.msg = f"mine: {record.msg}"
        return record

    logging.setLogRecordFactory(factory)
    captured.hear_logging()
    log.warning("sold")
    assert [line[3] for _, line in kept] == ["mine: sold"]


def test_outside_of_a_task_nothing_is_kept(kept: Kept) -> None:
    sell.pop_request()
    log.warning("x")
    captured.say_printed("x", logging.WARNING)
    sell.push_request(Context(task="shop.sell", id="1"))
    log.warning("called directly")
    assert not kept
