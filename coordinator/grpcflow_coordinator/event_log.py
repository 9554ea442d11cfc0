"""Events kept on disk: segment files in a folder, the oldest of which go when all of them are too large.

Events are the short memory, not the truth: nothing is flushed to the platter, the last second may be lost in a crash,
and a disk that does not take them costs events and nothing else. `event_replay` reads them; this file only writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.event_erasing import ERASING, Erasure, rewrite
from grpcflow_coordinator.event_frames import frames
from grpcflow_coordinator.happenings import Happening

log = logging.getLogger(__name__)

#: Events that wait to be written before they are, and seconds after which they are anyway.
WAITING: Final = 256
DELAY: Final = 1.0

#: Seconds after a failed write before the next one is tried.
RETRY: Final = 5.0

#: Into how many segments the size is split, and the bytes of the largest and the smallest one.
SEGMENTS: Final = 16
LARGEST: Final = 64 * 1024 * 1024
SMALLEST: Final = 64 * 1024

_SUFFIX: Final = ".events"


class File(Protocol):
    """What is needed of a file that is written to."""

    def write(self, data: bytes, /) -> int | None:
        """Write some of the bytes and return how many."""
        ...

    def truncate(self, size: int, /) -> int:
        """Cut the file."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def create(path: Path) -> File:
    """Make a new file to append to."""
    return open(path, "ab", buffering=0)


@dataclass(slots=True)
class Segment:
    """One file of events.

    Attributes:
        path: where it is; its name holds the next two in hex.
        first: the offset of its first event.
        time_ms: when that was.
        size: its bytes, as far as they are whole.
    """

    path: Path
    first: int
    time_ms: int
    size: int


def found_in(folder: Path) -> list[Segment]:
    """Return the segments of a folder, the oldest first; of other files nothing is said."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            first, dash, time_ms = path.name.removesuffix(_SUFFIX).partition("-")
            if path.suffix == _SUFFIX and dash:
                with contextlib.suppress(ValueError):
                    found.append(Segment(path, int(first, 16), int(time_ms, 16), path.stat().st_size))
    return sorted(found, key=lambda one: one.first)


class EventLog:
    """Appends events to segment files.

    Args:
        folder: where they are; made when it is needed.
        size: most bytes of all of them.
        base: the offset before the first event of this start of the coordinator.
        now: the clock.
        describe: adds to an event what the records know of its nodes.
        later: calls something after so many seconds; None: what waits is written when enough of it does.
        create: opens a new file; replaced in tests.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        *,
        base: int,
        now: Callable[[], Now],
        describe: Callable[[Happening], Happening] = lambda happening: happening,
        later: Callable[[float, Callable[[], None]], Any] | None = None,
        create: Callable[[Path], File] = create,
    ) -> None:
        self._folder = folder
        self._most = size
        self._segment_bytes = min(LARGEST, max(SMALLEST, size // SEGMENTS))
        self._now = now
        self._describe = describe
        self._later = later
        self._create = create
        self._file: File | None = None
        self._waiting: list[Happening] = []
        #: The offset of the first event that waits.
        self._next = base + 1
        #: Monotonic time before which nothing is tried; None: the disk takes what it is given.
        self._failing: float | None = None
        #: The files, the oldest first; the last one may be the one that is written to.
        self.segments = self._known(base)
        self._bytes = sum(one.size for one in self.segments)
        self._make_room(0)

    def _known(self, base: int) -> list[Segment]:
        """Return the segments of earlier starts; those of another database than this one are removed."""
        try:
            for path in self._folder.glob(f"*{ERASING}"):
                path.unlink(missing_ok=True)  # of an erasing that came to no end
            found = found_in(self._folder)
        except OSError as error:
            log.error("the events in %s cannot be read: %s", self._folder, error)
            return []
        strange = [one for one in found if one.first > base]
        if strange:
            log.warning("%d files in %s are of another database: they are removed", len(strange), self._folder)
        for one in strange:
            self._remove(one)
        return [one for one in found if one.first <= base]

    def add(self, happening: Happening) -> None:
        """Take an event; its offset is the one after that of the one before."""
        self._waiting.append(happening)
        count = len(self._waiting)
        if count >= WAITING:
            self.flush()
        elif count == 1 and self._later is not None:
            self._later(DELAY, self.flush)

    def flush(self) -> None:
        """Write what waits. Where the disk does not take it, it is lost, and whoever reads is told how many were."""
        happenings, self._waiting = self._waiting, []
        first, self._next = self._next, self._next + len(happenings)
        now = self._now().monotonic
        if not happenings or (self._failing is not None and now < self._failing):
            return
        try:
            for offset, frame in frames(first, [self._describe(one) for one in happenings]):
                self._append(offset, happenings[offset - first].time_ms, frame)
        except OSError as error:
            self._fail(error, now)
            return
        if self._failing is not None:
            self._failing = None
            log.warning("events are kept on disk again")

    def _append(self, offset: int, time_ms: int, frame: bytes) -> None:
        """Write one frame whole, or nothing of it.

        Raises:
            OSError: The disk did not take it.
        """
        file = self._file
        if file is None or self.segments[-1].size + len(frame) > self._segment_bytes:
            self._end_segment()
            file = self._begin_segment(offset, time_ms)
        segment = self.segments[-1]
        self._make_room(len(frame))
        rest = memoryview(frame)
        while rest:
            written = file.write(bytes(rest) if len(rest) < len(frame) else frame)
            if not written:
                raise OSError("nothing was written")
            rest = rest[written:]
        segment.size += len(frame)
        self._bytes += len(frame)

    def _begin_segment(self, offset: int, time_ms: int) -> File:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{offset:016x}-{time_ms:012x}{_SUFFIX}"
        file = self._file = self._create(path)
        self.segments.append(Segment(path, offset, time_ms, 0))
        return file

    def _end_segment(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _make_room(self, size: int) -> None:
        """Remove the oldest files, but for the one that is written to."""
        while self._bytes + size > self._most and len(self.segments) > 1:
            oldest = self.segments.pop(0)
            self._bytes -= oldest.size
            self._remove(oldest)

    @staticmethod
    def _remove(segment: Segment) -> None:
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            log.error("the file of events %s cannot be removed: %s", segment.path, error)

    def _fail(self, error: OSError, now: float) -> None:
        """Go on without the disk for a while; what a failed write left behind is cut off."""
        if self._failing is None:
            log.error("events are not kept on disk until there is room, or it is mended: %s", error)
        self._failing = now + RETRY
        if self._file is None:
            return
        segment = self.segments[-1]
        try:
            self._file.truncate(segment.size)
            self._end_segment()
        except OSError as worse:
            log.error("the file of events %s ends in half an event: %s", segment.path, worse)
        if not segment.size:
            self.segments.pop()
            self._remove(segment)

    async def erase(self, erasure: Erasure) -> list[str]:
        """Write the files anew without what is to be taken out; return what could not be, for people."""
        self.flush()
        self._end_segment()  # what comes goes into a new file meanwhile
        failed = []
        for segment in list(self.segments):
            try:
                size = await asyncio.to_thread(rewrite, segment.path, erasure)
            except FileNotFoundError:
                continue  # it was the oldest, and made room
            except OSError as error:
                failed.append(f"events in {segment.path}: {error.strerror}")
                continue
            if size is not None and segment in self.segments:
                self._bytes += size - segment.size
                segment.size = size
            elif size is not None:
                segment.path.unlink(missing_ok=True)  # it made room while it was written anew
        return failed

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._later = None
        self.flush()
        try:
            self._end_segment()
        except OSError as error:
            log.error("the file of events cannot be closed: %s", error)
