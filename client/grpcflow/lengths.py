"""Lengths of time as people write them: ``90s``, ``10m``, ``1h30m``, ``30d``, ``1w``. The one parser of them.

Pure; may import nothing of grpcflow but what is pure too.
"""

import re
from datetime import timedelta
from typing import Any, Final

from grpcflow.limits import LONGEST

__all__ = ["age_of", "parse_length"]

_NUMBER: Final = r"(?:\s*(\d+(?:\.\d*)?|\.\d+)\s*%s)?"
_LENGTH: Final = re.compile("".join(_NUMBER % unit for unit in ("w", "d", "h", "m(?:in)?", "s?")) + r"\s*")
_NAMES: Final = ("weeks", "days", "hours", "minutes", "seconds")


def parse_length(text: str) -> timedelta:
    """Return a length of time from text such as ``90s``, ``10m``, ``1h30m``, ``30d``, ``1w``; a bare number is seconds.

    Args:
        text: Numbers with the units w, d, h, m (or min) and s, each at most once and the largest first.

    Raises:
        ValueError: It is none, or longer than 10,000 years.
    """
    found = _LENGTH.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is no length of time; write 90s, 5m, 1h30m, 2d or 1w")
    parts = {name: float(part or 0) for name, part in zip(_NAMES, found.groups(), strict=True)}
    try:
        length = timedelta(**parts)
    except OverflowError:
        length = timedelta.max
    if length > LONGEST:
        raise ValueError(f"{text!r} is too long a time; write at most {LONGEST.days}d")
    return length


def age_of(what: str, value: Any) -> timedelta:
    """Return a length of time of 0 or more from seconds, a timedelta, or text as in ``parse_length``.

    Args:
        what: What it is of, for the message.
        value: What was given.

    Raises:
        ValueError: It is none of these, below 0, or longer than 10,000 years.
    """
    if isinstance(value, str):
        return parse_length(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST.total_seconds():
        return timedelta(seconds=value)
    if isinstance(value, timedelta) and timedelta(0) <= value <= LONGEST:
        return value
    raise ValueError(
        f'{what} is {value!r}; it must be seconds of 0 or more, a timedelta, or text such as "10m" or "30d"'
    )
