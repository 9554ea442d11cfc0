"""A machine whose clock is CLOCK_AHEAD seconds off: Python imports this first where its folder is on the path.

It may NOT touch the monotonic clock, which no setting of a machine's time moves.
"""

import datetime
import os
import time
from typing import Any

_AHEAD = float(os.environ["CLOCK_AHEAD"])
_real_time, _real_time_ns = time.time, time.time_ns
_real: Any = datetime.datetime


class _AsReal(type):
    """What was made before, or in C, counts as one of it too."""

    def __instancecheck__(cls, made: object) -> bool:
        return isinstance(made, _real)


class _Datetime(datetime.datetime, metaclass=_AsReal):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.fromtimestamp(time.time(), tz)


time.time = lambda: _real_time() + _AHEAD
time.time_ns = lambda: _real_time_ns() + int(_AHEAD * 1_000_000_000)
vars(datetime)["datetime"] = _Datetime
