"""Graphs that are looked for by what they were called with, and by their stamps."""

from __future__ import annotations

from typing import Any

import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, refused, serving

from grpcflow_protos.v1 import graph_pb2
from grpcflow_protos.v1 import graph_service_pb2 as pb


def stamped(payload: bytes, *stamps: tuple[str, str], sensitive: bool = False) -> graph_pb2.GraphChunk:
    chunk = call(payload)
    for name, value in stamps:
        chunk.templates[0].stamps.add(name=name, values=[value])
    chunk.templates[0].sensitive = sensitive
    return chunk


async def found(wire: Wire, **wanted: Any) -> list[bytes]:
    """Return the ids of all pages."""
    ids: list[bytes] = []
    request = pb.ListGraphsRequest(**wanted)
    while True:
        page = await wire.graphs.ListGraphs(request, timeout=BOUND)
        ids += [one.graph for one in page.graphs]
        if not page.next:
            return ids
        request.after = page.next


async def test_a_text_is_found_in_arguments_as_it_stands_there() -> None:
    async with serving() as wire:
        ann, quoted, hidden, letters = (
            stamped(b'[["ann@example.org"],{}]'),
            stamped(b'[[],{"title":"say \\"hi\\""}]'),
            stamped(b'[["ann the second"],{}]', sensitive=True),
            stamped('[["Zoë"],{}]'.encode()),
        )
        for chunk in (ann, quoted, hidden, letters):
            await wire.submit(chunk)
        assert await found(wire, argument="ann") == [ann.graph], "and not the one that is sensitive"
        assert await found(wire, argument='say "hi"') == [quoted.graph]
        assert await found(wire, argument="Zoë") == [letters.graph]
        assert not await found(wire, argument="nobody")


async def test_a_stamp_leads_to_its_graphs_newest_first_and_page_by_page() -> None:
    async with serving() as wire:
        mine = [stamped(b"[[],{}]", ("customer", "17")) for _ in range(5)]
        other = stamped(b"[[],{}]", ("customer", "18"))
        for chunk in (*mine, other):
            await wire.submit(chunk)
        ids = sorted(chunk.graph for chunk in mine)
        assert await found(wire, stamp="customer=17", limit=2) == ids[::-1]
        assert await found(wire, stamp="customer=17", limit=2, oldest_first=True) == ids
        assert await found(wire, stamp="customer=18") == [other.graph]
        assert not await found(wire, stamp="customer=19")


async def test_both_hold_together_with_the_other_filters() -> None:
    async with serving() as wire:
        both, one = stamped(b'[["x"],{}]', ("a", "b")), stamped(b'[["y"],{}]', ("a", "b"))
        for chunk in (both, one):
            await wire.submit(chunk)
        assert await found(wire, stamp="a=b", argument="x", task="t", unfinished=True) == [both.graph]
        assert not await found(wire, stamp="a=b", argument="x", task="other")


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"stamp": "customer"}, "BAD_ARGUMENTS"),
        ({"stamp": "=17"}, "BAD_ARGUMENTS"),
        ({"stamp": "x" * 300}, "NAME_TOO_LONG"),
        ({"argument": "x" * 300}, "NAME_TOO_LONG"),
    ],
)
async def test_what_cannot_be_looked_for_is_refused(wanted: dict[str, Any], code: str) -> None:
    async with serving() as wire:
        assert (await refused(wire.graphs.ListGraphs(pb.ListGraphsRequest(**wanted), timeout=BOUND)))[1] == code
        await wire.works()


async def test_of_a_graph_the_first_calls_are_looked_at() -> None:
    async with serving() as wire:
        chunk = call()
        chunk.node_count = 1_200
        del chunk.runs[:]
        for first in range(0, 1_200, 400):
            payloads = [b'[["early"],{}]' if number == 3 else b"[[],{}]" for number in range(400)]
            if first == 800:
                payloads[-1] = b'[["late"],{}]'
            chunk.runs.add(first=first, count=400, payloads=payloads)
        await wire.submit(chunk)
        assert await found(wire, argument="early") == [chunk.graph]
        assert not await found(wire, argument="late")
