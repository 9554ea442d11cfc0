"""Coroutines that wait for calls of a bundle by a future alone: whatever becomes of the call, they are told as any."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator

from grpcflow import AsyncResult, Grpcflow, errors, state
from grpcflow.waiters import Waiters
from grpcflow.waiting import NodeWaiter
from grpcflow_protos.v1 import client_service_pb2, value_pb2

T = 40.0
GRAPH = b"g" * 12


@pytest.fixture
def app(coordinator: FakeCoordinator) -> Iterator[Grpcflow]:
    made = Grpcflow("slots", coordinator=coordinator.address, set_as_current=False)
    yield made
    state.forget_app(made)


class Bundle:
    """Three calls that left together and are waited for, each by a coroutine."""

    def __init__(self, app: Grpcflow, coordinator: FakeCoordinator, results: "list[AsyncResult[Any]]") -> None:
        self.fake = coordinator.fake
        self.results = results
        self.graph = results[0]._graph
        self.session = app.loop_connection._loop_session
        self.waits: list[asyncio.Task[Any]] = []

    async def wait(self, index: int, timeout: float | None = T) -> "asyncio.Task[Any]":
        """Begin to wait for one of them, and return once that has begun."""
        waiting = asyncio.ensure_future(self.results[index].aget(timeout=timeout))
        self.waits.append(waiting)
        await asyncio.sleep(0)
        return waiting

    def slots(self) -> int:
        """Return for how many nodes a future alone waits."""
        return sum(not isinstance(one, NodeWaiter | list) for one in self.held())

    def held(self) -> list[Any]:
        return list(self.session._waiters._by_node.get(self.graph, {}).values())

    def tell(self, *indexes: int) -> None:
        """Send values as a coordinator does that has several."""
        values = [b"%d" % (10 * index) for index in indexes]
        column = client_service_pb2.Successes(graph=self.graph, indexes=indexes, values=values)
        self.fake.streams[-1].send(successes=[column])


@asynccontextmanager
async def bundle(app: Grpcflow, coordinator: FakeCoordinator) -> AsyncIterator[Bundle]:
    async with asyncio.timeout(T), app:
        await app.asend_task("add", (0,))  # connected: what leaves with the first link is not asked for yet
        results = await asyncio.gather(*(app.asend_task("add", (number,)) for number in range(3)))
        assert await asyncio.to_thread(coordinator.fake.watch_seen.acquire, timeout=T), "asked for with the bundle"
        made = Bundle(app, coordinator, results)
        yield made
        await asyncio.gather(*made.waits, return_exceptions=True)
        assert not made.held(), "nobody is waited for any more"
        assert len(made.session._waiters) == 0
        assert not made.session._deadlines._due


async def test_values_come_by_futures_alone(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    async with bundle(app, coordinator) as made:
        waits = [await made.wait(index) for index in range(3)]
        assert made.slots() == 3
        made.tell(0, 2)
        assert [await waits[0], await waits[2]] == [0, 20]
        assert made.slots() == 1
        made.tell(1)
        assert await waits[1] == 10
        assert not made.fake.unwatched


async def test_a_failure_comes_too(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    async with bundle(app, coordinator) as made:
        waiting = await made.wait(1)
        assert made.slots() == 1
        failure = value_pb2.Failure(type_name="ValueError", module="builtins", message="odd", args=b'["odd"]')
        made.fake.streams[-1].send(results=[_failed(made.graph, 1, failure)])
        with pytest.raises(ValueError, match="odd"):
            await waiting
        assert made.results[1]._settled is not None


def _failed(graph: bytes, index: int, failure: value_pb2.Failure) -> value_pb2.Result:
    node = graph + index.to_bytes(4, "big")
    return value_pb2.Result(node=node, known=True, state=value_pb2.STATE_FAILURE, failure=failure)


async def test_two_wait_for_one_call_and_one_of_them_gives_up(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    async with bundle(app, coordinator) as made:
        first, second, third = [await made.wait(1) for _ in range(3)]
        assert made.slots() == 0, "the future is one of several waiters now"
        first.cancel()
        third.cancel()
        assert [type(one) for one in await asyncio.gather(first, third, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 2
        assert not made.fake.unwatched
        made.tell(1)
        assert await second == 10


async def test_who_is_cancelled_is_waited_for_no_longer_and_may_come_back(
    app: Grpcflow, coordinator: FakeCoordinator
) -> None:
    async with bundle(app, coordinator) as made:
        waiting = await made.wait(2)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await asyncio.to_thread(made.fake.unwatch_seen.acquire, timeout=T)
        assert [(one.graph, one.ranges[0].first) for one in made.fake.unwatched] == [(made.graph, 2)]
        again = await made.wait(2)
        assert made.slots() == 0, "it is asked for anew"
        made.tell(2)
        assert await again == 20


async def test_a_deadline_ends_it(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    async with bundle(app, coordinator) as made:
        waiting = await made.wait(0, timeout=0.01)
        with pytest.raises(errors.TimeoutError):
            await waiting
        assert await asyncio.to_thread(made.fake.unwatch_seen.acquire, timeout=T)
        again = await made.wait(0, timeout=None)
        made.tell(0)
        assert await again == 0


async def test_where_the_link_breaks_it_is_asked_for_on_the_next_one(
    app: Grpcflow, coordinator: FakeCoordinator
) -> None:
    async with bundle(app, coordinator) as made:
        waiting = await made.wait(1)
        assert made.slots() == 1
        made.fake.break_streams()
        assert await asyncio.to_thread(made.fake.watch_seen.acquire, timeout=T)
        late = await made.wait(2)
        assert made.slots() == 1, "what nobody waited for was not asked for there"
        made.tell(1, 2)
        assert [await waiting, await late] == [10, 20]


async def test_where_the_connection_is_closed_it_ends_with_that(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    async with bundle(app, coordinator) as made:
        waiting = await made.wait(1)
        await app.aclose()
        with pytest.raises(errors.CoordinatorUnavailable, match="closed"):
            await waiting


async def test_what_the_coordinator_refuses_is_told(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    async with bundle(app, coordinator) as made:
        waiting = await made.wait(1)
        nodes = client_service_pb2.NodeSet(graph=made.graph)
        nodes.ranges.add(first=0, count=3)
        refusal = client_service_pb2.Refusal(status=5, code="UNKNOWN_NODE", message="it has expired")
        made.fake.streams[-1].send(refused=[client_service_pb2.Refused(nodes=nodes, refusal=refusal)])
        with pytest.raises(errors.NotFound, match="expired"):
            await waiting


async def test_a_coroutine_that_is_thrown_away_waits_no_longer(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    async with bundle(app, coordinator) as made:
        thrown = made.results[1].aget(timeout=T)
        thrown.send(None)
        assert made.slots() == 1
        thrown.close()
        del thrown
        gc.collect()
        assert await asyncio.to_thread(made.fake.unwatch_seen.acquire, timeout=T)


# --- the registry ----------------------------------------------------------------------------------------------


class Slot:
    """Takes one result."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def done(self) -> bool:
        return bool(self.got)

    def set_result(self, result: Any, /) -> None:
        self.got.append(result)


