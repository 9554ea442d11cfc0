"""Times at which schedules fire, as people write them: Celery's ``crontab``, ``schedule`` and ``solar``, and ``once``.

Values that check themselves when they are made; the next time is worked out by the coordinator, whose clock alone
decides. It may not import grpc or protobuf.
"""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from grpcflow_protos.cronfields import BadField, members

__all__ = ["BaseSchedule", "ParseException", "crontab", "maybe_schedule", "once", "schedule", "solar"]

#: What a field of a crontab may be given as.
CronSpec = int | str | Iterable[int] | None

EVENTS: Final = (
    *("dawn_astronomical", "dawn_nautical", "dawn_civil", "sunrise", "solar_noon"),
    *("sunset", "dusk_civil", "dusk_nautical", "dusk_astronomical"),
)

SHORTEST: Final = timedelta(milliseconds=100)
LONGEST: Final = timedelta(days=36_525)

#: The years in which a moment may lie; the last is what the time that there is ends in, less a hundred years to spare.
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9899

#: Days of each month in its longest year.
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIELDS: Final = 5


class ParseException(ValueError):
    """A field of a crontab that says nothing; the text tells what to write."""


class BaseSchedule:
    """What all kinds of times have in common."""

    def describe(self) -> str:
        """Return the times as a few words for people."""
        raise NotImplementedError


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """The times that agree with all five fields; a day must agree with each of its three, as in Celery.

    A field is a number, text as in cron (``"*/15"``, ``"1-5,10"``, ``"mon-fri"``) or numbers. Beyond Celery:
    ``day_of_month="L"`` (the last day) and ``"LW"`` (the last weekday), ``day_of_week="mon#2"`` (the second Monday) and
    ``"5L"`` (the last Friday), 7 for Sunday.

    Args:
        minute: 0 to 59.
        hour: 0 to 23.
        day_of_week: 0 to 7 or names; 0 and 7 are Sunday.
        day_of_month: 1 to 31.
        month_of_year: 1 to 12 or names.
        **elsewhere: ``app`` is taken and not used; ``nowfun`` is refused.

    Attributes:
        minute: What the field names, as a set; so with the other four.

    Raises:
        ParseException: A field says nothing or is out of bounds.
        ValueError: No month has such a day.
        TypeError: A field is no number, text or numbers; or ``nowfun`` was given.
    """

    def __init__(
        self,
        minute: CronSpec = "*",
        hour: CronSpec = "*",
        day_of_week: CronSpec = "*",
        day_of_month: CronSpec = "*",
        month_of_year: CronSpec = "*",
        **elsewhere: Any,
    ) -> None:
        _refuse(elsewhere)
        #: The five texts in the order of cron: minute, hour, day of month, month, day of week.
        self.fields: tuple[str, str, str, str, str] = (
            _text("minute", minute),
            _text("hour", hour),
            _text("day_of_month", day_of_month),
            _text("month_of_year", month_of_year),
            _text("day_of_week", day_of_week),
        )
        self.minute = _members("minute", self.fields[0])
        self.hour = _members("hour", self.fields[1])
        self.day_of_month = _members("day_of_month", self.fields[2])
        self.month_of_year = _members("month_of_year", self.fields[3])
        self.day_of_week = _members("day_of_week", self.fields[4])
        longest = max(_DAYS[month - 1] for month in self.month_of_year if isinstance(month, int))
        if all(isinstance(day, int) and day > longest for day in self.day_of_month):
            raise ValueError(
                f"no year has such a day: day_of_month {self.fields[2]!r} with month_of_year {self.fields[3]!r}; "
                'for the last day of each month write day_of_month="L"'
            )

    @classmethod
    def from_string(cls, crontab: str) -> "crontab":
        """Make one of a line as in cron: minute, hour, day of month, month, day of week.

        Args:
            crontab: Five fields with blanks between them, such as ``"*/5 8-18 * * mon-fri"``.

        Raises:
            ValueError: There are not five; otherwise as for the class.
        """
        fields = crontab.split()
        if len(fields) != _FIELDS:
            raise ValueError(
                f"{crontab!r} has {len(fields)} fields: write five, for minute, hour, day of month, month and weekday, "
                'such as "*/5 8-18 * * mon-fri"'
            )
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    def describe(self) -> str:
        """Return the five fields."""
        return " ".join(self.fields)

    def __eq__(self, other: object) -> bool:
        return self._all() == other._all() if isinstance(other, crontab) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"<crontab: {self.describe()}>"

    def _all(self) -> tuple[frozenset[int | str], ...]:
        return self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Times that are equally far from each other.

    Args:
        run_every: Seconds or a timedelta; at least 0.1 s.
        relative: True: at whole multiples of it since 1970-01-01 UTC, so every hour means on the hour. False: counted
            from when the coordinator got the schedule.
        **elsewhere: ``app`` is taken and not used; ``nowfun`` is refused.

    Raises:
        TypeError: ``run_every`` is neither, or ``nowfun`` was given.
        ValueError: It is under 0.1 s or over 100 years.
    """

    def __init__(self, run_every: float | timedelta, relative: bool = False, **elsewhere: Any) -> None:
        _refuse(elsewhere)
        self.run_every = as_timedelta("run_every", run_every)
        self.relative = relative
        if not SHORTEST <= self.run_every <= LONGEST:
            raise ValueError(f"every {length_text(self.run_every)} cannot be: give 0.1 s to 100 years")

    @property
    def seconds(self) -> float:
        """How many seconds there are from one time to the next."""
        return self.run_every.total_seconds()

    def describe(self) -> str:
        """Return the length, and that it is aligned where it is."""
        return f"every {length_text(self.run_every)}{', aligned' if self.relative else ''}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return (self.run_every, self.relative) == (other.run_every, other.relative)
        return self.run_every == other

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<schedule: {self.describe()}>"


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """An event of the sun at a place: once a day, or not on days that do not have it.

    Args:
        event: ``dawn_astronomical``, ``dawn_nautical``, ``dawn_civil``, ``sunrise``, ``solar_noon``, ``sunset``,
            ``dusk_civil``, ``dusk_nautical`` or ``dusk_astronomical``.
        lat: Degrees north, -90 to 90.
        lon: Degrees east, -180 to 180.
        **elsewhere: ``app`` is taken and not used; ``nowfun`` is refused.

    Raises:
        ValueError: There is no such event or place.
        TypeError: ``nowfun`` was given.
    """

    def __init__(self, event: str, lat: float, lon: float, **elsewhere: Any) -> None:
        _refuse(elsewhere)
        if event not in EVENTS:
            raise ValueError(f"there is no event {event!r} of the sun: give one of {', '.join(EVENTS)}")
        if not -90 <= lat <= 90:
            raise ValueError(f"latitude {lat!r} is not on earth: give degrees north, -90 to 90")
        if not -180 <= lon <= 180:
            raise ValueError(f"longitude {lon!r} is not on earth: give degrees east, -180 to 180")
        self.event, self.lat, self.lon = event, lat, lon

    def describe(self) -> str:
        """Return the event and the place."""
        return f"{self.event} at {self.lat:g}, {self.lon:g}"

    def __eq__(self, other: object) -> bool:
        return self._all() == other._all() if isinstance(other, solar) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"<solar: {self.describe()}>"

    def _all(self) -> tuple[str, float, float]:
        return self.event, self.lat, self.lon


class once(BaseSchedule):  # noqa: N801 - as the others
    """One moment; the schedule is gone when it has fired.

    Args:
        at: The moment; without a time zone it is in that of the schedule.

    Raises:
        TypeError: It is no datetime.
        ValueError: It lies where no coordinator fires.
    """

    def __init__(self, at: datetime) -> None:
        if not isinstance(at, datetime):
            raise TypeError(f"once() takes a datetime, not {at!r}")
        if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
            raise ValueError(f"{at.isoformat()} is no moment to fire: give a year from {_FIRST_YEAR} to {_LAST_YEAR}")
        self.at = at

    def describe(self) -> str:
        """Return the moment."""
        return f"once at {self.at.isoformat(sep=' ', timespec='seconds')}"

    def __eq__(self, other: object) -> bool:
        return self.at == other.at if isinstance(other, once) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.at)

    def __repr__(self) -> str:
        return f"<once: {self.at.isoformat()}>"


def maybe_schedule(value: Any, relative: bool = False) -> BaseSchedule:
    """Return times from what stands for them.

    Args:
        value: Seconds, a timedelta, or times.
        relative: For the first two: as in ``schedule``.

    Raises:
        TypeError: It is none of these.
        ValueError: It is too short or too long.
    """
    if isinstance(value, BaseSchedule):
        return value
    if isinstance(value, (int, float, timedelta)) and not isinstance(value, bool):
        return schedule(value, relative)
    raise TypeError(f"{value!r} is no schedule: give seconds, a timedelta, crontab(...), solar(...) or once(...)")


def as_timedelta(name: str, value: Any) -> timedelta:
    """Return a length of time that is given in seconds or as one; 0 and less are for the caller to judge.

    Raises:
        TypeError: It is neither.
        ValueError: It is no finite number.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}: give seconds or a timedelta")
    if not math.isfinite(value) or abs(value) > LONGEST.total_seconds():
        raise ValueError(f"{name} is {value!r}: give at most 100 years")
    return timedelta(seconds=value)


