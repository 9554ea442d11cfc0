"""The connection of an event loop against a fake coordinator: the session of the threads, one for each loop."""

import asyncio
import contextlib
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from tests.client.fake_coordinator import FakeCoordinator, SilentPort, chunk
from tests.client.served import FAST, T, clock_of_waits, is_collected

from grpcflow import driving, errors, ids
from grpcflow.aio.connection import LoopConnection, close_connections, connection_on_loop
from grpcflow.connection import Connection
from grpcflow.retry_policy import RetryPolicy
from grpcflow.settled import Settled

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(coordinator: FakeCoordinator) -> Callable[..., LoopConnection]:
    def make(**options: Any) -> LoopConnection:
        return LoopConnection([coordinator.address], **{"retry_policy": FAST, "connect_timeout": T, **options})

    return make


@pytest.fixture(autouse=True)
def clean_loops(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may be left that asyncio complains of when it is collected."""
    yield
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelno >= logging.WARNING]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it on a loop of its own in debug mode, as long as a test may take."""

    async def bounded() -> Any:
        asyncio.get_running_loop().slow_callback_duration = T  # a busy machine is no fault
        async with asyncio.timeout(T):
            return await coroutine

    return asyncio.run(bounded(), debug=True)


async def submitted(connection: LoopConnection, nodes: int = 1) -> bytes:
    graph = ids.mint_graph()
    await connection.asubmit(chunk(graph, nodes))
    return graph


async def seen(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, timeout=T)


def served_by(coordinator: FakeCoordinator, look: Callable[[Any, Any], Any]) -> None:
    coordinator.fake.GetResults = look  # type: ignore[method-assign,assignment]
    coordinator.stop()
    coordinator.start()


def open_waits(connection: LoopConnection) -> int:
    return len(connection._session._waiters) + len(list(connection._session._submissions))


def _client_threads() -> int:
    """Count the threads that are not the fake coordinator's own, which come with its load."""
    return sum(not thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())


# --- what is asked ---------------------------------------------------------------------------------------


def test_submits_of_a_thousand_coroutines_leave_in_few_messages(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made()
        await submitted(connection)
        threads = _client_threads()
        before = coordinator.fake.messages
        await asyncio.gather(*(submitted(connection) for _ in range(1_000)))
        assert coordinator.fake.messages - before <= 3
        assert _client_threads() <= threads  # those that other tests left may end meanwhile
        assert open_waits(connection) == 0
        await connection.aclose()

    run(main())
    assert len(coordinator.fake.graphs) == 1_001


def test_results_are_awaited_by_push_and_looked_up(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made()
        graph = await submitted(connection, 3)
        names = [ids.node_id(graph, index) for index in range(3)]
        waits = asyncio.gather(
            connection.await_settled(names, timeout=T),
            connection.await_range(graph, 0, 3, timeout=T),
            connection.await_range(graph, 0, 1, timeout=T),
        )
        for _ in range(3):
            await seen(coordinator.fake.watch_seen)
        for index in range(3):
            coordinator.fake.settle(graph, index, index * 2)
        by_name, by_range, first = await waits
        assert [by_name[name].data for name in names] == [b"0", b"2", b"4"]
        assert [one.data for one in by_range] == [b"0", b"2", b"4"]
        assert [one.data for one in first] == [b"0"]
        [looked] = await connection.alookup(names[1:2])
        assert looked is not None
        assert looked.data == b"2"
        assert [reply.worker for reply in await connection.ainspect("ping")] == ["a@h", "b@h", "c@h"]
        assert open_waits(connection) == 0
        await connection.aclose()

    run(main())


def test_results_come_in_the_order_in_which_they_end(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made()
        graph = await submitted(connection, 3)
        names = [ids.node_id(graph, index) for index in range(3)]
        coming = connection.aarrivals(names, timeout=T)
        first = asyncio.ensure_future(anext(coming))
        await seen(coordinator.fake.watch_seen)
        told = []
        for index in (2, 0, 1):
            coordinator.fake.settle(graph, index)
            one = await (first if index == 2 else anext(coming))
            assert one is not None
            told.append(one[0])
        assert told == [names[2], names[0], names[1]]
        assert [one async for one in coming] == []
        await connection.aclose()

    run(main())


@pytest.mark.parametrize("settled", [2, 3])
def test_what_has_come_when_the_time_is_over_is_yielded_before_the_wait_ends(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection], settled: int
) -> None:
    async def main() -> None:
        connection = made()
        graph = await submitted(connection, 3)
        names = [ids.node_id(graph, index) for index in range(3)]
        coordinator.fake.settle(graph, 0)
        late = pytest.raises(errors.TimeoutError, match="1 task did") if settled < 3 else contextlib.nullcontext()
        told: list[str] = []
        with clock_of_waits() as clock, late:
            async for one in connection.aarrivals(names, timeout=T):
                assert one is not None
                told.append(one[0])
                for index in range(1, settled) if len(told) == 1 else ():
                    coordinator.fake.settle(graph, index)
                    await connection.await_settled(names[index : index + 1], timeout=T)
                clock.passes(T)
        assert told == names[:settled]
        await connection.aclose()

    run(main())


def test_a_refusal_is_the_same_error_as_for_a_thread(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made()
        graph = ids.mint_graph()
        coordinator.fake.refusals[graph] = (grpc.StatusCode.ALREADY_EXISTS.value[0], "ID_TAKEN", "taken")
        with pytest.raises(errors.AlreadyExists, match="taken"):
            await connection.asubmit(chunk(graph))
        with pytest.raises(errors.NotFound):
            await connection.await_range(ids.mint_graph(), 0, 1, timeout=T)
        coordinator.fake.control_error = (grpc.StatusCode.NOT_FOUND, "UNKNOWN_DESTINATION")
        with pytest.raises(errors.UnknownDestination) as caught:
            await connection.ainspect("ping", destination=["x"])
        assert caught.value.known == ("a@h", "b@h")
        await connection.aclose()

    run(main())


def test_timeouts_say_how_many_are_missing_and_leave_nothing(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made()
        graph = await submitted(connection, 2)
        with pytest.raises(errors.TimeoutError, match=r"2 tasks did not settle within 0\.05 s"):
            await connection.await_range(graph, 0, 2, timeout=0.05)
        assert open_waits(connection) == 0
        await submitted(connection)
        assert [one.graph for one in coordinator.fake.unwatched] == [graph]
        await connection.aclose()

    run(main())


async def of_a_range(connection: LoopConnection, graph: bytes, index: int, timeout: float | None) -> Settled:
    [settled] = await connection.await_range(graph, index, 1, timeout=timeout)
    return settled


async def of_one(connection: LoopConnection, graph: bytes, index: int, timeout: float | None) -> Settled:
    return await connection.await_node(graph, index, timeout=timeout, wait_for_submit=False)


@pytest.mark.parametrize("wait", [of_a_range, of_one])
def test_a_cancelled_wait_is_unwatched_and_nobody_else_is_harmed(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection], wait: Callable[..., Coroutine[Any, Any, Settled]]
) -> None:
    async def main() -> None:
        connection = made()
        graph = await submitted(connection, 2)
        cancelled = asyncio.ensure_future(wait(connection, graph, 0, None))
        other = asyncio.ensure_future(wait(connection, graph, 1, T))
        for _ in range(2):
            await seen(coordinator.fake.watch_seen)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        coordinator.fake.settle(graph, 1, 5)
        assert (await other).data == b"5"
        assert open_waits(connection) == 0
        assert not connection._loop_session._deadlines._due
        await seen(coordinator.fake.unwatch_seen)
        [unwatched] = coordinator.fake.unwatched
        assert (unwatched.graph, [(one.first, one.count) for one in unwatched.ranges]) == (graph, [(0, 1)])
        await connection.aclose()

    run(main())


def test_a_cancelled_submit_and_a_cancelled_question_leave_nothing(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    release = threading.Event()
    answer, asked = coordinator.fake.GetResults, threading.Semaphore(0)

    def slow(request: Any, context: Any) -> Any:
        asked.release()
        release.wait(T)
        return answer(request, context)

    served_by(coordinator, slow)

    async def main() -> None:
        connection = made()
        await submitted(connection)
        coordinator.fake.acks = 0
        sending = asyncio.ensure_future(submitted(connection))
        await seen(coordinator.fake.graph_seen)
        await seen(coordinator.fake.graph_seen)
        asking = asyncio.ensure_future(connection.alookup(["x"]))
        await seen(asked)
        for one in (sending, asking):
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
        release.set()
        assert open_waits(connection) == 0
        assert connection._session._borrowed == 0
        await connection.aclose()

    run(main())


# --- a coordinator that goes away ------------------------------------------------------------------------


def test_a_broken_stream_is_opened_again_and_nothing_is_lost_or_twice(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made()
        graph = await submitted(connection, 2)
        waiting = asyncio.ensure_future(connection.await_range(graph, 0, 2, timeout=T))
        await seen(coordinator.fake.watch_seen)
        coordinator.fake.settle(graph, 0, 0)
        coordinator.fake.break_streams()
        await seen(coordinator.fake.watch_seen)  # what is missing is watched anew
        coordinator.fake.settle(graph, 1, 1)
        assert [one.data for one in await waiting] == [b"0", b"1"]
        coordinator.fake.break_every = 2
        await asyncio.gather(*(submitted(connection) for _ in range(20)))
        await connection.aclose()

    run(main())


def test_a_coordinator_that_is_restarted_is_found_by_waits_submits_and_questions(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made(retry_policy=RetryPolicy(tries=1_000, window=T, first_delay=0.01, max_delay=0.05))
        graph = await submitted(connection)
        waiting = asyncio.ensure_future(connection.await_range(graph, 0, 1, timeout=T))
        await seen(coordinator.fake.watch_seen)
        await asyncio.to_thread(coordinator.stop)
        others = [asyncio.ensure_future(submitted(connection)), asyncio.ensure_future(connection.alist_workers())]
        await asyncio.to_thread(coordinator.start)
        await asyncio.gather(*others)
        await seen(coordinator.fake.watch_seen)
        coordinator.fake.settle(graph, 0, 7)
        assert [one.data for one in await waiting] == [b"7"]
        await connection.aclose()

    run(main())


def test_an_unreachable_coordinator_is_named_after_the_retry_policy(free_port: Callable[[], int]) -> None:
    address = f"127.0.0.1:{free_port()}"

    async def main() -> None:
        connection = LoopConnection([address], retry_policy=FAST)
        for ask in (submitted(connection), connection.alookup(["x"]), connection.alist_workers()):
            with pytest.raises(errors.CoordinatorUnavailable, match=address) as caught:
                await ask
            assert caught.value.__context__ is None
        with pytest.raises(errors.CoordinatorUnavailable):
            await connection.asubmit(chunk(ids.mint_graph()), retry=False)
        await connection.aclose()

    run(main())


def test_a_silent_port_is_unreachable_and_silence_on_an_open_stream_is_found_out(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = SilentPort()
    for name, seconds in (("_SILENCE", 0.05), ("_PROBE_TIME", 0.2), ("_LOOK", 0.05)):
        monkeypatch.setattr(driving, name, seconds)
    release, probed = threading.Event(), threading.Semaphore(0)
    answer = coordinator.fake.GetResults

    def silent(request: Any, context: Any) -> Any:
        probed.release()
        release.wait(T)
        return answer(request, context)

    served_by(coordinator, silent)

    async def main() -> None:
        away = LoopConnection([port.address], retry_policy=RetryPolicy(2, 0.1, 0.01), connect_timeout=0.1)
        with pytest.raises(errors.CoordinatorUnavailable, match=r"no welcome within 0\.1 s"):
            await submitted(away)
        await away.aclose()
        connection = made()
        graph = await submitted(connection)
        waiting = asyncio.ensure_future(connection.await_range(graph, 0, 1, timeout=T))
        await seen(coordinator.fake.watch_seen)
        await seen(coordinator.fake.opened)
        await seen(probed)
        await seen(coordinator.fake.opened)  # silence was found out: this is another link
        release.set()
        coordinator.fake.settle(graph, 0, 1)
        assert [one.data for one in await waiting] == [b"1"]
        await connection.aclose()

    run(main())
    port.close()


# --- loops -----------------------------------------------------------------------------------------------


def test_each_loop_has_one_connection_and_its_end_closes_it_without_a_word(coordinator: FakeCoordinator) -> None:
    connections = []

    async def main() -> None:
        connection = connection_on_loop([coordinator.address])
        assert connection_on_loop([coordinator.address]) is connection
        await submitted(connection)
        connections.append(connection)

    for _ in range(3):
        run(main())
    assert len(set(map(id, connections))) == 3
    assert all(connection.is_closed for connection in connections)
    wait_until_disconnected(coordinator)


def test_a_loop_that_is_closed_by_hand_after_aclose_leaves_nothing(coordinator: FakeCoordinator) -> None:
    async def main() -> None:
        await submitted(connection_on_loop([coordinator.address]))
        await close_connections([coordinator.address])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await submitted(connection_on_loop([coordinator.address]))  # one that was closed is replaced
        await close_connections()
        await close_connections()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    wait_until_disconnected(coordinator)


def test_waits_that_are_open_when_their_loop_ends_are_cancelled_and_leave_nothing(
    coordinator: FakeCoordinator,
) -> None:
    ended = []

    async def wait(connection: LoopConnection, graph: bytes) -> None:
        try:
            await connection.await_range(graph, 0, 1, timeout=None)
        finally:
            ended.append(graph)

    async def main() -> None:
        connection = connection_on_loop([coordinator.address])
        graph = await submitted(connection)
        waiting.append(asyncio.ensure_future(wait(connection, graph)))
        await seen(coordinator.fake.watch_seen)

    waiting: list[asyncio.Future[None]] = []
    run(main())
    assert waiting[0].cancelled()
    assert len(ended) == 1


def test_waits_end_with_an_error_where_the_connection_is_closed(
    coordinator: FakeCoordinator, made: Callable[..., LoopConnection]
) -> None:
    async def main() -> None:
        connection = made()
        graph = await submitted(connection)
        waiting = asyncio.ensure_future(connection.await_range(graph, 0, 1, timeout=None))
        await seen(coordinator.fake.watch_seen)
        await connection.aclose()
        with pytest.raises(errors.CoordinatorUnavailable, match="closed"):
            await waiting
        with pytest.raises(errors.CoordinatorUnavailable, match="closed"):
            await submitted(connection)

    run(main())


def test_a_loop_and_its_connection_can_be_collected(coordinator: FakeCoordinator) -> None:
    async def main() -> "weakref.ref[LoopConnection]":
        connection = connection_on_loop([coordinator.address])
        await submitted(connection)
        return weakref.ref(connection)

    first = run(main())
    run(main())  # those of loops that are closed are let go when the next one begins
    assert is_collected(first)


def test_loops_of_two_threads_and_the_threads_own_connection_go_side_by_side(
    coordinator: FakeCoordinator, connection: Connection, later: Callable[..., Any]
) -> None:
    def work() -> int:
        async def main() -> int:
            mine = connection_on_loop([coordinator.address])
            return len([await submitted(mine) for _ in range(20)])

        return int(run(main()))

    ends = [later(work) for _ in range(3)]
    for _ in range(20):
        connection.submit(chunk(ids.mint_graph()))
    assert [end.result(T) for end in ends] == [20, 20, 20]


def wait_until_disconnected(coordinator: FakeCoordinator) -> None:
    """No connection of this process to the coordinator is left."""
    pause = threading.Event()
    for _ in range(int(T / 0.01)):
        open_ones = [one for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
        if not any(coordinator.port in {one.laddr.port, one.raddr.port} for one in open_ones):
            return
        pause.wait(0.01)
    raise AssertionError("connections are still open")
