"""The journal: small commits, each made durable by one write, until the records' file has them.

A commit of LMDB costs two flushes, one of the pages and one of the page that makes them count, and pages of 4 KiB for
each tree that it touches. A step of one task writes a few hundred bytes. So a small batch is written here instead, as
one frame behind the last one, straight to the disk; `lmdb` keeps it in memory beside what the file has, and puts many
of them into the file with one commit a second later, or when they are many.

The file has its full length from the beginning and is only ever written over, since a file that grows has its length
flushed as well. Each frame begins on a block of its own, and says of which journal it is (a number drawn when the file
was made), of which *generation* (how often its frames went into the records' file), which of that generation, and after
which commit of LMDB it comes. What does not fit is of an earlier generation, or was torn by the crash and told to
nobody. A torn frame is the last one; a good one behind it means that the file is damaged.

This file knows no record and no LMDB. Who writes calls it under a lock of his own.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from grpcflow_coordinator.storage.contract import Batch, StoreDamaged, StoreFailed
from grpcflow_coordinator.storage.ground import free_bytes, sync

#: The file in a data folder.
JOURNAL: Final = "journal"

#: Bytes of the file: frames of some seconds.
JOURNAL_BYTES: Final = 4 << 20

#: The smallest and the largest that make sense: all of it is read at a start.
SMALLEST_JOURNAL: Final = 256 << 10
LARGEST_JOURNAL: Final = 64 << 20

#: The disk must have this many times the length free when the file is made.
_PLENTY: Final = 16

#: Frames begin at multiples of this: what a disk writes at once, and what a write past the system's memory must be.
_BLOCK: Final = 4096

#: Most bytes of one frame, and most writes in it: from there on LMDB's own commit is as quick.
_FRAME: Final = 16 * _BLOCK
_WRITES: Final = 128

#: Length of the body, journal, generation, number in the generation, LMDB's commit before it; then the check sum.
_HEAD: Final = struct.Struct("<4sI8sQIQ")
_SUM: Final = struct.Struct("<I")
_MARK: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"gfj1"
_HEAD_BYTES: Final = _HEAD.size + _SUM.size

_FLAGS: Final = os.O_WRONLY | os.O_DSYNC | os.O_CLOEXEC

_CURE: Final = (
    "it holds what was acknowledged in the last moments before the end; restore the folder from a backup, or delete "
    "the file to go on without that"
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[bytes], dict[bytes, bytes]]).decode


class Mark(NamedTuple):
    """What the records' file says of its journal: frames of this generation are not in it yet.

    Args:
        journal: the number of the journal, eight bytes.
        generation: how often frames went into the file.
        length: bytes of the journal.
    """

    journal: bytes
    generation: int
    length: int

    def encoded(self) -> bytes:
        """Return it as it is kept."""
        return _MARK.pack(*self)

    def next(self) -> Mark:
        """Return the mark of a file that has all frames of this one."""
        return self._replace(generation=self.generation + 1)

    @classmethod
    def read(cls, data: bytes) -> Mark:
        """Read what `encoded` gave; what a later version says behind it is passed over.

        Raises:
            StoreDamaged: it is no mark.
        """
        if len(data) < _MARK.size:
            raise StoreDamaged(
                "what the data file says of its journal cannot be read: restore the folder from a backup"
            )
        return cls(*_MARK.unpack_from(data))

    @classmethod
    def drawn(cls, length: int) -> Mark:
        """Return the mark of a new journal."""
        return cls(secrets.token_bytes(8), 0, length)


class Frames(NamedTuple):
    """What a journal holds of one generation."""

    #: The commits, oldest first.
    batches: list[Batch]
    #: The commit of LMDB that they come after; None where there are none.
    base: int | None
    #: Where the next frame belongs.
    end: int


class Journal:
    """A journal that is open for writing.

    Args:
        file: where it lies; of full length, see `make`.
        mark: of which generation its frames are.
        end: where the next frame belongs.
        number: how many frames of the generation there are.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, file: Path, mark: Mark, end: int = 0, number: int = 0) -> None:
        self.file: Final = file
        self.mark = mark
        self._end, self._number = end, number
        self._handle = _open(file)
        #: Memory that begins on a page, as a write past the system's memory wants it.
        self._frame: Final = mmap.mmap(-1, _FRAME)

    def append(self, batch: Batch, base: int) -> bool:
        """Write a commit behind the others and wait until it is on the disk.

        Args:
            batch: the commit.
            base: LMDB's last commit.

        Returns:
            False where it is too large, or there is no room: nothing was written.

        Raises:
            OSError: it could not be written, or not wholly; it is not known whether it is there.
        """
        if not is_small(batch):
            return False
        written = frame(self.mark, self._number, base, batch)
        length = _whole_blocks(len(written))
        if length > _FRAME or self._end + length > self.mark.length:
            return False
        self._frame[: len(written)] = written
        with memoryview(self._frame) as memory, memory[:length] as whole:
            if self._write(whole) != length:
                raise OSError(f"{self.file} was not written wholly")
        self._end += length
        self._number += 1
        return True

    def _write(self, whole: memoryview) -> int:
        """Write a frame; where the disk's blocks are larger than ours, by way of the system's memory from now on."""
        try:
            return os.pwrite(self._handle, whole, self._end)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            os.close(self._handle)
            self._handle = os.open(self.file, _FLAGS)
            return os.pwrite(self._handle, whole, self._end)

    def restart(self) -> None:
        """Begin the next generation: all frames are in the records' file."""
        self.mark = self.mark.next()
        self._end = self._number = 0

    def close(self) -> None:
        """Let go of the file; closing twice is fine."""
        if self._handle >= 0:
            os.close(self._handle)
            self._frame.close()
            self._handle = -1


