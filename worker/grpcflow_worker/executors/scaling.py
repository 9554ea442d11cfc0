"""How many child processes there are to be: a number that people change, or one between two bounds that work changes.

It decides, and has the nursery do it. It may NOT know what the children run.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from grpcflow_worker.executor import ExecutorError, ExecutorSettings
from grpcflow_worker.places import too_many

#: Seconds without work after which a child may go, where nobody says.
KEEPALIVE: Final = 30.0

#: Seconds between two children that go, at most: one after the other, so that a lull ends nothing that is needed soon.
_PAUSE: Final = 1.0


class Worker(Protocol):
    """What is to be known of a child process: when it had work last, in seconds of a monotonic clock."""

    progress_at: float


class Places(Protocol):
    """Where the children are."""

    places: int

    def resize(self, places: int) -> None:
        """Have so many from now on; those without work go first."""

    def idle(self) -> Sequence[Worker]:
        """Those without work, longest idle first."""
        ...


class Scaling:
    """The number of children of one executor.

    Args:
        nursery: where they are.
        settings: says how many, or between which bounds.
    """

    def __init__(self, nursery: Places, settings: ExecutorSettings) -> None:
        """Take the parts; the app's own defaults come with `take_defaults`."""
        self._nursery = nursery
        #: The most and the fewest; None: autoscale is off.
        self.bounds = settings.autoscale
        self._asked_keepalive = settings.autoscale_keepalive
        self.keepalive = settings.autoscale_keepalive or KEEPALIVE
        self._timer: asyncio.TimerHandle | None = None

    @property
    def most(self) -> int:
        """How many there are at most while nobody changes that."""
        return self.bounds[0] if self.bounds else self._nursery.places

    def take_defaults(self, conf: Mapping[str, Any]) -> None:
        """Take what the app says where the worker says nothing."""
        self.keepalive = self._asked_keepalive or conf.get("worker_autoscale_keepalive") or KEEPALIVE

    def shown(self) -> dict[str, int] | None:
        """The bounds for people, and how many there are now; None: autoscale is off."""
        if self.bounds is None:
            return None
        return {"max": self.bounds[0], "min": self.bounds[1], "current": self._nursery.places}

    def need(self, places: int) -> None:
        """Work for so many is there, counting those that have some: grow at once where that is allowed."""
        if self.bounds is None:
            return
        if (wanted := min(places, self.bounds[0])) > self._nursery.places:
            self._nursery.resize(wanted)
        self.watch()

    def watch(self) -> None:
        """See to it that children without work are noticed."""
        if self._timer is None and self.bounds is not None and self._nursery.places > self.bounds[1]:
            self._timer = asyncio.get_running_loop().call_later(self.keepalive, self._look)

    def close(self) -> None:
        """Change nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.bounds = None

    def resize(self, by: int) -> int:
        """Have more, or fewer; see `Executor.resize`."""
        if self.bounds is not None:
            raise ExecutorError("the number of children follows the work here; change the bounds of autoscale instead")
        places = checked("prefork", self._nursery.places, by)
        self._nursery.resize(places)
        return places

    def set_bounds(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Change the bounds; see `Executor.autoscale`."""
        if self.bounds is None:
            raise ExecutorError("autoscale is off; start the worker with --autoscale MAX,MIN")
        most = self.bounds[0] if most is None else most
        least = min(self.bounds[1], most) if least is None else least
        if not 1 <= least <= most:
            raise ExecutorError(f"autoscale takes MAX and MIN with 1 <= MIN <= MAX, not {most} and {least}")
        if text := too_many("prefork", most):
            raise ExecutorError(text)
        self.bounds = most, least
        if not least <= self._nursery.places <= most:
            self._nursery.resize(min(most, max(least, self._nursery.places)))
        self.watch()
        return self.bounds

    def _look(self) -> None:
        """Let the child go that has had no work for longest, where that is long enough; look again for the next."""
        self._timer = None
        if self.bounds is None or self._nursery.places <= self.bounds[1]:
            return
        idle = self._nursery.idle()
        rest = self.keepalive - (time.monotonic() - idle[0].progress_at) if idle else self.keepalive
        if rest <= 0:
            self._nursery.resize(self._nursery.places - 1)
            rest = min(_PAUSE, self.keepalive)
        self._timer = asyncio.get_running_loop().call_later(rest, self._look)


def checked(kind: str, places: int, by: int) -> int:
    """So many places of a kind of executor and `by` more.

    Raises:
        ExecutorError: none would be left, or more than there can be.
    """
    if places + by < 1:
        raise ExecutorError(f"there are {places} places, and one must be left; shrink by at most {places - 1}")
    if by > 0 and (text := too_many(kind, places + by)):
        raise ExecutorError(text)
    return places + by
