"""The API that is awaited, on a whole cluster in this process: tasks, canvases, results, groups, streams, batches."""

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from grpcflow import Grpcflow, chain, chord, errors, group, state
from grpcflow.aio.connection import connection_on_loop
from grpcflow.result import AsyncResult, GroupResult, ResultSet
from grpcflow.testing import Cluster

#: Seconds that a wait may take.
T = 40.0

app = Grpcflow("awaited", set_as_current=False)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(values: list[int]) -> int:
    return sum(values)


@app.task
def fail(word: str) -> int:
    raise ValueError(word)


@app.task
async def doubled(x: int) -> int:
    return 2 * x


@app.task(bind=True)
def count(self: Any, upto: int) -> str:
    for number in range(upto):
        self.emit(number)
    self.update_state(state="COUNTED", meta={"upto": upto})
    return "done"


@app.task
def waits_inside() -> str:
    async def wait() -> Any:
        return await app.AsyncResult("any").aget(timeout=T)

    try:
        asyncio.run(wait())
    except RuntimeError as error:
        return str(error)
    return "it waited"


@app.task
async def submits(x: int) -> tuple[str, int]:
    result = await add.adelay(x, 1)
    return result.id, await add.apply((x, 1)).aget(disable_sync_subtasks=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(app, concurrency=4) as made:
        yield made


pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.filterwarnings("error")]


async def test_calls_are_submitted_and_awaited() -> None:
    async with app:
        result = await add.adelay(2, 2)
        assert await result.aget(timeout=T) == 4
        assert await (await add.aapply_async((2, 3), task_id="mine")).aget(timeout=T) == 5
        assert await (await add.s(1).adelay(5)).aget(timeout=T) == 6
        assert await (await add.s(1).aapply_async((6,), {}, priority=3)).aget(timeout=T) == 7
        assert await (await doubled.adelay(4)).aget(timeout=T) == 8
        by_name = await app.asend_task("tests.client.test_asyncio_client.add", (4, 5))
        assert await by_name.aget(timeout=T) == 9
        seen: list[Any] = []
        assert await by_name.aget(callback=lambda id, value: seen.append((id, value))) == 9
        assert seen == [(by_name.id, 9)]


async def test_wrong_arguments_and_inside_a_task_are_refused_as_by_the_sync_calls() -> None:
    with pytest.raises(TypeError):
        await add.adelay(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="colour"):
        await add.aapply_async((1, 2), colour="red")
    async with app:
        assert "inside a task" in await (await waits_inside.adelay()).aget(timeout=T)


async def test_canvases_are_submitted_and_awaited() -> None:
    async with app:
        chained = await chain(add.s(1, 2), add.s(3), app=app).adelay()
        assert await chained.aget(timeout=T) == 6
        assert await chained.parent.aget(timeout=T) == 3
        assert await (await chord([add.s(i, i) for i in range(5)], total.s(), app=app).aapply_async()).aget(T) == 20
        members = await group((add.s(i, 1) for i in range(50)), app=app).adelay()
        assert isinstance(members, GroupResult)
        assert await members.aget(timeout=T) == list(range(1, 51))
        assert await members.ajoin(timeout=T) == list(range(1, 51))
        assert await group([], app=app).aapply_async() is not None


async def test_failures_are_raised_returned_and_seen() -> None:
    async with app:
        failed = await fail.adelay("broken")
        with pytest.raises(ValueError, match="broken"):
            await failed.aget(timeout=T)
        assert isinstance(await failed.aget(propagate=False), ValueError)
        assert await failed.astatus() == "FAILURE"
        assert await failed.afailed()
        assert not await failed.asuccessful()
        assert isinstance(await failed.ainfo(), ValueError)
        mixed = await group([add.s(1, 1), fail.s("member"), add.s(2, 2)], app=app).adelay()
        with pytest.raises(ValueError, match="member"):
            await mixed.aget(timeout=T)
        one, error, four = await mixed.aget(timeout=T, propagate=False)
        assert (one, str(error), four) == (2, "member", 4)
        assert await mixed.afailed()
        assert await mixed.acompleted_count() == 2
        assert await mixed.astate() == "FAILURE"


