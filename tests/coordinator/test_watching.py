"""Who watches what: what a settled node costs does not grow with the watches, and nothing is left of who is gone."""

from __future__ import annotations

import asyncio
from typing import Any

from grpcflow_coordinator.client_stream import UNTOLD, ClientStream
from grpcflow_coordinator.streams import Stream
from grpcflow_coordinator.watching import WIDE, Nodes, Watchers

GRAPH, OTHER = b"g" * 12, b"h" * 12

#: So many watches that looking through them for each node would take minutes.
MANY = 100_000


def stream() -> ClientStream:
    """Return a client's stream that reads no records."""
    records: Any = None
    return ClientStream(records)


def is_empty(watchers: Watchers) -> bool:
    """Return whether nothing is left."""
    return not any(vars(watchers).values())


def test_many_watches_of_single_nodes_cost_each_node_the_same() -> None:
    nodes = Nodes()
    for index in range(MANY):
        nodes.add(index, 1)
    assert all(index in nodes for index in range(MANY))
    assert MANY not in nodes


def test_many_watches_of_the_same_range_are_one() -> None:
    nodes = Nodes()
    for _ in range(MANY):
        nodes.add(0, MANY)
    assert len(nodes.wide) == 1
    for _ in range(MANY - 1):
        nodes.remove(0, MANY)
    assert 5 in nodes
    nodes.remove(0, MANY)
    assert not nodes


def test_of_too_many_ranges_all_between_them_is_watched() -> None:
    nodes = Nodes()
    for index in range(MANY):
        nodes.add(10 * index, 2)
    assert len(nodes.wide) <= WIDE
    assert all(10 * index + 1 in nodes for index in range(MANY))
    assert 10 * MANY not in nodes


def test_what_was_asked_for_twice_is_told_until_it_was_taken_back_twice() -> None:
    watchers, one = Watchers(), stream()
    for _ in range(2):
        watchers.watch(one, GRAPH, 3, 1, progress=True)
    watchers.unwatch(one, GRAPH, 3, 1)
    found = watchers.of(GRAPH)
    assert found is not None
    assert 3 in found[one]
    watchers.unwatch(one, GRAPH, 4, 1)  # never asked for
    watchers.unwatch(one, GRAPH, 3, 1)
    assert is_empty(watchers)


def test_nothing_is_left_of_a_stream_that_is_gone_and_all_of_the_others() -> None:
    watchers, one, two = Watchers(), stream(), stream()
    for graph in (GRAPH, OTHER):
        watchers.watch(one, graph, 0, 10, progress=True)
    watchers.watch(two, GRAPH, 0, 10)
    watchers.expect(one, "mine")
    watchers.expect(two, "mine")
    assert (watchers.count(one), watchers.count(two)) == (3, 2)
    watchers.forget(one)
    assert watchers.count(one) == 0
    assert watchers.of(OTHER) is None
    watchers.came(GRAPH, [("mine", 7)])
    assert (len(two.backfill), two.backfill.take(5)) == (1, (GRAPH, 7, 8))
    assert not one.backfill
    watchers.forget_graph(GRAPH)
    assert is_empty(watchers)


def test_who_leaves_among_many_graphs_of_others_is_not_looked_for_in_all_of_them() -> None:
    watchers, resident = Watchers(), stream()
    for number in range(MANY):
        watchers.watch(resident, number.to_bytes(12, "big"), 0, 1)
    for _ in range(MANY):
        guest = stream()
        watchers.watch(guest, GRAPH, 0, 1)
        watchers.forget(guest)
    assert watchers.count(resident) == MANY
    watchers.forget(resident)
    assert is_empty(watchers)


def test_ids_that_never_come_cost_a_graph_nothing() -> None:
    watchers, patient = Watchers(), stream()
    for number in range(MANY):
        watchers.expect(patient, f"id {number}", progress=True)
    for number in range(MANY):
        watchers.came(number.to_bytes(12, "big"), ())
    watchers.came(GRAPH, [("somebody's", 0), ("id 5", 1)])
    assert (len(patient.backfill), patient.backfill.take(5)) == (1, (GRAPH, 1, 2))
    watchers.expect_no_longer(patient, [f"id {number}" for number in range(MANY)])
    watchers.drop(patient, GRAPH)
    assert is_empty(watchers)


def test_readers_of_items_are_woken_and_leave_nothing() -> None:
    watchers, readers = Watchers(), [Stream() for _ in range(1_000)]
    for number, reader in enumerate(readers):
        watchers.read(reader, GRAPH, number)
        watchers.read(reader, GRAPH, number)
    watchers.wake_readers(GRAPH, 3)
    assert [reader._ready.is_set() for reader in readers[:5]] == [False, False, False, True, False]
    watchers.wake_readers(GRAPH)
    assert all(reader._ready.is_set() for reader in readers)
    for reader in readers:
        watchers.stop_reading(reader)
    assert is_empty(watchers)
    assert not watchers.reading


async def test_who_does_not_read_is_full_until_it_reads() -> None:
    one = stream()
    one.accepted += [GRAPH] * (UNTOLD + 1)
    assert one.is_full
    waiting = asyncio.create_task(one.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    message = one.take()
    assert message is not None
    assert len(message.accepted) == UNTOLD + 1
    async with asyncio.timeout(40):
        await waiting
