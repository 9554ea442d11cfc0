"""The store on disk: one folder, one LMDB environment, one process.

This is the only file that may know LMDB. It knows no record: bytes in, bytes out.

What lies in the folder: `data.mdb` (the records), `lock.mdb` (LMDB's table of readers) and `coordinator.lock` (ours,
one process to a folder); it may also hold the folder `events`, which belongs to `event_log`. In the environment the
main database holds one thing, the format of the store; the records have a database of their own, so that no key of
theirs can meet it.

What one should know of LMDB here:

- The map is virtual and sparse. It is opened large, since enlarging it later breaks readers that are open.
- A reader that stays open keeps the writer from using freed pages again, and the file grows for good. No read
  transaction here outlives one call; lmdb keeps a few reset ones and renews them, which is what makes `get` cheap.
- A full disk shows as ENOSPC, or as a short write, which LMDB reports as EIO. The free space tells the two apart.
- A failed fsync may have lost pages that the kernel now calls clean. Nothing on disk names those pages yet, and
  recovery goes back to the commit before; but this process must not go on. Hence `StoreFailed` is final.
- Several commands of lmdb let go of Python's lock (each put does), so a commit beside a busy thread waits for its turn
  many times. Where it runs is the engine's choice; `sys.setswitchinterval` is what decides the price.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lmdb

from grpcflow_coordinator.storage.contract import (
    Batch,
    StoreDamaged,
    StoreError,
    StoreFailed,
    StoreFull,
    check_batch,
    check_key,
    check_range,
)
from grpcflow_coordinator.storage.folder_lock import FolderLock

if TYPE_CHECKING:
    from lmdb import _Database as Database  # pyright: ignore[reportPrivateUsage]  # the stub's only name for it

#: Size of the map in bytes: address space, not disk. What the platform refuses is tried again at a quarter.
MAP_BYTES: Final = 256 << 30

#: The smallest map worth having, in bytes; where even that is refused, opening fails.
SMALLEST_MAP_BYTES: Final = 1 << 30

#: The format of what lies in the folder. A reader of another format must not guess.
FORMAT: Final = b"1"

_FORMAT_KEY: Final = b"grpcflow store format"
_RECORDS: Final = b"records"

#: Free bytes on the disk below which an I/O error is taken for a full disk, beside four times the batch.
_FULL_BELOW: Final = 4 << 20

#: Pages by which the file may be shorter than LMDB's own count: a page taken and given back within one commit at the
#: end of the file is counted and never written.
_UNWRITTEN_PAGES: Final = 1024

_FULL_CODES: Final = (errno.ENOSPC, errno.EDQUOT)
_NOT_OURS: Final = (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError)
_BROKEN_PAGES: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError)


class LmdbStore:
    """A `Store` in a folder; opening it blocks, so does `commit`.

    Args:
        folder: Where it lies; made where it does not exist.
        map_bytes: Most bytes the store can ever hold.

    Raises:
        StoreLocked: Another process, or another store of this one, holds the folder.
        StoreDamaged: The folder holds something else, a newer format, or a file that was cut short.
        StoreFailed: The folder cannot be made, read, written or mapped.
    """

    def __init__(self, folder: Path, *, map_bytes: int = MAP_BYTES) -> None:
        self._folder: Final = folder
        self._writing: Final = threading.Lock()
        #: Why nothing may be done any more; empty while all is well.
        self._stopped = ""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock: Final = FolderLock(folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreFailed(
                f"the data folder {folder} cannot be used: a file is in its place; name a folder"
            ) from error
        except OSError as error:
            raise StoreFailed(f"the data folder {folder} cannot be used: {error}; check its path and rights") from error
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            self._environment: Final = _open_environment(folder, map_bytes)
            undo.callback(self._environment.close)
            _check_length(self._environment, folder)
            self._records: Final = _open_records(self._environment, folder)
            undo.pop_all()

    def get(self, key: bytes) -> bytes | None:
        """Give the value under `key`, or None where there is none."""
        check_key(key)
        try:
            with self._environment.begin(self._records) as transaction:
                return transaction.get(key)
        except lmdb.Error as error:
            raise self._read_error(error) from error

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Give the pairs with `start <= key < end`; see the contract."""
        if not check_range(start, end, limit):
            return self._nothing()
        found: list[tuple[bytes, bytes]] = []
        try:
            with self._environment.begin(self._records) as transaction, transaction.cursor() as cursor:
                if reverse:
                    if cursor.prev() if cursor.set_range(end) else cursor.last():
                        for pair in islice(cursor.iterprev(), limit):
                            if pair[0] < start:
                                break
                            found.append(pair)
                elif cursor.set_range(start) if start else cursor.first():
                    for pair in islice(cursor.iternext(), limit):
                        if pair[0] >= end:
                            break
                        found.append(pair)
        except lmdb.Error as error:
            raise self._read_error(error) from error
        return found

    def keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Give the keys that `scan` would give, without their values."""
        if not check_range(start, end, limit):
            return self._nothing()
        found: list[bytes] = []
        try:
            with self._environment.begin(self._records) as transaction, transaction.cursor() as cursor:
                if cursor.set_range(start) if start else cursor.first():
                    for key in islice(cursor.iternext(keys=True, values=False), limit):
                        if key >= end:
                            break
                        found.append(key)
        except lmdb.Error as error:
            raise self._read_error(error) from error
        return found

    def commit(self, batch: Batch) -> None:
        """Write the whole batch and wait for the disk; raises `StoreFull` or, for good, `StoreFailed`."""
        check_batch(batch)
        with self._writing:
            if self._stopped:
                raise StoreFailed(self._stopped)
            if not batch:
                return
            try:
                self._write(batch)
            except lmdb.Error as error:
                raise self._commit_error(error, batch) from error

    def free_bytes(self) -> int:
        """Tell how many bytes the file can still grow: what is left of the disk, or of the map where that is less."""
        try:
            information = self._environment.info()
            used = (information["last_pgno"] + 1) * self._environment.stat()["psize"]
        except lmdb.Error as error:
            raise self._read_error(error) from error
        return max(0, min(self._disk_free(), information["map_size"] - used))

    def size_bytes(self) -> int:
        """Tell the length of the file; pages that were freed and wait for use count."""
        if self._stopped:
            raise StoreFailed(self._stopped)
        return (self._folder / "data.mdb").stat().st_size

    def close(self) -> None:
        """Close the environment after a commit under way, and let go of the folder."""
        with self._writing:
            if self._lock.held:
                self._stopped = f"the store in {self._folder} is closed; open it again"
                self._environment.close()
                self._lock.release()

    def _write(self, batch: Batch) -> None:
        """Write the batch in key order: neighbours share pages, and the cursor need not come down from the root."""
        with self._environment.begin(self._records, write=True) as transaction:
            for key in sorted(batch.deletes):
                transaction.delete(key)
            if batch.puts:
                with transaction.cursor() as cursor:
                    cursor.putmulti(sorted(batch.puts.items()))

    def _nothing(self) -> list[Any]:
        if self._stopped:
            raise StoreFailed(self._stopped)
        return []

    def _disk_free(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def _read_error(self, error: lmdb.Error) -> StoreError:
        if isinstance(error, _BROKEN_PAGES):
            return StoreDamaged(f"{self._folder} has broken pages ({error}); restore the folder from a copy")
        return StoreFailed(self._stopped or f"reading {self._folder} failed: {error}; check the disk and start again")

    def _commit_error(self, error: lmdb.Error, batch: Batch) -> StoreError:
        """Tell a full store from a failed one, and stop the store for good in the second case."""
        if isinstance(error, lmdb.MapFullError):
            size = self._environment.info()["map_size"]
            return StoreFull(f"{self._folder} has reached its {size} bytes; let results expire, or open it larger")
        free = self._disk_free()
        short_write = _is(error, errno.EIO) and free < max(_FULL_BELOW, 4 * batch.size_bytes())
        if _is(error, *_FULL_CODES) or short_write:
            return StoreFull(f"the disk of {self._folder} is full ({free} bytes free); make room and try again")
        self._stopped = f"writing {self._folder} failed: {error} ({free} bytes free); check the disk and start again"
        return StoreFailed(self._stopped)


def _open_environment(folder: Path, map_bytes: int) -> lmdb.Environment:
    """Open with the largest map the platform grants, down from `map_bytes`."""
    while True:
        try:
            # Two flushes a commit: the pages, then the page that makes them count. Leaving out the second
            # (metasync) would lose the last commit with the power.
            return lmdb.open(str(folder), map_size=map_bytes, max_dbs=1, max_spare_txns=4, mode=0o600)
        except _NOT_OURS as error:
            raise StoreDamaged(
                f"{folder / 'data.mdb'} is not a whole LMDB file ({error}); restore the folder from a copy, "
                "or name an empty folder"
            ) from error
        except lmdb.Error as error:
            if not _is(error, errno.ENOMEM) or map_bytes // 4 < SMALLEST_MAP_BYTES:
                raise StoreFailed(
                    f"the store in {folder} cannot be opened: {error}; check its rights, the free space of the disk "
                    "and the limit of the address space (ulimit -v)"
                ) from error
            map_bytes //= 4


def _is(error: lmdb.Error, *codes: int) -> bool:
    """Say whether the system reported one of these codes; not every release of lmdb keeps more than its text."""
    code: int | None = getattr(error, "code", None)
    return code in codes if code is not None else str(error).endswith(tuple(map(os.strerror, codes)))


def _check_length(environment: lmdb.Environment, folder: Path) -> None:
    """Refuse a file that lacks its end: a read of a page that is not there would kill the process."""
    page = environment.stat()["psize"]
    expected = (environment.info()["last_pgno"] + 1 - _UNWRITTEN_PAGES) * page
    length = (folder / "data.mdb").stat().st_size
    if length < expected:
        raise StoreDamaged(
            f"{folder / 'data.mdb'} has {length} bytes where about {expected} are needed: it was cut short, perhaps by "
            "an unfinished copy; restore the folder from a whole copy"
        )


def _open_records(environment: lmdb.Environment, folder: Path) -> Database:
    """Give the database of the records, after a look at the format; make both in an empty environment."""
    try:
        with environment.begin() as transaction:
            found = transaction.get(_FORMAT_KEY)
            empty = not transaction.stat()["entries"]
        if empty:
            return _create_records(environment, folder)
        if found == FORMAT:
            return environment.open_db(_RECORDS, create=False)
    except lmdb.Error as error:
        if isinstance(error, (*_NOT_OURS, *_BROKEN_PAGES, lmdb.NotFoundError, lmdb.IncompatibleError)):
            raise StoreDamaged(f"{folder} holds a broken store ({error}); restore the folder from a copy") from error
        raise StoreFailed(f"the store in {folder} cannot be opened: {error}; check the disk and its rights") from error
    if found is None:
        raise StoreDamaged(f"{folder} holds the database of another program; name an empty folder")
    raise StoreDamaged(
        f"{folder} holds a store of format {found[:20].decode('ascii', 'replace')}, this version reads format "
        f"{FORMAT.decode()}; start the version of grpcflow that wrote it"
    )


def _create_records(environment: lmdb.Environment, folder: Path) -> Database:
    """Make the format and the records' database in one commit, and the file's name as durable as the file."""
    with environment.begin(write=True) as transaction:
        transaction.put(_FORMAT_KEY, FORMAT)
        records = environment.open_db(_RECORDS, transaction)
    for named in (folder, folder.parent):
        handle = os.open(named, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return records
