"""The feed of events: what is kept, how it is bounded, how it is read on."""

import asyncio

from grpcflow_coordinator.core.effects import Effects
from grpcflow_coordinator.core.model import NodeState, Now, Outcome
from grpcflow_coordinator.feed import SAID, Feed
from grpcflow_protos.v1 import event_service_pb2 as pb

GRAPH, OTHER = b"a" * 12, b"b" * 12


class Clock:
    wall_ms = 1_000

    def __call__(self) -> Now:
        return Now(self.wall_ms, 0.0)


def settled(*indexes: int, graph: bytes = GRAPH) -> Effects:
    return Effects(values=[(graph, index, b"1") for index in indexes])


def test_values_of_one_graph_are_one_event_and_others_are_others() -> None:
    feed = Feed(Clock())
    effects = settled(0, 1, 5)
    effects.values += settled(7, graph=OTHER).values
    effects.settled.append((GRAPH, 9, "", Outcome(NodeState.REVOKED, 0)))
    effects.made.append(OTHER)
    effects.presence.append(("offline", "w@h", "it said goodbye"))
    feed.take(effects)
    page, missed = feed.page(0, 100)
    assert missed == 0
    assert [(happening.kind, list(happening.nodes)) for _, happening in page] == [
        (pb.EVENT_KIND_TASK_SENT, []),
        (pb.EVENT_KIND_TASK_SUCCEEDED, [0, 1, 5]),
        (pb.EVENT_KIND_TASK_SUCCEEDED, [7]),
        (pb.EVENT_KIND_TASK_REVOKED, [9]),
        (pb.EVENT_KIND_WORKER_OFFLINE, []),
    ]
    assert [offset for offset, _ in page] == [1, 2, 3, 4, 5]


def test_it_is_bounded_by_the_nodes_that_it_names_and_says_what_is_gone() -> None:
    feed = Feed(Clock(), length=10)
    for _ in range(7):
        feed.take(settled(1, 2, 3))
    page, missed = feed.page(0, 100)
    assert (len(page), missed, page[0][0], feed.end) == (3, 4, 5, 7)
    assert feed.page(6, 100)[0][0][0] == 7
    assert feed.page(7, 100) == ([], 0)
    assert len(feed.page(0, 2)[0]) == 2


def test_what_somebody_said_counts_by_its_bytes() -> None:
    feed = Feed(Clock(), length=1_000)
    for _ in range(100):
        feed.publish("large", b"x" * 64 * 1024)
    assert len(feed.page(0, 1_000)[0]) == 1_000 // (1 + 64 * 1024 // SAID)
    feed.take(settled(*range(990)))
    assert len(feed.page(0, 1_000)[0]) == 1


def test_an_offset_of_an_earlier_start_reads_from_the_first_that_is_kept() -> None:
    feed = Feed(Clock())
    feed.base = 2 << 40
    feed.take(settled(1))
    [(offset, _)], missed = feed.page((1 << 40) + 77, 10)
    assert (offset, missed) == ((2 << 40) + 1, 0)
    assert feed.page(0, 10)[1] == 0


def test_it_is_found_by_time() -> None:
    clock = Clock()
    feed = Feed(clock)
    for clock.wall_ms in (1_000, 2_000, 3_000):
        feed.take(settled(1))
    assert [feed.since(time_ms) for time_ms in (0, 1_000, 1_001, 2_000, 3_001)] == [0, 0, 1, 1, 3]
    short = Feed(clock, length=1)
    short.take(settled(1))
    short.take(settled(2))
    assert short.page(short.since(1), 10)[1] == 1


async def test_a_reader_that_waits_is_woken_by_the_next_event_or_when_its_time_is_over() -> None:
    feed = Feed(Clock())
    waiting = asyncio.create_task(feed.more(0, 60))
    await asyncio.sleep(0)
    feed.take(settled(1))
    await asyncio.wait_for(waiting, 40)
    await asyncio.wait_for(feed.more(0, 60), 40)
    await asyncio.wait_for(feed.more(1, 0.01), 40)
