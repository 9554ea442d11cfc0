"""Large payloads go through memory that supervisor and child share, and never over what was not read."""

import contextlib
import mmap
import os
import random
import signal
from collections import deque
from collections.abc import Iterator
from functools import partial

import pytest
from tests.worker.executors.executor_kit import Start

from grpcflow_worker.executors import process
from grpcflow_worker.executors import ring as ring_module
from grpcflow_worker.executors.forker import shared_page
from grpcflow_worker.executors.ring import LEAST, Place, Ring, give_back, shared_bytes

#: Bytes of the rings of these tests.
SIZE = 8 * LEAST


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, mmap.PAGESIZE + 2 * SIZE) as made:
        yield made


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Bytes of each payload that the supervisor wrote to a ring (or 0 where there was no room), and read from one."""
    sizes: dict[str, list[int]] = {"down": [], "up": []}

    class Spy(Ring):
        def put(self, payload: bytes) -> Place | None:
            place = super().put(payload)
            sizes["down"].append(len(payload) if place else 0)
            return place

        def take(self, place: Place) -> bytes:
            payload = super().take(place)
            sizes["up"].append(len(payload))
            return payload

    monkeypatch.setattr(process, "Ring", Spy)
    return sizes


def test_what_was_not_read_is_never_written_over(memory: mmap.mmap, seed: int) -> None:
    rng = random.Random(seed)
    writers, readers = (Ring.down(memory), Ring.up(memory)), (Ring.down(memory), Ring.up(memory))
    waiting: tuple[deque[tuple[Place, bytes]], ...] = (deque(), deque())
    refused = 0
    for number in range(400):
        way = rng.randrange(2)
        if rng.random() < 0.55:
            payload = number.to_bytes(4, "big") * (rng.randint(LEAST, SIZE // rng.choice((1, 3, 6))) // 4 + 1)
            place = writers[way].put(payload[: SIZE - number % 7])
            refused += place is None
            if place is not None:
                waiting[way].append((place, payload[: SIZE - number % 7]))
        elif waiting[way]:
            place, payload = waiting[way].popleft()
            assert readers[way].take(place) == payload
    assert 20 < refused < 380
    for way in (0, 1):
        while waiting[way]:
            place, payload = waiting[way].popleft()
            assert readers[way].take(place) == payload
        # Once it is empty it takes all that it has room for, wherever it stood.
        whole = bytes([way + 1]) * SIZE
        place = writers[way].put(whole)
        assert place is not None
        assert readers[way].take(place) == whole


def test_an_empty_ring_begins_where_its_memory_is_warm(memory: mmap.mmap) -> None:
    writer, reader = Ring.down(memory), Ring.down(memory)
    for _ in range(5):
        place = writer.put(b"x" * LEAST)
        assert place is not None
        assert place[0] % SIZE == 0
        reader.take(place)


def test_small_payloads_and_those_larger_than_the_ring_are_not_taken(memory: mmap.mmap) -> None:
    writer = Ring.up(memory)
    assert writer.put(b"x" * (LEAST - 1)) is None
    assert writer.put(b"x" * (SIZE + 1)) is None
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        assert Ring.down(page).put(b"x" * LEAST) is None, "there is a page for marks alone"


def test_memory_goes_back_and_can_be_used_again() -> None:
    descriptor = shared_page(mmap.PAGESIZE + 2 * SIZE)
    with contextlib.closing(mmap.mmap(descriptor, 0)) as memory:
        memory[0] = 7
        writer, reader = Ring.up(memory), Ring.up(memory)
        place = writer.put(b"x" * SIZE)
        assert place is not None
        reader.take(place)
        before = os.fstat(descriptor).st_blocks * 512
        give_back(memory)
        after = os.fstat(descriptor).st_blocks * 512
        assert (before, after) == (mmap.PAGESIZE + SIZE, mmap.PAGESIZE)
        assert memory[0] == 7
        place = writer.put(b"y" * SIZE)
        assert place is not None
        assert reader.take(place) == b"y" * SIZE
    os.close(descriptor)


@pytest.mark.parametrize("strict", [True, False])
def test_there_are_no_rings_where_a_page_may_be_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, strict: bool
) -> None:
    setting = tmp_path_factory.mktemp("vm") / "overcommit_memory"
    setting.write_text("2\n" if strict else "0\n")
    monkeypatch.setattr(ring_module, "_OVERCOMMIT", setting)
    assert (shared_bytes() == mmap.PAGESIZE) == strict


@pytest.mark.parametrize("app", ["executor_sample", "executor_threaded"], ids=["forked", "fresh"])
async def test_children_get_and_give_large_payloads_through_it(
    start: Start, passed: dict[str, list[int]], app: str
) -> None:
    running = await start("prefork", concurrency=1, app=app)
    words = ["word" * LEAST, *("x" * (LEAST + length) for length in range(3)), "small"]
    tokens = running.put_many("add", [(word, "") for word in words], app=app)
    await running.heard.all_of(tokens)
    assert [running.heard.value(token) for token in tokens] == words
    assert [size > LEAST for size in passed["down"]] == [True] * 4
    assert sorted(passed["up"]) == sorted(len(word) + 2 for word in words[:-1])


async def test_what_the_ring_has_no_room_for_travels_in_a_frame(
    start: Start, passed: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "RING_BYTES", SIZE)
    running = await start("prefork", concurrency=1)
    word = "x" * SIZE
    assert await running.get("listed", word) == [word]
    assert passed == {"down": [0], "up": []}


async def test_a_child_that_dies_with_a_large_payload_takes_no_ring_along(
    start: Start, passed: dict[str, list[int]]
) -> None:
    running = await start("prefork", concurrency=1)
    assert (await running.end("die", "x" * LEAST)).message == f"signal {int(signal.SIGKILL)}"
    assert await running.get("listed", "y" * LEAST) == ["y" * LEAST]
    assert [size > LEAST for size in passed["down"]] == [True, True]


async def test_an_idle_child_gives_the_memory_back(
    start: Start, passed: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_IDLE", 0.02)
    given: list[int] = []

    def give(memory: mmap.mmap) -> None:
        give_back(memory)
        given.append(len(passed["up"]))
        running.heard._changed.set()

    monkeypatch.setattr(process, "give_back", give)
    running = await start("prefork", concurrency=1)
    for count in (1, 2):
        assert await running.get("listed", "x" * LEAST) == ["x" * LEAST]
        await running.heard.until(partial(given.__contains__, count))
    assert given == [1, 2]
