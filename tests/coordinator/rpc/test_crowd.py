"""A burst of questions of one client: a few at once, the rest in turns, no end of them, and nobody else waits."""

import asyncio

import pytest

from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.crowd import AT_ONCE, WAITING, Crowd

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
    async with asyncio.timeout(1), crowd.turn("somebody else"):
        assert (under_way, done) == (AT_ONCE, 0)
    closed.set()
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(10):
        await asyncio.gather(waiting[1], late)
