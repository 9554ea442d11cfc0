"""Room at the end of the data file, written ahead of its use: a commit then overwrites pages, and makes no new ones.

A page that a file has not had yet is dear: the system finds memory and a place on the disk for it, and each flush has
to write down the new length. Written over, the same bytes cost a third to a tenth. So a thread writes zeros behind what
the store uses, a little at a time, as some databases do with their logs. LMDB goes by its own count of pages: what lies
behind the last one it neither reads nor minds.

The thread and LMDB write one file without a lock between them. That is safe since the thread only ever *appends*: the
system puts an append behind the end of the file as it is at that moment, and what LMDB has written lies before it.
This file knows no record and no page; it may NOT touch a byte that is there.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Final

from grpcflow_coordinator.storage.ground import free_bytes

#: Bytes of room that a store is given where nothing else is said.
ROOM: Final = 256 << 20

#: A store of fewer bytes is left as it is: there are many small ones, and theirs would be mostly room.
SMALL: Final = 1 << 20

#: The disk must have this many times the room free.
_PLENTY: Final = 16

#: Bytes of one append. A commit that comes just then waits for it, a millisecond; but the system keeps in one piece
#: what is written in one, and then writes a mebibyte over it in four fifths of the time that eight pieces take.
_PIECE: Final = 1 << 20

#: Pause after an append, in multiples of what it took: the store's own work goes first.
_PAUSE: Final = 2.0

#: Seconds to wait where something was committed since the last append: whoever waits for a commit goes first.
_BUSY: Final = 0.1

#: Seconds that the end waits for an append under way.
_END: Final = 10.0

_log = logging.getLogger("grpcflow.coordinator.storage")


class FileRoom:
    """Keeps room at the end of one file.

    Args:
        file: The file; it exists when `used` is called.
        room: Bytes to keep; 0 for none.
    """

    def __init__(self, file: Path, room: int) -> None:
        """Take the parts; nothing runs before there is something to do."""
        self._file: Final = file
        self._room = room
        self._used = self._commits = 0
        self._length = 0
        self._stop: Final = threading.Event()
        self._thread: threading.Thread | None = None

    def used(self, used: int) -> None:
        """Note how many bytes of the file are in use, and have more room written where there is too little.

        Args:
            used: bytes, counted from the beginning of the file.
        """
        self._used = used
        self._commits += 1
        if not SMALL <= used > self._length - self._room // 2 or not self._room or self._thread is not None:
            return
        self._thread = threading.Thread(target=self._fill, name="grpcflow-file-room", daemon=True)
        self._thread.start()

    def bytes_left(self) -> int:
        """Bytes of the file that are there and not in use."""
        return max(0, self._length - self._used)

    def close(self) -> None:
        """Write no more; waits for an append under way."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(_END)

    def _fill(self) -> None:
        """Append until there is enough room. Runs in a thread of its own."""
        try:
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                self._append(handle)
            finally:
                os.close(handle)
        except OSError as error:
            # Not the store's end: its own commits say what is wrong with the disk.
            self._room = 0
            _log.warning("no more room is made ahead in %s: %s", self._file, error)
        finally:
            self._thread = None

    def _append(self, handle: int) -> None:
        zeros, pause, before = bytes(_PIECE), 0.0, self._commits
        while not self._stop.wait(pause):
            if self._commits != before:
                before, pause = self._commits, _BUSY
                continue
            self._length = os.fstat(handle).st_size
            if self._length - self._used >= self._room:
                return
            if free_bytes(self._file.parent) < _PLENTY * self._room:
                self._room = 0
                return
            begun = time.monotonic()
            os.write(handle, zeros)
            # At once, so that no commit has to flush them beside its own.
            os.fdatasync(handle)
            pause = _PAUSE * (time.monotonic() - begun)
