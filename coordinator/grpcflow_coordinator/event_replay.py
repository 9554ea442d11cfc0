"""Reads events: from the disk what memory no longer has, then from memory. Writes nothing.

Files are read on a thread, a piece at a time, so that nobody waits for a disk. What cannot be read is passed over: the
offsets say how many events that was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Final, NamedTuple

from grpcflow_coordinator.event_frames import HEAD_BYTES, Head, read_body, read_head
from grpcflow_coordinator.event_log import Segment
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.happenings import Numbered, lost_between, start_of

log = logging.getLogger(__name__)

#: Frames that are looked at in one piece.
FRAMES_AT_ONCE: Final = 500


class Part(NamedTuple):
    """A segment as it was when the reading began: the file behind `size` is not looked at."""

    segment: Segment
    size: int


@dataclass(slots=True)
class Place:
    """Where a reader is in the files: the first offset of the segment, and the byte in it.

    Attributes:
        segment: the first offset of the segment; -1: not known yet.
        byte: where the next frame begins.
        damaged: True where something before could not be read, and nothing was told of that yet.
    """

    segment: int = -1
    byte: int = 0
    damaged: bool = False


class Piece(NamedTuple):
    """What was read: events, how many are missing before and between them, and whether there may be more."""

    events: Numbered
    missed: int
    more: bool


def parts_of(segments: Sequence[Segment]) -> list[Part]:
    """Return segments as they are now; to be called where they are written."""
    return [Part(one, one.size) for one in segments]


class _Reader:
    """Gathers one piece."""

    def __init__(self, place: Place, after: int, before: int, limit: int) -> None:
        self._place, self._after, self._before, self._limit = place, after, before, limit
        self._left = FRAMES_AT_ONCE
        self.events: Numbered = []
        self.missed = 0
        #: True once there is nothing behind what was read that is wanted.
        self.over = False

    @property
    def full(self) -> bool:
        """True where it is enough for one piece."""
        return not self._left or len(self.events) >= self._limit

    def read(self, part: Part) -> None:
        """Read on in one file."""
        place = self._place
        if place.segment != part.segment.first:
            place.segment, place.byte = part.segment.first, 0
        with open(part.segment.path, "rb") as file:
            while not (self.full or self.over) and (head := _next(file, part, place)) is not None:
                self._left -= 1
                if head.last > self._after and not self._take(head, file.read(head.length)):
                    log.error("%s is damaged from byte %d on: the rest is passed over", part.segment.path, place.byte)
                    place.damaged, place.byte = True, part.size
                elif not self.over:
                    place.byte += HEAD_BYTES + head.length

    def _take(self, head: Head, body: bytes) -> bool:
        """Take the events of a frame; False where it is damaged."""
        found = read_body(head, body)
        if found is None:
            return False
        fresh = [one for one in found if self._after < one[0] < self._before]
        if fresh:
            gap = lost_between(self._after, fresh[0][0])
            self.missed += max(gap, int(self._place.damaged))
            self._after, self._place.damaged = fresh[-1][0], False
            self.events += fresh
        self.over = head.last >= self._before - 1
        return True


def read_piece(parts: Sequence[Part], place: Place, after: int, before: int, limit: int) -> Piece:
    """Read events from the files; blocks.

    Args:
        parts: the files, the oldest first.
        place: where the reader is; it is moved on.
        after: only events behind this offset.
        before: only events with a lower offset than this.
        limit: most events; those of one frame more may come.
    """
    reader = _Reader(place, after, before, limit)
    for part in _behind(parts, place, after):
        if part.segment.first >= before or reader.over:
            break
        try:
            reader.read(part)
        except FileNotFoundError:
            continue  # it was the oldest and is gone
        except OSError as error:
            log.error("the file of events %s cannot be read: %s", part.segment.path, error)
            place.damaged = True
        if reader.full:
            return Piece(reader.events, reader.missed, not reader.over)
    return Piece(reader.events, reader.missed, False)


def _behind(parts: Sequence[Part], place: Place, after: int) -> Sequence[Part]:
    """Return the files from the one on that the next event may be in."""
    start = sum(part.segment.first <= after + 1 for part in parts) - 1
    known = sum(part.segment.first <= place.segment for part in parts) - 1
    return parts[max(0, start, known) :]


def _next(file: IO[bytes], part: Part, place: Place) -> Head | None:
    """Return the head of the frame that the reader is at; None: the file ends before the frame does."""
    if place.byte + HEAD_BYTES > part.size:
        return None
    file.seek(place.byte)
    head = read_head(file.read(HEAD_BYTES))
    if head is None or place.byte + HEAD_BYTES + head.length > part.size:
        return None
    return head


def find_time(parts: Sequence[Part], time_ms: int) -> int:
    """Return the offset behind which events are from this Unix time in milliseconds or later; blocks.

    Where events that are gone may have been from then, it lies before them, so that the reader is told.
    """
    earlier = [part for part in parts if part.segment.time_ms < time_ms]
    if not earlier:
        return start_of(parts[0].segment.first)
    part, place, last = earlier[-1], Place(), earlier[-1].segment.first - 1
    nearest: tuple[Head, int] | None = None
    try:
        with open(part.segment.path, "rb") as file:
            while (head := _next(file, part, place)) is not None and head.time_ms < time_ms:
                nearest = head, place.byte + HEAD_BYTES
                place.byte += HEAD_BYTES + head.length
            if nearest is not None:
                file.seek(nearest[1])
                for offset, happening in read_body(nearest[0], file.read(nearest[0].length)) or ():
                    last = offset if happening.time_ms < time_ms else last
    except OSError as error:
        log.error("the file of events %s cannot be read: %s", part.segment.path, error)
    return last


async def since(feed: Feed, time_ms: int) -> int:
    """Return the offset behind which events are from this time or later, on disk or in memory."""
    if feed.log is None or not feed.log.segments or feed.reaches(time_ms):
        return feed.since(time_ms)
    return await asyncio.to_thread(find_time, parts_of(feed.log.segments), time_ms)


class Reading:
    """One reader of the feed, page by page.

    Args:
        feed: what is read.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._place = Place()

    async def page(self, after: int, limit: int) -> tuple[Numbered, int]:
        """Return about `limit` events behind an offset, each with its own, and how many before them are lost."""
        feed, log = self._feed, self._feed.log
        lost = 0
        while log is not None and after + 1 < (before := feed.first):
            log.flush()
            parts = parts_of(log.segments)
            piece = await asyncio.to_thread(read_piece, parts, self._place, after, before, limit)
            lost += piece.missed
            if piece.events:
                return piece.events, lost
            if not piece.more and feed.first == before:
                break  # all is read that there is, and memory has the rest
        page, missed = feed.page(after, limit)
        if self._place.damaged:
            self._place.damaged = False
            missed = max(missed, 1)
        return page, lost + missed
