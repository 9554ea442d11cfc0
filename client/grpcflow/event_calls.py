"""The feed of events as calls: read along, and publish.

Written once for threads and event loops, as coroutines; see ``blocking``. What events are, and their messages, is
imported by the calls that need it.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from grpcflow.calls import Calls
from grpcflow.items import OpenReader, Reader
from grpcflow.session import Session

if TYPE_CHECKING:
    from grpcflow.event_model import EventFilter, EventPage
    from grpcflow_protos.v1 import event_service_pb2 as pb

__all__ = ["EventCalls"]

_log: Final = logging.getLogger("grpcflow.connection")


def _events(channel: Any) -> Any:
    from grpcflow_protos.v1 import event_service_pb2_grpc

    return event_service_pb2_grpc.EventServiceStub(channel)


def _asked(request: "pb.ReadEventsRequest", channel: Any) -> Any:
    return _events(channel).ReadEvents(request)


class EventCalls:
    """Calls to the event service; a part of what is asked of a coordinator."""

    _session: Session
    _calls: Calls
    #: Asks for a stream of answers; set by the side that waits.
    _open_reader: Callable[[OpenReader], Reader]

    async def aread_events(
        self, wanted: "EventFilter", *, interval: float | None = None
    ) -> "AsyncGenerator[EventPage | None, None]":
        """Yield events as they come, each once, a page at a time; a lost coordinator is asked again for what follows.

        Whoever stops before the end closes the generator, or lets go of it: then nothing is read any more.

        Args:
            wanted: Which.
            interval: Seconds without a message after which None comes, again and again; for threads. None: never.

        Raises:
            NotFound: The coordinator does not know the id that is wanted.
            InvalidRequest: A name or a pattern is too long.
            CoordinatorUnavailable: It could not be reached from the start, by the retry policy, or the connection was
                closed.
        """
        from grpcflow.event_wire import Place

        place, failures, began = Place(wanted), 0, time.monotonic()
        while not place.is_over():
            reader = self._open_reader(partial(_asked, place.request()))
            try:
                while (said := await _next(reader, interval)) is not None:
                    if said is True:
                        yield None
                        continue
                    failures = 0
                    yield place.take(said)
            finally:
                await reader.close()
            if reader.error is not None:
                raise reader.error
            if place.is_over() or (reader.complete and not wanted.follow):
                return
            failures += 1
            if not (place.reached and wanted.follow) and self._session.policy.is_over(failures, began):
                raise self._session.unavailable()
            if failures == 2 and place.reached:
                _log.warning("the events are read on once the coordinator is back")
            await self._calls._pause(self._session.policy.delay(failures))

    async def apublish_event(self, type_name: str, fields: bytes, id: str = "") -> int:
        """Put an event into the feed; return its offset. Where the coordinator is lost meanwhile it may come twice.

        Args:
            type_name: What it is called, at most 255 bytes.
            fields: One JSON object, at most 64 KiB.
            id: Id of the task that publishes it; empty: none.

        Raises:
            InvalidRequest, PayloadTooLarge: The name or the fields cannot be taken.
            CoordinatorUnavailable, TimeoutError: The coordinator could not be reached, or did not answer.
        """
        from grpcflow.event_wire import publishing

        request = publishing(type_name, fields, id)
        answer = await self._calls.request(lambda channel, left: _events(channel).PublishEvent(request, timeout=left))
        offset: int = answer.offset
        return offset


async def _next(reader: Reader, interval: float | None) -> Any:
    """Return the next message; True where none came within the interval, None where no more will come."""
    deadline = None if interval is None else time.monotonic() + interval
    message = await reader.next(deadline)
    return True if message is None and not reader.ended else message
