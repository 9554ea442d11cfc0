"""A program that calls and waits, again and again, asks for each result together with the call."""

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator, chunk
from tests.client.served import T, is_collected

from grpcflow import errors, ids
from grpcflow.connection import Connection
from grpcflow.foresight import ASKED, AT_ONCE, HABIT, KEPT_BYTES, RECENT, Foresight
from grpcflow.waiting import NodesWaiter, RangeWaiter, Waiter
from grpcflow_protos.v1 import value_pb2

LINK, OTHER = 1, 2


def call_and_wait(foresight: Foresight, times: int) -> None:
    for number in range(times):
        graph = b"used%08d" % number
        foresight.expects(graph, LINK)
        foresight.waits(RangeWaiter(graph, 0, 1), LINK)


@pytest.fixture
def foresight() -> Foresight:
    """One that takes the next call to be waited for."""
    made = Foresight()
    call_and_wait(made, HABIT)
    return made


def test_it_takes_a_habit_to_be_foreseen() -> None:
    foresight = Foresight()
    call_and_wait(foresight, HABIT - 1)
    assert not foresight.expects(b"a" * 12, LINK)
    foresight.waits(RangeWaiter(b"a" * 12, 0, 1), LINK)
    assert foresight.expects(b"b" * 12, LINK)


def test_calls_that_nobody_waits_for_end_the_habit(foresight: Foresight) -> None:
    asked = [foresight.expects(b"%012d" % number, LINK) for number in range(AT_ONCE + 2)]
    assert asked == [True] * AT_ONCE + [False] * 2


def one_after_the_other(foresight: Foresight, graphs: list[bytes]) -> int:
    """Wait for each, all of which come at once when they are asked for; return how often somebody had to ask."""
    questions = 0
    for graph in graphs:
        waiter = RangeWaiter(graph, 0, 1)
        further = foresight.waits(waiter, LINK)
        if further is not None:
            questions += 1
            waiter.take_values(graph, [0], [b"1"])
            for other in further:
                foresight.keep(other, [(0, b"1")])
        assert waiter.done
    return questions


def test_who_waits_for_one_call_after_the_other_asks_for_more_and_more_ahead() -> None:
    foresight = Foresight()
    graphs = [b"%012d" % number for number in range(5_000)]
    for graph in graphs:
        foresight.made(graph)
    assert one_after_the_other(foresight, graphs) < 25


def test_what_is_asked_for_ahead_and_not_waited_for_is_less_each_time() -> None:
    foresight = Foresight()
    graphs = [b"%012d" % number for number in range(2_000)]
    for graph in graphs:
        foresight.made(graph)
    one_after_the_other(foresight, graphs[:100])
    last = [foresight.waits(RangeWaiter(graph, 0, 1), LINK) for graph in reversed(graphs[1_000:])]
    ahead = [len(further) for further in last if further is not None]
    assert sum(ahead[:10]) < 80, "it looked ahead from the front, and they were waited for from the back"
    assert max(ahead[10:]) <= 1


def test_only_so_many_calls_are_remembered_and_so_many_asked_for() -> None:
    foresight = Foresight()
    for number in range(RECENT + 100):
        foresight.made(b"%012d" % number)
    assert len(foresight._calls) == RECENT
    call_and_wait(foresight, HABIT)
    for number in range(ASKED * 2):
        foresight.expects(b"a%011d" % number, LINK)
        if number % AT_ONCE == 0:
            call_and_wait(foresight, 1)
    assert len(foresight._asked) <= ASKED


def test_a_result_that_is_on_its_way_need_not_be_asked_for(foresight: Foresight) -> None:
    foresight.expects(b"a" * 12, LINK)
    waiter = RangeWaiter(b"a" * 12, 0, 1)
    assert foresight.waits(waiter, LINK) is None
    assert not waiter.done


def test_a_result_that_came_before_is_given_at_once(foresight: Foresight) -> None:
    foresight.expects(b"a" * 12, LINK)
    foresight.keep(b"a" * 12, [(0, b"7")])
    waiter = RangeWaiter(b"a" * 12, 0, 1)
    assert foresight.waits(waiter, None) is None, "also where the link is gone meanwhile"
    assert [one.data for one in waiter.results()] == [b"7"]


@pytest.mark.parametrize(
    "waiter",
    [
        RangeWaiter(b"a" * 12, 1, 1),
        RangeWaiter(b"a" * 12, 0, 2),
        NodesWaiter([("x", b"a" * 12, 0), ("y", b"b" * 12, 0)]),
        NodesWaiter([("x", b"a" * 12, 0)], ["own"]),
        RangeWaiter(b"z" * 12, 0, 1),
    ],
    ids=["another node", "more nodes", "more graphs", "a name too", "another graph"],
)
def test_who_waits_for_more_or_for_something_else_asks(foresight: Foresight, waiter: Waiter) -> None:
    for graph in (b"a" * 12, b"b" * 12):
        foresight.expects(graph, LINK)
    assert foresight.waits(waiter, LINK) is not None


