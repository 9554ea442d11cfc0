"""What came of nodes that have not settled: told by push, the newest to a slow reader, and anew after an outage."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.served import T, submitted

from grpcflow import driving, ids
from grpcflow.connection import Connection
from grpcflow.news import News
from grpcflow.settled import Settled, told_from
from grpcflow.waiters import Waiters
from grpcflow.waiting import NodesWaiter
from grpcflow_protos.v1 import client_service_pb2, value_pb2


def told(state: str, meta: bytes = b"1", skipped: int = 0) -> Settled:
    return Settled("STARTED", custom_state=state, meta=(meta, ""), skipped=skipped)


def progress(graph: bytes, state: str, meta: bytes | None = b"1", **fields: Any) -> client_service_pb2.Progress:
    value = None if meta is None else value_pb2.Value(data=meta)
    return client_service_pb2.Progress(node=ids.node_bytes(graph, 0), state=state, meta=value, **fields)


def say(coordinator: FakeCoordinator, *many: client_service_pb2.Progress) -> None:
    for stream in coordinator.fake.streams:
        stream.send(progress=many)


def test_a_slow_reader_takes_the_newest_state_and_learns_how_many_it_missed() -> None:
    news = News()
    assert [news.put("a", told("P", b"%d" % number)) for number in range(3)] == [True, False, False]
    taken = news.take("a")
    assert taken is not None
    assert (taken.meta, taken.skipped) == ((b"2", ""), 2)
    assert news.take("a") is None
    assert news.put("a", told("P", b"9"))


def test_what_the_coordinator_skipped_counts_with_what_the_reader_missed() -> None:
    news = News()
    news.put("a", told("P", b"1"))
    news.put("a", told("P", b"8", skipped=6))
    taken = news.take("a")
    assert taken is not None
    assert taken.skipped == 7


def test_a_state_that_is_told_again_is_no_news() -> None:
    news = News()
    assert news.put("a", told("P"))
    news.take("a")
    assert not news.put("a", told("P"))
    assert news.put("b", told("P")), "another node may be in the same state"
    news.forget("a")
    assert news.put("a", told("P"))


def test_news_of_many_nodes_keep_no_more_than_one_state_of_each() -> None:
    news = News()
    woken = sum(news.put(f"n{number % 7}", told("P", b"%d" % number)) for number in range(10_000))
    assert woken == 7
    taken = [news.take(f"n{number}") for number in range(7)]
    assert sum(one.skipped + 1 for one in taken if one is not None) == 10_000


def test_every_state_is_told_once_or_counted_while_two_threads_race() -> None:
    news, wake = News(), threading.Semaphore(0)
    counted = 0

    def put() -> None:
        for number in range(20_000):
            if news.put("a", told("P", b"%d" % number)):
                wake.release()
        if news.put("a", told("END")):
            wake.release()

    putter = threading.Thread(target=put)
    putter.start()
    last = ""
    while last != "END":
        assert wake.acquire(timeout=T), "a state was kept, and nobody was woken for it"
        taken = news.take("a")
        if taken is not None:
            counted += taken.skipped + 1
            last = taken.custom_state
    putter.join(T)
    assert counted == 20_001


@pytest.mark.parametrize(
    ("state", "meta", "shown"),
    [
        ("PROGRESS", b"1", ("STARTED", "PROGRESS", (b"1", ""))),
        ("RETRY", None, ("RETRY", "", None)),
        ("STARTED", None, ("STARTED", "", None)),
        ("STARTED", b"{}", ("STARTED", "STARTED", (b"{}", ""))),
        ("HALF", None, ("STARTED", "HALF", (b"", ""))),
    ],
)
def test_a_state_of_the_tasks_own_is_told_from_one_of_the_coordinator(
    state: str, meta: bytes | None, shown: Any
) -> None:
    found = told_from(progress(ids.mint_graph(), state, meta, retries=2))
    assert (found.state, found.custom_state, found.meta, found.retries) == (*shown, 2)


def test_news_go_to_those_alone_who_want_them_and_whose_node_has_not_settled() -> None:
    graph = ids.mint_graph()
    waiters = Waiters()
    eager = NodesWaiter([("a", graph, 0)], arrivals=True, news=News())
    plain = NodesWaiter([("a", graph, 0)], arrivals=True)
    for waiter in (eager, plain):
        waiters.add(waiter)
    waiters.take_progress(progress(graph, "PROGRESS"))
    assert plain.wake.empty()
    assert eager.wake.get_nowait() == ("a", None)
    eager.take(graph, 0, Settled("SUCCESS", b"1"))
    waiters.take_progress(progress(graph, "LATE"))
    assert eager.wake.get_nowait()[1] is not None
    assert eager.wake.get_nowait() is None, "the end"
    assert eager.wake.empty()


def test_states_arrive_by_push_before_the_end(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    graph = submitted(connection)
    text = ids.node_id(graph, 0)
    coming = connection.arrivals([text], timeout=T, progress=True)
    first = later(next, coming)
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    say(coordinator, progress(graph, "PROGRESS", b"50"))
    one = first.result(T)
    assert one is not None
    assert (one[0], one[1].custom_state, one[1].meta) == (text, "PROGRESS", (b"50", ""))
    coordinator.fake.settle(graph, 0, 7)
    assert [(name, end.state) for name, end in (one for one in coming if one is not None)] == [(text, "SUCCESS")]


def test_after_a_broken_stream_the_state_is_told_anew_and_known_ones_are_passed_over(
    coordinator: FakeCoordinator,
    connection: Connection,
    later: Callable[..., "Future[Any]"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driving, "_AGAIN", 0.001)
    graph = submitted(connection)
    coming = connection.arrivals([ids.node_id(graph, 0)], timeout=T, progress=True)
    first = later(next, coming)
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    say(coordinator, progress(graph, "PROGRESS", b"1"))
    assert first.result(T)[1].meta == (b"1", "")
    second = later(next, coming)
    coordinator.fake.break_streams()
    assert coordinator.fake.watch_seen.acquire(timeout=T), "it watches again"
    assert coordinator.fake.progress_watched == 2, "and asks for the states again"
    say(coordinator, progress(graph, "PROGRESS", b"1"), progress(graph, "PROGRESS", b"2"))
    assert second.result(T)[1].meta == (b"2", "")
    coming.close()
