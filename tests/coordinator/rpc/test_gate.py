"""The way into the inbox: what may wait in it has a bound, who floods waits, and who does not goes straight in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.gate import COME_BACK, GROUP, LONG, SMALL, Gate, Visitor, weigh
from grpcflow_protos.v1 import graph_pb2

#: Seconds after which something that waits has failed.
BOUND = 40.0


def piece(count: int = 1, payload: bytes = b"") -> graph_pb2.GraphChunk:
    """Return a piece of one run."""
    return graph_pb2.GraphChunk(runs=[graph_pb2.NodeRun(count=count, payloads=[payload])])


ONE = weigh(piece(), piece().ByteSize())


class Inbox:
    """An inbox that is emptied when the test says so."""

    def __init__(self) -> None:
        self.posted = self.stepped = 0
        self.owners: list[str] = []
        self._flushing: list[tuple[int, asyncio.Future[None]]] = []

    def post(self, owner: str) -> None:
        self.owners.append(owner)
        self.posted += 1

    async def flushed(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushing.append((self.posted, future))
        await future

    async def work(self, events: int) -> None:
        """Take so many events, and give everybody time to go on."""
        self.stepped = min(self.posted, self.stepped + events)
        for posted, future in self._flushing:
            if posted <= self.stepped and not future.done():
                future.set_result(None)
        self._flushing = [one for one in self._flushing if not one[1].done()]
        for _ in range(20):
            await asyncio.sleep(0)


async def send(gate: Gate, inbox: Inbox, owner: str, messages: Sequence[Sequence[graph_pb2.GraphChunk]]) -> None:
    """Be a client: its messages one after the other."""
    visitor = Visitor()
    for message in messages:
        async for _ in gate.through(visitor, message):
            inbox.post(owner)


async def test_a_flood_waits_outside_and_a_modest_client_does_not() -> None:
    inbox = Inbox()
    gate = Gate(inbox)
    message = [piece()] * 500
    floods = [asyncio.create_task(send(gate, inbox, f"flood {number}", [message] * 2)) for number in range(10)]
    await inbox.work(0)
    most = (LONG + GROUP) // ONE + 10 * (SMALL // ONE + 1)
    assert LONG // ONE < inbox.posted <= most
    assert gate.held == 10 * sum(one.ByteSize() for one in message)
    async with asyncio.timeout(BOUND):
        await send(gate, inbox, "modest", [[piece()]])  # nothing has been taken, and it is in
        assert inbox.posted - inbox.stepped <= most + 1
        while not all(flood.done() for flood in floods):
            await inbox.work(100)
            assert inbox.posted - inbox.stepped <= most + 1
    assert inbox.posted == 10 * 2 * 500 + 1
    assert gate.held == 0


async def test_floods_take_turns() -> None:
    inbox = Inbox()
    gate = Gate(inbox)
    floods = [asyncio.create_task(send(gate, inbox, name, [[piece()] * 20_000])) for name in "abcd"]
    await inbox.work(0)
    async with asyncio.timeout(BOUND):
        while inbox.posted < 40_000:
            await inbox.work(500)
    counts = [inbox.owners.count(name) for name in "abcd"]
    assert max(counts) - min(counts) <= 2 * GROUP // ONE
    for flood in floods:
        flood.cancel()
    await asyncio.gather(*floods, return_exceptions=True)
    assert gate.held == 0


async def test_many_small_messages_of_one_are_a_flood_too() -> None:
    inbox = Inbox()
    gate = Gate(inbox)
    flood = asyncio.create_task(send(gate, inbox, "flood", [[piece()]] * 5_000))
    await inbox.work(0)
    assert inbox.posted == LONG // ONE + (LONG % ONE > 0)
    async with asyncio.timeout(BOUND):
        while not flood.done():
            await inbox.work(100)


async def test_bytes_weigh() -> None:
    inbox = Inbox()
    gate = Gate(inbox)
    floods = [
        asyncio.create_task(send(gate, inbox, "flood", [[piece(payload=bytes(1 << 20))]] * 10)) for _ in range(10)
    ]
    await inbox.work(0)
    assert inbox.posted <= 14, "four of them wait, and each of the others has sent its first"
    async with asyncio.timeout(BOUND):
        while not all(flood.done() for flood in floods):
            await inbox.work(1)
            assert inbox.posted - inbox.stepped <= 14


async def test_what_may_wait_outside_has_a_bound_and_the_refused_are_told_when_to_come_back() -> None:
    inbox = Inbox()
    message = [piece()] * 5_000
    size = sum(one.ByteSize() for one in message)
    gate = Gate(inbox, held_bytes=3 * size)
    floods = [asyncio.create_task(send(gate, inbox, "flood", [message])) for _ in range(3)]
    await inbox.work(0)
    with pytest.raises(Refusal, match="come back in a moment") as refused:
        await send(gate, inbox, "late", [message])
    assert (refused.value.code, refused.value.retry_after) == ("OVERLOADED", COME_BACK)
    await send(gate, inbox, "modest", [[piece()]])
    floods[0].cancel()
    await asyncio.gather(floods[0], return_exceptions=True)
    late = asyncio.create_task(send(gate, inbox, "late", [message]))
    async with asyncio.timeout(BOUND):
        while not all(one.done() for one in (late, *floods[1:])):
            await inbox.work(500)
    await late