def test_what_was_asked_for_on_another_link_is_asked_for_again(foresight: Foresight) -> None:
    for graph, link in ((b"a" * 12, OTHER), (b"b" * 12, None)):
        foresight.expects(graph, LINK)
        assert foresight.waits(RangeWaiter(graph, 0, 1), link) is not None


def test_who_wants_news_asks(foresight: Foresight) -> None:
    foresight.expects(b"a" * 12, LINK)
    waiter = RangeWaiter(b"a" * 12, 0, 1)
    waiter.wants_news = True
    assert foresight.waits(waiter, LINK) is not None


def test_a_failure_that_came_before_is_asked_for_again(foresight: Foresight) -> None:
    foresight.expects(b"a" * 12, LINK)
    foresight.missed(b"a" * 12)
    assert foresight.waits(RangeWaiter(b"a" * 12, 0, 1), LINK) is not None


def test_what_is_kept_is_bounded_and_what_is_let_go_makes_room(foresight: Foresight) -> None:
    large = b"x" * (KEPT_BYTES - 1)
    for graph, value, kept in ((b"a" * 12, large, True), (b"b" * 12, b"22", False), (b"c" * 12, b"3", True)):
        foresight.expects(graph, LINK)
        foresight.keep(graph, [(0, value)])
        if graph != b"a" * 12:
            assert (foresight.waits(RangeWaiter(graph, 0, 1), LINK) is None) is kept
    assert foresight.waits(RangeWaiter(b"a" * 12, 0, 1), LINK) is None
    foresight.expects(b"d" * 12, LINK)
    foresight.keep(b"d" * 12, [(0, large)])
    assert foresight.waits(RangeWaiter(b"d" * 12, 0, 1), None) is None


def call(connection: Connection, get: bool = True) -> bytes:
    graph = ids.mint_graph()
    connection.submit(chunk(graph))
    if get:
        assert [one.data for one in connection.wait_range(graph, 0, 1, timeout=T)] == [b"1"]
    return graph


def habit(coordinator: FakeCoordinator, connection: Connection) -> None:
    """Have the connection learn that whoever calls waits."""
    coordinator.fake.answer = lambda graph, index: b"1"
    for _ in range(HABIT + 1):  # the first one opens the link, and does not count
        call(connection)


def test_the_question_travels_with_the_call(coordinator: FakeCoordinator, connection: Connection) -> None:
    habit(coordinator, connection)
    before = coordinator.fake.messages
    for _ in range(5):
        call(connection)
    assert coordinator.fake.messages - before == 5


def test_a_link_that_breaks_in_between_costs_no_result(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    habit(coordinator, connection)
    coordinator.fake.answer = None
    graph = call(connection, get=False)
    waiting = later(connection.wait_range, graph, 0, 1, timeout=T)
    coordinator.fake.break_streams()
    coordinator.fake.answer = lambda graph, index: b"1"
    assert [one.data for one in waiting.result(T)] == [b"1"]


def test_what_came_for_one_who_waited_before_is_asked_for_again(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., "Future[Any]"]
) -> None:
    habit(coordinator, connection)
    while coordinator.fake.watch_seen.acquire(blocking=False):
        pass
    graph = ids.mint_graph()
    before = later(connection.wait, [ids.node_id(graph, 0)], timeout=T, wait_for_submit=True)
    assert coordinator.fake.watch_seen.acquire(timeout=T)
    connection.submit(chunk(graph))
    before.result(T)
    assert [one.data for one in connection.wait_range(graph, 0, 1, timeout=T)] == [b"1"]


def test_a_call_that_nobody_waits_for_keeps_no_link_alive(coordinator: FakeCoordinator, connection: Connection) -> None:
    habit(coordinator, connection)
    coordinator.fake.answer = None
    call(connection, get=False)
    link = weakref.ref(connection._session._link)
    connection.close()
    assert is_collected(link), "a process that forks waits for the end of all that grpc holds"


def test_a_failure_is_told_as_ever(coordinator: FakeCoordinator, connection: Connection) -> None:
    habit(coordinator, connection)
    coordinator.fake.answer = None
    graph = call(connection, get=False)
    coordinator.fake.settle(graph, 0, state=value_pb2.STATE_FAILURE)
    [told] = connection.wait_range(graph, 0, 1, timeout=T)
    assert told.state == "FAILURE"


def test_a_call_that_was_refused_is_not_taken_for_one_on_its_way(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    coordinator.fake.answer = lambda graph, index: b"1"
    call(connection)  # opens the link
    refused = ids.mint_graph()
    coordinator.fake.refusals[refused] = (8, "STORE_FULL", "make room")
    with pytest.raises(errors.RequestFailed):
        connection.submit(chunk(refused))
    del coordinator.fake.node_counts[refused]  # the fake knows it all the same
    call(connection)  # who waits for this one asks for the refused one, too
    del coordinator.fake.refusals[refused]
    connection.submit(chunk(refused))
    assert [one.data for one in connection.wait_range(refused, 0, 1, timeout=T)] == [b"1"]
