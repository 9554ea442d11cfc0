"""When schedules fire: crontabs over changes of the clocks, intervals, spans, and what is refused."""

import os
import random
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from grpcflow_coordinator.core.ticks import (
    BadTimes,
    Times,
    check,
    fire_time,
    latest_tick,
    next_tick,
    ticks_between,
)

SEED = int(os.environ.get("GRPCFLOW_TEST_SEED") or random.SystemRandom().randrange(2**32))


def ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def shown(tick: int | None, zone: str = "UTC") -> str | None:
    return None if tick is None else datetime.fromtimestamp(tick / 1000, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %z")


def cron(text: str, zone: str = "") -> Times:
    minute, hour, day, month, weekday = text.split()
    times = Times("crontab", crontab=(minute, hour, day, month, weekday), time_zone=zone)
    check(times)
    return times


def every(ms: int, *, aligned: bool = False) -> Times:
    return Times("interval", every_ms=ms, aligned=aligned)


def following(times: Times, after: str, count: int, zone: str = "UTC") -> list[str | None]:
    start = ms(after)
    return [shown(tick, zone) for tick in ticks_between(times, start, start + 10**13, start, count)]


# --------------------------------------------------------------------- changes of the clocks


def test_a_fixed_time_that_the_clocks_skip_fires_right_after_the_change() -> None:
    times = cron("30 2 * * *", "Europe/Berlin")
    assert following(times, "2026-03-28T12:00+01:00", 2, "Europe/Berlin") == [
        "2026-03-29 03:00 +0200",
        "2026-03-30 02:30 +0200",
    ]


def test_a_fixed_time_that_comes_twice_fires_the_first_time() -> None:
    times = cron("30 2 * * *", "Europe/Berlin")
    assert following(times, "2026-10-25T00:00+02:00", 2, "Europe/Berlin") == [
        "2026-10-25 02:30 +0200",
        "2026-10-26 02:30 +0100",
    ]
    assert shown(next_tick(times, ms("2026-10-25T02:10+01:00"), 0)) == "2026-10-26 01:30 +0000", "the second 02:10"


def test_an_hourly_job_runs_in_each_hour_that_passes() -> None:
    times = cron("0 * * * *", "America/New_York")
    assert following(times, "2026-11-01T00:30-04:00", 4, "America/New_York") == [
        "2026-11-01 01:00 -0400",
        "2026-11-01 01:00 -0500",
        "2026-11-01 02:00 -0500",
        "2026-11-01 03:00 -0500",
    ]
    assert following(times, "2026-03-08T00:30-05:00", 3, "America/New_York") == [
        "2026-03-08 01:00 -0500",
        "2026-03-08 03:00 -0400",
        "2026-03-08 04:00 -0400",
    ]


def test_a_starred_minute_of_an_hour_that_is_skipped_does_not_run() -> None:
    times = cron("*/20 2 * * *", "America/New_York")
    assert following(times, "2026-03-07T12:00-05:00", 1, "America/New_York") == ["2026-03-09 02:00 -0400"]


def test_a_starred_minute_of_an_hour_that_comes_twice_runs_in_both() -> None:
    times = cron("*/30 2 * * *", "Europe/Berlin")
    assert following(times, "2026-10-25T00:00+02:00", 5, "Europe/Berlin") == [
        "2026-10-25 02:00 +0200",
        "2026-10-25 02:30 +0200",
        "2026-10-25 02:00 +0100",
        "2026-10-25 02:30 +0100",
        "2026-10-26 02:00 +0100",
    ]


def test_a_change_by_half_an_hour_loses_and_repeats_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"
    assert following(cron("15 2 * * *", zone), "2026-10-04T00:00+10:30", 1, zone) == ["2026-10-04 02:30 +1100"]
    assert following(cron("45 1 * * *", zone), "2026-04-05T00:00+11:00", 2, zone) == [
        "2026-04-05 01:45 +1100",
        "2026-04-06 01:45 +1030",
    ]
    assert following(cron("*/15 1 * * *", zone), "2026-04-05T00:00+11:00", 7, zone) == [
        "2026-04-05 01:00 +1100",
        "2026-04-05 01:15 +1100",
        "2026-04-05 01:30 +1100",
        "2026-04-05 01:45 +1100",
        "2026-04-05 01:30 +1030",
        "2026-04-05 01:45 +1030",
        "2026-04-06 01:00 +1030",
    ]
    assert following(cron("*/15 2 * * *", zone), "2026-04-05T00:00+11:00", 1, zone) == ["2026-04-05 02:00 +1030"]


def test_a_zone_that_left_out_a_day_fires_that_days_job_when_the_next_day_begins() -> None:
    zone = "Pacific/Apia"
    assert following(cron("0 12 30 12 *", zone), "2011-12-29T13:00-10:00", 2, zone) == [
        "2011-12-31 00:00 +1400",
        "2012-12-30 12:00 +1400",
    ]


ZONES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "America/St_Johns": ("2026-03-08", "2026-11-01"),
    "Antarctica/Troll": ("2026-03-29", "2026-10-25"),
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),
    "UTC": ("2026-02-28", "2026-12-31"),
}
MINUTES = ("*", "*/7", "0", "30", "15,45", "10-50/20", "59", "0-59")
HOURS = ("*", "*/2", "1", "2", "0-3", "3", "22-2", "23,0,1,2")
DAYS = (("*", "*", "*"), ("*", "*", "sun"), ("1-7", "*", "*"), ("*", "mar-nov", "fri-mon"), ("L", "*", "*"))


