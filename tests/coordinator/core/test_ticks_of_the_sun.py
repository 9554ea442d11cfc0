"""When schedules of the sun fire: beside what Celery's give, once a day, and near the poles."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from grpcflow_coordinator.core import sun as the_sun
from grpcflow_coordinator.core.ticks import Times, check, next_tick, ticks_between


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


# What Celery's solar schedules (through ephem) gave for the same place and start.
EPHEM = [
    ("dawn_astronomical", 52.5, 13.4, "2026-03-01", "2026-03-01T03:59:42"),
    ("dawn_astronomical", -37.8, 145.0, "2026-06-21", "2026-06-21T20:01:15"),
    ("dawn_astronomical", 64.1, -21.9, "2026-12-21", "2026-12-21T07:53:33"),
    ("dawn_astronomical", 21.3, -157.8, "2026-10-10", "2026-10-10T15:11:20"),
    ("dawn_nautical", 52.5, 13.4, "2026-03-01", "2026-03-01T04:39:25"),
    ("dawn_nautical", -37.8, 145.0, "2026-06-21", "2026-06-21T20:33:15"),
    ("dawn_nautical", 64.1, -21.9, "2026-12-21", "2026-12-21T08:53:28"),
    ("dawn_nautical", 69.65, 18.96, "2026-05-01", "2026-09-01T23:27:20"),
    ("dawn_nautical", 21.3, -157.8, "2026-10-10", "2026-10-10T15:37:07"),
    ("dawn_civil", 52.5, 13.4, "2026-03-01", "2026-03-01T05:18:48"),
    ("dawn_civil", -37.8, 145.0, "2026-06-21", "2026-06-21T21:06:12"),
    ("dawn_civil", 64.1, -21.9, "2026-12-21", "2026-12-21T10:02:25"),
    ("dawn_civil", 69.65, 18.96, "2026-05-01", "2026-08-14T23:24:39"),
    ("dawn_civil", 21.3, -157.8, "2026-10-10", "2026-10-10T16:02:56"),
    ("sunrise", 52.5, 13.4, "2026-03-01", "2026-03-01T05:53:03"),
    ("sunrise", -37.8, 145.0, "2026-06-21", "2026-06-21T21:35:40"),
    ("sunrise", 64.1, -21.9, "2026-12-21", "2026-12-21T11:21:18"),
    ("sunrise", 69.65, 18.96, "2026-05-01", "2026-05-01T01:20:53"),
    ("sunrise", 21.3, -157.8, "2026-10-10", "2026-10-10T16:25:15"),
    ("solar_noon", 52.5, 13.4, "2026-03-01", "2026-03-01T11:18:41"),
    ("solar_noon", -37.8, 145.0, "2026-06-21", "2026-06-21T02:21:43"),
    ("solar_noon", 64.1, -21.9, "2026-12-21", "2026-12-21T13:25:41"),
    ("solar_noon", 69.65, 18.96, "2026-05-01", "2026-05-01T10:41:14"),
    ("solar_noon", 21.3, -157.8, "2026-10-10", "2026-10-10T22:18:05"),
    ("sunset", 52.5, 13.4, "2026-03-01", "2026-03-01T16:45:15"),
    ("sunset", -37.8, 145.0, "2026-06-21", "2026-06-21T07:07:59"),
    ("sunset", 64.1, -21.9, "2026-12-21", "2026-12-21T15:30:04"),
    ("sunset", 69.65, 18.96, "2026-05-01", "2026-05-01T20:05:54"),
    ("sunset", 21.3, -157.8, "2026-10-10", "2026-10-10T04:11:29"),
    ("dusk_civil", 52.5, 13.4, "2026-03-01", "2026-03-01T17:19:34"),
    ("dusk_civil", -37.8, 145.0, "2026-06-21", "2026-06-21T07:37:27"),
    ("dusk_civil", 64.1, -21.9, "2026-12-21", "2026-12-21T16:48:57"),
    ("dusk_civil", 69.65, 18.96, "2026-05-01", "2026-08-14T22:14:04"),
    ("dusk_civil", 21.3, -157.8, "2026-10-10", "2026-10-10T04:33:46"),
    ("dusk_nautical", 52.5, 13.4, "2026-03-01", "2026-03-01T17:59:04"),
    ("dusk_nautical", -37.8, 145.0, "2026-06-21", "2026-06-21T08:10:25"),
    ("dusk_nautical", 64.1, -21.9, "2026-12-21", "2026-12-21T17:57:54"),
    ("dusk_nautical", 69.65, 18.96, "2026-05-01", "2026-09-01T22:02:01"),
    ("dusk_nautical", 21.3, -157.8, "2026-10-10", "2026-10-10T04:59:33"),
    ("dusk_astronomical", 52.5, 13.4, "2026-03-01", "2026-03-01T18:38:55"),
    ("dusk_astronomical", -37.8, 145.0, "2026-06-21", "2026-06-21T08:42:25"),
    ("dusk_astronomical", 64.1, -21.9, "2026-12-21", "2026-12-21T18:57:49"),
    ("dusk_astronomical", 21.3, -157.8, "2026-10-10", "2026-10-10T05:25:19"),
]


def sun(event: str, latitude: float, longitude: float) -> Times:
    times = Times("solar", event=event, latitude=latitude, longitude=longitude)
    check(times)
    return times


@pytest.mark.parametrize(("event", "latitude", "longitude", "start", "expected"), EPHEM)
def test_the_sun_is_where_celery_has_it(
    event: str, latitude: float, longitude: float, start: str, expected: str
) -> None:
    tick = next_tick(sun(event, latitude, longitude), ms(start), 0)
    assert tick is not None
    assert abs(tick - ms(expected)) < 60_000


def test_where_the_sun_does_not_rise_the_next_day_that_it_does_counts() -> None:
    tick = next_tick(sun("sunrise", 69.65, 18.96), ms("2026-12-01"), 0)
    assert tick is not None
    assert ms("2027-01-15") < tick < ms("2027-01-16")


def test_the_search_for_the_sun_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_sun, "LONGEST_SEARCH_DAYS", 30)
    assert next_tick(sun("sunrise", 78.2, 15.6), ms("2026-12-01"), 0) is None
    assert next_tick(sun("solar_noon", 90, 0), ms("2026-12-01"), 0) is not None


@pytest.mark.parametrize("place", [(52.5, 13.4), (-37.8, 145.0), (0.0, 179.9), (69.65, 18.96), (-16.5, -180.0)])
@pytest.mark.parametrize("event", ["sunrise", "solar_noon", "sunset", "dusk_civil", "dawn_astronomical"])
def test_the_sun_does_everything_once_a_day_or_not_at_all(event: str, place: tuple[float, float]) -> None:
    times = sun(event, *place)
    found = ticks_between(times, ms("2026-01-01"), ms("2027-01-01"), 0, 1_000)
    gaps = [later - earlier for earlier, later in pairwise(found)]
    assert min(gaps) > 22 * 3_600_000, "never twice for one event"
    assert len(found) > 90
    if abs(place[0]) < 50:
        assert max(gaps) < 26 * 3_600_000, "and none is left out"
    assert all(next_tick(times, tick - 1, 0) == tick for tick in found[::7]), "whenever it is worked out"
