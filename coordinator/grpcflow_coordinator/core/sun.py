"""When the sun rises, stands highest and sets at a place. Pure; the astronomy is astral's, which day is meant is ours.

astral answers for days of a calendar, in which an event near midnight may come twice or not at all. Here a day is the
sun's own, from one solar midnight to the next, in which each event comes once or, near the poles, not at all.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from astral import Observer
from astral.sun import elevation, noon

# How high the middle of the sun stands, in degrees. At sunrise its upper edge is at the horizon as the air bends it
# (34 minutes of arc, and 16 for half of the sun).
_RISING = {"dawn_astronomical": -18.0, "dawn_nautical": -12.0, "dawn_civil": -6.0, "sunrise": -50 / 60}
_SETTING = {"sunset": -50 / 60, "dusk_civil": -6.0, "dusk_nautical": -12.0, "dusk_astronomical": -18.0}
EVENTS = (*_RISING, "solar_noon", *_SETTING)
LONGEST_SEARCH_DAYS = 366
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HALF_A_DAY = timedelta(hours=12)
_A_SECOND = timedelta(seconds=1)


def next_event(event: str, latitude: float, longitude: float, after_ms: int) -> int | None:
    """Work out when an event comes next.

    Args:
        event: One of `EVENTS`.
        latitude: Degrees north.
        longitude: Degrees east.
        after_ms: Unix time; the event is later than it.

    Returns:
        Unix time in milliseconds, whole seconds; None: it does not come within a year, or datetime ends before.
    """
    place = Observer(latitude, longitude)
    first = (_EPOCH + timedelta(milliseconds=after_ms)).date()
    for ahead in range(-1, LONGEST_SEARCH_DAYS + 1):
        day = first + timedelta(days=ahead)
        highest = noon(place, day)
        if _unix_ms(highest + _HALF_A_DAY) <= after_ms:
            continue
        found = _unix_ms(highest) if event == "solar_noon" else _crossing(event, place, day, highest)
        if found is not None and found > after_ms:
            return found
    return None


def _crossing(event: str, place: Observer, day: date, highest: datetime) -> int | None:
    rising = event in _RISING
    wanted = _RISING[event] if rising else _SETTING[event]
    # Between its lowest and its highest the sun goes one way only: the moment is between them, or there is none.
    below = noon(place, day + timedelta(days=0 if rising else 1)) - _HALF_A_DAY
    if not _height(place, below) < wanted <= _height(place, highest):
        return None
    above = highest
    while abs(above - below) > _A_SECOND:
        middle = below + (above - below) / 2
        if _height(place, middle) < wanted:
            below = middle
        else:
            above = middle
    return _unix_ms(max(above, below))


def _height(place: Observer, moment: datetime) -> float:
    return elevation(place, moment, with_refraction=False)


def _unix_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _A_SECOND * 1000