async def test_states_are_asked_on_the_loop() -> None:
    async with app:
        later = await add.aapply_async((1, 1), countdown=3_600)
        assert await later.astate() == "PENDING"
        assert await later.aexists()
        assert not await later.aready()
        with pytest.raises(errors.TimeoutError):
            await later.aget(timeout=0.01)
        await later.arevoke(wait=True, timeout=T)
        assert await later.astate() == "REVOKED"
        with pytest.raises(errors.TaskRevokedError):
            await later.aget(timeout=T)
        await later.aforget()
        assert not await later.aexists()
        with pytest.raises(errors.NotFound):
            await later.aget(timeout=T)
        held = await group((add.s(i, 1).set(countdown=3_600) for i in range(3)), app=app).adelay()
        assert await held.awaiting()
        await held.arevoke(wait=True, timeout=T)
        assert await held.aready()
        assert not await held.asuccessful()


async def test_a_wait_may_begin_before_the_submission() -> None:
    async with app:
        waiting = asyncio.ensure_future(app.AsyncResult("early").aget(timeout=T, wait_for_submit=True))
        await add.aapply_async((3, 3), task_id="early")
        assert await waiting == 6


async def test_members_come_in_the_order_in_which_they_end() -> None:
    async with app:
        held = add.s(0, 0).set(countdown=3_600)
        members = await group([held, add.s(1, 1), fail.s("second"), doubled.s(3)], app=app).adelay()
        coming = members.aiter(timeout=T)
        ended = [await anext(coming) for _ in range(3)]
        assert {result.id for result in ended} == {result.id for result in members[1:]}
        assert sorted([str(await result.aget(propagate=False)) for result in ended]) == ["2", "6", "second"]
        await members[0].arevoke()
        assert [result.id async for result in coming] == [members[0].id]


async def test_members_that_are_canvases_come_as_their_own_results() -> None:
    async with app:
        inner = chain(add.s(1, 1), group([add.s(1), add.s(2)], app=app), app=app)
        members = await group([chain(add.s(1, 2), add.s(4), app=app), inner, add.s(5, 5)], app=app).adelay()
        values = [await result.aget(timeout=T) async for result in members.aiter(timeout=T)]
        assert sorted(map(str, values)) == ["10", "7", "[3, 4]"]
        by_hand = ResultSet([await add.adelay(1, 0), ResultSet([await add.adelay(2, 0)], app)], app)
        assert sorted([await one.aget(timeout=T) async for one in by_hand.aiter(timeout=T)]) == [1, 2]
        assert await by_hand.aget(timeout=T) == [1, [2]]
        assert await by_hand.asuccessful()


async def test_messages_and_items_are_pushed() -> None:
    async with app:
        result = await count.adelay(700)
        assert [item async for item in result.astream(timeout=T)] == list(range(700))
        assert [item async for item in result.astream(timeout=T, first=698)] == [698, 699]
        told: list[dict[str, Any]] = []
        again = await count.adelay(3)
        assert await again.aget(timeout=T, on_message=told.append) == "done"
        assert told[-1]["status"] == "SUCCESS"
        records: list[dict[str, Any]] = []
        members = await group([add.s(1, 1), add.s(2, 2)], app=app).adelay()
        assert await members.aget(timeout=T, on_message=records.append) == [2, 4]
        assert [record["status"] for record in records if record["status"] == "SUCCESS"] == ["SUCCESS", "SUCCESS"]
        broken = await fail.adelay("at its end")
        with pytest.raises(ValueError, match="at its end"):
            assert [item async for item in broken.astream(timeout=T)] == []
        with pytest.raises(ValueError, match="counted from 0"):
            broken.astream(first=-1)