def scanned(times: Times, start: datetime, end: datetime) -> list[int]:
    """What a naive cron would do: look at the wall each minute. Fixed jobs go by the latest time it has shown."""
    zone = ZoneInfo(times.time_zone)
    minutes, hours, days, months, weekdays = (reference(place, text) for place, text in enumerate(times.crontab))

    def agrees(wall: datetime) -> bool:
        last = (wall + timedelta(days=1)).month != wall.month
        day = wall.day in days or (last and times.crontab[2] == "L")
        return (
            wall.minute in minutes
            and wall.hour in hours
            and day
            and wall.month in months
            and wall.isoweekday() % 7 in weekdays
        )

    roaming = times.crontab[0].startswith("*") or times.crontab[1].startswith("*")
    found = []
    moment = start - timedelta(hours=5)
    latest = moment.astimezone(zone).replace(tzinfo=None)
    while moment < end:
        moment += timedelta(minutes=1)
        wall = moment.astimezone(zone).replace(tzinfo=None)
        if roaming:
            fires = agrees(wall)
        else:
            passed = max(0, int((wall - latest).total_seconds()) // 60)
            fires = any(agrees(latest + timedelta(minutes=ahead + 1)) for ahead in range(passed))
            latest = max(latest, wall)
        if fires and moment > start:
            found.append(int(moment.timestamp() * 1000))
    return found


def reference(place: int, text: str) -> set[int]:
    low, high = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))[place]
    names = {"mar": 3, "nov": 11, "sun": 0, "fri": 5, "mon": 1}
    found: set[int] = set()
    for part in text.split(",") if text != "L" else []:
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else names.get(first) if first in names else int(first)
        end = high if span == "*" else (names.get(last) if last in names else int(last)) if last else start
        assert start is not None
        assert end is not None
        numbers = range(start, end + 1) if end >= start else [*range(start, high + 1), *range(low, end + 1)]
        found.update(list(numbers)[:: int(step or 1)])
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    zone=some.sampled_from(sorted(ZONES)),
    side=some.integers(0, 1),
    minute=some.sampled_from(MINUTES),
    hour=some.sampled_from(HOURS),
    day=some.sampled_from(DAYS),
    offset=some.integers(-36 * 60, 12 * 60),
)
def test_ticks_are_those_that_a_look_at_the_wall_each_minute_would_find(
    zone: str, side: int, minute: str, hour: str, day: tuple[str, str, str], offset: int
) -> None:
    times = cron(f"{minute} {hour} {' '.join(day)}", zone)
    start = datetime.fromisoformat(ZONES[zone][side]).replace(tzinfo=UTC) + timedelta(minutes=offset)
    end = start + timedelta(hours=40)
    found = ticks_between(times, int(start.timestamp() * 1000), int(end.timestamp() * 1000), 0, 10_000)
    assert found == scanned(times, start, end)
    assert found == sorted(set(found))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    after=some.integers(0, ms("2099-12-31")),
    zone=some.sampled_from(sorted(ZONES)),
    minute=some.sampled_from(MINUTES),
    hour=some.sampled_from(HOURS),
)
def test_the_next_tick_is_later_and_nothing_is_between(after: int, zone: str, minute: str, hour: str) -> None:
    times = cron(f"{minute} {hour} * * *", zone)
    tick = next_tick(times, after, 0)
    assert tick is not None
    assert tick > after
    assert next_tick(times, tick - 1, 0) == tick
    later = next_tick(times, tick, 0)
    assert later is not None
    assert later > tick


