"""The store on disk: one folder, one LMDB environment, one process.

This file and `lmdb_reading` are the only ones that may know LMDB. They know no record: bytes in, bytes out.

What lies in the folder: `data.mdb` (the records), while the store is open `journal` (small commits that go into it a
moment later, see `lmdb_ahead`), `lock.mdb` (LMDB's table of readers) and `coordinator.lock` (ours, one process to a
folder); it may also hold the folder `events`, which belongs to `event_log`. In the environment the main database holds
the format of the store, which journal is its own and, from format 2 on, who the store is; the records have a database
of their own, so that no key of theirs can meet those.

A new format is read for one release before any folder is written in it: the release that brings format N reads N and
N - 1, leaves every folder in the format that it has, makes new ones in N - 1, and writes N only once somebody said
`migrate --finalise`. Until then the release before can come back at any time.

What one should know of LMDB here:

- The map is virtual and sparse. It is opened large, since enlarging it later breaks readers that are open.
- A reader that stays open keeps the writer from using freed pages again, and the file grows for good. No read
  transaction here outlives one call; lmdb keeps a few reset ones and renews them, which is what makes `get` cheap.
- A reader of another process (a backup) that was killed leaves its place in the table of readers, which holds the
  writer back as if it still read. LMDB looks for such places only when it is told to: `free_bytes` does, once a second.
- A full disk shows as ENOSPC, or as a short write, which LMDB reports as EIO. The free space tells the two apart.
- A failed fsync may have lost pages that the kernel now calls clean. Nothing on disk names those pages yet, and
  recovery goes back to the commit before; but this process must not go on. Hence `StoreFailed` is final.
- Several commands of lmdb let go of Python's lock (each put does), so a commit beside a busy thread waits for its turn
  many times. Where it runs is the engine's choice; `sys.setswitchinterval` is what decides the price.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from pathlib import Path
from typing import Any, Final

import lmdb

from grpcflow_coordinator.storage.contract import (
    Batch,
    StoreError,
    StoreFailed,
    StoreFull,
    check_batch,
    check_key,
    check_range,
)
from grpcflow_coordinator.storage.file_room import FileRoom
from grpcflow_coordinator.storage.folder_lock import hold
from grpcflow_coordinator.storage.ground import FULL_BELOW, free_bytes
from grpcflow_coordinator.storage.journal import JOURNAL
from grpcflow_coordinator.storage.lmdb_ahead import Ahead
from grpcflow_coordinator.storage.lmdb_opening import (
    DATA,
    DESCRIPTION_KEY,
    FORMAT_KEY,
    FORMATS,
    FULL_CODES,
    MAP_BYTES,
    begin,
    check_folder,
    check_length,
    done,
    is_code,
    open_environment,
    open_records,
)
from grpcflow_coordinator.storage.lmdb_reading import (
    Usage,
    description_of,
    format_of,
    keys_over,
    pairs_over,
    read_error,
    usage_of,
)
from grpcflow_coordinator.storage.pending import UNSAID

_log: Final = logging.getLogger("grpcflow.coordinator.storage")


class LmdbStore:
    """A `Store` in a folder; opening it blocks, so does `commit`.

    Args:
        folder: Where it lies; made where it does not exist.
        map_bytes: Most bytes the store can ever hold.
        room: Bytes to keep written ahead at the end of the file; 0 for none. See `file_room`.
        journal: Bytes of the journal, which takes small commits; 0 for none. See `journal`.

    Raises:
        StoreLocked: Another process, or another store of this one, holds the folder.
        StoreDamaged: The folder holds something else, a newer format, or a file that was cut short.
        StoreFailed: The folder cannot be made, read, written or mapped.
    """

    def __init__(self, folder: Path, *, map_bytes: int = MAP_BYTES, room: int = 0, journal: int = 0) -> None:
        self._folder: Final = folder
        self._writing: Final = threading.Lock()
        #: Why nothing may be done any more; empty while all is well.
        self._stopped = ""
        self._lock: Final = hold(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            check_folder(folder)
            if (folder / DATA).exists():
                begin(folder)
            self._environment: Final = open_environment(folder, map_bytes)
            undo.callback(self._environment.close)
            check_length(self._environment, folder)
            self._records: Final = open_records(self._environment, folder)
            self._ahead: Final = Ahead(self._environment, folder, journal)
            undo.callback(self._ahead.close)
            self._page: Final = self._environment.stat()["psize"]
            self._room: Final = FileRoom(folder / DATA, room)
            if not journal:
                self._end_journal()
            undo.pop_all()

    def get(self, key: bytes) -> bytes | None:
        """Give the value under `key`, or None where there is none."""
        check_key(key)
        said = self._ahead.get(key)
        if said is not UNSAID:
            return said
        try:
            with self._environment.begin(self._records) as transaction:
                return transaction.get(key)
        except lmdb.Error as error:
            raise self._read_error(error) from error

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Give the pairs with `start <= key < end`; see the contract."""
        if not check_range(start, end, limit):
            return self._nothing()
        try:
            transaction, changed = self._ahead.moment(self._records, start, end)
            with transaction:
                return pairs_over(transaction, changed, start, end, limit, reverse=reverse)
        except lmdb.Error as error:
            raise self._read_error(error) from error

    def keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Give the keys that `scan` would give, without their values."""
        if not check_range(start, end, limit):
            return self._nothing()
        try:
            transaction, changed = self._ahead.moment(self._records, start, end)
            with transaction:
                return keys_over(transaction, changed, start, end, limit)
        except lmdb.Error as error:
            raise self._read_error(error) from error

    def commit(self, batch: Batch) -> None:
        """Write the whole batch and wait for the disk; raises `StoreFull` or, for good, `StoreFailed`."""
        check_batch(batch)
        with self._writing:
            if self._stopped:
                raise StoreFailed(self._stopped)
            if not batch or self._take_ahead(batch):
                return
            self._settle(batch)

    def tidy(self) -> None:
        """Put what the journal has into the file; raises as `commit` does."""
        with self._writing:
            if self._stopped:
                raise StoreFailed(self._stopped)
            if self._ahead.pending:
                self._settle(Batch())

    def recovered(self) -> None:
        """Note that what is read at a start was read: the next start need not look for broken pages."""
        done(self._folder)

    def free_bytes(self) -> int:
        """Tell how many bytes the file can still grow: what is left of the disk, or of the map where that is less."""
        try:
            self._environment.reader_check()  # of processes that were killed while they read; see above
            information = self._environment.info()
        except lmdb.Error as error:
            raise self._read_error(error) from error
        used = (information["last_pgno"] + 1) * self._page
        return max(0, min(free_bytes(self._folder) + self._room.bytes_left(), information["map_size"] - used))

    def size_bytes(self) -> int:
        """Tell how much of the file is in use; pages that were freed and wait for use count, room ahead does not."""
        if self._stopped:
            raise StoreFailed(self._stopped)
        return int(self._environment.info()["last_pgno"] + 1) * self._page

    def usage(self) -> Usage:
        """Tell how large the map is, and who holds moments of it."""
        try:
            return usage_of(self._environment)
        except lmdb.Error as error:
            raise self._read_error(error) from error

    @property
    def format(self) -> int:
        """The format that the folder is written in."""
        return format_of(self._environment)

    def description(self) -> bytes:
        """Give what `finalise` wrote; empty before."""
        return description_of(self._environment)

    def finalise(self, description: bytes) -> None:
        """Write the newest format from now on; versions that do not read it refuse the folder for good.

        Args:
            description: who the store is and who finalised it, for people and for later versions.

        Raises:
            StoreFull: there was no room; the folder has the format it had.
            StoreFailed: the disk failed.
        """
        self.tidy()
        with self._writing:
            try:
                with self._environment.begin(write=True) as transaction:
                    transaction.put(DESCRIPTION_KEY, description)
                    transaction.put(FORMAT_KEY, FORMATS[-1])
                self._ahead.written()
            except lmdb.Error as error:
                raise self._commit_error(error, Batch({DESCRIPTION_KEY: description})) from error

    def close(self) -> None:
        """Close the environment after a commit under way, and let go of the folder."""
        with self._writing:
            if self._lock.held:
                if not self._stopped:
                    self._leave_journal()
                self._stopped = f"the store in {self._folder} is closed; open it again"
                self._room.close()
                self._ahead.close()
                self._environment.close()
                done(self._folder)
                self._lock.release()

    def _take_ahead(self, batch: Batch) -> bool:
        """Write a small batch to the journal; False: it belongs into the file."""
        try:
            return self._ahead.take(batch)
        except OSError as error:
            raise self._failed(error) from error

    def _settle(self, batch: Batch) -> None:
        """Write a batch into the file, and what the journal has before it."""
        try:
            self._write(batch)
            self._room.used(self._environment.info()["last_pgno"] * self._page)
        except lmdb.Error as error:
            raise self._commit_error(error, batch) from error

    def _end_journal(self) -> None:
        """Put all into the file and do without the journal, so that a store at rest is one file."""
        try:
            if self._ahead.mark is not None:
                self._write(Batch(), over=True)
                self._ahead.drop()
        except lmdb.Error as error:
            raise self._commit_error(error, Batch()) from error

    def _leave_journal(self) -> None:
        """Do without the journal where that can be; else it stays, and the next start reads it."""
        try:
            self._end_journal()
        except (StoreError, OSError) as error:
            _log.warning("%s stays, and what it has goes into the file later: %s", self._folder / JOURNAL, error)

    def _write(self, batch: Batch, *, over: bool = False) -> None:
        """Write the batch in key order: neighbours share pages, and the cursor need not come down from the root.

        Args:
            batch: what is to be written, over what the journal has.
            over: True: the file is to have no journal from now on.
        """
        small, batch = self._ahead.is_small(batch), self._ahead.with_batch(batch)
        transaction = self._environment.begin(self._records, write=True)
        try:
            for key in sorted(batch.deletes):
                transaction.delete(key)
            if batch.puts:
                with transaction.cursor() as cursor:
                    cursor.putmulti(sorted(batch.puts.items()))
            self._ahead.note(transaction, small=small, over=over)
        except BaseException:
            transaction.abort()
            raise
        self._ahead.commit(transaction)

    def _nothing(self) -> list[Any]:
        if self._stopped:
            raise StoreFailed(self._stopped)
        return []

    def _read_error(self, error: lmdb.Error) -> StoreError:
        return StoreFailed(self._stopped) if self._stopped else read_error(self._folder, error)

    def _commit_error(self, error: lmdb.Error, batch: Batch) -> StoreError:
        """Tell a full store from a failed one, and stop the store for good in the second case."""
        if isinstance(error, lmdb.MapFullError):
            size = self._environment.info()["map_size"]
            return StoreFull(f"{self._folder} has reached its {size} bytes; let results expire, or open it larger")
        free = free_bytes(self._folder)
        short_write = is_code(error, errno.EIO) and free < max(FULL_BELOW, 4 * batch.size_bytes())
        if is_code(error, *FULL_CODES) or short_write:
            return StoreFull(f"the disk of {self._folder} is full ({free} bytes free); make room and try again")
        return self._failed(error)

    def _failed(self, error: Exception) -> StoreFailed:
        """Stop the store for good."""
        free = free_bytes(self._folder)
        self._stopped = f"writing {self._folder} failed: {error} ({free} bytes free); check the disk and start again"
        return StoreFailed(self._stopped)
