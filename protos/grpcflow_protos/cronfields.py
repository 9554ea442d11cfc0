"""Fields of a crontab as people write them: what the texts of the message Crontab mean. Pure, and knows no calendar.

The client refuses by it what the coordinator would refuse. Celery and cron agree on most of it; what only Celery takes
(whole names, ranges over the end such as "fri-mon") and what only cron takes ("L", "mon#2", "5/10", Sunday as 7) are
both taken here.
"""

from __future__ import annotations

import re

LONGEST_FIELD = 1_000
_BOUNDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day_of_month": (1, 31),
    "month_of_year": (1, 12),
    "day_of_week": (0, 7),
}
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_NAMES = {"month_of_year": (_MONTHS, 1), "day_of_week": (_DAYS, 0)}
_EXAMPLES = {
    "minute": '0 to 59, "*", "*/15", "0-30" or a list of them',
    "hour": '0 to 23, "*", "*/2", "9-17" or a list of them',
    "day_of_month": '1 to 31, "*", "*/7", "1-7", "L" (the last day), "LW" (the last weekday) or a list of them',
    "month_of_year": '1 to 12, "jan" to "dec", "*", "*/3", "jun-aug" or a list of them',
    "day_of_week": '0 to 7 (0 and 7: Sunday), "sun" to "sat", "*", "mon-fri", "mon#1" (the first), "5L" (the last) '
    "or a list of them",
}
_PART = re.compile(r"(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/([0-9]+))?", re.ASCII)
_NTH = re.compile(r"([a-z0-9]+)#([1-5])", re.ASCII)
_LAST = re.compile(r"([a-z0-9]+?)l", re.ASCII)


class BadField(ValueError):
    """A field of a crontab that says nothing; the text says what to write."""


def members(name: str, text: str) -> frozenset[int | str]:
    """Return what a field names: numbers, and as texts the marks of days ("L", "LW", "1#2", "5L").

    Args:
        name: As for `expand`.
        text: The field.

    Raises:
        BadField: It says nothing, or names what does not exist.
    """
    expanded = expand(name, text)
    if expanded == "*":
        low, high = _BOUNDS[name]
        return frozenset(range(low, min(high, 6) + 1 if name == "day_of_week" else high + 1))
    return frozenset(int(part) if part.isdigit() else part for part in expanded.split(","))


def expand(name: str, text: str) -> str:
    """Return a field in the shortest words that any cron reads: numbers, "*", and the marks of days.

    Args:
        name: "minute", "hour", "day_of_month", "month_of_year" or "day_of_week".
        text: The field.

    Raises:
        BadField: It says nothing, or names what does not exist.
    """
    if len(text) > LONGEST_FIELD:
        raise BadField(f"the crontab's {name} has {len(text)} characters: write at most {LONGEST_FIELD}")
    parts = [_part(name, text, part) for part in text.lower().split(",")]
    return "*" if "*" in parts else ",".join(dict.fromkeys(parts))


def _part(name: str, text: str, part: str) -> str:
    special = _special(name, text, part)
    if special:
        return special
    match = _PART.fullmatch(part)
    if match is None:
        raise _bad(name, text)
    first, last, step = match.groups()
    low, high = _BOUNDS[name]
    if name == "day_of_week":
        high = 6
    if first == "*":
        if last is not None:
            raise _bad(name, text)
        if step is None:
            return "*"
        numbers = list(range(low, high + 1))
    else:
        numbers = _range(name, text, first, last, open_end=step is not None)
    if step is not None and not int(step):
        raise BadField(f"the crontab's {name} {text!r} goes in steps of 0: write {_EXAMPLES[name]}")
    return ",".join(str(number) for number in numbers[:: int(step or 1)])


def _range(name: str, text: str, first: str, last: str | None, *, open_end: bool) -> list[int]:
    low, high = _BOUNDS[name]
    start = _number(name, text, first)
    if last is not None:
        end = _number(name, text, last)
    else:
        end = high if open_end else start
    if name == "day_of_week":
        # Sunday has two numbers. At a range's start it is 0; at its end it comes after Saturday.
        high, start = 6, start % 7
        if last is None:
            end = 6 if open_end else start
        elif end == 0 and start != 0:
            end = 7
    if end >= start:
        numbers = list(range(start, end + 1))
    else:
        numbers = [*range(start, high + 1), *range(low, end + 1)]
    return [number % 7 for number in numbers] if name == "day_of_week" else numbers


def _number(name: str, text: str, word: str) -> int:
    low, high = _BOUNDS[name]
    if word.isdigit():
        number = int(word)
        if not low <= number <= high:
            raise BadField(f"the crontab's {name} {text!r} is out of bounds: write {_EXAMPLES[name]}")
        return number
    names, start = _NAMES.get(name, ([], 0))
    for place, full in enumerate(names):
        if len(word) >= 3 and full.startswith(word):
            return place + start
    raise _bad(name, text)


def _special(name: str, text: str, part: str) -> str:
    if name == "day_of_month" and part in {"l", "lw"}:
        return part.upper()
    if name != "day_of_week":
        return ""
    if match := _NTH.fullmatch(part):
        return f"{_number(name, text, match[1]) % 7}#{match[2]}"
    if (match := _LAST.fullmatch(part)) and not any(full.startswith(part) for full in _DAYS):
        return f"{_number(name, text, match[1]) % 7}L"
    return ""


def _bad(name: str, text: str) -> BadField:
    return BadField(f"the crontab's {name} {text!r} says nothing: write {_EXAMPLES[name]}")
