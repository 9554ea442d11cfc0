"""The store on disk keeps the contract; and what only a disk can do: be locked, full, broken, foreign or cut short."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import lmdb
import pytest
from tests.coordinator.support.holding import holding

from grpcflow_coordinator.storage import lmdb_opening
from grpcflow_coordinator.storage.contract import Batch, Store, StoreDamaged, StoreFailed, StoreFull, StoreLocked
from grpcflow_coordinator.storage.journal import SMALLEST_JOURNAL
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot
from grpcflow_coordinator.testing.store_contract import StoreContract

#: A map that a few commits fill.
TINY_MAP = 1 << 20


class TestLmdbStoreContract(StoreContract):
    """The contract, on LMDB."""

    def open_store(self, folder: Path) -> Store:
        return LmdbStore(folder)


class TestJournaledStoreContract(StoreContract):
    """The contract, on LMDB with a journal before it."""

    def open_store(self, folder: Path) -> Store:
        store = LmdbStore(folder, journal=SMALLEST_JOURNAL)
        store.commit(Batch({b"first": b""}))  # makes the journal
        store.commit(Batch({}, {b"first"}))
        assert store._ahead.pending
        return store


class Disk(NamedTuple):
    """What os.statvfs tells, as far as the store asks."""

    f_bavail: int
    f_frsize: int = 1


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.commit(Batch({b"a": b"1"}))
    store.close()
    again = LmdbStore(tmp_path)
    assert again.get(b"a") == b"1"
    again.close()


def test_a_system_that_cannot_reserve_room_goes_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    LmdbStore(tmp_path).close()


# --- one process to a folder


def test_a_second_store_of_the_same_process_is_refused(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    with pytest.raises(StoreLocked, match=f"{tmp_path} is held by process {os.getpid()}"):
        LmdbStore(tmp_path)
    store.commit(Batch({b"a": b"1"}))
    store.close()
    LmdbStore(tmp_path).close()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    with holding(LmdbStore, tmp_path) as holder:
        with pytest.raises(StoreLocked, match=f"is held by process {holder.pid}; stop that coordinator first"):
            LmdbStore(tmp_path)
        holder.kill()
        holder.wait(60)
        LmdbStore(tmp_path).close()


# --- full


def test_a_full_map_writes_nothing_and_reads_go_on(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, map_bytes=TINY_MAP)
    store.commit(Batch({b"a": b"1"}))
    batch = Batch({b"b%d" % index: b"v" * 4000 for index in range(400)}, {b"a"})
    before = store.free_bytes()
    with pytest.raises(StoreFull, match="has reached its 1048576 bytes"):
        store.commit(batch)
    assert store.keys(b"", b"z", 10) == [b"a"]
    assert store.free_bytes() <= before <= TINY_MAP
    store.commit(Batch({b"c": b"3"}))
    store.close()
    again = LmdbStore(tmp_path)
    again.commit(batch)
    assert (again.get(b"a"), again.get(b"b399"), again.get(b"c")) == (None, b"v" * 4000, b"3")
    again.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=["no space", "quota", "short write"])
def test_a_full_disk_is_full_and_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    store = LmdbStore(tmp_path)
    batch = Batch({b"a": b"1"})
    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", lambda _: Disk(100))
        patched.setattr(store, "_write", _raiser(code))
        with pytest.raises(StoreFull, match=r"is full \(100 bytes free\)"):
            store.commit(batch)
        assert store.free_bytes() == 100
    store.commit(batch)
    assert store.get(b"a") == b"1"
    store.close()


def test_an_io_error_with_room_on_the_disk_is_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LmdbStore(tmp_path)
    store.commit(Batch({b"a": b"1"}))
    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", lambda _: Disk(1 << 30))
        patched.setattr(store, "_write", _raiser(errno.EIO))
        with pytest.raises(StoreFailed, match=r"writing .* failed"):
            store.commit(Batch({b"b": b"2"}))
    with pytest.raises(StoreFailed, match=r"writing .* failed"):
        store.commit(Batch({b"b": b"2"}))
    assert store.get(b"a") == b"1", "reads go on, so that what stands can be told"
    store.close()


def test_a_write_that_the_kernel_really_cuts_short_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files makes LMDB meet a short write, as a full disk does."""
    code = (
        "import os, pathlib, resource, sys\n"
        "from grpcflow_coordinator.storage.contract import Batch, StoreFull\n"
        "from grpcflow_coordinator.storage.lmdb import LmdbStore\n"
        "store = LmdbStore(pathlib.Path(sys.argv[1]))\n"
        "store.commit(Batch({b'a': b'1'}))\n"
        "big = Batch({b'b%d' % i: b'v' * 4000 for i in range(500)})\n"
        "real, unlimited = os.statvfs, resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "os.statvfs = lambda _: type('Disk', (), {'f_bavail': 0, 'f_frsize': 1})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, unlimited[1]))\n"
        "for attempt in range(3):\n"
        "    try:\n"
        "        store.commit(big)\n"
        "    except StoreFull as error:\n"
        "        assert store.keys(b'', b'z', 9) == [b'a'], 'something of the batch was written'\n"
        "        print('full')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)\n"
        "store.commit(big)\n"
        "print(len(store.keys(b'', b'z', 999)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=150)
    assert (ran.stdout.split(), ran.returncode) == (["full", "full", "full", "501"], 0), ran.stderr
    store = LmdbStore(tmp_path)
    assert len(store.keys(b"", b"z", 999)) == 501
    store.close()


