"""A burst of questions of one client: a few at once, the rest in turns, no end of them, and nobody else waits."""

import asyncio

import pytest

from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.crowd import AT_ONCE, GAP, SAVED, WAITING, Crowd

BURST = 10_000


async def test_of_ten_thousand_a_few_are_carried_out_at_once_and_another_client_waits_for_none() -> None:
    crowd, under_way, most, done = Crowd(), 0, 0, 0
    closed = asyncio.Event()

    async def ask(client: str) -> None:
        nonlocal under_way, most, done
        async with crowd.turn(client):
            under_way += 1
            most = max(most, under_way)
            await closed.wait()
            under_way -= 1
            done += 1

    burst = [asyncio.create_task(ask("hog")) for _ in range(BURST)]
    await asyncio.sleep(0)
    async with asyncio.timeout(40), crowd.turn("somebody else"):
        assert (under_way, done) == (AT_ONCE, 0)
    closed.set()
    async with asyncio.timeout(40):
        await asyncio.gather(*burst)
    assert (most, done) == (AT_ONCE, BURST)
    assert WAITING >= BURST


async def test_what_may_wait_has_a_bound_and_whoever_gives_up_makes_room() -> None:
    crowd = Crowd(at_once=1, waiting=2)

    async def ask() -> None:
        async with crowd.turn("hog"):
            pass

    async with crowd.turn("hog"):
        waiting = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="wait for their answers first") as refused:
            await ask()
        assert refused.value.code == "TOO_MANY_REQUESTS"
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        late = asyncio.create_task(ask())
        await asyncio.sleep(0)
        assert not late.done()
    async with asyncio.timeout(40):
        await asyncio.gather(waiting[1], late)


async def test_looks_at_much_take_half_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waits = [100.0], []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    crowd = Crowd()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock[0])
    for number, took in enumerate((0.2, 0.3, 0.0)):
        async with crowd.look(f"client {number % 2}"):
            clock[0] += took
    assert waits == [pytest.approx(0.2), pytest.approx(0.3)]
    clock[0] += 10
    async with crowd.look("client 0"):
        pass
    assert len(waits) == 2


async def test_while_tasks_keep_the_coordinator_busy_all_clients_together_have_a_few_turns_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds > 1e-6:
            waits.append(round(seconds, 3))

    busy = True
    crowd = Crowd(is_busy=lambda: busy)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 100.0)
    for number in range(SAVED + 4):
        async with crowd.turn(f"client {number % 2}"):
            pass
    assert waits == [pytest.approx(GAP * times) for times in (1, 2, 3)]
    busy = False
    async with crowd.turn("client 0"):
        pass
    assert len(waits) == 3