def test_slots_are_counted_found_and_forgotten_as_waiters_are() -> None:
    waiters = Waiters(lambda graph, index, slot: NodeWaiter(graph, index, wake=slot))
    slots = [Slot() for _ in range(3)]
    assert all(waiters.add_slot(GRAPH, index, slot) for index, slot in enumerate(slots))
    assert not waiters.add_slot(GRAPH, 1, Slot())
    assert len(waiters) == len(list(waiters)) == len(waiters.of(GRAPH)) == 3
    assert waiters.wanted(GRAPH, [(2, 5)])
    assert waiters.take_values(GRAPH, (0, 7), (b"0", b"7")) == [(7, b"7")]
    assert slots[0].got == [b"0"]
    waiters.drop_slot(GRAPH, 1, Slot())
    assert len(waiters) == 2, "another one's is left alone"
    waiters.drop_slot(GRAPH, 1, slots[1])
    other = NodeWaiter(GRAPH, 2)
    waiters.add(other)
    assert len(waiters) == len(list(waiters)) == 2
    waiters.drop_slot(GRAPH, 2, slots[2])
    assert list(waiters) == [other]
    waiters.discard(other)
    waiters.discard(other)
    waiters.drop_slot(GRAPH, 2, slots[2])
    assert len(waiters) == 0
    assert not list(waiters)
    assert not waiters._by_node
