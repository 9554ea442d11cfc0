"""Stores with a journal: small and large commits, and folders as they are found when the process ends."""

import shutil
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import lmdb

from grpcflow_coordinator.storage.contract import Batch, Store
from grpcflow_coordinator.storage.journal import SMALLEST_JOURNAL
from grpcflow_coordinator.storage.lmdb import LmdbStore

END = b"\xff" * 4


def opened(folder: Path, length: int = SMALLEST_JOURNAL) -> LmdbStore:
    """Open a store that has a journal."""
    return LmdbStore(folder, journal=length)


def small(number: int) -> Batch:
    """Return a commit that the journal takes: the number under a key of its own, and as the newest."""
    return Batch({b"n%04d" % number: b"%d" % number, b"newest": b"%d" % number}, {b"n%04d" % (number - 50)})


def large(number: int) -> Batch:
    """Return one that the journal does not take."""
    batch = small(number)
    batch.put(b"large", b"%d" % number + b"x" * 100_000)
    return batch


def journaled(folder: Path, commits: int = 5) -> LmdbStore:
    """Open a store and make so many commits that are in the journal alone; one before them makes it."""
    store = opened(folder)
    for number in range(commits + 1):
        store.commit(small(number))
    assert bool(store._ahead.pending) is bool(commits)
    return store


def content(store: Store) -> list[tuple[bytes, bytes]]:
    return store.scan(b"", END, 10_000)


def image(folder: Path, target: Path) -> Path:
    """Copy a folder as it would be found if the process ended now."""
    shutil.copytree(folder, target)
    for name in ("lock.mdb", "coordinator.lock", "starting"):
        (target / name).unlink(missing_ok=True)
    return target


def in_file(folder: Path) -> list[tuple[bytes, bytes]]:
    """Return what the records' file alone has: what a version without journals reads."""
    with TemporaryDirectory() as beside:  # LMDB opens a file once in a process
        shutil.copy(folder / "data.mdb", beside)
        return read_file(beside)


def read_file(folder: str) -> list[tuple[bytes, bytes]]:
    with lmdb.open(folder, max_dbs=1, readonly=True, lock=False) as environment:
        records = environment.open_db(b"records", create=False)
        with environment.begin(records) as transaction:
            return list(transaction.cursor())


def assert_recovers(folder: Path, target: Path, newest: bytes) -> None:
    with closing(opened(image(folder, target))) as again:
        assert again.get(b"newest") == newest
