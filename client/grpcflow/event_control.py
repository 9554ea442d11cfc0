"""Events from Python: ``app.events``.

The coordinator keeps the feed; there is nothing to switch on. Methods that ask have twins for coroutines, with an ``a``
before their name. It may not import grpc or protobuf.
"""

import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from grpcflow.aio.control import on_loop
from grpcflow.errors import SerializationError
from grpcflow.event_model import Event, EventFilter, EventPage, since_when, wanted_kinds

if TYPE_CHECKING:
    from grpcflow.control import Connected
    from grpcflow.event_receiver import Receiver
    from grpcflow.event_state import State

__all__ = ["AwaitableEvents", "Dispatcher", "EventStream", "Events"]


class _Taken:
    """Events that came and were not taken yet, and how far that is.

    Attributes:
        offset: Offset of the last event that was taken, or behind which nothing that is wanted was found.
        missed: How many events were asked for and are no longer kept.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.missed = 0
        self._page: deque[Event] = deque()
        self._next = 0

    def _put(self, page: EventPage) -> None:
        self.missed += page.missed
        self._page.extend(page.events)
        self._next = page.next
        if not self._page:
            self.offset = page.next

    def _pop(self) -> Event:
        event = self._page.popleft()
        self.offset = event.offset if self._page else self._next
        return event


class EventStream(_Taken, Iterator[Event]):
    """Events, one after the other; made by ``app.events.read``.

    Leaving its ``with``, or ``close``, ends the reading at once.

    Args:
        pages: Where they come from.

    Attributes:
        offset: Offset of the last event that was taken: ``read(after=...)`` goes on there.
        missed: How many events were asked for and are no longer kept.
    """

    def __init__(self, pages: Generator[EventPage | None, None, None]) -> None:
        super().__init__()
        self._pages = pages

    def __next__(self) -> Event:
        while not self._page:
            page = next(self._pages)
            if page is not None:
                self._put(page)
        return self._pop()

    def close(self) -> None:
        """Read no more."""
        self._pages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AwaitableEvents(_Taken, AsyncIterator[Event]):
    """Events for ``async for``; made by ``app.events.aread``. The rest as for ``EventStream``, with ``aclose``."""

    def __init__(self, pages: AsyncGenerator[EventPage | None, None]) -> None:
        super().__init__()
        self._pages = pages

    async def __anext__(self) -> Event:
        while not self._page:
            page = await anext(self._pages)
            if page is not None:
                self._put(page)
        return self._pop()

    async def aclose(self) -> None:
        """Read no more."""
        await self._pages.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class Wanted(TypedDict, total=False):
    """The parameters of ``Events.read``, for those who take them as keywords."""

    since: datetime | timedelta | str | None
    after: int | None
    kinds: str | Collection[str]
    task: str
    queue: str
    worker: str
    id: str
    follow: bool
    limit: int | None


def _filter(
    since: datetime | timedelta | str | None = None,
    after: int | None = None,
    kinds: str | Collection[str] = (),
    task: str = "",
    queue: str = "",
    worker: str = "",
    id: str = "",
    follow: bool = False,
    limit: int | None = None,
) -> EventFilter:
    """Return what is wanted, checked; the parameters are those of ``Events.read``."""
    if since is not None and after is not None:
        raise ValueError("since and after both say where to begin: give one of them")
    if after is not None and after < 0:
        raise ValueError(f"after is {after}; offsets are 0 or more")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be 1 or more, or None for all")
    return EventFilter(after, since_when(since), wanted_kinds(kinds), task, queue, worker, id, follow, limit)


class Events:
    """The feed of events of the cluster, from Python.

    The coordinator keeps the last 100,000 in memory. All methods that ask raise CoordinatorUnavailable where it cannot
    be reached.

    Args:
        app: Whose coordinator is asked.
    """

    def __init__(self, app: "Connected") -> None:
        self._app = app

    def read(
        self,
        *,
        since: datetime | timedelta | str | None = None,
        after: int | None = None,
        kinds: str | Collection[str] = (),
        task: str = "",
        queue: str = "",
        worker: str = "",
        id: str = "",
        follow: bool = False,
        limit: int | None = None,
    ) -> EventStream:
        """Yield events in order, each once; nothing is asked before the first is taken.

        While the coordinator is away a reader that follows waits for it and then goes on behind the last event.

        Args:
            since: Only those from then on: a moment with a time zone, how long ago, or either as text such as ``10m``.
            after: Only those behind this offset; 0: all that are kept. With neither: all that are kept, or with
                ``follow`` those that are still to come.
            kinds: ``task-failed``, ``worker-online``, ...: one or several; empty: all but heartbeats of workers.
            task: Name of a task, or a pattern with ``*`` and ``?``; empty: any.
            queue: Name of its queue; empty: any.
            worker: Name of a worker, or a pattern; empty: any.
            id: Id of a task: only events of its graph; empty: any.
            follow: True: go on as they happen. Default False.
            limit: Most events; None: any number.

        Raises:
            ValueError: A moment, a kind or a number cannot be.
            NotFound: The coordinator does not know the id.
            InvalidRequest: A name or a pattern is too long.
        """
        return EventStream(
            self._app.connection.read_events(_filter(since, after, kinds, task, queue, worker, id, follow, limit))
        )

    def aread(self, **wanted: Unpack[Wanted]) -> AwaitableEvents:
        """Yield events on the running event loop (``async for``); parameters and errors are those of ``read``."""
        return AwaitableEvents(on_loop(self._app).aread_events(_filter(**wanted)))

    def publish(self, type_: str, /, *, uuid: str = "", **fields: Any) -> int:
        """Put an event of your own into the feed; return its offset. Its kind is ``custom``.

        Where the coordinator is lost meanwhile it may stand there twice.

        Args:
            type_: What it is called, at most 255 bytes.
            uuid: Id of the task that it is about; empty: of none.
            **fields: What it says; values that JSON has, at most 64 KiB.

        Raises:
            SerializationError: A field has a value that JSON has not.
            InvalidRequest, PayloadTooLarge: The name is empty or too long, or the fields are too large.
        """
        return self._app.connection.publish_event(type_, _encoded(type_, fields), uuid)

    async def apublish(self, type_: str, /, *, uuid: str = "", **fields: Any) -> int:
        """Put an event of your own into the feed, on the running event loop; see ``publish``."""
        return await on_loop(self._app).apublish_event(type_, _encoded(type_, fields), uuid)

    def Receiver(  # noqa: N802 - Celery's name
        self,
        connection: Any = None,
        handlers: "Mapping[str, Callable[[dict[str, Any]], Any]] | None" = None,
        **wanted: Unpack[Wanted],
    ) -> "Receiver":
        """Return what calls handlers with events as Celery's dictionaries; see ``event_receiver.Receiver``.

        Args:
            connection: Taken for the sake of code written for Celery; the app's own is used.
            handlers: What to call, by type; ``*`` for all that have none.
            **wanted: Which events, as for ``read``; without ``since`` and ``after`` those that are still to come.
        """
        from grpcflow.event_receiver import Receiver

        del connection
        chosen: Wanted = {"follow": True, **wanted}
        return Receiver(self._app, handlers or {}, _filter(**chosen))

    def Dispatcher(self, connection: Any = None) -> "Dispatcher":  # noqa: N802 - Celery's name
        """Return what publishes events with ``send``; the connection is taken for code written for Celery."""
        del connection
        return Dispatcher(self)

    default_dispatcher = Dispatcher

    def State(  # noqa: N802 - Celery's name
        self,
        callback: "Callable[[State, dict[str, Any]], Any] | None" = None,
        max_workers_in_memory: int = 5_000,
        max_tasks_in_memory: int = 10_000,
    ) -> "State":
        """Return what keeps the last tasks and workers that events told of; see ``event_state.State``."""
        from grpcflow.event_state import State

        return State(callback, max_workers_in_memory, max_tasks_in_memory)


class Dispatcher:
    """Publishes events under Celery's names; made by ``app.events.default_dispatcher()``, and usable with ``with``.

    Args:
        events: What it publishes to.
    """

    def __init__(self, events: Events) -> None:
        self._events = events

    def send(self, type_: str, /, *, uuid: str = "", **fields: Any) -> int:
        """Put an event into the feed; as ``Events.publish``."""
        return self._events.publish(type_, uuid=uuid, **fields)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left to do: what was sent is in the feed."""


def _encoded(type_: str, fields: Mapping[str, Any]) -> bytes:
    """Return fields as JSON."""
    try:
        return json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the event {type_!r} has a field that is not JSON: {error}; give numbers, text, lists and dicts"
        raise SerializationError(message) from None
