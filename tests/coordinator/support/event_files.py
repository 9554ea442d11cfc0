"""Feeds whose events are kept on disk, for tests: small files, a clock that stands, and disks that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grpcflow_coordinator import event_log
from grpcflow_coordinator.core.effects import Effects
from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS, Now
from grpcflow_coordinator.event_log import EventLog, File
from grpcflow_coordinator.event_replay import Reading
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.happenings import Numbered

GRAPH = b"g" * 12


class Clock:
    """A clock that moves when it is told to."""

    wall_ms, monotonic = 1_000, 0.0

    def __call__(self) -> Now:
        """Return what it shows."""
        return Now(self.wall_ms, self.monotonic)


class FullDisk:
    """Makes files that take `room` bytes in all, and then raise.

    Attributes:
        room: bytes that can still be written.
        opened: how many files were made.
    """

    def __init__(self, room: int) -> None:
        self.room, self.opened = room, 0

    def __call__(self, path: Path) -> File:
        """Make a file."""
        self.opened += 1
        return _Limited(self, path)


class _Limited:
    def __init__(self, disk: FullDisk, path: Path) -> None:
        self._disk, self._file = disk, event_log.create(path)

    def write(self, data: bytes, /) -> int:
        taken = min(len(data), self._disk.room)
        if not taken:
            raise OSError(28, "No space left on device")
        self._file.write(data[:taken])
        self._disk.room -= taken
        return taken

    def truncate(self, size: int, /) -> int:
        return self._file.truncate(size)

    def close(self) -> None:
        self._file.close()


def kept(folder: Path, epoch: int = 1, *, memory: int = 10, size: int = 1 << 30, **given: Any) -> Feed:
    """Return the feed of one start of a coordinator, with little memory."""
    clock = given.setdefault("now", Clock())
    feed = Feed(clock, length=memory)
    feed.base = epoch << TOKEN_NUMBER_BITS
    feed.keep(EventLog(folder, size, base=feed.base, **given))
    return feed


def happen(feed: Feed, *numbers: int) -> None:
    """Let nodes of these numbers succeed, one after the other."""
    for number in numbers:
        feed.take(Effects(values=[(GRAPH, number, b"1")]))


async def everything(feed: Feed, after: int = 0, limit: int = 7) -> tuple[Numbered, int]:
    """Read to the end in small pages; return the events and how many are missing."""
    reading, found, missed = Reading(feed), list[tuple[int, Any]](), 0
    while True:
        page, lost = await reading.page(after, limit)
        missed += lost
        if not page:
            return found, missed
        found += page
        after = page[-1][0]


def numbers(found: Numbered) -> list[int]:
    """Return the numbers of the nodes that events are about."""
    return [node for _, happening in found for node in happening.nodes]