def length_text(length: timedelta) -> str:
    """Return a length of time in its largest whole unit: ``90 s``, ``5 min``, ``1.5 s``."""
    seconds = length.total_seconds()
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds and seconds % unit == 0:
            return f"{int(seconds // unit)} {name}"
    return f"{seconds:g} s"


def _refuse(elsewhere: dict[str, Any]) -> None:
    """Refuse what Celery's times take and these do not."""
    elsewhere.pop("app", None)
    if elsewhere.pop("nowfun", None) is not None:
        raise TypeError(
            "nowfun has no place here, the coordinator's clock decides: for a zone give the entry time_zone="
        )
    if elsewhere:
        raise TypeError(f"there is no argument {next(iter(elsewhere))!r}")


def _text(name: str, spec: CronSpec) -> str:
    if spec is None:
        return "*"
    if isinstance(spec, str):
        return spec
    if isinstance(spec, int) and not isinstance(spec, bool):
        return str(spec)
    if isinstance(spec, Iterable):
        numbers: list[Any] = list(spec)
        if numbers and all(isinstance(each, int) and not isinstance(each, bool) for each in numbers):
            return ",".join(str(each) for each in sorted(set(numbers)))
    raise TypeError(f"the crontab's {name} is {spec!r}: give a number, text or numbers")


def _members(name: str, text: str) -> frozenset[int | str]:
    try:
        return members(name, text)
    except BadField as error:
        raise ParseException(str(error)) from None
