"""The store on disk keeps the contract; and what only a disk can do: be locked, full, broken, foreign or cut short."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import lmdb
import pytest

from grpcflow_coordinator.storage import lmdb as lmdb_store
from grpcflow_coordinator.storage.contract import Batch, Store, StoreDamaged, StoreFailed, StoreFull, StoreLocked
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.testing.store_contract import StoreContract

#: A map that a few commits fill.
TINY_MAP = 1 << 20


class TestLmdbStoreContract(StoreContract):
    """The contract, on LMDB."""

    def open_store(self, folder: Path) -> Store:
        return LmdbStore(folder)


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


# --- one process to a folder


def test_a_second_store_of_the_same_process_is_refused(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    with pytest.raises(StoreLocked, match=f"{tmp_path} is held by process {os.getpid()}"):
        LmdbStore(tmp_path)
    store.commit(Batch({b"a": b"1"}))
    store.close()
    LmdbStore(tmp_path).close()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from grpcflow_coordinator.storage.lmdb import LmdbStore\n"
        "store = LmdbStore(pathlib.Path(sys.argv[1]))\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=f"is held by process {holder.pid}; stop that coordinator first"):
            LmdbStore(tmp_path)
        holder.kill()
        holder.wait(10)
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
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert (ran.stdout.split(), ran.returncode) == (["full", "full", "full", "501"], 0), ran.stderr
    store = LmdbStore(tmp_path)
    assert len(store.keys(b"", b"z", 999)) == 501
    store.close()


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
        patched.setattr(lmdb_store, "FORMAT", b"2")
        LmdbStore(tmp_path).close()
    with pytest.raises(StoreDamaged, match="format 2, this version reads format 1"):
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