# ---------------------------------------------------------------------------------- crontabs


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("0 0 29 2 *", "2028-02-29 00:00 +0000"),
        ("0 0 29 2 mon", "2044-02-29 00:00 +0000"),
        ("30 6 L * *", "2026-01-31 06:30 +0000"),
        ("30 6 L 2 *", "2026-02-28 06:30 +0000"),
        ("0 9 LW 1 *", "2026-01-30 09:00 +0000"),
        ("0 9 * * 5L", "2026-01-30 09:00 +0000"),
        ("0 9 * * friL", "2026-01-30 09:00 +0000"),
        ("0 9 * * mon#2", "2026-01-12 09:00 +0000"),
        ("0 0 * * monday", "2026-01-05 00:00 +0000"),
        ("0 0 * * 7", "2026-01-04 00:00 +0000"),
        ("0 0 * * sun,SAT", "2026-01-03 00:00 +0000"),
        ("0 0 * * 6-7", "2026-01-03 00:00 +0000"),
        ("0 0 1 jul-sep *", "2026-07-01 00:00 +0000"),
        ("0 0 1 October *", "2026-10-01 00:00 +0000"),
        ("*/15 * * * *", "2026-01-01 00:15 +0000"),
        ("50-10/5 * * * *", "2026-01-01 00:05 +0000"),
        ("13,30-45,50-59/2 4 * * *", "2026-01-01 04:13 +0000"),
        ("0 22-2 2 * *", "2026-01-02 00:00 +0000"),
        ("5/10 * * * *", "2026-01-01 00:05 +0000"),
        ("0 0 1-7 * mon", "2026-01-05 00:00 +0000"),
        ("0 0 31 1,2,3 *", "2026-01-31 00:00 +0000"),
    ],
)
def test_spellings(text: str, first: str) -> None:
    assert shown(next_tick(cron(text), ms("2026-01-01"), 0)) == first


def test_a_day_must_agree_with_both_fields_as_in_celery() -> None:
    times = cron("0 0 1-7 * mon")
    assert following(times, "2026-01-01", 3) == [
        "2026-01-05 00:00 +0000",
        "2026-02-02 00:00 +0000",
        "2026-03-02 00:00 +0000",
    ]