def test_a_start_on_a_full_disk_says_so_before_the_table_of_readers_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB writes that table by way of the memory: a page that finds no room is a SIGBUS."""

    def no_room(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_room)
        with pytest.raises(StoreFull, match="is full: make room and try again"):
            LmdbStore(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", no_room)
        with pytest.raises(StoreFailed, match=r"No space left on device; check .* the room on its disk"):
            LmdbStore(tmp_path)
    LmdbStore(tmp_path).close()
    assert (tmp_path / "lock.mdb").stat().st_blocks * 512 >= 8192


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_a_store_that_finds_no_room_while_it_is_made_is_made_later(tmp_path: Path, pages: int) -> None:
    with pytest.raises(StoreFailed, match=r"cannot be (made|opened): "):
        LmdbStore(tmp_path, map_bytes=pages * 4096)
    store = LmdbStore(tmp_path)
    store.commit(Batch({b"a": b"1"}))
    store.close()


def test_a_file_that_was_begun_and_not_written_is_not_taken_for_one_that_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(path: str, **_: object) -> lmdb.Environment:
        (Path(path) / "data.mdb").touch()
        raise lmdb.DiskError(f"{path}: {os.strerror(errno.ENOSPC)}")

    with monkeypatch.context() as patched:
        patched.setattr(lmdb, "open", begun)
        with pytest.raises(StoreFailed, match="No space left on device"):
            LmdbStore(tmp_path)
    LmdbStore(tmp_path).close()


# --- foreign, broken, cut short


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not LMDB at all " * 1000)
    with pytest.raises(StoreDamaged, match="is not a whole LMDB file"):
        LmdbStore(tmp_path)
    (tmp_path / "data.mdb").unlink()
    LmdbStore(tmp_path).close()


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as other, other.begin(write=True) as transaction:
        transaction.put(b"theirs", b"1")
    with pytest.raises(StoreDamaged, match="another program"):
        LmdbStore(tmp_path)
    with lmdb.open(str(tmp_path)) as other, other.begin() as transaction:
        assert list(transaction.cursor().iternext()) == [(b"theirs", b"1")]


def test_a_store_of_a_later_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(lmdb_opening, "FORMAT", b"3")
        LmdbStore(tmp_path).close()
    with pytest.raises(StoreDamaged, match="format 3, this version reads the formats 1 to 2"):
        LmdbStore(tmp_path)


def test_a_file_that_was_cut_short_is_refused_before_a_read_can_kill(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.commit(Batch({b"%05d" % index: b"v" * 4000 for index in range(2500)}))
    store.close()
    os.truncate(tmp_path / "data.mdb", 1 << 20)
    with pytest.raises(StoreDamaged, match="cut short"):
        LmdbStore(tmp_path)


def test_a_path_that_is_no_folder_is_refused_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="a file is in its place; name a folder"):
        LmdbStore(tmp_path / "file")


def test_a_failed_opening_lets_go_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"x" * 9000)
    for _ in range(2):
        with pytest.raises(StoreDamaged):
            LmdbStore(tmp_path)


def test_a_map_that_the_platform_refuses_is_tried_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    granted = 4 << 30
    opened = lmdb.open

    def stingy(path: str, *, map_size: int, max_dbs: int, max_spare_txns: int, mode: int) -> lmdb.Environment:
        asked.append(map_size)
        if map_size > granted:
            raise lmdb.MemoryError(f"{path}: {os.strerror(errno.ENOMEM)}")
        return opened(path, map_size=map_size, max_dbs=max_dbs, max_spare_txns=max_spare_txns, mode=mode)

    monkeypatch.setattr(lmdb, "open", stingy)
    LmdbStore(tmp_path, map_bytes=256 << 30).close()
    assert asked == [256 << 30, 64 << 30, 16 << 30, 4 << 30]
    granted = 0
    with pytest.raises(StoreFailed, match="limit of the address space"):
        LmdbStore(tmp_path)
    assert asked[-1] == 1 << 30


def test_a_file_does_not_grow_when_the_same_keys_are_written_again_and_again(tmp_path: Path) -> None:
    """Nothing that reads leaves a transaction open, so freed pages are used again."""
    store = LmdbStore(tmp_path)
    sizes: list[int] = []
    for number in range(60):
        store.commit(Batch({b"%03d" % index: b"%d" % number * 1000 for index in range(100)}))
        store.scan(b"", b"z", 5)
        store.get(b"000")
        sizes.append(store.size_bytes())
    assert sizes[-1] <= 2 * sizes[10], f"the file grew from {sizes[10]} to {sizes[-1]} bytes"
    store.close()


def _raiser(code: int) -> object:
    def refuse(batch: Batch) -> None:
        raise lmdb.Error(f"mdb_txn_commit: {os.strerror(code)}")

    return refuse


def test_a_file_cut_by_a_page_or_more_is_refused_or_whole(tmp_path: Path) -> None:
    """Whatever is missing at the end: either the folder is refused, or nothing of what was told is missing."""
    whole = tmp_path / "whole"
    store = LmdbStore(whole)
    written = {b"%05d" % index: b"v" * (100 + index * 97 % 9000) for index in range(400)}
    store.commit(Batch(dict(written)))
    store.commit(Batch({}, {b"%05d" % index for index in range(0, 400, 3)}))
    store.commit(Batch({b"%05d" % index: b"w" * 5000 for index in range(0, 400, 9)}))
    expected = store.scan(b"", b"z", 1000)
    store.close()
    data = (whole / "data.mdb").read_bytes()
    refused = 0
    for pages in (*range(1, 12), 40, 200):
        cut = tmp_path / f"cut{pages}"
        cut.mkdir()
        (cut / "data.mdb").write_bytes(data[: -pages * 4096])
        try:
            again = LmdbStore(cut)
        except StoreDamaged:
            assert (cut / "data.mdb").read_bytes() == data[: -pages * 4096], "a refused file was changed"
            refused += 1
            continue
        assert again.scan(b"", b"z", 1000) == expected
        again.close()
    assert refused >= 5


def test_a_place_of_a_killed_reader_is_cleared_so_that_the_file_stays_small(tmp_path: Path) -> None:
    """A backup that is killed must not make the coordinator's file grow for good."""
    store = LmdbStore(tmp_path)
    store.commit(Batch({b"a": b"1"}))
    with holding(LmdbSnapshot, tmp_path) as reader:
        reading = _churn(store)
        reader.kill()
        reader.wait(60)
    held = _churn(store)
    store.free_bytes()
    cleared = _churn(store)
    store.close()
    assert reading > 2_000_000, "the writer used pages again that somebody reads"
    assert held > 2_000_000, "LMDB clears such places by itself: nothing needs to be done any more"
    assert cleared == 0, f"the file grew by {cleared} bytes though nobody reads"


