"""Lengths of time as people write them, and rates as they are shown."""

from datetime import timedelta
from typing import Any

import pytest

from grpcflow.lengths import age_of, parse_length
from grpcflow.limits import Rate, parse_rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("90", 90),
        ("0", 0),
        ("10m", 600),
        ("10 min", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5h", 1800),
        ("30d", 30 * 86_400),
        ("1w", 7 * 86_400),
        (" 1w 2d 3h 4m 5s ", 788_645),
        ("250.5s", 250.5),
    ],
)
def test_a_length_is_read(text: str, seconds: float) -> None:
    assert parse_length(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", " ", "s", "1y", "1 2", "30m1h", "1h1h", "-1s", "1e3", "1,5h", "nan", "inf", "1H"])
def test_what_is_no_length_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time; write 90s, 5m, 1h30m, 2d or 1w"):
        parse_length(text)


@pytest.mark.parametrize("text", ["3652501d", "99999999999999999999w"])
def test_a_length_beyond_what_travels_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write at most 3652500d"):
        parse_length(text)


@pytest.mark.parametrize("value", [60, 60.0, timedelta(minutes=1), "1m", "60"])
def test_an_age_is_given_in_seconds_as_text_or_as_a_timedelta(value: Any) -> None:
    assert age_of("results", value) == timedelta(minutes=1)


@pytest.mark.parametrize("value", [-1, timedelta(-1), True, [], float("nan"), float("inf"), timedelta.max])
def test_what_is_no_age_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"results is .*seconds of 0 or more"):
        age_of("results", value)


@pytest.mark.parametrize("text", ["10/s", "100/m", "3/h", "1/s"])
def test_a_rate_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_rate(text)) == text


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(Rate(1, 2_000), "30/m"), (Rate(1, 7_200_000), "1 in 7200 s"), (Rate(3, 7_000), "3 in 7 s")],
)
def test_a_rate_of_another_period_is_shown_exactly(rate: Rate, shown: str) -> None:
    assert str(rate) == shown
