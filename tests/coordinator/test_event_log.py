"""Events that are kept on disk: read on without a gap, bounded, and what damaged files and full disks cost."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.coordinator.support.event_files import GRAPH, Clock, FullDisk, everything, happen, kept, numbers

from grpcflow_coordinator import event_log, event_replay
from grpcflow_coordinator.core.effects import Effects
from grpcflow_coordinator.event_frames import BYTES, frames, read_body, read_head
from grpcflow_coordinator.event_log import found_in
from grpcflow_coordinator.event_replay import Place, Reading, parts_of, read_piece, since
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.happenings import Happening, Numbered


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[..., Feed]]:
    """Makes feeds that keep their events in one folder."""
    with ExitStack() as stack:

        def make(epoch: int = 1, **given: Any) -> Feed:
            feed = kept(tmp_path, epoch, **given)
            stack.callback(feed.close)
            return feed

        yield make


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some hundred bytes, frames of some events."""
    monkeypatch.setattr(event_log, "SMALLEST", 400)
    monkeypatch.setattr(event_log, "LARGEST", 400)
    monkeypatch.setattr(event_log, "WAITING", 3)
    monkeypatch.setattr(event_replay, "FRAMES_AT_ONCE", 2)


def test_what_is_written_is_what_is_read() -> None:
    chance = random.Random(seed := int(os.environ.get("GRPCFLOW_TEST_SEED", random.randrange(1 << 32))))
    print("seed", seed)
    written = [
        Happening(chance.randrange(1 << 40), 4, GRAPH, nodes, "w", "why", "type", b"{}", "task", "queue", "own")
        for nodes in (
            *((), (3,), range(5, 500_000), [1, 2, 3], [1, 3], [3, 2, 1], [7, 8, 2, 9, 10, 11]),
            *(sorted(chance.sample(range(50), chance.randrange(1, 40))) for _ in range(200)),
        )
    ]
    found, sizes = Numbered(), list[int]()
    for first, frame in frames(11, written):
        head = read_head(frame)
        assert head is not None
        assert head.first == first == 11 + len(found)
        body = frame[-head.length :]
        sizes.append(len(frame))
        found += read_body(head, body) or []
        assert read_body(head, body[:-1] + bytes([body[-1] ^ 1])) is None
        assert read_body(head._replace(first=first + 1), body) is None
    assert [offset for offset, _ in found] == list(range(11, 11 + len(written)))
    assert [one._replace(nodes=list(one.nodes)) for _, one in found] == [
        one._replace(nodes=list(one.nodes)) for one in written
    ]
    assert max(sizes) < 4 * BYTES


def test_a_frame_does_not_grow_with_large_events() -> None:
    large = Happening(1, 30, fields=b"x" * 60_000)
    assert [len(frame) < 2 * BYTES for _, frame in frames(1, [large] * 10)] == [True] * 5


@pytest.mark.usefixtures("small")
async def test_between_disk_and_memory_nothing_is_missing_and_nothing_comes_twice(keep: Callable[..., Feed]) -> None:
    chance = random.Random(seed := int(os.environ.get("GRPCFLOW_TEST_SEED", random.randrange(1 << 32))))
    print("seed", seed)
    happened: list[int] = []
    for epoch in range(1, 5):
        feed = keep(epoch, memory=chance.randrange(1, 12))
        reading, after, read = Reading(feed), 0, list[int]()
        for _ in range(60):
            fresh = [len(happened) + number for number in range(chance.randrange(8))]
            happened += fresh
            happen(feed, *fresh)
            if chance.random() < 0.6:  # a slow reader
                page, missed = await reading.page(after, chance.randrange(1, 9))
                assert missed == 0
                read += numbers(page)
                after = page[-1][0] if page else after
        found, missed = await everything(feed, after)
        assert (read + numbers(found), missed) == (happened, 0)
        start = chance.choice(found)[0] if found else 0
        rest, missed = await everything(feed, start)
        assert ([one for one in found if one[0] > start], missed) == (rest, 0)
        feed.close()


@pytest.mark.usefixtures("small")
async def test_an_offset_from_before_a_restart_is_read_on_from(keep: Callable[..., Feed]) -> None:
    before = keep()
    happen(before, *range(40))
    found, _ = await everything(before)
    before.close()
    after = keep(2)
    assert numbers((await everything(after, found[20][0]))[0]) == list(range(21, 40))
    happen(after, 40, 41)
    rest, missed = await everything(after, found[38][0])
    assert ([offset for offset, _ in rest], missed) == ([found[39][0], after.base + 1, after.base + 2], 0)


