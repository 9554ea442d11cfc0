"""A ring buffer that two processes share: large payloads go through it in the place of a socket.

A socket of the system takes some 200 KB at a time, so that a mebibyte wakes both of its ends again and again, and is
copied in and out of the kernel. Here one process writes, the other reads, each copies once, and where a payload lies
is said in a frame. One writer and one reader in one order: that is all that keeps them apart. It may NOT wait: where
there is no room, the payload travels in its frame, as small ones do.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Final, Self

#: Bytes of each ring: what is larger travels in frames. It is address space; memory is taken for what was written to.
RING_BYTES: Final = 16 * 1024 * 1024

#: Payloads of fewer bytes are not worth it.
LEAST: Final = 256 * 1024

#: How far a ring was read: a number of eight bytes on the first page, one aligned store of its reader alone.
_TAKEN: Final = struct.Struct("@Q")
_DOWN_TAKEN_AT: Final = 64
_UP_TAKEN_AT: Final = 128

_OVERCOMMIT: Final = Path("/proc/sys/vm/overcommit_memory")
_STRICT: Final = "2"

#: Where a payload lies: how much was written before it since the beginning, and how many bytes it has.
Place = tuple[int, int]


def shared_bytes() -> int:
    """Return the bytes that a child shares with its supervisor: a page for marks, and two rings where these can be.

    Without unnamed memory a ring would be a file on disk. Where the system gives memory by strict account, touching a
    page for the first time may be refused, which ends the process.
    """
    try:
        is_strict = _OVERCOMMIT.read_text().strip() == _STRICT
    except OSError:
        is_strict = False
    has_rings = hasattr(os, "memfd_create") and hasattr(mmap, "MADV_REMOVE") and not is_strict
    return mmap.PAGESIZE + 2 * RING_BYTES * has_rings


def give_back(memory: mmap.mmap) -> None:
    """Let the system have the memory of both rings; nothing may be on its way in them. They can be used again."""
    memory.madvise(mmap.MADV_REMOVE, mmap.PAGESIZE, len(memory) - mmap.PAGESIZE)


class Ring:
    """One direction of it, as its writer or its reader has it.

    Args:
        memory: what both share; nothing was written to the ring yet.
        begin: where the ring begins in it.
        size: bytes of the ring; 0: it takes nothing.
        taken_at: where in the memory it stands how far the ring was read.
    """

    __slots__ = ("_begin", "_floor", "_memory", "_size", "_taken_at", "_written")

    def __init__(self, memory: mmap.mmap, begin: int, size: int, taken_at: int) -> None:
        """Take the memory."""
        self._memory = memory
        self._begin = begin
        self._size = size
        self._taken_at = taken_at
        self._written = 0
        #: Nothing before it is of interest, though the reader has not said so: it was passed over.
        self._floor = 0

    @classmethod
    def down(cls, memory: mmap.mmap) -> Self:
        """What a child is to do."""
        return cls(memory, mmap.PAGESIZE, (len(memory) - mmap.PAGESIZE) // 2, _DOWN_TAKEN_AT)

    @classmethod
    def up(cls, memory: mmap.mmap) -> Self:
        """What came of it."""
        size = (len(memory) - mmap.PAGESIZE) // 2
        return cls(memory, mmap.PAGESIZE + size, size, _UP_TAKEN_AT)

    def put(self, payload: bytes) -> Place | None:
        """Write a payload, for the writer; None where there is no room for it now, or never."""
        size = len(payload)
        if not LEAST <= size <= self._size:
            return None
        at, taken = self._written, max(self._floor, self._taken())
        rest = self._size - at % self._size
        if at == taken:
            # Empty: from the beginning again, so that it stays where memory is warm.
            at = taken = self._floor = at + rest % self._size
        elif size > rest:
            at += rest
        if at + size - taken > self._size:
            return None
        start = self._begin + at % self._size
        self._memory[start : start + size] = payload
        self._written = at + size
        return at, size

    def take(self, place: Place) -> bytes:
        """Return the payload at a place, for the reader, and let it go with all that was written before it."""
        at, size = place
        start = self._begin + at % self._size
        payload = self._memory[start : start + size]
        _TAKEN.pack_into(self._memory, self._taken_at, at + size)
        return payload

    def _taken(self) -> int:
        taken: int = _TAKEN.unpack_from(self._memory, self._taken_at)[0]
        return taken
