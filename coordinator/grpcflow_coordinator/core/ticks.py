"""When schedules fire: the times that a crontab, an interval, the sun or one moment names. Pure: it knows no clock.

Everything is worked out from what is given, so the same schedule has the same ticks whenever and wherever it is asked.
The walk through the calendar is cronsim's, the sun's place is astral's (see `sun.py`), the rules of the time zones are
zoneinfo's. What is here and may not be elsewhere: what Celery and cron mean by a crontab, and what becomes of times
that a change of the clocks skips or repeats.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from cronsim import CronSim, CronSimError

from grpcflow_coordinator.core import sun
from grpcflow_protos.cronfields import BadField, expand

MINUTE_MS = 60_000
DAY_MS = 86_400_000
SHORTEST_MS = 100
LONGEST_MS = 36_525 * DAY_MS
# The year 9900: ticks end before datetime does, and a walk through the calendar looks 50 years ahead.
LAST_MS = 250_246_627_200_000
_START = datetime(2000, 1, 1)  # noqa: DTZ001 (a wall has no zone)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No zone puts its clocks back by more since 1970 (Antarctica/Casey: three hours).
MOST_PUT_BACK = timedelta(hours=4)
FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
KINDS = ("crontab", "interval", "solar", "once")
# How far back the latest tick is looked for, nearest first.
_BACK_MS = (MINUTE_MS, 60 * MINUTE_MS, DAY_MS, 32 * DAY_MS, 367 * DAY_MS)


class BadTimes(ValueError):
    """A schedule names times that cannot be; the text says what to write instead."""


@dataclass(frozen=True, slots=True)
class Times:
    """When a schedule fires.

    Args:
        kind: "crontab", "interval", "solar" or "once"; only what belongs to it counts.
        crontab: Minute, hour, day of month, month, day of week; a day must agree with both of its fields, as in Celery.
        every_ms: The interval.
        aligned: True: at whole multiples of the interval since 1970-01-01 UTC; false: counted from the anchor.
        event: The event of the sun, one of `sun.EVENTS`.
        latitude: Degrees north.
        longitude: Degrees east.
        once_ms: The one moment, Unix time.
        time_zone: Name of the zone of a crontab, as in the IANA database; empty means UTC.
        jitter_ms: How much later than named a tick may fire.
    """

    kind: str
    crontab: tuple[str, str, str, str, str] = ("*", "*", "*", "*", "*")
    every_ms: int = 0
    aligned: bool = False
    event: str = ""
    latitude: float = 0.0
    longitude: float = 0.0
    once_ms: int = 0
    time_zone: str = ""
    jitter_ms: int = 0


def check(times: Times) -> None:
    """Refuse times that cannot be.

    Raises:
        BadTimes: A field that is no cron field, a day that no year has, an unknown zone, event or kind, a place that
            is not on earth, an interval or jitter out of bounds, a moment that is none.
    """
    _zone(times.time_zone)
    if not 0 <= times.jitter_ms <= DAY_MS:
        raise BadTimes(f"a jitter of {times.jitter_ms / 1000:g} s is out of bounds: give 0 s to a day")
    if times.kind == "crontab":
        _plan(times.crontab)
    elif times.kind == "interval":
        _check_interval(times)
    elif times.kind == "solar":
        _check_solar(times)
    elif times.kind == "once":
        if not 0 < times.once_ms < LAST_MS:
            raise BadTimes(f"{times.once_ms} ms is no moment to fire once: give a time between 1970 and 9899")
    else:
        raise BadTimes(f"there is no kind of schedule {times.kind!r}: give one of {', '.join(KINDS)}")


def next_tick(times: Times, after_ms: int, anchor_ms: int) -> int | None:
    """Work out the first tick after a moment, before jitter.

    Args:
        times: What to follow; checked.
        after_ms: The moment, Unix time; the tick is later than it.
        anchor_ms: When the schedule was put, Unix time; intervals that are not aligned are counted from it.

    Returns:
        Unix time in milliseconds; None: there is none any more (or, for the sun, none within a year).

    Raises:
        BadTimes: What `check` would have refused.
    """
    if after_ms >= LAST_MS:
        return None
    if times.kind == "once":
        return times.once_ms if times.once_ms > after_ms else None
    if times.kind == "interval":
        start = 0 if times.aligned else anchor_ms
        count = (after_ms - start) // times.every_ms + 1
        return start + max(count, 0 if times.aligned else 1) * times.every_ms
    if times.kind == "solar":
        return sun.next_event(times.event, times.latitude, times.longitude, after_ms)
    found = _cron_tick(_plan(times.crontab), _zone(times.time_zone), EPOCH + timedelta(milliseconds=after_ms))
    return None if found is None else (found - EPOCH) // timedelta(milliseconds=1)


def fire_time(times: Times, name: str, tick_ms: int) -> int:
    """Return when a tick fires: at its time, or up to the jitter later, always the same for a name and a tick.

    Args:
        times: Whose jitter.
        name: The schedule's name, so that schedules of one time do not fire at one moment.
        tick_ms: The tick, Unix time.
    """
    if not times.jitter_ms:
        return tick_ms
    digest = hashlib.blake2b(f"{tick_ms} {name}".encode(errors="surrogatepass"), digest_size=8).digest()
    return tick_ms + int.from_bytes(digest) % (times.jitter_ms + 1)


def ticks_between(times: Times, after_ms: int, until_ms: int, anchor_ms: int, limit: int) -> list[int]:
    """List ticks, oldest first, before jitter.

    Args:
        times: What to follow; checked.
        after_ms: Later than this.
        until_ms: Not later than this.
        anchor_ms: When the schedule was put.
        limit: At most so many, the first ones.
    """
    found: list[int] = []
    tick = next_tick(times, after_ms, anchor_ms)
    while tick is not None and tick <= until_ms and len(found) < limit:
        found.append(tick)
        tick = next_tick(times, tick, anchor_ms)
    return found


def latest_tick(times: Times, after_ms: int, until_ms: int, anchor_ms: int) -> int | None:
    """Work out the last tick of a span without listing them all: the one that is made up for after an outage.

    Args:
        times: What to follow; checked.
        after_ms: Later than this.
        until_ms: Not later than this.
        anchor_ms: When the schedule was put.

    Returns:
        Unix time in milliseconds; None: the span holds none.
    """
    for back in (*_BACK_MS, until_ms - after_ms):
        start = max(after_ms, until_ms - back)
        if times.kind == "interval":
            start = max(after_ms, until_ms - times.every_ms)
        found = ticks_between(times, start, until_ms, anchor_ms, limit=1_000_000)
        if found:
            return found[-1]
        if start == after_ms:
            return None
    return None


def _check_interval(times: Times) -> None:
    if times.every_ms < SHORTEST_MS:
        raise BadTimes(f"an interval of {times.every_ms} ms is too short: give at least {SHORTEST_MS} ms")
    if times.every_ms > LONGEST_MS:
        raise BadTimes("an interval of more than 100 years is too long: name the moment instead (once)")
    if times.jitter_ms >= times.every_ms:
        raise BadTimes(
            f"a jitter of {times.jitter_ms / 1000:g} s would let ticks overtake each other: "
            f"give less than the interval, {times.every_ms / 1000:g} s"
        )


def _check_solar(times: Times) -> None:
    if times.event not in sun.EVENTS:
        raise BadTimes(f"there is no event {times.event!r} of the sun: give one of {', '.join(sun.EVENTS)}")
    if not -90 <= times.latitude <= 90:
        raise BadTimes(f"latitude {times.latitude:g} is not on earth: give degrees north, -90 to 90")
    if not -180 <= times.longitude <= 180:
        raise BadTimes(f"longitude {times.longitude:g} is not on earth: give degrees east, -180 to 180")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A parsed crontab; `roaming` if its minute or hour begins with a star: such jobs follow the clock as it goes."""

    walk: CronSim
    roaming: bool

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Walk the calendar: the times that agree, as a wall without zone shows them."""
        walk = copy.copy(self.walk)
        walk.dt = moment.replace(tzinfo=None, microsecond=0)
        yield from walk

    def agrees(self, wall: datetime) -> bool:
        """Return whether a clock on the wall that shows this lets the job run."""
        walk = self.walk
        on = wall.minute in walk.minutes and wall.hour in walk.hours and wall.month in walk.months
        return on and walk.match_day(wall.date())


@lru_cache(maxsize=10_000)
def _plan(crontab: tuple[str, str, str, str, str]) -> _Plan:
    try:
        fields = [expand(name, text or "*") for name, text in zip(FIELDS, crontab, strict=True)]
        walk = CronSim(" ".join(fields), _START)
    except BadField as error:
        raise BadTimes(str(error)) from error
    except (CronSimError, AssertionError) as error:
        raise _impossible(crontab) from error
    # Cron lets a day agree with either of two restricted fields; Celery, whose crontabs these are, wants both.
    walk.day_and = True
    plan = _Plan(walk, crontab[0].startswith("*") or crontab[1].startswith("*") or not (crontab[0] and crontab[1]))
    if next(plan.after(_START), None) is None:
        raise _impossible(crontab)
    return plan


def _impossible(crontab: tuple[str, str, str, str, str]) -> BadTimes:
    _minute, _hour, day, month, weekday = (text or "*" for text in crontab)
    return BadTimes(
        f"no year has such a day: day_of_month {day!r}, month_of_year {month!r}, day_of_week {weekday!r}; "
        'a day must agree with all three, and day_of_month "L" is the last day of each month'
    )


@lru_cache(maxsize=1_000)
def _zone(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError) as error:
        near = difflib.get_close_matches(name[:100], sorted(zoneinfo.available_timezones()), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "give a name of the IANA database, such as 'Europe/Berlin'"
        raise BadTimes(f"unknown time zone {name[:100]!r}: {hint}") from error


def _cron_tick(plan: _Plan, zone: tzinfo, after: datetime) -> datetime | None:
    local = after.astimezone(zone)
    if plan.roaming:
        soon = (after + MOST_PUT_BACK).astimezone(zone)
        if soon.utcoffset() != local.utcoffset():
            return _scanned(plan, zone, after) or _cron_tick(plan, zone, after + MOST_PUT_BACK)
    for wall in plan.after(local):
        moment = wall.replace(tzinfo=zone)
        if plan.roaming and _skipped(moment):
            continue
        while _skipped(moment):
            moment += timedelta(minutes=1)
        # A job that roams may stand in the second pass of an hour that comes twice.
        for fold in (0, 1) if plan.roaming else (0,):
            found = moment.replace(fold=fold).astimezone(UTC)
            if found > after:
                return found
    return None


def _skipped(moment: datetime) -> bool:
    """Return whether a change of the clocks skips this time: no clock in its zone ever shows it."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != moment.replace(tzinfo=None)


def _scanned(plan: _Plan, zone: tzinfo, after: datetime) -> datetime | None:
    """Go minute by minute through hours in which the clocks change: walls show some times twice, in whatever order."""
    moment = after.replace(second=0, microsecond=0)
    while moment <= after + MOST_PUT_BACK:
        moment += timedelta(minutes=1)
        if after < moment <= after + MOST_PUT_BACK and plan.agrees(moment.astimezone(zone)):
            return moment
    return None