def is_small(batch: Batch) -> bool:
    """Return whether a commit is one for a journal."""
    return len(batch.puts) + len(batch.deletes) <= _WRITES and batch.size_bytes() <= _FRAME - _BLOCK


def frame(mark: Mark, number: int, base: int, batch: Batch) -> bytes:
    """Return a commit as it is written, without what fills up its last block.

    Args:
        mark: of which generation it is.
        number: which of that.
        base: LMDB's last commit before it.
        batch: the commit.
    """
    body = _encode((list(batch.deletes), batch.puts))
    head = _HEAD.pack(_MAGIC, len(body), *mark[:2], number, base)
    return b"".join((head, _SUM.pack(zlib.crc32(body, zlib.crc32(head))), body))


def make(file: Path, length: int) -> Mark | None:
    """Make a journal of nothing, durably; one that lies there is written over.

    Returns:
        Its mark; None where the disk has not plenty of room for it: there is none then.

    Raises:
        OSError: it cannot be written.
    """
    if free_bytes(file.parent) < _PLENTY * length:
        return None
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        zeros = bytes(length)
        if os.write(handle, zeros) != length:
            raise OSError(f"{file} was not written wholly")
        os.fsync(handle)
    finally:
        os.close(handle)
    sync(file.parent)
    return Mark.drawn(length)


def read_frames(file: Path, mark: Mark) -> Frames:
    """Read what a journal holds of a generation.

    Args:
        file: the journal.
        mark: what the records' file says.

    Returns:
        The commits that are wholly there.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        StoreDamaged: the file was cut short; or a frame is missing, and one behind it is there.
    """
    return frames_in(file.read_bytes(), mark, file)


def frames_in(data: bytes, mark: Mark, file: Path) -> Frames:
    """Read what the bytes of a journal hold of a generation; the rest as in `read_frames`."""
    if len(data) < mark.length:
        raise StoreDamaged(f"{file} has {len(data)} bytes and had {mark.length}: it was cut short; {_CURE}")
    batches: list[Batch] = []
    base: int | None = None
    place = 0
    while (found := _frame_at(data, place, mark)) is not None and found.number == len(batches):
        batches.append(found.batch)
        base = found.base
        place += found.length
    for later in range(place + _BLOCK, len(data), _BLOCK):
        found = _frame_at(data, later, mark)
        if found is not None and found.number >= len(batches):
            raise StoreDamaged(
                f"{file} is damaged: frame {len(batches)} cannot be read, and frame {found.number} can; {_CURE}"
            )
    return Frames(batches, base, place)


class _Frame(NamedTuple):
    number: int
    base: int
    length: int
    batch: Batch


def _frame_at(data: bytes, place: int, mark: Mark) -> _Frame | None:
    """Read the frame that begins at a place; None: there is none of this generation, or not all of it."""
    if place + _HEAD_BYTES > len(data):
        return None
    magic, size, journal, generation, number, base = _HEAD.unpack_from(data, place)
    if magic != _MAGIC or (journal, generation) != mark[:2] or size > _FRAME:
        return None
    head = data[place : place + _HEAD.size]
    body = data[place + _HEAD_BYTES : place + _HEAD_BYTES + size]
    if len(body) != size or zlib.crc32(body, zlib.crc32(head)) != _SUM.unpack_from(data, place + _HEAD.size)[0]:
        return None
    try:
        deletes, puts = _decode(body)
    except msgspec.MsgspecError as error:
        raise StoreFailed(
            f"frame {number} of the journal was written by a newer version ({error}): start that"
        ) from error
    return _Frame(number, base, _whole_blocks(_HEAD_BYTES + size), Batch(puts, set(deletes)))


def _whole_blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _open(file: Path) -> int:
    """Open for writes that are on the disk when they return, past the system's memory where it can be: a third less."""
    with contextlib.suppress(OSError):  # not every file system can
        return os.open(file, _FLAGS | getattr(os, "O_DIRECT", 0))
    return os.open(file, _FLAGS)
