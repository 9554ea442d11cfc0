"""Plain calls that leave together: one graph, and each of them a call as any other."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.fake_coordinator import FakeCoordinator
from tests.client.fake_coordinator import chunk as pieces_of

from grpcflow import AsyncResult, Grpcflow, chain, errors, ids, state
from grpcflow.ahead import FARTHEST, KEPT_BYTES, RECENT, Ahead
from grpcflow.blocking import run_here
from grpcflow.bundles import LARGE, MOST_CALLS, Bundle
from grpcflow.connection import Connection
from grpcflow.lower.model import TemplateSpec
from grpcflow.submission import encoded
from grpcflow.testing import Cluster
from grpcflow_protos.v1 import client_service_pb2, graph_pb2

T = 40.0
GRAPH, OTHER = ids.mint_graph(), ids.mint_graph()
ADD, MUL = TemplateSpec("add", "q"), TemplateSpec("mul", "q")


def sent(bundle: Bundle) -> graph_pb2.GraphChunk:
    """Return a bundle as the coordinator reads it."""
    [piece] = bundle.encoded()
    [chunk] = client_service_pb2.SessionRequest.FromString(piece).submits
    return chunk


def shape(chunk: graph_pb2.GraphChunk) -> list[tuple[str, int, list[bytes]]]:
    return [(chunk.templates[run.template].task, run.first, list(run.payloads)) for run in chunk.runs]


# --- what is sent --------------------------------------------------------------------------------------------


def test_calls_keep_their_order_and_neighbours_of_one_kind_are_a_run() -> None:
    bundle = Bundle("q")
    calls = [(ADD, b"0"), (ADD, b"1"), (MUL, b"2"), (TemplateSpec("mul", "q"), b"3"), (ADD, b"4")]
    assert [bundle.add(*call) for call in calls] == [0, 1, 2, 3, 4]
    chunk = sent(bundle)
    assert (chunk.graph, chunk.node_count, chunk.last) == (bundle.graph, 5, True)
    assert [(one.task, one.apart) for one in chunk.templates] == [("add", True), ("mul", True)]
    assert shape(chunk) == [("add", 0, [b"0", b"1"]), ("mul", 2, [b"2", b"3"]), ("add", 4, [b"4"])]


def test_one_call_alone_is_a_graph_as_ever() -> None:
    bundle = Bundle("q")
    bundle.add(ADD, b"0")
    chunk = sent(bundle)
    assert (chunk.node_count, chunk.templates[0].apart) == (1, False)


def test_a_bundle_is_full_at_so_many_calls_or_bytes() -> None:
    bundle = Bundle("q")
    while not bundle.is_full:
        bundle.add(ADD, b"x")
    assert bundle.count == MOST_CALLS
    large = Bundle("q")
    while not large.is_full:
        large.add(ADD, b"x" * LARGE)
    assert large.count == 13
    sent(large)


# --- what is asked for ahead ---------------------------------------------------------------------------------


def ahead(count: int = 1_000) -> Ahead:
    made = Ahead()
    made.sent(GRAPH, count, None)
    return made


def test_who_waits_for_one_after_the_other_asks_for_more_and_more() -> None:
    made, asked, index = ahead(3_000), [], 0
    while index < 3_000:
        [(first, count)] = made.wanted(GRAPH, index, 1) or []
        assert first == index
        asked.append(count)
        index += count
    assert asked == [1, 2, 4, 8, 16, 32, 64, 128, 256, FARTHEST, FARTHEST, FARTHEST, FARTHEST, 441]


def test_what_is_on_its_way_is_not_asked_for_twice_and_what_nobody_sent_together_not_at_all() -> None:
    made = ahead()
    assert made.wanted(GRAPH, 7, 1) == [(7, 1)]
    assert made.wanted(GRAPH, 7, 1) == []
    assert made.wanted(GRAPH, 6, 1) == [(6, 1)], "only up to what was asked for"
    assert made.wanted(OTHER, 0, 1) is None
    assert made.wanted(GRAPH, 1_000, 1) is None


def test_a_value_that_came_before_is_given_once_and_then_asked_for_anew() -> None:
    made = ahead()
    made.wanted(GRAPH, 0, 1)
    assert made.came(GRAPH, [0], [(0, b"7")])
    assert [made.take(GRAPH, 0), made.take(GRAPH, 0)] == [b"7", None]
    assert made.wanted(GRAPH, 0, 1) == [(0, 2)]


def test_what_was_asked_for_on_another_link_is_asked_for_again_and_what_came_is_kept() -> None:
    made = ahead()
    for index in range(2):
        made.wanted(GRAPH, index, 1)
    made.came(GRAPH, [0], [(0, b"7")])
    assert made.wanted(GRAPH, 1, 2) == [(1, 4)]
    assert made.take(GRAPH, 0) == b"7"


def test_what_was_taken_on_arrival_or_missed_is_asked_for_by_who_waits_once_more() -> None:
    made = ahead()
    made.wanted(GRAPH, 0, 1)
    made.came(GRAPH, [0], [])
    assert made.wanted(GRAPH, 0, 1)
    made.missed(GRAPH, 0)
    assert made.wanted(GRAPH, 0, 1)
    assert made.take(GRAPH, 0) is None


def test_where_most_are_waited_for_all_of_the_next_bundle_are_asked_for_with_it() -> None:
    made = ahead(10)
    assert made.sent(OTHER, 10, 1), "nothing is known yet"
    made = ahead(6_000)
    assert not made.sent(OTHER, 10, 1), "nobody waited for the first ones"
    for index in range(6_000):
        made.wanted(GRAPH, index, 1)
    third = ids.mint_graph()
    assert made.sent(third, 10, 1)
    assert made.wanted(third, 3, 1) == [], "it is on its way"
    assert made.wanted(third, 3, 2) == [(3, 1)], "on another link it is not"
    for _ in range(3):
        made.sent(ids.mint_graph(), 5_000, 1)
    assert not made.sent(ids.mint_graph(), 10, 1), "most of the last ones nobody waited for"
    assert not made.sent(ids.mint_graph(), 10, None)


def test_what_is_kept_is_bounded_in_bytes_and_in_calls() -> None:
    made = ahead()
    for index in range(3):
        made.wanted(GRAPH, index, 1)
    half = b"x" * (KEPT_BYTES // 2)
    made.came(GRAPH, [0, 1, 2], [(0, half), (1, half), (2, b"y")])
    assert made.take(GRAPH, 2) is None
    assert made.wanted(GRAPH, 2, 1), "what there was no room for is asked for again"
    assert made.take(GRAPH, 0) == half
    made.sent(OTHER, RECENT, None)
    assert made.wanted(GRAPH, 5, 1) is None, "the oldest bundle is forgotten"
    assert made.wanted(OTHER, 5, 1)
    made.wanted(OTHER, 0, 1)
    made.came(OTHER, [0, 5], [(0, half), (5, half)])
    assert made.take(OTHER, 5) == half, "with all that was kept of it"


def test_who_waits_again_for_a_call_that_has_expired_is_told_again(
    coordinator: FakeCoordinator, connection: Connection
) -> None:
    graph = ids.mint_graph()
    posted = connection.post([(graph, encoded(pieces_of(graph, 3)))], bundles={graph: 3})
    run_here(connection.asettle(posted, timeout=T))
    del coordinator.fake.node_counts[graph]  # its results have expired
    for index in (0, 0, 1):
        with pytest.raises(errors.NotFound):
            run_here(connection.await_node(graph, index, timeout=T, wait_for_submit=False))


# --- in a batch ----------------------------------------------------------------------------------------------


@pytest.fixture
def app(coordinator: FakeCoordinator) -> Iterator[Grpcflow]:
    made = Grpcflow("bundles", coordinator=coordinator.address, set_as_current=False)
    yield made
    state.forget_app(made)


def test_a_canvas_in_between_keeps_its_place_and_queues_do_not_share(app: Grpcflow) -> None:
    from grpcflow.canvas.signature import Signature

    with app.batch() as collected:
        for number in range(3):
            app.send_task("add", (number,))
        app.send_task("other", queue="q2")
        app.submit(chain(Signature("add", (1,), app=app), Signature("add", (2,), app=app)))
        app.send_task("add", (3,))
        app.send_task("add", (4,), task_id="mine")
        app.send_task("add", (5,), countdown=1)
    graphs = [ids.parse(result.id) for result in collected.results if result.id != "mine"]
    sizes = [
        sum(one is not None and one[0] == graph for one in graphs) for graph in dict.fromkeys(g[0] for g in graphs if g)
    ]
    assert sizes == [3, 1, 1, 1, 1]
    assert collected.acknowledged == 8


def test_an_inner_block_that_fails_drops_its_own_calls_only(app: Grpcflow, coordinator: FakeCoordinator) -> None:
    with app.batch() as collected:
        kept = app.send_task("add", (1,))
        with pytest.raises(ZeroDivisionError), app.batch():
            app.send_task("add", (2,))
            raise ZeroDivisionError
        later = app.send_task("add", (3,))
    assert (collected.acknowledged, collected.dropped) == (2, 1)
    assert {ids.parse(one.id)[0] for one in (kept, later)} == set(coordinator.fake.graphs)  # type: ignore[index]


class _Everything(dict[bytes, tuple[int, str, str]]):
    """Refuses every graph."""

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: bytes) -> tuple[int, str, str]:
        return 8, "STORE_FULL", "the disk is full"


def test_where_the_coordinator_refuses_each_coroutine_is_told_by_an_error_of_its_own(
    app: Grpcflow, coordinator: FakeCoordinator
) -> None:
    coordinator.fake.refusals = _Everything()

    async def submit() -> list[Any]:
        async with app:
            tasks = (app.asend_task("add", (number,)) for number in range(3))
            return list(await asyncio.gather(*tasks, return_exceptions=True))

    found = asyncio.run(asyncio.wait_for(submit(), T))
    assert [type(error) for error in found] == [errors.RequestFailed] * 3
    assert len({id(error) for error in found}) == 3
    assert {error.code for error in found} == {"STORE_FULL"}


def test_who_is_cancelled_among_others_of_a_bundle_leaves_them_their_places(
    app: Grpcflow, coordinator: FakeCoordinator
) -> None:
    async def submit() -> list[Any]:
        async with app:
            sent = [asyncio.ensure_future(app.asend_task("add", (number,))) for number in range(3)]
            await asyncio.sleep(0)  # they have left together
            sent[1].cancel()
            return list(await asyncio.gather(*sent, return_exceptions=True))

    first, cancelled, last = asyncio.run(asyncio.wait_for(submit(), T))
    assert isinstance(cancelled, asyncio.CancelledError)
    assert first._place()[0] == last._place()[0], "one graph"
    assert [first._place()[1], last._place()[1]] == [0, 2]


# --- against a cluster ---------------------------------------------------------------------------------------

live = Grpcflow("bundled", set_as_current=False)
seen: list[tuple[str, str | None]] = []
gate = threading.Event()


@live.task(name="bundled.echo", bind=True)
def echo(self: Any, number: int) -> int:
    seen.append((self.request.id, self.request.root_id))
    return number


@live.task(name="bundled.picky", max_retries=0)
def picky(number: int) -> int:
    if number % 2 and not gate.is_set():
        raise ValueError(f"{number} is odd")
    return number


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    gate.clear()
    seen.clear()
    with Cluster(live) as made:
        yield made


def test_calls_of_a_batch_have_values_ids_and_roots_of_their_own(cluster: Cluster) -> None:
    with live.batch():
        results = [echo.delay(number) for number in range(1_200)]
    assert [result.get(timeout=T) for result in results] == list(range(1_200))
    assert sorted(seen) == sorted((result.id, result.id) for result in results)
    assert len({ids.parse(result.id)[0] for result in results}) == 3  # type: ignore[index]
    again = AsyncResult[int](results[700].id, app=live)
    assert [again.get(timeout=T), again.get(timeout=T)] == [700, 700]
    assert [one.get(timeout=T) for one in reversed([live.AsyncResult(r.id) for r in results])] == list(
        range(1_199, -1, -1)
    )


def test_one_that_failed_is_told_and_retried_by_itself(cluster: Cluster) -> None:
    with live.batch():
        results = [picky.delay(number) for number in range(6)]
    for number, result in enumerate(results):
        if number % 2:
            with pytest.raises(ValueError, match=f"{number} is odd"):
                result.get(timeout=T)
        else:
            assert result.get(timeout=T) == number
    view = live.graph(results[3].id)
    assert (view.summary.state, view.summary.tally.nodes) == ("FAILURE", 1)
    gate.set()
    assert view.retry().retried == 1
    assert live.AsyncResult(results[3].id).get(timeout=T) == 3
    assert live.AsyncResult(results[5].id).state == "FAILURE"


def test_coroutines_of_one_moment_share_graphs(cluster: Cluster) -> None:
    async def there_and_back(number: int) -> tuple[str, int]:
        result = await echo.adelay(number)
        return result.id, await result.aget(timeout=T)

    async def all_of_them() -> list[tuple[str, int]]:
        async with live:
            alone = await there_and_back(-1)
            assert ids.parse(alone[0])[1] == 0  # type: ignore[index]
            return list(await asyncio.gather(*(there_and_back(number) for number in range(1_100))))

    found = asyncio.run(asyncio.wait_for(all_of_them(), 2 * T))
    assert [value for _, value in found] == list(range(1_100))
    assert len({ids.parse(one)[0] for one, _ in found}) == 3  # type: ignore[index]


def test_who_gives_up_waiting_for_one_call_of_a_bundle_may_wait_again(cluster: Cluster) -> None:
    live.control.pause_queue("paused")
    with live.batch():
        results = [echo.apply_async((number,), queue="paused") for number in range(4)]
    for _ in range(2):
        with pytest.raises(errors.TimeoutError):
            results[1].get(timeout=0.01)
    live.control.resume_queue("paused")
    assert [result.get(timeout=T) for result in results] == list(range(4))
