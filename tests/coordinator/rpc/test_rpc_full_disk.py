"""A disk without room, over the wire: a submit is refused at once, and what is held back is told once it is kept."""

import asyncio

from tests.coordinator.support import serving
from tests.coordinator.support.serving import call

from grpcflow_coordinator.storage.memory import MemoryStore


async def test_a_submit_is_refused_at_once_while_a_batch_waits_for_room() -> None:
    store = MemoryStore()
    async with serving.serving(store) as wire:
        session, caught = await wire.session(), call()
        store._capacity = store.size_bytes()  # type: ignore[misc]
        await session.say(submits=[caught])  # nobody knows yet that the disk is full: this one is in the batch
        async with asyncio.timeout(serving.BOUND):
            while not wire.coordinator.engine.rests:
                await asyncio.sleep(0)
        await session.say(submits=[call()])
        await session.read(lambda message: message.refused)
        assert [refused.refusal.code for refused in session.refused] == ["STORE_FULL"]
        assert not session.accepted
        await session.say(submits=[caught])  # it is there, and is told when it is durable
        store._capacity = 1 << 40  # type: ignore[misc]
        await session.read(lambda message: message.accepted)
        assert set(session.accepted) == {caught.graph}
        assert len(session.refused) == 1