def _churn(store: LmdbStore) -> int:
    """Write the same keys again and again, and give by how many bytes the file grew."""
    before = store.size_bytes()
    for number in range(40):
        store.commit(Batch({b"%03d" % index: b"%d" % number * 1000 for index in range(50)}))
    return store.size_bytes() - before


def test_finalising_is_for_good_and_says_who_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LmdbStore(tmp_path)
    store.commit(Batch({b"a": b"1"}))
    assert (store.format, store.description()) == (1, b""), "a new folder has the format that the release before reads"
    store.finalise(b"finalised by grpcflow 9")
    assert (store.format, store.description(), store.get(b"a")) == (2, b"finalised by grpcflow 9", b"1")
    store.close()
    again = LmdbStore(tmp_path)
    assert again.format == 2
    again.close()
    monkeypatch.setattr(lmdb_opening, "FORMATS", (b"1",))
    with pytest.raises(StoreDamaged, match=r"format 2, this version reads .*\(finalised by grpcflow 9\)"):
        LmdbStore(tmp_path)


def test_a_restore_that_did_not_end_is_not_taken_for_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / lmdb_opening.RESTORING).mkdir()
    with pytest.raises(StoreDamaged, match="did not come to its end: run it again"):
        LmdbStore(tmp_path)
    assert not (tmp_path / "data.mdb").exists()