async def test_a_reader_that_stops_early_leaves_nothing() -> None:
    async with app:
        result = await count.adelay(700)
        async for item in result.astream(timeout=T):
            if item == 3:
                break
        members = await group((add.s(i, 1) for i in range(20)), app=app).adelay()
        coming = members.aiter(timeout=T)
        await anext(coming)
        await coming.aclose()
        assert len(app.loop_connection._session._waiters) == 0


def test_results_cross_from_threads_to_loops_and_between_loops() -> None:
    by_thread = add.delay(1, 2)
    assert asyncio.run(by_thread.aget(timeout=T)) == 3
    by_loop = asyncio.run(add.adelay(3, 4))
    assert by_loop.get(timeout=T) == 7
    other = asyncio.run(add.adelay(5, 6))
    assert asyncio.run(other.aget(timeout=T)) == 11
    members = asyncio.run(group((add.s(i, i) for i in range(3)), app=app).adelay())
    assert asyncio.run(members.aget(timeout=T)) == [0, 2, 4]
    assert asyncio.run(app.AsyncResult(by_thread.id).astate()) == "SUCCESS"


async def test_sync_calls_go_on_working_beside_a_loop() -> None:
    result = await asyncio.to_thread(add.delay, 1, 1)
    assert await result.aget(timeout=T) == 2
    assert await asyncio.to_thread(result.get, T) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert add.delay(2, 2).get(timeout=T) == 4  # blocks the loop: allowed, as every blocking call is
    await app.aclose()


def test_coroutines_that_submit_leave_nothing_on_the_loop_of_their_thread(caplog: pytest.LogCaptureFixture) -> None:
    ended = [result.get(timeout=T) for result in [submits.delay(number) for number in range(8)]]
    assert [app.AsyncResult(id).get(timeout=T) for id, _ in ended] == list(range(1, 9))
    assert [here for _, here in ended] == list(range(1, 9))
    assert not [record for record in caplog.records if record.name in {"grpcflow.coroutines", "asyncio"}]


async def test_eager_results_can_be_awaited() -> None:
    result = add.apply((1, 2))
    assert await result.aget() == 3
    assert await result.aready()
    assert await result.aresult() == 3
    assert await result.aexists()
    assert [item async for item in count.apply((3,)).astream()] == [0, 1, 2]
    failed = fail.apply(("here",))
    with pytest.raises(ValueError, match="here"):
        await failed.aget()
    members = group([add.s(1, 1), add.s(2, 2)], app=app).apply()
    assert await members.aget() == [2, 4]
    assert [await one.aget() async for one in members.aiter()] == [2, 4]
    assert await members.asuccessful()
    await members.aforget()
    await result.arevoke()
    assert await result.astate() == "REVOKED"
    mixed = ResultSet([add.apply((1, 1)), await add.adelay(2, 2)], app)
    assert await mixed.aget(timeout=T) == [2, 4]
    assert sorted([await one.aget() async for one in mixed.aiter(timeout=T)]) == [2, 4]
    await app.aclose()


async def test_always_eager_runs_calls_here() -> None:
    eager = Grpcflow("eager", task_always_eager=True, set_as_current=False)
    here = eager.task(name="here")(abs)
    assert await (await here.adelay(-2)).aget() == 2


async def test_a_batch_on_the_loop_submits_at_its_end() -> None:
    async with app, app.batch() as batch:
        results = [await add.adelay(i, i) for i in range(20)]
        with pytest.raises(RuntimeError, match="batch"):
            await results[0].aget(timeout=T)
    assert batch.acknowledged == 20
    assert [await result.aget(timeout=T) for result in results] == [2 * i for i in range(20)]
    await app.aclose()


async def test_closing_ends_the_loops_connection_and_not_the_app() -> None:
    first = connection_on_loop(app.conf.addresses)
    assert app.loop_connection is first
    await app.aclose()
    assert first.is_closed
    assert state.apps.count(app) == 1
    assert await (await add.adelay(1, 1)).aget(timeout=T) == 2
    await app.aclose()
    await app.aclose()


def test_what_is_awaited_wants_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        _ = app.loop_connection
    result: AsyncResult[Any] = app.AsyncResult("x")
    coroutine = result.aget()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