@pytest.mark.usefixtures("small")
async def test_the_files_are_bounded_and_what_went_is_counted(keep: Callable[..., Feed], tmp_path: Path) -> None:
    feed = keep(size=2_000)
    for number in range(300):
        happen(feed, number)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000
    found, missed = await everything(feed)
    assert numbers(found) == list(range(missed, 300))
    assert 10 < len(found) < 200
    assert (await everything(feed, feed.base + missed))[1] == 0
    assert (await everything(feed, feed.base + 5))[1] == missed - 5
    feed.close()
    again = keep(2, size=1_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000
    assert (await everything(again))[1] > missed


@pytest.mark.usefixtures("small")
async def test_a_frame_that_a_crash_cut_off_is_passed_over(keep: Callable[..., Feed], tmp_path: Path) -> None:
    feed = keep()
    happen(feed, *range(30))
    feed.close()
    last = found_in(tmp_path)[-1].path
    whole = last.read_bytes()
    head = read_head(whole)
    assert head is not None
    for cut in (len(whole) - 1, len(whole) - 5, head.length, 3):
        last.write_bytes(whole[:cut])
        again = keep(2)
        happen(again, 100)
        found, missed = await everything(again)
        assert numbers(found) == [*range(len(found) - 1), 100]
        assert 20 <= len(found) < 31
        assert missed == 0, "how much an earlier start had at its end is not known"
        again.close()
        for one in found_in(tmp_path):
            if one.first > again.base:
                one.path.unlink()


@pytest.mark.usefixtures("small")
async def test_a_damaged_file_costs_what_follows_in_it_and_that_is_counted(
    keep: Callable[..., Feed], tmp_path: Path
) -> None:
    feed = keep()
    happen(feed, *range(100))
    whole, _ = await everything(feed)
    segments = [one for one in found_in(tmp_path) if one.first < feed.first - 12]  # no event of these is in memory
    chance = random.Random(seed := int(os.environ.get("GRPCFLOW_TEST_SEED", random.randrange(1 << 32))))
    print("seed", seed)
    for _ in range(30):
        path = chance.choice(segments).path
        good = path.read_bytes()
        at = chance.randrange(len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << chance.randrange(8))]) + good[at + 1 :])
        found, missed = await everything(feed, feed.base)
        assert set(numbers(found)) < set(numbers(whole))
        assert 0 < missed < 20
        assert len(found) + missed == 100
        path.write_bytes(good)
    assert (await everything(feed, feed.base))[1] == 0


@pytest.mark.usefixtures("small")
async def test_damage_at_the_end_of_an_earlier_start_is_told(keep: Callable[..., Feed], tmp_path: Path) -> None:
    before = keep()
    happen(before, *range(20))
    before.close()
    path = found_in(tmp_path)[-1].path
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    after = keep(2)
    happen(after, 50)
    found, missed = await everything(after)
    assert (numbers(found)[-1], missed) == (50, 1)


