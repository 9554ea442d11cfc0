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
from grpcflow_coordinator.storage.journal import JOURNAL, Frames, Mark, read_frames
from grpcflow_coordinator.storage.lmdb_opening import (
    BROKEN_PAGES,
    DATA,
    DESCRIPTION_KEY,
    FORMAT_KEY,
    JOURNAL_KEY,
    MAP_BYTES,
    RECORDS,
    check_length,
    find_records,
    open_environment,
    restore_cure,
)
from grpcflow_coordinator.storage.merging import Changes, merged_keys, merged_pairs
from grpcflow_coordinator.storage.pending import UNSAID, Pending

if TYPE_CHECKING:
    from lmdb import _Database as Database  # pyright: ignore[reportPrivateUsage]  # the stub's only name for it

#: How often a journal that looks damaged is read again: a frame may come while the one before it is being read.
_LOOKS: Final = 3


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
            mark, batches = journal_of(self._environment, folder)
            self._transaction: Final = self._environment.begin(records)
            main = self._environment.open_db(None)
            if mark is None or self._transaction.get(JOURNAL_KEY, db=main) != mark.encoded():
                batches = []  # by now they are in the file
        except BaseException:
            self._environment.close()
            raise
        self._pending: Final = Pending()
        for batch in batches:
            self._pending.take(batch)

    def get(self, key: bytes) -> bytes | None:
        """Give the value under `key`, or None where there is none."""
        check_key(key)
        said = self._pending.get(key)
        if said is not UNSAID:
            return said
        try:
            return self._transaction.get(key)
        except lmdb.Error as error:
            raise read_error(self._folder, error) from error

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Give the pairs with `start <= key < end`; see the contract."""
        if not check_range(start, end, limit):
            return []
        try:
            changed = self._pending.between(start, end)
            return pairs_over(self._transaction, changed, start, end, limit, reverse=reverse)
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

    def tidy(self) -> None:
        """Do nothing: a moment has nothing that could be done later."""

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
        count = self._transaction.stat(self._records)["entries"]
        for key, value in self._pending.items():
            count += (value is not None) - (self._transaction.get(key) is not None)
        return count

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
            mark, batches = journal_of(self._environment, self._folder)
            self._environment.copy(str(folder), compact=True)
            (folder / DATA).chmod(0o600)
            if mark is not None:
                _without_journal(folder, mark, batches)
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


def _without_journal(folder: Path, mark: Mark, batches: list[Batch]) -> None:
    """Put into a copy what the journal had that it was made with, and let it have none.

    Args:
        folder: of the copy.
        mark: what the file said before it was copied.
        batches: which commits the journal had then and the file had not.
    """
    with open_environment(folder, MAP_BYTES, lock=False) as environment:
        records = environment.open_db(RECORDS, create=False)
        main = environment.open_db(None)
        with environment.begin(records, write=True) as transaction:
            if transaction.get(JOURNAL_KEY, db=main) == mark.encoded():  # else the copy has them
                for batch in batches:
                    for key in batch.deletes:
                        transaction.delete(key)
                    for key, value in batch.puts.items():
                        transaction.put(key, value)
            transaction.delete(JOURNAL_KEY, db=main)


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


def pairs_over(
    transaction: lmdb.Transaction[bytes], changed: Changes, start: bytes, end: bytes, limit: int, *, reverse: bool
) -> list[tuple[bytes, bytes]]:
    """Give such pairs with changes of the range over them."""
    found = pairs_in(transaction, start, end, limit + len(changed), reverse=reverse)
    return merged_pairs(found, changed, limit, reverse=reverse) if changed else found


def keys_over(
    transaction: lmdb.Transaction[bytes], changed: Changes, start: bytes, end: bytes, limit: int
) -> list[bytes]:
    """Give the keys of such a scan."""
    found: list[bytes] = []
    with transaction.cursor() as cursor:
        if cursor.set_range(start) if start else cursor.first():
            for key in islice(cursor.iternext(keys=True, values=False), limit + len(changed)):
                if key >= end:
                    break
                found.append(key)
    return merged_keys(found, changed, limit) if changed else found


def mark_in(environment: lmdb.Environment) -> Mark | None:
    """Tell what a file says of its journal; None: it has none."""
    with environment.begin() as transaction:
        data = transaction.get(JOURNAL_KEY)
    return None if data is None else Mark.read(data)


def journal_of(environment: lmdb.Environment, folder: Path) -> tuple[Mark | None, list[Batch]]:
    """Read which commits a journal has and the file has not, while a coordinator may write to both.

    What is returned is true of every moment of the file that has the same mark; a later one has those commits.

    Raises:
        StoreDamaged: the journal is not whole.
        StoreFailed: it cannot be read.
    """
    mark = mark_in(environment)
    if mark is None:
        return None, []
    frames = _read_standing(environment, folder / JOURNAL, mark)
    with environment.begin() as transaction:
        # Else a version that knows no journal has written after them, over them, or they are in the file by now.
        stands = transaction.get(JOURNAL_KEY) == mark.encoded() and frames.base in {None, transaction.id()}
    return mark, frames.batches if stands else []


def _read_standing(environment: lmdb.Environment, file: Path, mark: Mark) -> Frames:
    """Read a journal; where it looks damaged, look again, and at whether its frames are wanted at all."""
    for _ in range(_LOOKS):
        try:
            return _read_frames(file, mark)
        except StoreDamaged:
            if mark_in(environment) != mark:
                return Frames([], None, 0)  # those of the next generation are written over them, and the file has them
    return _read_frames(file, mark)


def _read_frames(file: Path, mark: Mark) -> Frames:
    try:
        return read_frames(file, mark)
    except FileNotFoundError:
        return Frames([], None, 0)
    except OSError as error:
        raise StoreFailed(f"{file} cannot be read: {error}; check its rights and the disk") from error


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
