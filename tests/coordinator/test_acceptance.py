"""That a graph is durable is told at once, or with the one result that its client waits for."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from grpcflow_coordinator import streams
from grpcflow_coordinator.client_stream import ClientStream
from grpcflow_coordinator.core.effects import Accepted, Effects
from grpcflow_coordinator.outbox import StreamOutbox

GRAPH, OTHER = b"g" * 12, b"h" * 12


def outbox() -> StreamOutbox:
    return StreamOutbox(heartbeat=5.0, silence=15.0, grace=10.0, version="1", payload_limit=1_000)


def accepted(client: ClientStream, graph: bytes = GRAPH) -> Effects:
    made = Effects()
    made.sends.append(Accepted(client, graph))
    return made


def settled(graph: bytes = GRAPH) -> Effects:
    made = Effects()
    made.values.append((graph, 0, b"7"))
    return made


def client() -> ClientStream:
    return ClientStream(cast(Any, None))


async def is_woken(stream: ClientStream) -> bool:
    """Say whether something is to be sent now."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return stream._ready.is_set()


async def test_who_waits_for_the_one_result_is_told_both_at_once() -> None:
    out, stream = outbox(), client()
    stream.coming[GRAPH] = 1
    out.watchers.watch(stream, GRAPH, 0, 1)
    out.deliver(accepted(stream))
    assert not await is_woken(stream)
    out.deliver(settled())
    assert await is_woken(stream)
    message = stream.take()
    assert message is not None
    assert (list(message.accepted), list(message.successes[0].values)) == ([GRAPH], [b"7"])


async def test_where_the_result_is_long_in_coming_the_acceptance_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LINGER", 0.0)
    out, stream = outbox(), client()
    stream.coming[GRAPH] = 1
    out.watchers.watch(stream, GRAPH, 0, 1)
    out.deliver(accepted(stream))
    async with asyncio.timeout(40):
        await stream.wait()
    message = stream.take()
    assert message is not None
    assert list(message.accepted) == [GRAPH]


@pytest.mark.parametrize(("coming", "watched"), [({GRAPH: 1}, False), ({GRAPH: 2}, True), ({GRAPH: 1, OTHER: 1}, True)])
async def test_who_may_wait_for_something_else_is_told_at_once(coming: dict[bytes, int], watched: bool) -> None:
    out, stream = outbox(), client()
    stream.coming.update(coming)
    if watched:
        out.watchers.watch(stream, GRAPH, 0, 1)
    out.deliver(accepted(stream))
    assert await is_woken(stream)
