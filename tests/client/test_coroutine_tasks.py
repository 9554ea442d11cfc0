"""`async def` tasks without a worker: called in place, by apply(), and the loop on which that runs."""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pydantic
import pytest

from grpcflow import Grpcflow, Task, coroutines, current_task, group
from grpcflow.errors import SoftTimeLimitExceeded
from grpcflow.steering import Steering

app = Grpcflow("coroutine_tasks", set_as_current=False)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    coroutines.close_loop()


@app.task(bind=True, name="add")
async def add(self: Any, x: int, y: int) -> int:
    await asyncio.sleep(0)
    assert self.request.called_directly or current_task.request is self.request
    return x + y


@app.task(bind=True, name="flaky", max_retries=3)
async def flaky(self: Any, until: int) -> int:
    await asyncio.sleep(0)
    if self.request.retries < until:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(name="auto", autoretry_for=(KeyError,), max_retries=2, default_retry_delay=0)
async def auto() -> int:
    await asyncio.sleep(0)
    if current_task.request.retries < 2:
        raise KeyError("not yet")
    return int(current_task.request.retries)


@app.task(bind=True, name="replaced")
async def replaced(self: Any, n: int) -> Any:
    await asyncio.sleep(0)
    raise self.replace(group(add.s(n, 1), add.s(n, 2)))


class Money(pydantic.BaseModel):
    amount: int


@app.task(pydantic=True, name="double")
async def double(money: Money) -> Money:
    await asyncio.sleep(0)
    return Money(amount=money.amount * 2)


@app.task(name="loop")
async def loop_id() -> int:
    return id(asyncio.get_running_loop())


@app.task(name="exits")
async def exits() -> None:
    await asyncio.sleep(0)
    raise SystemExit(3)


class Counted(Task[..., Any]):
    """A task whose call is a coroutine of its own."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return [await self.run(*args, **kwargs)]


counted: Any = app.task(base=Counted, name="counted")(add.__wrapped__.__get__(add))


async def test_called_in_place_it_gives_the_coroutine() -> None:
    assert await add(1, 2) == 3


def test_apply_runs_it_with_retries_map_and_what_replaces_it() -> None:
    assert add.apply((1, 2)).get() == 3
    assert flaky.apply((2,)).get() == 2
    assert auto.apply().get() == 2
    assert add.starmap([(1, 2), (3, 4)]).apply().get() == [3, 7]
    assert replaced.apply((5,)).get() == [6, 7]
    assert (add.s(1, 2) | add.s(3)).apply().get() == 6
    assert counted.apply((1, 2)).get() == [3]


def test_models_are_made_and_dumped_around_the_awaiting() -> None:
    assert double.apply(({"amount": 4},)).get() == {"amount": 8}


def test_always_eager_calls_run_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = Grpcflow("eager_coroutines", set_as_current=False)
    eager.conf.update(task_always_eager=True)

    async def three() -> int:
        await asyncio.sleep(0)
        return 3

    task = eager.task(name="three")(three)
    assert task.delay().get() == 3


async def test_apply_where_a_loop_runs_waits_for_a_thread_of_its_own() -> None:
    mine = id(asyncio.get_running_loop())
    assert add.apply((1, 2)).get() == 3
    assert loop_id.apply().get() != mine


def test_each_thread_keeps_its_loop_and_closes_it_at_its_end() -> None:
    mine = {loop_id.apply().get() for _ in range(3)}
    others: list[set[int]] = []
    loops: list[asyncio.AbstractEventLoop] = []

    def run() -> None:
        others.append({loop_id.apply().get() for _ in range(3)})
        loops.append(coroutines._home().loop)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert len(mine) == len(others[0]) == 1
    assert mine != others[0]
    gc.collect()  # a loop that was left open would warn, which is an error here
    assert loops[0].is_closed()


def test_what_asks_the_process_to_end_passes_through_and_the_loop_goes_on() -> None:
    with pytest.raises(SystemExit):
        exits.apply()
    assert add.apply((1, 2)).get() == 3


def test_what_it_leaves_running_is_cancelled_and_named(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            ended.append("generator")

    kept: list[Any] = []

    async def leave() -> int:
        kept.extend((asyncio.create_task(for_ever(), name="mine"), numbers()))
        return await anext(kept[1])

    with caplog.at_level(logging.WARNING):
        assert coroutines.run(leave()) == 1
    assert sorted(ended) == ["generator", "task"]
    assert "mine (test_what_it_leaves_running_is_cancelled_and_named.<locals>.for_ever)" in caplog.text
    assert add.apply((1, 2)).get() == 3


# --- interrupting ------------------------------------------------------------------------------------------------


async def test_a_soft_interruption_is_raised_where_it_awaits_and_it_may_go_on() -> None:
    steering, waits = Steering(), asyncio.Event()

    async def body() -> str:
        try:
            waits.set()
            await asyncio.Event().wait()
        except SoftTimeLimitExceeded as error:
            async with asyncio.timeout(5):  # which would not work in a task that still counts as cancelled
                await asyncio.sleep(0)
            return str(error)
        return "no"

    task = asyncio.create_task(run_in(steering, body()))
    await waits.wait()
    steering.soften(SoftTimeLimitExceeded("soon"))
    assert await task == "soon"
    assert task.cancelling() == 0


async def test_before_it_began_an_interruption_keeps_it_from_beginning() -> None:
    steering = Steering()
    steering.soften(SoftTimeLimitExceeded("soon"))

    async def body() -> None:
        raise AssertionError("it began")

    with pytest.raises(SoftTimeLimitExceeded, match="soon"):
        await run_in(steering, body())


async def test_the_first_verdict_stands_and_after_the_end_nothing_does_anything() -> None:
    steering, waits = Steering(), asyncio.Event()

    async def body() -> str:
        try:
            waits.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "whatever"
        return "no"

    task = asyncio.create_task(run_in(steering, body()))
    await waits.wait()
    first = ValueError("first")
    steering.cancel(first)
    steering.cancel(ValueError("second"))
    steering.soften(SoftTimeLimitExceeded("too late"))
    assert await task == "whatever"
    assert steering.verdict is first
    steering.abandon()
    steering.soften(SoftTimeLimitExceeded("too late"))


async def test_abandoned_it_may_not_wait_any_more() -> None:
    steering, waits = Steering(), asyncio.Event()
    seen: list[str] = []

    async def body() -> None:
        try:
            waits.set()
            await asyncio.Event().wait()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    task = asyncio.create_task(run_in(steering, body()))
    await waits.wait()
    steering.cancel(ValueError("v"))
    steering.abandon()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["GeneratorExit"]


async def run_in(steering: Steering, coroutine: Any) -> Any:
    return await steering.drive(coroutine)
