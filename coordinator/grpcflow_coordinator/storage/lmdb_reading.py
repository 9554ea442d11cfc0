"""A folder read from beside: one moment of it, whoever serves it meanwhile; and a copy of that moment.

What backup, check and export stand on. Other processes may open the folder of a running coordinator as readers: LMDB
is made for that, and the table of readers in `lock.mdb` keeps the pages that are read. The price is theirs: while one
reads, the coordinator cannot use freed pages again, and its file grows by what is written meanwhile. This file writes
nothing into the folder but its place in that table.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import lmdb

from grpcflow_coordinator.storage.contract import (
    Batch,
    StoreDamaged,
    StoreFailed,
    StoreFull,
    check_key,
    check_range,
)
from grpcflow_coordinator.storage.ground import FULL_BELOW, free_bytes, sync
from grpcflow_coordinator.storage.lmdb_opening import (
    BROKEN_PAGES,
    DATA,
    DESCRIPTION_KEY,
    FORMAT_KEY,
    MAP_BYTES,
    check_length,
    find_records,
    open_environment,
    restore_cure,
)

if TYPE_CHECKING:
    from lmdb import _Database as Database  # pyright: ignore[reportPrivateUsage]  # the stub's only name for it


class LmdbSnapshot:
    """A `Store` that is one moment of a folder, and takes no commit.

    Args:
        folder: the data folder of a coordinator, running or not, or a backup.

    Raises:
        StoreDamaged: there is no store, a newer format, or a file that was cut short.
        StoreFailed: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        check_there(folder)
        self._folder: Final = folder
        self._environment: Final = open_environment(folder, MAP_BYTES, readonly=True)
        try:
            check_length(self._environment, folder)
            records = find_records(self._environment, folder)
            if records is None:
                raise StoreDamaged(f"the store in {folder} is empty: no coordinator has written to it yet")
            self._records: Database = records
            self._transaction: Final = self._environment.begin(records)
        except BaseException:
            self._environment.close()
            raise

    def get(self, key: bytes) -> bytes | None:
        """Give the value under `key`, or None where there is none."""
        check_key(key)
        try:
            return self._transaction.get(key)
        except lmdb.Error as error:
            raise read_error(self._folder, error) from error

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Give the pairs with `start <= key < end`; see the contract."""
        if not check_range(start, end, limit):
            return []
        try:
            return pairs_in(self._transaction, start, end, limit, reverse=reverse)
        except lmdb.Error as error:
            raise read_error(self._folder, error) from error

    def keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Give the keys that `scan` would give, without their values."""
        return [key for key, _ in self.scan(start, end, limit)]

    def commit(self, batch: Batch) -> None:
        """Refuse: a moment cannot be changed.

        Raises:
            StoreFailed: always.
        """
        raise StoreFailed(f"{self._folder} was opened to be read, and nothing is written to it")

    def free_bytes(self) -> int:
        """Tell that there is no room: nothing can be written."""
        return 0

    def size_bytes(self) -> int:
        """Tell the length of the file."""
        return (self._folder / DATA).stat().st_size

    @property
    def format(self) -> int:
        """The format that the folder is written in."""
        return format_of(self._environment)

    def description(self) -> bytes:
        """Give what finalising wrote of the store; empty before."""
        return description_of(self._environment)

    def used_bytes(self) -> int:
        """Tell about how long a compact copy will be at most."""
        return (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]

    def count(self) -> int:
        """Tell how many records there are."""
        return self._transaction.stat(self._records)["entries"]

    def copy_to(self, folder: Path) -> None:
        """Write a compact copy of the present moment, which may be later than that of the snapshot, durably.

        Args:
            folder: an empty folder; `data.mdb` is made in it.

        Raises:
            StoreFull: the disk of the folder has no room.
            StoreFailed: reading or writing failed.
            StoreDamaged: the source has broken pages.
        """
        try:
            self._environment.copy(str(folder), compact=True)
            (folder / DATA).chmod(0o600)
        except BROKEN_PAGES as error:
            raise read_error(self._folder, error) from error
        except lmdb.Error as error:
            free = free_bytes(folder)
            if free < FULL_BELOW:
                raise StoreFull(f"the disk of {folder} has no room for the copy ({free} bytes free)") from error
            raise StoreFailed(f"copying {self._folder} to {folder} failed: {error}; check both disks") from error
        for named in (folder / DATA, folder):
            sync(named)

    def close(self) -> None:
        """Let go of the folder; closing twice is fine."""
        self._transaction.abort()
        self._environment.close()


class Usage(NamedTuple):
    """How large the map is, and who holds moments of it."""

    map_bytes: int
    #: Number of the newest commit.
    last_commit: int
    #: (process id, number of the commit at which it stands) of each reader that stands at one.
    readers: list[tuple[int, int]]


def usage_of(environment: lmdb.Environment) -> Usage:
    """Tell how large the map is, and who holds moments of it."""
    information = environment.info()
    return Usage(information["map_size"], information["last_txnid"], read_readers(environment.readers()))


def read_readers(table: str) -> list[tuple[int, int]]:
    """Return which process reads at which commit, of the table that LMDB prints: its rows end in a dash otherwise."""
    rows = (line.split() for line in table.splitlines())
    return [(int(row[0]), int(row[2])) for row in rows if len(row) == 3 and row[0].isdigit() and row[2].isdigit()]


def check_there(folder: Path) -> None:
    """Refuse a folder in which there is no store at all.

    Raises:
        StoreDamaged: the message says what to name.
    """
    if not (folder / DATA).exists():
        raise StoreDamaged(f"there is no store in {folder}: name the data folder of a coordinator, or a backup")


def pairs_in(
    transaction: lmdb.Transaction[bytes], start: bytes, end: bytes, limit: int, *, reverse: bool
) -> list[tuple[bytes, bytes]]:
    """Give the pairs with `start <= key < end` of the database that a transaction is of; see the contract of `scan`."""
    found: list[tuple[bytes, bytes]] = []
    with transaction.cursor() as cursor:
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
    return found


def format_of(environment: lmdb.Environment) -> int:
    """Tell the format that a folder is written in."""
    with environment.begin() as transaction:
        return int(transaction.get(FORMAT_KEY) or b"0")


def description_of(environment: lmdb.Environment) -> bytes:
    """Give what finalising wrote of the store; empty before."""
    with environment.begin() as transaction:
        return transaction.get(DESCRIPTION_KEY) or b""


def read_error(folder: Path, error: lmdb.Error) -> StoreDamaged | StoreFailed:
    """Return what to raise where reading a folder failed."""
    if isinstance(error, BROKEN_PAGES):
        return StoreDamaged(f"{folder} has broken pages ({error}); {restore_cure(folder)}")
    return StoreFailed(f"reading {folder} failed: {error}; check the disk and start again")
