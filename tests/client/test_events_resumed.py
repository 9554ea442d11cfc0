"""Readers of events whose calls break: they go on behind the last event and get each once; against a fake feed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import grpc
import pytest
from tests.client.fake_coordinator import FakeCoordinator, refuse
from tests.client.served import FAST, App, T

from grpcflow import errors
from grpcflow.connection import Connection
from grpcflow.event_model import EventFilter
from grpcflow_protos.v1 import event_service_pb2 as pb
from grpcflow_protos.v1 import event_service_pb2_grpc


class FakeFeed(event_service_pb2_grpc.EventServiceServicer):
    """A feed of numbers.

    Attributes:
        end: The offset of the newest event.
        first: The offset of the first that is kept.
        break_after: Break each call after so many events; 0: never.
        requests: What was asked.
        sent: How many events left in all.
    """

    def __init__(self) -> None:
        self.end = 0
        self.first = 1
        self.break_after = 0
        self.padding = b""
        self.requests: list[pb.ReadEventsRequest] = []
        self.asked = threading.Semaphore(0)
        self.sent = 0
        self._came = threading.Condition()

    def add(self, count: int = 1) -> None:
        """Lets something happen."""
        with self._came:
            self.end += count
            self._came.notify_all()

    def ReadEvents(self, request: pb.ReadEventsRequest, context: Any) -> Iterator[pb.ReadEventsResponse]:
        self.requests.append(request)
        self.asked.release()
        context.add_callback(partial(self.add, 0))
        after = request.after if request.after or request.since_ms or not request.follow else self.end
        given, missed = 0, max(0, self.first - 1 - after)
        after += missed
        while context.is_active():
            stop = min(self.end, after + 2)
            events = [self._event(offset) for offset in range(after + 1, stop + 1)]
            if request.limit:
                events = events[: request.limit - given]
            after += len(events)
            given += len(events)
            self.sent += len(events)
            yield pb.ReadEventsResponse(events=events, next=after, missed=missed)
            missed = 0
            if self.break_after and given >= self.break_after:
                refuse(context, grpc.StatusCode.UNAVAILABLE, "STOPPING", "broken on purpose")
            if (request.limit and given >= request.limit) or (not events and not request.follow):
                return
            with self._came:
                if self.end <= after and request.follow:
                    self._came.wait(1.0)

    def PublishEvent(self, request: pb.PublishEventRequest, context: Any) -> pb.PublishEventResponse:
        self.add()
        return pb.PublishEventResponse(offset=self.end)

    def _event(self, offset: int) -> pb.Event:
        fields = b'{"padding": "%s"}' % self.padding
        return pb.Event(offset=offset, time_ms=offset, kind=pb.EVENT_KIND_CUSTOM, type="n", fields=fields)


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def coordinator(feed: FakeFeed) -> Iterator[FakeCoordinator]:
    made = FakeCoordinator(lambda server: event_service_pb2_grpc.add_EventServiceServicer_to_server(feed, server))
    yield made
    made.close()


@pytest.mark.parametrize("every", [1, 3, 4])
@pytest.mark.parametrize("limit", [None, 17])
def test_a_reader_whose_calls_break_gets_each_event_once(
    feed: FakeFeed, app: App, every: int, limit: int | None
) -> None:
    feed.end, feed.break_after = 20, every
    stream = app.events.read(limit=limit)
    assert [one.offset for one in stream] == list(range(1, (limit or 20) + 1))
    assert stream.missed == 0
    assert len(feed.requests) > 4


def test_a_reader_that_follows_goes_on_when_the_coordinator_was_away(
    feed: FakeFeed, coordinator: FakeCoordinator, app: App, later: Callable[..., "Future[Any]"]
) -> None:
    with app.events.read(follow=True, after=0) as stream:
        feed.add(2)
        assert [next(stream).offset for _ in range(2)] == [1, 2]
        coordinator.stop()
        waiting = later(next, stream)
        feed.add(3)
        coordinator.start()
        assert waiting.result(T).offset == 3
        assert [next(stream).offset for _ in range(2)] == [4, 5]
    assert feed.requests[-1].after == 2


def test_what_happens_while_a_new_feed_is_away_is_not_lost(
    feed: FakeFeed, coordinator: FakeCoordinator, app: App
) -> None:
    """The offset to read on behind is then 0, which on the wire is none."""
    pages = app.connection.read_events(EventFilter(follow=True))
    first = next(pages)
    assert first is not None
    assert (first.next, first.events) == (0, ())
    coordinator.stop()
    feed.add(2)
    coordinator.start()
    again = next(pages)
    assert again is not None
    assert [one.offset for one in again.events] == [1, 2]
    pages.close()


def test_what_is_no_longer_kept_is_counted(feed: FakeFeed, app: App) -> None:
    feed.end, feed.first = 10, 7
    stream = app.events.read(after=2)
    assert [one.offset for one in stream] == [7, 8, 9, 10]
    assert (stream.missed, stream.offset) == (4, 10)


def test_a_coordinator_that_is_not_there_from_the_start_is_told(coordinator: FakeCoordinator, app: App) -> None:
    coordinator.stop()
    for follow in (False, True):
        connection = Connection([coordinator.address], retry_policy=FAST, connect_timeout=T)
        app.made = connection
        with pytest.raises(errors.CoordinatorUnavailable, match="cannot be reached"):
            next(app.events.read(follow=follow, after=3))
        connection.close()


def test_a_closed_connection_ends_a_reader(app: App, feed: FakeFeed, later: Callable[..., "Future[Any]"]) -> None:
    stream = app.events.read(follow=True)
    waiting = later(next, stream)
    assert feed.asked.acquire(timeout=T)
    app.connection.close()
    with pytest.raises(errors.CoordinatorUnavailable, match="closed"):
        waiting.result(T)


def test_a_slow_reader_is_read_ahead_for_by_a_few_messages_only(feed: FakeFeed, app: App) -> None:
    feed.end, feed.padding = 400, b"x" * 50_000
    with app.events.read() as stream:
        next(stream)
        readers = [thread for thread in threading.enumerate() if thread.name == "grpcflow-reading"]
        assert len(readers) == 1
        assert not threading.Event().wait(0.3)
        assert feed.sent < 200, "what nobody takes stays at the coordinator"
    readers[0].join(T)
    assert not readers[0].is_alive(), "who stops reading leaves no thread behind"


def test_a_reader_on_an_event_loop_goes_on_too(feed: FakeFeed, coordinator: FakeCoordinator, app: App) -> None:
    feed.end, feed.break_after = 20, 3

    async def main() -> list[int]:
        found = [one.offset async for one in app.events.aread(limit=15)]
        async with asyncio.timeout(T), app.events.aread(follow=True, after=18) as stream:
            found.append((await anext(stream)).offset)
            waiting = asyncio.ensure_future(stream.__anext__())
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await app.aclose()
        return found

    assert asyncio.run(main()) == [*range(1, 16), 19]


def test_a_receiver_gives_up_after_a_time_without_events_and_may_go_on(feed: FakeFeed, app: App) -> None:
    seen: list[int] = []
    receiver = app.events.Receiver(handlers={"n": lambda event: seen.append(event["offset"])}, after=0)
    feed.end = 3
    receiver.capture(limit=3, timeout=T, wakeup=False)
    with pytest.raises(errors.TimeoutError, match="no event came for"):
        receiver.capture(timeout=0.2, wakeup=False)
    feed.add(2)
    receiver.capture(limit=2, timeout=T, wakeup=False)
    assert seen == [1, 2, 3, 4, 5]
    assert (receiver.offset, receiver.event_count) == (5, 5)


def test_a_receiver_that_shall_stop_stops(feed: FakeFeed, app: App) -> None:
    receiver = app.events.Receiver(after=0)
    feed.end = 5

    def stop(event: dict[str, Any]) -> None:
        receiver.should_stop = event["offset"] >= 2

    receiver.handlers["*"] = stop
    receiver.capture(wakeup=False)
    assert receiver.event_count == 2
    receiver.should_stop = True
    assert [one["offset"] for one in receiver.itercapture(wakeup=False)] == [3]


def test_a_receiver_says_what_it_missed(feed: FakeFeed, app: App, caplog: pytest.LogCaptureFixture) -> None:
    feed.end, feed.first = 9, 8
    receiver = app.events.Receiver(after=3)
    receiver.capture(limit=2, wakeup=False, timeout=T)
    assert "were missed" in caplog.text
    assert receiver.missed == 4
