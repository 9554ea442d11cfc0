"""Opening a folder as an LMDB environment: its format, its length, and what is refused before anything is read.

With `lmdb` and `lmdb_reading` the only files that may know LMDB. What is wrong with a folder is said with its cure, and
nothing is guessed: a folder that is not whole is left as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from grpcflow_coordinator.storage.contract import StoreDamaged, StoreFailed, StoreFull
from grpcflow_coordinator.storage.ground import sync

if TYPE_CHECKING:
    from lmdb import _Database as Database  # pyright: ignore[reportPrivateUsage]  # the stub's only name for it

#: Size of the map in bytes: address space, not disk. What the platform refuses is tried again at a quarter.
MAP_BYTES: Final = 256 << 30

#: The smallest map worth having, in bytes; where even that is refused, opening fails.
SMALLEST_MAP_BYTES: Final = 1 << 30

#: The formats that this version reads, oldest first. A reader of another format must not guess.
#: 1: the records. 2: the same, and the folder says who it is and which version it was finalised by.
FORMATS: Final = (b"1", b"2")

#: The format of folders that are made anew: the one before the newest for one release.
FORMAT: Final = b"1"

FORMAT_KEY: Final = b"grpcflow store format"
DESCRIPTION_KEY: Final = b"grpcflow store description"
#: Says which journal is this file's own, and what of it the file has; see `lmdb_ahead`.
JOURNAL_KEY: Final = b"grpcflow journal"
#: The database of the records.
RECORDS: Final = b"records"

#: Pages by which the file may be shorter than LMDB's own count: a page taken and given back within one commit at the
#: end of the file is counted and never written. Whether that is why is found out by reading everything once.
_UNWRITTEN_PAGES: Final = 1024

#: Bytes from which on a value may have pages of its own, where pages have 4,096.
_OWN_PAGES: Final = 1024

#: The file of the records, in data folders and in backups.
DATA: Final = "data.mdb"

#: LMDB's table of readers, and its length in bytes.
LOCK_TABLE: Final = "lock.mdb"
_TABLE_BYTES: Final = 8192

#: What the system reports where there is no room.
FULL_CODES: Final = (errno.ENOSPC, errno.EDQUOT)

#: What a backup says of itself; see `copies`.
MANIFEST: Final = "backup.json"

#: What stands in the data folder from the opening of the store until all that recovery reads was read.
STARTING: Final = "starting"

#: What stands in the data folder while a restore is under way.
RESTORING: Final = "restoring"

_NOT_OURS: Final = (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError)
BROKEN_PAGES: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError)

#: Signals that end the process that meets a page that is none.
BROKEN_SIGNALS: Final = (signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT)


def restore_cure(folder: Path) -> str:
    """Return what to do with a folder that is not whole."""
    return (
        f"restore it from a backup: move {folder} away, then grpcflow-coordinator restore BACKUP --data {folder}; "
        "`grpcflow-coordinator check` says what is broken"
    )


def check_folder(folder: Path) -> None:
    """Refuse to write to a folder that is a backup, or in which a restore or an import did not come to its end.

    Raises:
        StoreDamaged: the message says what to do.
    """
    if (folder / MANIFEST).exists():
        raise StoreDamaged(
            f"{folder} is a backup, which a change would spoil: make a data folder from it with `grpcflow-coordinator "
            f"restore {folder} --data DIR`"
        )
    if (folder / RESTORING).exists() and not (folder / DATA).exists():
        raise StoreDamaged(
            f"a restore or an import into {folder} did not come to its end: run it again, or delete "
            f"{folder / RESTORING} to begin with nothing"
        )


def begin(folder: Path) -> None:
    """Note that the store is being opened; where the last opening came to no end, read everything first, apart.

    A page that is none ends the process that meets it, without a word of ours. So whoever starts after such an end
    finds the note, and what cannot be read is said with its cure.

    Raises:
        StoreDamaged: there are pages that cannot be read.
    """
    note = folder / STARTING
    if note.exists() and not _read_apart(folder):
        raise StoreDamaged(
            f"{folder / 'data.mdb'} has pages that cannot be read: it was torn, or written to by something else; "
            f"{restore_cure(folder)}"
        )
    with contextlib.suppress(OSError):  # where nothing can be written, the opening itself says so
        note.touch(mode=0o600)


def done(folder: Path) -> None:
    """Note that the store was opened and read well."""
    with contextlib.suppress(OSError):  # it costs one more reading at the next start
        (folder / STARTING).unlink(missing_ok=True)


def open_environment(folder: Path, map_bytes: int, **options: bool) -> lmdb.Environment:
    """Open with the largest map the platform grants, down from `map_bytes`; `readonly=True`: to be read only.

    Raises:
        StoreDamaged: there is something else in its place, or nothing any more.
        StoreFailed: it cannot be opened.
    """
    file = folder / DATA
    if file.exists() and not file.stat().st_size:  # LMDB would begin anew, as if nothing had ever been there
        raise StoreDamaged(
            f"{file} is empty, what was in it is gone; {restore_cure(folder)}; or delete it to begin with nothing"
        )
    if options.get("lock", True):
        _reserve(folder)
    new = not file.exists()
    while True:
        try:
            # Two flushes a commit: the pages, then the page that makes them count. Leaving out the second
            # (metasync) would lose the last commit with the power.
            return lmdb.open(str(folder), map_size=map_bytes, max_dbs=1, max_spare_txns=4, mode=0o600, **options)
        except _NOT_OURS as error:
            raise StoreDamaged(
                f"{folder / 'data.mdb'} is not a whole LMDB file ({error}); {restore_cure(folder)}; "
                "or name an empty folder"
            ) from error
        except lmdb.Error as error:
            if not is_code(error, errno.ENOMEM) or map_bytes // 4 < SMALLEST_MAP_BYTES:
                if new:
                    file.unlink(missing_ok=True)  # begun and not written: it must not look like one that was lost
                raise StoreFailed(
                    f"the store in {folder} cannot be opened: {error}; check its rights, the free space of the disk "
                    "and the limit of the address space (ulimit -v)"
                ) from error
            map_bytes //= 4


def _reserve(folder: Path) -> None:
    """Find room for LMDB's table of readers: it is written by way of the memory, where a full disk ends the process.

    Raises:
        StoreFull: there is none.
    """
    if not hasattr(os, "posix_fallocate"):
        return  # macOS
    try:
        handle = os.open(folder / LOCK_TABLE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_blocks * 512 < _TABLE_BYTES:
                os.posix_fallocate(handle, 0, _TABLE_BYTES)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in FULL_CODES:
            raise StoreFull(f"the disk of {folder} is full: make room and try again") from error
        # LMDB itself knows which folders it can read without that table, and says what is wrong with others.


def is_code(error: lmdb.Error, *codes: int) -> bool:
    """Say whether the system reported one of these codes; not every release of lmdb keeps more than its text."""
    code: int | None = getattr(error, "code", None)
    return code in codes if code is not None else str(error).endswith(tuple(map(os.strerror, codes)))


def check_length(environment: lmdb.Environment, folder: Path) -> None:
    """Refuse a file that lacks its end: a read of a page that is not there would kill the process."""
    page = environment.stat()["psize"]
    expected = (environment.info()["last_pgno"] + 1 - _UNWRITTEN_PAGES) * page
    length = (folder / DATA).stat().st_size
    if length < expected:
        raise StoreDamaged(
            f"{folder / 'data.mdb'} has {length} bytes where about {expected} are needed: it was cut short, perhaps by "
            f"an unfinished copy; {restore_cure(folder)}"
        )


def _check_end(environment: lmdb.Environment, folder: Path) -> Database | None:
    """Give the database of the records, and refuse a file whose last pages are missing though something leads to them.

    LMDB may count a few pages more than it ever wrote. Only where the file is shorter than its count, which is rare,
    everything is read, once with zeros where the pages would be (which are no page of a tree) and once with ones: what
    reads the same in both is not there. Then the file keeps that length, and needs no such reading again.
    """
    expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    file = folder / DATA
    length = file.stat().st_size
    if length >= expected:
        return find_records(environment, folder)
    _fill(file, length, expected, b"\x00")
    with_zeros = _read_apart(folder)
    _fill(file, length, expected, b"\xff")
    if with_zeros and _read_apart(folder) == with_zeros:
        _fill(file, length, expected, b"\x00")
        return find_records(environment, folder)
    os.truncate(file, length)
    raise StoreDamaged(
        f"{file} has {length} bytes where {expected} are needed: it was cut short, perhaps by an unfinished copy; "
        f"{restore_cure(folder)}"
    )


def _fill(file: Path, start: int, end: int, byte: bytes) -> None:
    """Write one byte everywhere between two places of a file."""
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(byte * (end - start))


def _read_apart(folder: Path) -> str:
    """Read all records in another process, since LMDB ends the one that meets a broken page; empty: it did.

    Raises:
        StoreFailed: the process ended for another reason, and it is not known how the file stands.
    """
    code = f"import pathlib, sys; import {__name__} as opening; opening.tell_digest(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ran.returncode and -ran.returncode not in BROKEN_SIGNALS:
        why = ran.stderr.strip().rpartition("\n")[2] or f"signal {-ran.returncode}"
        raise StoreFailed(f"{folder} could not be read through ({why}): nothing is known of it; start again")
    return ran.stdout.strip()


def tell_digest(folder: Path) -> None:
    """Print what `digest` returns, and nothing where the store is broken."""
    with contextlib.suppress(StoreDamaged, *BROKEN_PAGES):
        sys.stdout.write(digest(folder))


def digest(folder: Path) -> str:
    """Read all records of a folder; return what stands for the values that may lie on pages of their own.

    To be called in a process of its own: LMDB ends the process that meets a broken page.
    """
    seen = blake2b()
    with open_environment(folder, MAP_BYTES, readonly=True, lock=False) as environment:
        records = find_records(environment, folder)
        if records is not None:
            with environment.begin(records) as transaction, transaction.cursor() as cursor:
                for _, value in cursor:
                    if len(value) >= _OWN_PAGES:
                        seen.update(value)
    return seen.hexdigest()


def open_records(environment: lmdb.Environment, folder: Path) -> Database:
    """Give the database of the records, after a look at the format and the length; make it in an empty environment."""
    records = _check_end(environment, folder)
    return _create_records(environment, folder) if records is None else records


def find_records(environment: lmdb.Environment, folder: Path) -> Database | None:
    """Give the database of the records, after a look at the format; None: the environment is empty.

    Raises:
        StoreDamaged: there is something else, or a newer format.
        StoreFailed: it cannot be read.
    """
    try:
        with environment.begin() as transaction:
            if not transaction.stat()["entries"]:
                return None
            found = transaction.get(FORMAT_KEY)
            description = transaction.get(DESCRIPTION_KEY) or b""
        if found in FORMATS:
            return environment.open_db(RECORDS, create=False)
    except lmdb.Error as error:
        if isinstance(error, (*_NOT_OURS, *BROKEN_PAGES, lmdb.NotFoundError, lmdb.IncompatibleError)):
            raise StoreDamaged(f"{folder} holds a broken store ({error}); {restore_cure(folder)}") from error
        raise StoreFailed(f"the store in {folder} cannot be opened: {error}; check the disk and its rights") from error
    if found is None:
        raise StoreDamaged(f"{folder} holds the database of another program; name an empty folder")
    raise StoreDamaged(
        f"{folder} holds a store of format {found[:20].decode('ascii', 'replace')}, this version reads the formats "
        f"{FORMATS[0].decode()} to {FORMATS[-1].decode()}; start the version of grpcflow that wrote it, or a newer one"
        + (f" ({description[:200].decode('utf-8', 'replace')})" if description else "")
    )


def _create_records(environment: lmdb.Environment, folder: Path) -> Database:
    """Make the format and the records' database in one commit, and the file's name as durable as the file."""
    try:
        with environment.begin(write=True) as transaction:
            transaction.put(FORMAT_KEY, FORMAT)
            records = environment.open_db(RECORDS, transaction)
    except lmdb.Error as error:
        raise StoreFailed(f"the store in {folder} cannot be made: {error}; check the disk and its room") from error
    for named in (folder, folder.parent):
        sync(named)
    return records
