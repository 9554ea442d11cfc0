"""Limits and retention from Python; a part of ``app.control``.

The coordinator holds them, for the whole cluster and over restarts. Each method has a twin for coroutines, with
an ``a`` before its name. It may not import grpc or protobuf.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from grpcflow.aio.control import on_loop
from grpcflow.lengths import age_of
from grpcflow.limit_model import Limit, LimitInfo, Retention, named
from grpcflow.limits import Rate, checked_count, parse_rate

if TYPE_CHECKING:
    from grpcflow.control import Connected, ReplyList

__all__ = ["COORDINATOR", "LimitControl"]

#: Who answers a rate limit, in place of the workers of Celery.
COORDINATOR: Final = "coordinator"

#: A length of time: seconds, a timedelta, or text such as "10m" or "30d".
Age = float | timedelta | str | None


class LimitControl:
    """What ``app.control`` does to limits and retention.

    All methods raise InvalidRequest for a name that is too long, and CoordinatorUnavailable where the coordinator
    cannot be reached.
    """

    _app: "Connected"

    # --- limits -------------------------------------------------------------------------------------------

    def limits(self) -> tuple[LimitInfo, ...]:
        """Return the limits that hold: on tasks, then on queues, then the keys that hold something back; by name."""
        return self._app.connection.list_limits()

    async def alimits(self) -> tuple[LimitInfo, ...]:
        """Return the limits that hold, on the running event loop; see ``limits``."""
        return await on_loop(self._app).alist_limits()

    def limit(
        self,
        task: str | None = None,
        *,
        queue: str | None = None,
        rate: str | float | None = None,
        concurrency: int | None = None,
    ) -> Limit:
        """Set a limit for the whole cluster, durably; return what holds now. What runs is not stopped.

        It goes before what the code says, rate and concurrency together, until ``clear_limit``. Of two that change
        the same limit at one time, the last one holds.

        Args:
            task: Name of the task; it need not exist yet.
            queue: In its place: name of a queue.
            rate: ``"10/s"``, ``"100/m"``, ``"3/h"``, a number for so many a second; 0: any number, whatever the code
                says. None: as it is.
            concurrency: How many at once; 0: any number, whatever the code says. None: as it is.

        Raises:
            ValueError: Neither task nor queue is named, or both; nothing is said; or a value that cannot be.
        """
        scope, name = named(task, queue)
        return self._app.connection.change_limit(scope, name, **_change(rate, concurrency))

    async def alimit(
        self,
        task: str | None = None,
        *,
        queue: str | None = None,
        rate: str | float | None = None,
        concurrency: int | None = None,
    ) -> Limit:
        """Set a limit, on the running event loop; see ``limit``."""
        scope, name = named(task, queue)
        return await on_loop(self._app).achange_limit(scope, name, **_change(rate, concurrency))

    def clear_limit(self, task: str | None = None, *, queue: str | None = None) -> Limit:
        """Take away a limit that was set; return the one of the code, which holds again.

        Args:
            task: Name of the task.
            queue: In its place: name of a queue.

        Raises:
            ValueError: Neither is named, or both.
        """
        return self._app.connection.clear_limit(*named(task, queue))

    async def aclear_limit(self, task: str | None = None, *, queue: str | None = None) -> Limit:
        """Take away a limit that was set, on the running event loop; see ``clear_limit``."""
        return await on_loop(self._app).aclear_limit(*named(task, queue))

    def rate_limit(
        self, task_name: str, rate_limit: str | float | None, destination: Collection[str] | None = None
    ) -> "ReplyList":
        """Set the rate of a task under Celery's name: ``[{"coordinator": {"ok": text}}]``.

        It holds for the whole cluster and over restarts; how many run at once stays as it is.

        Args:
            task_name: Name of the task; it need not exist yet.
            rate_limit: As ``rate`` of ``limit``; None or 0: no rate, whatever the code says.
            destination: None; the coordinator holds the rate, whoever runs the task.

        Raises:
            ValueError: The rate cannot be, or a destination is named.
        """
        wanted = _checked_rate(task_name, rate_limit, destination)
        self._app.connection.change_limit("task", task_name, rate=wanted, concurrency=None)
        return _replied(wanted)

    async def arate_limit(
        self, task_name: str, rate_limit: str | float | None, destination: Collection[str] | None = None
    ) -> "ReplyList":
        """Set the rate of a task, on the running event loop; see ``rate_limit``."""
        wanted = _checked_rate(task_name, rate_limit, destination)
        await on_loop(self._app).achange_limit("task", task_name, rate=wanted, concurrency=None)
        return _replied(wanted)

    # --- retention ----------------------------------------------------------------------------------------

    def retentions(self) -> tuple[Retention, ...]:
        """Return what was set of what is kept, by scope and name."""
        return self._app.connection.list_retention()

    async def aretentions(self) -> tuple[Retention, ...]:
        """Return what was set of what is kept, on the running event loop; see ``retentions``."""
        return await on_loop(self._app).alist_retention()

    def retention(
        self,
        task: str | None = None,
        *,
        queue: str | None = None,
        results: Age = None,
        failures: Age = None,
        arguments: Age = None,
        keep: int | None = None,
        keep_failures: int | None = None,
        keep_arguments: int | None = None,
    ) -> Retention:
        """Say how long, and how many, of the graphs that ended are kept, durably; return what is set now.

        It holds for graphs that end from now on, before what calls say of themselves, and that of a task before that of
        a queue. What is None stays as it is. Ages are seconds, a timedelta, or text such as ``"10m"`` or ``"30d"``, and
        count from the end of the graph.

        Args:
            task: Name of the task whose value is that of the whole graph; it need not exist yet.
            queue: In its place: name of its queue.
            results: How long graphs are kept that succeeded.
            failures: How long graphs are kept in which something failed.
            arguments: How long the arguments of calls are kept; without them a call can neither be shown nor retried.
            keep: At most so many that succeeded, the newest; 0: any number.
            keep_failures: At most so many in which something failed; 0: any number.
            keep_arguments: Arguments of at most so many; 0: any number.

        Raises:
            ValueError: Neither task nor queue is named, or both; nothing is said; or a value that cannot be.
        """
        scope, name = named(task, queue)
        ages = _ages(results, failures, arguments)
        return self._app.connection.change_retention(
            scope, name, ages, _counts(ages, keep, keep_failures, keep_arguments)
        )

    async def aretention(self, task: str | None = None, *, queue: str | None = None, **kept: Any) -> Retention:
        """Say what is kept, on the running event loop; ``kept`` is the rest of what ``retention`` takes."""
        scope, name = named(task, queue)
        ages = _ages(*(kept.pop(kind, None) for kind in _KINDS))
        counts = _counts(ages, *(kept.pop(count, None) for count in _COUNTS))
        if kept:
            raise TypeError(f"there is no argument {next(iter(kept))!r}; see app.control.retention")
        return await on_loop(self._app).achange_retention(scope, name, ages, counts)

    def clear_retention(self, task: str | None = None, *, queue: str | None = None) -> None:
        """Take away what was set; what calls say of themselves holds again.

        Args:
            task: Name of the task.
            queue: In its place: name of a queue.

        Raises:
            ValueError: Neither is named, or both.
        """
        self._app.connection.clear_retention(*named(task, queue))

    async def aclear_retention(self, task: str | None = None, *, queue: str | None = None) -> None:
        """Take away what was set, on the running event loop; see ``clear_retention``."""
        await on_loop(self._app).aclear_retention(*named(task, queue))


_KINDS: Final = ("results", "failures", "arguments")
_COUNTS: Final = ("keep", "keep_failures", "keep_arguments")


def _change(rate: str | float | None, concurrency: int | None) -> dict[str, Any]:
    """Return what to change of a limit."""
    if rate is None and concurrency is None:
        raise ValueError('nothing is said of the limit: give rate="10/s", concurrency=5, or both; 0 means any number')
    as_it_is: Literal["as it is"] = "as it is"
    return {
        "rate": as_it_is if rate is None else parse_rate(rate),
        "concurrency": concurrency if concurrency in (None, 0) else checked_count("concurrency", concurrency),
    }


def _checked_rate(task: str, rate: str | float | None, destination: Collection[str] | None) -> Rate | None:
    if destination is not None:
        raise ValueError("the coordinator holds the rate for the whole cluster: leave destination out.")
    if not task:
        raise ValueError("no task is named: a rate limit is on one")
    return parse_rate(rate)


def _replied(rate: Rate | None) -> "ReplyList":
    """Return the coordinator's answer in the shape of workers' answers."""
    from grpcflow.control import Replies, ReplyList

    replies = Replies()
    replies[COORDINATOR] = {"ok": "no rate limit from now on" if rate is None else f"rate limit is {rate} from now on"}
    return ReplyList(replies)


def _ages(*given: Age) -> dict[str, timedelta | None]:
    """Return what was given of ages, checked."""
    return {kind: None if age is None else age_of(kind, age) for kind, age in zip(_KINDS, given, strict=True)}


def _counts(ages: dict[str, timedelta | None], *given: int | None) -> dict[str, int | None]:
    """Return what was given of counts, checked.

    Raises:
        ValueError: A count cannot be, or neither an age nor a count was given.
    """
    if all(one is None for one in (*ages.values(), *given)):
        raise ValueError("nothing is said of what to keep: give an age or a count, such as results='1h' or keep=1000")
    for name, count in zip(_COUNTS, given, strict=True):
        if count not in (None, 0):
            checked_count(name, count)
    return dict(zip(_KINDS, given, strict=True))
