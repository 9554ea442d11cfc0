"""Small commits go by the journal: whatever ends the process, what was told is there, once, and in order."""

import errno
import logging
import os
import random
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import lmdb
import pytest
from tests.coordinator.support.journals import (
    assert_recovers,
    content,
    image,
    in_file,
    journaled,
    large,
    opened,
    small,
)

from grpcflow_coordinator.storage import journal, lmdb_ahead
from grpcflow_coordinator.storage.contract import Batch, Store, StoreDamaged, StoreFailed, StoreFull
from grpcflow_coordinator.storage.copies import compact
from grpcflow_coordinator.storage.journal import SMALLEST_JOURNAL
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_ahead import UNUSED
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot

BLOCK = 4096


# --- the end of the process


def test_whenever_the_process_ends_all_that_was_committed_is_there(tmp_path: Path, rng: random.Random) -> None:
    model: dict[bytes, bytes] = {}
    store = opened(tmp_path / "store")
    ahead = 0
    for number in range(120):
        kind = rng.choices(("small", "large", "tidy", "close"), (80, 6, 7, 7))[0]
        if kind == "tidy":
            store.tidy()
        elif kind == "close":
            store.close()
            store = opened(tmp_path / "store")
        else:
            batch = small(number) if kind == "small" else large(number)
            store.commit(batch)
            model.update(batch.puts)
            for key in batch.deletes:
                model.pop(key, None)
        ahead += bool(store._ahead.pending)
        assert content(store) == sorted(model.items())
        _compare(store, model, rng)
        if number % 5 == 0:
            found = image(tmp_path / "store", tmp_path / f"image{number}")
            with closing(opened(found)) as again:
                assert content(again) == sorted(model.items())
                again.commit(small(number + 1000))
            with closing(opened(found)) as again:
                assert again.get(b"newest") == b"%d" % (number + 1000)
            shutil.rmtree(found)
    store.close()
    assert ahead > 60, "the journal was hardly used"


def test_what_follows_a_crash_is_written_behind_what_was_there(tmp_path: Path) -> None:
    store = journaled(tmp_path / "a", 3)
    folder = tmp_path / "a"
    for crash in range(3):
        folder = image(folder, tmp_path / f"crash{crash}")
        again = opened(folder)
        assert len(again._ahead.pending) > 0
        again.commit(small(10 + crash))
        assert len(content(again)) == 4 + 1 + crash + 1
        if crash:
            again._environment.close()  # as a killed process leaves it
            again._lock.release()
    store.close()


def test_a_store_at_rest_is_one_file_that_every_version_reads(tmp_path: Path) -> None:
    store = journaled(tmp_path)
    expected = content(store)
    assert (tmp_path / "journal").stat().st_size == SMALLEST_JOURNAL
    assert in_file(tmp_path) != expected
    store.close()
    assert not (tmp_path / "journal").exists()
    assert in_file(tmp_path) == expected
    with lmdb.open(str(tmp_path), max_dbs=1) as environment, environment.begin() as transaction:
        assert [key for key, _ in transaction.cursor()] == [b"grpcflow store format", b"records"]


def test_a_store_without_a_journal_takes_what_one_left(tmp_path: Path) -> None:
    store = journaled(tmp_path / "a")
    found = image(tmp_path / "a", tmp_path / "b")
    again = LmdbStore(found)
    assert content(again) == in_file(found) == content(store) != in_file(tmp_path / "a")
    assert not (found / "journal").exists()
    again.close()
    store.close()


def test_a_second_later_it_is_in_the_file(tmp_path: Path) -> None:
    store = journaled(tmp_path)
    store.tidy()
    assert in_file(tmp_path) == content(store)
    commits = store.usage().last_commit
    store.tidy()
    assert store.usage().last_commit == commits, "a store that is tidy was written to"
    store.commit(small(9))
    assert store.get(b"newest") == b"9"
    store.close()


def test_a_journal_that_is_full_goes_into_the_file(tmp_path: Path) -> None:
    store = journaled(tmp_path, 0)
    before = store.usage().last_commit
    for number in range(SMALLEST_JOURNAL // BLOCK + 1):
        store.commit(small(number))
    assert store.usage().last_commit == before + 1
    assert not store._ahead.pending
    store.close()


def test_many_keys_go_into_the_file_before_the_journal_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_ahead, "_KEYS", 6)
    store = journaled(tmp_path, 2)
    before = store.usage().last_commit
    for number in range(3, 6):
        store.commit(small(number))
    assert store.usage().last_commit > before
    store.close()