@pytest.mark.usefixtures("small")
async def test_a_full_disk_is_logged_once_and_tried_again(
    keep: Callable[..., Feed], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    clock, disk = Clock(), FullDisk(700)
    feed = keep(now=clock, create=disk)
    happen(feed, *range(30))
    opened = disk.opened
    happen(feed, *range(30, 60))
    assert disk.opened == opened, "a disk that fails is left alone for a while"
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 700, "half a frame is cut off"
    clock.monotonic += event_log.RETRY
    happen(feed, *range(60, 80))
    assert disk.opened > opened, "it is tried again"
    assert len(caplog.records) == 1, "and told of once"
    found, missed = await everything(feed, feed.base)
    early = [number for number in numbers(found) if number < 60]
    assert early == list(range(len(early)))
    assert len(found) + missed == 80
    disk.room = 1 << 20
    clock.monotonic += event_log.RETRY
    happen(feed, *range(80, 120))
    assert "again" in caplog.records[-1].message
    found, missed_now = await everything(feed, feed.base)
    assert (len(found) + missed_now, numbers(found)[-40:]) == (120, list(range(80, 120)))
    assert all(path.stat().st_size for path in tmp_path.iterdir()), "no empty files are left behind"


@pytest.mark.usefixtures("small")
async def test_a_reader_that_is_slower_than_the_files_are_removed_is_told(keep: Callable[..., Feed]) -> None:
    feed = keep(size=2_000)
    happen(feed, *range(50))
    reading = Reading(feed)
    page, missed = await reading.page(0, 5)
    happen(feed, *range(50, 400))
    rest, lost = list(page), missed
    while page:
        page, gone = await reading.page(page[-1][0], 5)
        rest, lost = rest + page, lost + gone
    assert lost > 100
    assert len(rest) + lost == 400
    assert numbers(rest) == sorted(set(numbers(rest)))


@pytest.mark.usefixtures("small")
async def test_what_leaves_memory_while_the_disk_is_read_is_read_from_disk(
    keep: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keep()
    happen(before, *range(20))
    last = before.end
    before.close()
    feed, read = keep(2), event_replay.read_piece

    def slow(*given: Any) -> Any:
        piece = read(*given)
        if feed.end == feed.base:
            happen(feed, *range(20, 80))
        return piece

    monkeypatch.setattr(event_replay, "read_piece", slow)
    found, missed = await everything(feed, last)
    assert (numbers(found), missed) == (list(range(20, 80)), 0)


@pytest.mark.usefixtures("small")
async def test_a_file_that_goes_while_it_is_to_be_read_is_passed_over(keep: Callable[..., Feed]) -> None:
    feed = keep()
    happen(feed, *range(60))
    assert feed.log is not None
    parts = parts_of(feed.log.segments)
    parts[1].segment.path.unlink()
    place, after, found, missed = Place(), feed.base, list[int](), 0
    more = True
    while more:
        piece = read_piece(parts, place, after, feed.first, 4)
        found, missed, more = found + numbers(piece.events), missed + piece.missed, piece.more
        after = piece.events[-1][0] if piece.events else after
    assert missed == parts[2].segment.first - parts[1].segment.first
    assert len(found) + missed == feed.first - feed.base - 1


@pytest.mark.usefixtures("small")
async def test_it_is_found_by_time_on_disk_too(keep: Callable[..., Feed]) -> None:
    clock = Clock()
    feed = keep(now=clock)
    for number in range(60):
        clock.wall_ms = 1_000 + number
        happen(feed, number)
    feed.close()
    later = keep(2, now=clock)
    for time_ms in (1_000, 1_001, 1_017, 1_040, 1_058, 1_060):
        found, missed = await everything(later, await since(later, time_ms))
        assert (numbers(found), missed) == (list(range(time_ms - 1_000, 60)), 0)
    clock.wall_ms = 3_000
    happen(later, 60, 61)
    assert numbers((await everything(later, await since(later, 1_059)))[0]) == [59, 60, 61]
    clock.wall_ms = 4_000
    happen(later, 62)
    assert numbers((await everything(later, await since(later, 4_000)))[0]) == [62]


@pytest.mark.usefixtures("small")
async def test_of_another_database_nothing_is_read(
    keep: Callable[..., Feed], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    other = keep(7)
    happen(other, *range(20))
    other.close()
    (tmp_path / "notes.txt").write_text("not ours")
    feed = keep()
    happen(feed, 99)
    assert numbers((await everything(feed))[0]) == [99]
    assert "another database" in caplog.text
    assert (tmp_path / "notes.txt").exists()


def test_what_waits_is_written_when_it_has_waited(keep: Callable[..., Feed], tmp_path: Path) -> None:
    asked: list[tuple[float, object]] = []
    feed = keep(later=lambda seconds, what: asked.append((seconds, what)))
    happen(feed, 1, 2, 3)
    assert feed.log is not None
    assert asked == [(event_log.DELAY, feed.log.flush)]
    assert found_in(tmp_path) == []
    feed.log.flush()
    assert found_in(tmp_path)[0].size > 0


async def test_one_event_that_names_more_than_memory_holds_is_read_from_disk(keep: Callable[..., Feed]) -> None:
    feed = keep(memory=5)
    feed.take(Effects(values=[(GRAPH, number, b"1") for number in range(1_000)]))
    happen(feed, 7)
    found, missed = await everything(feed)
    assert (numbers(found), missed) == ([*range(1_000), 7], 0)