def test_an_empty_field_means_all() -> None:
    times = Times("crontab", crontab=("", "", "", "", ""))
    check(times)
    assert next_tick(times, 0, 0) == 60_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("60 * * * *", "minute '60' is out of bounds: write 0 to 59"),
        ("* 24 * * *", "hour '24' is out of bounds: write 0 to 23"),
        ("* * 0 * *", "day_of_month '0' is out of bounds: write 1 to 31"),
        ("* * * 13 *", "month_of_year '13' is out of bounds: write 1 to 12"),
        ("* * * * 8", "day_of_week '8' is out of bounds: write 0 to 7"),
        ("*/0 * * * *", "goes in steps of 0"),
        ("a * * * *", "minute 'a' says nothing: write"),
        ("-5 * * * *", "says nothing"),
        ("1,,2 * * * *", "says nothing"),
        ("*/ * * * *", "says nothing"),
        ("*-5 * * * *", "says nothing"),
        ("L * * * *", "says nothing"),
        ("* * * jan#2 *", "says nothing"),
        ("* * * * mon#6", "says nothing"),
        ("* * * * xyz", "says nothing"),
        ("* * * * mo", "says nothing"),
        ("* * ? * *", "says nothing"),
        ("@daily * * * *", "says nothing"),
        ("\u0661 * * * *", "says nothing"),
        (f"{','.join('5' * 600)} * * * *", "1199 characters: write at most 1000"),
        ("0 0 30 2 *", "no year has such a day: day_of_month '30', month_of_year '2'"),
        ("0 0 31 4,6 *", "no year has such a day"),
        ("0 0 30 2 mon", "no year has such a day"),
        ("0 0 1 * mon#2", "no year has such a day"),
    ],
)
def test_bad_crontabs_say_what_to_write(text: str, words: str) -> None:
    with pytest.raises(BadTimes) as caught:
        cron(text)
    assert words in str(caught.value)


# --------------------------------------------------------------------- intervals, one moment


def test_an_interval_counts_from_when_it_was_put_and_does_not_drift() -> None:
    anchor = ms("2026-01-01T00:00:00.123")
    times = every(7_001)
    tick: int | None = anchor
    for count in range(1, 2_000):
        assert tick is not None
        tick = next_tick(times, tick, anchor)
        assert tick == anchor + count * 7_001
    assert next_tick(times, anchor + 123_456_789, anchor) == anchor + 17_635 * 7_001


def test_an_interval_never_fires_before_it_has_passed_once() -> None:
    assert next_tick(every(5_000), 1_000, 20_000) == 25_000
    assert next_tick(every(5_000), 20_000, 20_000) == 25_000


def test_an_aligned_interval_fires_at_its_multiples() -> None:
    times = every(900_000, aligned=True)
    assert following(times, "2026-01-01T10:07", 2) == ["2026-01-01 10:15 +0000", "2026-01-01 10:30 +0000"]
    assert following(times, "2026-01-01T10:15", 1) == ["2026-01-01 10:30 +0000"]


def test_one_moment_comes_once() -> None:
    times = Times("once", once_ms=5_000)
    assert next_tick(times, 4_999, 0) == 5_000
    assert next_tick(times, 5_000, 0) is None


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (every(99), "an interval of 99 ms is too short: give at least 100 ms"),
        (every(0), "too short"),
        (every(-5_000), "too short"),
        (every(4 * 10**12), "more than 100 years"),
        (Times("interval", every_ms=1_000, jitter_ms=1_000), "give less than the interval, 1 s"),
        (Times("once", once_ms=0), "no moment"),
        (Times("once", once_ms=-5), "no moment"),
        (Times("once", once_ms=10**15), "no moment"),
        (Times("once", once_ms=5, jitter_ms=-1), "jitter of -0.001 s is out of bounds"),
        (Times("once", once_ms=5, jitter_ms=86_400_001), "give 0 s to a day"),
        (
            Times("crontab", time_zone="Europe/Berlim"),
            "'Europe/Berlim': did you mean 'Europe/Berlin'?",
        ),
        (Times("crontab", time_zone="../../etc/passwd"), "unknown time zone"),
        (Times("crontab", time_zone="Europe"), "unknown time zone"),
        (Times("crontab", time_zone="x" * 5_000), "give a name of the IANA database"),
        (Times("crontab", time_zone="a\0b"), "unknown time zone"),
        (Times("solar", event="noon"), "no event 'noon' of the sun: give one of dawn_astronomical"),
        (Times("solar", event="sunset", latitude=91), "latitude 91 is not on earth"),
        (Times("solar", event="sunset", latitude=float("nan")), "latitude nan is not on earth"),
        (Times("solar", event="sunset", longitude=-181), "longitude -181 is not on earth"),
        (Times("weekly"), "no kind of schedule 'weekly': give one of crontab, interval, solar, once"),
    ],
)
def test_times_that_cannot_be_say_what_to_give(times: Times, words: str) -> None:
    with pytest.raises(BadTimes) as caught:
        check(times)
    assert words in str(caught.value)