# --- a journal that is not whole


@pytest.mark.parametrize("at", [0, 30, 60], ids=["head", "sum", "body"])
def test_a_frame_that_was_torn_was_told_to_nobody(tmp_path: Path, at: int) -> None:
    store = journaled(tmp_path / "a", 4)
    found = image(tmp_path / "a", tmp_path / "b")
    _spoil(found, frame=3, at=at)
    with closing(opened(found)) as again:
        assert again.get(b"newest") == b"3"
        again.commit(small(7))
        assert again.get(b"newest") == b"7"
    store.close()


def test_a_frame_that_is_missing_before_others_is_damage(tmp_path: Path) -> None:
    store = journaled(tmp_path / "a", 4)
    found = image(tmp_path / "a", tmp_path / "b")
    _spoil(found, frame=1, at=60)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=r"frame 1 cannot be read, and frame 2 can; .* from a backup, or delete"):
            opened(found)
    with pytest.raises(StoreDamaged, match="frame 1 cannot be read"):
        LmdbSnapshot(found)
    (found / "journal").unlink()
    with closing(opened(found)) as again:
        assert again.get(b"newest") == b"0"
    store.close()


def test_a_journal_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    store = journaled(tmp_path / "a")
    found = image(tmp_path / "a", tmp_path / "b")
    os.truncate(found / "journal", 2 * BLOCK)
    with pytest.raises(StoreDamaged, match="it was cut short"):
        opened(found)
    store.close()


def test_a_journal_that_is_gone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = journaled(tmp_path / "a")
    found = image(tmp_path / "a", tmp_path / "b")
    (found / "journal").unlink()
    with caplog.at_level(logging.WARNING), closing(opened(found)) as again:
        assert again.get(b"newest") == b"0"
        for number in (20, 21):
            again.commit(small(number))
        assert again._ahead.pending, "there is a journal again"
        assert_recovers(found, tmp_path / "c", b"21")
    assert "unless you stop it now and put the file back" in caplog.text
    store.close()


def test_what_another_version_wrote_over_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = journaled(tmp_path / "a")
    found = image(tmp_path / "a", tmp_path / "b")
    with lmdb.open(str(found), max_dbs=1) as environment:
        records = environment.open_db(b"records", create=False)
        with environment.begin(records, write=True) as transaction:
            transaction.put(b"newest", b"of the other")
    with closing(LmdbSnapshot(found)) as snapshot:
        assert snapshot.get(b"newest") == b"of the other"
    with caplog.at_level(logging.WARNING), closing(opened(found)) as again:
        assert again.get(b"newest") == b"of the other"
        for number in (20, 21):
            again.commit(small(number))
        assert_recovers(found, tmp_path / "c", b"21")
    assert f"5 commits of the journal are not used, since another version of grpcflow has written to {found}" in (
        caplog.text
    )
    assert (found / UNUSED).exists()
    store.close()


def test_a_journal_of_another_file_is_not_read(tmp_path: Path) -> None:
    store, other = journaled(tmp_path / "a", 2), journaled(tmp_path / "b", 4)
    found = image(tmp_path / "a", tmp_path / "c")
    shutil.copy(tmp_path / "b" / "journal", found / "journal")
    with closing(opened(found)) as again:
        assert again.get(b"newest") == b"0"
    store.close()
    other.close()


def test_a_journal_that_was_made_and_never_named_is_nobodys(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    (tmp_path / "journal").write_bytes(b"begun")
    with closing(opened(tmp_path)) as store:
        assert content(store) == []
        assert not (tmp_path / "journal").exists()


# --- a disk that is full, or fails


def test_where_there_is_no_plenty_of_room_there_is_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "free_bytes", lambda _: 16 * SMALLEST_JOURNAL - 1)
    with closing(opened(tmp_path)) as store:
        for number in range(3):
            store.commit(small(number))
        assert in_file(tmp_path) == content(store)
        assert not (tmp_path / "journal").exists()


