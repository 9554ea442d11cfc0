"""What failed for good, from Python: ``app.failed``.

The coordinator keeps the list. Each method has a twin for coroutines, with an ``a`` before its name. It may not import
grpc or protobuf.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias, Unpack, cast

from grpcflow.aio.control import on_loop
from grpcflow.failed_model import FailedCall, FailedFilter, RetriedCalls

if TYPE_CHECKING:
    from grpcflow.control import Connected, HasId

    _One: TypeAlias = str | FailedCall | HasId
    _Calls: TypeAlias = _One | Iterable[_One] | None

__all__ = ["FailedControl"]

#: Ids of calls, each with that of its graph; empty: not known. Here, since the class has a method `list`.
Pairs: TypeAlias = list[tuple[str, str]]


class FailedControl:
    """The calls that failed for good: those that failed themselves, not what failed because of them.

    A call is on the list until it is retried, purged, or no longer kept. All methods raise CoordinatorUnavailable where
    the coordinator cannot be reached.

    Args:
        app: Whose coordinator is asked.
    """

    def __init__(self, app: "Connected") -> None:
        self._app = app

    def list(
        self,
        task: str = "",
        queue: str = "",
        type: str = "",  # noqa: A002 - what the list calls it
        since: datetime | None = None,
        *,
        lost: bool = False,
        limit: int | None = None,
    ) -> Iterator[FailedCall]:
        """Yield the calls that failed for good, newest graph first; pages are asked for as they are needed.

        Args:
            task: Name of the task, or a pattern with ``*`` and ``?``; empty: any.
            queue: Name of its queue; empty: any.
            type: Class name of the failure, or a pattern with ``*`` and ``?``; empty: any.
            since: Only those that failed then or later, with a time zone.
            lost: True: only those that were given up because their workers died under them.
            limit: Most calls; None: all.

        Raises:
            ValueError: The moment has no time zone.
            InvalidRequest: A name or a pattern is too long.
        """
        wanted = _checked({"task": task, "queue": queue, "type": type, "since": since, "lost": lost})
        return self._app.connection.list_failed(wanted, limit)

    def alist(
        self,
        task: str = "",
        queue: str = "",
        type: str = "",  # noqa: A002 - what the list calls it
        since: datetime | None = None,
        *,
        lost: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[FailedCall]:
        """Yield the calls that failed for good, on the running event loop (``async for``); see ``list``."""
        wanted = _checked({"task": task, "queue": queue, "type": type, "since": since, "lost": lost})
        return on_loop(self._app).alist_failed(wanted, limit)

    def retry(
        self,
        calls: "_Calls" = None,
        **filters: Unpack[FailedFilter],
    ) -> RetriedCalls:
        """Run again what did not succeed of the graphs of these calls; what succeeded keeps its value, ids stay.

        A graph that cannot be retried, because it has not ended or its arguments are gone, is told in ``refused``; the
        others are retried all the same.

        Args:
            calls: Ids, entries of the list or results, one or several. None: those that the filters name.
            **filters: ``task``, ``queue``, ``type``, ``since``, ``lost`` as in ``list``.

        Raises:
            ValueError: Both are given, or neither: everything is ``task="*"``.
        """
        return self._app.connection.retry_failed(self._pairs(calls, filters))

    async def aretry(
        self,
        calls: "_Calls" = None,
        **filters: Unpack[FailedFilter],
    ) -> RetriedCalls:
        """Run again what did not succeed, on the running event loop; see ``retry``."""
        return await on_loop(self._app).aretry_failed(await self._apairs(calls, filters))

    def purge(
        self,
        calls: "_Calls" = None,
        **filters: Unpack[FailedFilter],
    ) -> int:
        """Take calls off the list; return how many were on it. Their results stay as long as they would have.

        Args:
            calls: As for ``retry``.
            **filters: As for ``retry``.

        Raises:
            ValueError: As for ``retry``.
            InvalidRequest: An id is too long.
        """
        return self._app.connection.purge_failed([id for id, _ in self._pairs(calls, filters)])

    async def apurge(
        self,
        calls: "_Calls" = None,
        **filters: Unpack[FailedFilter],
    ) -> int:
        """Take calls off the list, on the running event loop; see ``purge``."""
        return await on_loop(self._app).apurge_failed([id for id, _ in await self._apairs(calls, filters)])

    def _pairs(self, calls: "_Calls", filters: FailedFilter) -> "Pairs":
        """Return the calls that are meant, each with the id of its graph."""
        found = self._app.connection.list_failed(_checked(filters)) if _by_filter(calls, filters) else _pieces(calls)
        return [_pair(one) for one in found]

    async def _apairs(self, calls: "_Calls", filters: FailedFilter) -> "Pairs":
        if _by_filter(calls, filters):
            return [_pair(one) async for one in on_loop(self._app).alist_failed(_checked(filters))]
        return [_pair(one) for one in _pieces(calls)]


def _checked(filters: FailedFilter) -> FailedFilter:
    """Refuse a moment that could be anywhere."""
    since = filters.get("since")
    if since is not None and since.tzinfo is None:
        raise ValueError(f"since={since} has no time zone: say datetime.now(UTC), or app.now()")
    for name in filters:
        if name not in FailedFilter.__annotations__:
            raise TypeError(f"there is no filter {name!r}: use some of {', '.join(FailedFilter.__annotations__)}")
    return filters


def _by_filter(calls: object, filters: FailedFilter) -> bool:
    """Return whether calls are named by filters, and not one by one."""
    if calls is None and any(filters.values()):
        return True
    if calls is None:
        raise ValueError("name calls or a filter: everything that failed is task='*'")
    if filters:
        raise ValueError("calls are named, and a filter too: give one of them")
    return False


def _pieces(calls: "_Calls") -> "Iterable[_One]":
    if isinstance(calls, str):
        return (calls,)
    if isinstance(calls, Iterable) and not hasattr(calls, "id"):
        return calls
    return () if calls is None else (cast("_One", calls),)


def _pair(one: "_One") -> tuple[str, str]:
    """Return the id of a call and that of its graph; empty: it is not known here."""
    if isinstance(one, str):
        return one, ""
    return one.id, one.graph if isinstance(one, FailedCall) else ""