def test_a_message_about_a_long_name_is_short() -> None:
    with pytest.raises(BadTimes) as caught:
        check(Times("crontab", time_zone="x" * 5_000))
    assert len(str(caught.value)) < 300


# ----------------------------------------------------------------------------- jitter, spans


def test_jitter_is_the_same_whenever_it_is_worked_out_and_differs_by_name() -> None:
    times = Times("interval", every_ms=60_000, jitter_ms=30_000)
    found = [fire_time(times, "report", tick) - tick for tick in range(0, 60_000_000, 60_000)]
    assert found == [fire_time(times, "report", tick) - tick for tick in range(0, 60_000_000, 60_000)]
    assert min(found) >= 0
    assert max(found) <= 30_000
    assert len(set(found)) > 900
    assert 12_000 < sum(found) / len(found) < 18_000
    assert fire_time(times, "report", 0) != fire_time(times, "other", 0)
    assert fire_time(Times("interval", every_ms=60_000), "report", 7) == 7


def test_a_span_holds_its_end_and_not_its_start() -> None:
    assert ticks_between(every(1_000), 2_000, 5_000, 0, 10) == [3_000, 4_000, 5_000]
    assert ticks_between(every(1_000), 2_000, 5_000, 0, 2) == [3_000, 4_000]
    assert ticks_between(every(1_000), 2_000, 2_500, 0, 10) == []
    assert ticks_between(every(1_000), 5_000, 2_500, 0, 10) == []


@pytest.mark.parametrize(
    ("times", "until", "last"),
    [
        (cron("* * * * *"), "2026-05-05T10:00:59", "2026-05-05 10:00 +0000"),
        (cron("0 3 * * *"), "2026-05-05T02:59:59", "2026-05-04 03:00 +0000"),
        (cron("0 3 1 5 *"), "2026-05-01T02:59:59", "2025-05-01 03:00 +0000"),
        (cron("0 0 29 2 *"), "2026-05-01", "2024-02-29 00:00 +0000"),
        (every(100), "2026-05-05T10:00:00.150", "2026-05-05 10:00 +0000"),
        (every(3_600_000, aligned=True), "2026-05-05T10:59:59.999", "2026-05-05 10:00 +0000"),
        (Times("once", once_ms=ms("2026-05-05")), "2026-05-06", "2026-05-05 00:00 +0000"),
        (Times("once", once_ms=ms("2026-05-05")), "2026-05-04", None),
    ],
)
def test_the_latest_tick_of_a_span_is_found_without_listing_them(times: Times, until: str, last: str | None) -> None:
    began = time.process_time()
    assert shown(latest_tick(times, ms("2019-01-01"), ms(until), ms("2019-01-01"))) == last
    assert time.process_time() - began < 2


def test_nothing_is_worked_out_past_the_end_of_the_calendar() -> None:
    for times in (cron("0 0 29 2 *"), every(100), Times("solar", event="sunset"), Times("once", once_ms=5)):
        assert (next_tick(times, ms("9899-12-31"), 0) is None) == (times.kind == "once")
        assert next_tick(times, ms("9900-01-01"), 0) is None
        assert next_tick(times, 10**18, 0) is None


def test_a_thousand_schedules_take_well_under_a_second() -> None:
    print("seed", SEED)
    chance = random.Random(SEED)
    all_of_them = [
        cron(
            f"{chance.randrange(60)} {chance.choice(HOURS)} {' '.join(chance.choice(DAYS))}", chance.choice(list(ZONES))
        )
        for _ in range(800)
    ]
    all_of_them += [
        Times("solar", event="sunset", latitude=chance.uniform(-60, 60), longitude=chance.uniform(-180, 180))
        for _ in range(200)
    ]
    now = ms("2026-06-01")
    began = time.process_time()
    assert all(next_tick(times, now, 0) for times in all_of_them)
    assert time.process_time() - began < 1