def test_a_journal_that_cannot_be_made_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with closing(opened(tmp_path)) as store:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", refuse)
            store.commit(small(0))
        store.commit(small(1))
        assert in_file(tmp_path) == content(store)
    assert "No space left on device; commits take longer" in caplog.text


def test_a_journal_that_cannot_be_written_ends_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = journaled(tmp_path)
    expected = content(store)

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        with pytest.raises(StoreFailed, match=r"writing .* failed: .*Input/output error"):
            store.commit(small(8))
    for _ in range(2):
        with pytest.raises(StoreFailed, match="Input/output error"):
            store.commit(small(8))
    with pytest.raises(StoreFailed, match="Input/output error"):
        store.tidy()
    assert content(store) == expected, "reads go on"
    store.close()
    with closing(opened(tmp_path)) as again:
        assert content(again) == expected


def test_a_frame_that_was_written_in_part_ends_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = journaled(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda *_: 100)
        with pytest.raises(StoreFailed, match="was not written wholly"):
            store.commit(small(8))
    store.close()


def test_what_finds_no_room_in_the_file_stays_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = journaled(tmp_path)
    expected = content(store)

    def full(*_: object, **__: object) -> None:
        raise lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.ENOSPC)}")

    with monkeypatch.context() as patched:
        patched.setattr(store, "_write", full)
        for commit in (store.tidy, lambda: store.commit(large(9))):
            with pytest.raises(StoreFull):
                commit()
        store.commit(small(6))
        assert_recovers(tmp_path, tmp_path.with_name("full"), b"6")
        store.close()
    with closing(opened(tmp_path)) as again:
        assert content(again)[:-1] == [*expected[:-1], (b"n0006", b"6")]
        again.tidy()
        again.commit(large(9))
    with closing(opened(tmp_path)) as again:
        assert again.get(b"newest") == b"9"


def test_a_file_system_that_cannot_write_past_its_memory_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def without(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", without)
    store = journaled(tmp_path)
    assert_recovers(tmp_path, tmp_path.with_name("image"), b"5")
    store.close()


def test_a_disk_of_larger_blocks_is_written_to_by_way_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = journaled(tmp_path)
    real, refused = os.pwrite, [errno.EINVAL]

    def once(*arguments: Any) -> int:
        if refused:
            raise OSError(refused.pop(), "of no use")
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", once)
    store.commit(small(6))
    store.commit(small(7))
    assert_recovers(tmp_path, tmp_path.with_name("blocks"), b"7")
    store.close()


def test_a_commit_that_changes_nothing_does_not_count(tmp_path: Path) -> None:
    store = journaled(tmp_path)
    store.tidy()
    store.commit(Batch({}, {b"none%d" % number for number in range(200)}))
    store.commit(small(6))
    assert_recovers(tmp_path, tmp_path.with_name("nothing"), b"6")
    store.close()


def test_a_file_is_compacted_with_what_the_journal_of_a_killed_coordinator_has(tmp_path: Path) -> None:
    store = journaled(tmp_path / "a")
    found = image(tmp_path / "a", tmp_path / "b")
    compact(found)
    assert not (found / "journal").exists()
    assert in_file(found) == content(store)
    with closing(opened(found)) as again:
        assert content(again) == content(store)
    store.close()


def _compare(store: Store, model: dict[bytes, bytes], rng: random.Random) -> None:
    """Compare some scans of a store with what they are to give."""
    for _ in range(6):
        start, end = sorted(b"n%04d" % rng.randrange(130) for _ in range(2))
        limit, reverse = rng.randrange(1, 8), rng.random() < 0.5
        expected = sorted(((key, model[key]) for key in model if start <= key < end), reverse=reverse)[:limit]
        assert store.scan(start, end, limit, reverse=reverse) == expected
        if not reverse:
            assert store.keys(start, end, limit) == [key for key, _ in expected]
        assert store.get(start) == model.get(start)


def _spoil(folder: Path, *, frame: int, at: int) -> None:
    """Change one byte of a frame; all frames have one block."""
    with (folder / "journal").open("r+b") as file:
        file.seek(frame * BLOCK + at)
        byte = file.read(1)[0]
        file.seek(frame * BLOCK + at)
        file.write(bytes((byte ^ 0x55,)))
