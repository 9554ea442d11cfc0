"""Limits that a task or a queue declares: what their text means, and which values cannot be.

Who holds them is the coordinator's affair. Pure; may import nothing of grpcflow.
"""

import inspect
import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from grpcflow.task import Task

__all__ = [
    "LONGEST",
    "Rate",
    "check_limits",
    "checked_count",
    "checked_length",
    "checked_names",
    "checked_size",
    "parse_rate",
    "parameters_of",
]

_RATE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*([smh]))?\s*")
_PERIODS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000}
_LONGEST_PERIOD_MS: Final = 7 * 24 * 3_600_000
_MOST: Final = (1 << 32) - 1
_FINEST: Final = 10_000

#: The longest time that can travel: what protobuf allows a duration to be.
LONGEST: Final = timedelta(days=3_652_500)
_TOP_PRIORITY: Final = 9
#: What coordinators take: calls of a batch, and seconds that the first of them waits for others.
_LARGEST_BATCH: Final = 10_000
_LONGEST_WAIT: Final = 3600


@dataclass(frozen=True, slots=True)
class Rate:
    """So many starts in each period; ``str()`` gives it as it is written, such as ``10/s``.

    Attributes:
        count: How many.
        period_ms: The period in milliseconds.
    """

    count: int
    period_ms: int

    def __str__(self) -> str:
        """Return it as ``parse_rate`` takes it, or in words where no such text says it exactly."""
        own = [unit for unit, period_ms in _PERIODS_MS.items() if period_ms == self.period_ms]
        for unit in own or _PERIODS_MS:
            count, rest = divmod(self.count * _PERIODS_MS[unit], self.period_ms)
            if not rest:
                return f"{count}/{unit}"
        return f"{self.count} in {self.period_ms / 1000:g} s"


def parse_rate(value: Any) -> Rate | None:
    """Return what a rate limit means; None where there is none.

    Args:
        value: Text such as ``10/s``, ``100/m`` or ``3/h``; a number, or one as text: so many a second; None or 0: no
            limit.

    Raises:
        ValueError: It is none of these, or less than one a week.
    """
    if value is None:
        return None
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        number, period = Fraction(found[1]), _PERIODS_MS[found[2] or "s"]
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        number, period = Fraction(str(value)), _PERIODS_MS["s"]
    else:
        raise ValueError(
            f'the rate limit {value!r} is none: write "10/s", "100/m" or "3/h", a number for so many a second, or None'
        )
    near = number.limit_denominator(_FINEST)
    rate = Rate(near.numerator, period * near.denominator)
    if rate.count > _MOST or rate.period_ms > _LONGEST_PERIOD_MS or (number and not rate.count):
        raise ValueError(f"the rate limit {value!r} cannot be kept: one start a week to {_MOST:,} a second can be")
    return rate if rate.count else None


def checked_count(what: str, value: Any) -> int:
    """Return how many at once; 0 stands for None, which is no limit.

    Raises:
        ValueError: It is no whole number above 0.
    """
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST:
        raise ValueError(f"{what} is {value!r}; it must be a whole number above 0, or None for no limit")
    return value


def checked_size(size: Any) -> int:
    """Return how many calls a batch has at most.

    Raises:
        ValueError: It is no whole number above 0.
    """
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= _LARGEST_BATCH:
        raise ValueError(f"the size of batches is {size!r}; it must be a whole number from 1 to {_LARGEST_BATCH:,}")
    return size


def checked_length(what: str, value: Any) -> timedelta | None:
    """Return seconds or a timedelta as a timedelta; None stays None.

    Raises:
        ValueError: It is no length of time above 0, or longer than 10,000 years.
    """
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= LONGEST.total_seconds():
        value = timedelta(seconds=value)
    if not isinstance(value, timedelta) or not timedelta(0) < value <= LONGEST:
        raise ValueError(f"{what} is {value!r}; it must be a number of seconds above 0, or a timedelta")
    return value


def checked_names(what: str, value: Any) -> tuple[str, ...]:
    """Return names of arguments: of one, or of several; none for None.

    Raises:
        ValueError: It is neither a name nor several.
    """
    if value is None:
        return ()
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ValueError(f"{what} is {value!r}; it must be the name of an argument of the task, or a tuple of such")
    return tuple(names)


def parameters_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return what a function takes; None for one that does not say, as those written in C."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def check_limits(task: "Task[..., Any]") -> None:
    """Refuse limits, keys and lengths of time of a task that cannot be.

    Raises:
        ValueError: One cannot; the message names the task.
    """
    about = f"the task {task.name}:"
    try:
        parse_rate(task.rate_limit)
    except ValueError as error:
        raise ValueError(f"{about} {error}") from None
    for option in ("concurrency_limit", "concurrency_per_key"):
        checked_count(f"{about} {option}", getattr(task, option))
    for option in ("unique_for", "result_expires", "result_failure_expires"):
        checked_length(f"{about} {option}", getattr(task, option))
    _check_priority(about, task.priority)
    wanted = {option: checked_names(f"{about} {option}", getattr(task, option)) for option in _NAMING}
    for option in _NAMING:
        if isinstance(getattr(task, option), list):
            setattr(
                task, option, wanted[option]
            )  # what calls have in common is found by these, so they must be hashable
    if task.unique_for is None and (task.unique_on is not None or task.unique_stays):
        raise ValueError(f"{about} unique_on and unique_stays say nothing without unique_for: say for how long")
    if any(wanted.values()) and not task.batch_size:
        _check_parameters(about, parameters_of(task.run), wanted)
    if task.batch_size:
        _check_batch(about, task)


#: Attributes that name arguments.
_NAMING: Final = ("concurrency_key", "fairness_key", "unique_on")


def _check_priority(about: str, priority: Any) -> None:
    """Refuse a priority that no queue has."""
    if priority is not None and (not isinstance(priority, int) or not 0 <= priority <= _TOP_PRIORITY):
        raise ValueError(f"{about} the priority is {priority!r}; it must be a whole number from 0 to 9")


def _check_parameters(about: str, signature: inspect.Signature | None, wanted: "dict[str, tuple[str, ...]]") -> None:
    """Refuse names of arguments that the function does not have; one with ``**kwargs`` may have any."""
    if signature is None:
        return
    parameters = signature.parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    known: Collection[str] = [each.name for each in parameters if each.kind is not inspect.Parameter.VAR_POSITIONAL]
    for option, names in wanted.items():
        for name in names:
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise ValueError(
                    f"{about} {option} names the argument {name!r}, which its function does not have; {has}"
                )


def _check_batch(about: str, task: "Task[..., Any]") -> None:
    """Refuse sizes and waits of a batch that cannot be."""
    if task.batch_size < 0 or task.batch_size > _LARGEST_BATCH:
        raise ValueError(f"{about} batch_size is {task.batch_size!r}; it must be from 1 to {_LARGEST_BATCH:,}, or 0")
    within: Any = task.batch_within
    if not isinstance(within, (int, float)) or isinstance(within, bool) or not 0 <= within <= _LONGEST_WAIT:
        raise ValueError(f"{about} within is {within!r}; it must be a number of seconds from 0 to {_LONGEST_WAIT}")
