"""Room at the end of the data file: made ahead, only where there is plenty, and never over what is there."""

from __future__ import annotations

import logging
import os
import random
from contextlib import closing
from pathlib import Path

import pytest

from grpcflow_coordinator.storage import file_room
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.file_room import SMALL, FileRoom
from grpcflow_coordinator.storage.lmdb import LmdbStore

ROOM = 1 << 20


def finished(room: FileRoom) -> None:
    """Wait until no room is being made."""
    thread = room._thread
    if thread is not None:
        thread.join(60)
        assert not thread.is_alive()


def file_of(folder: Path, size: int) -> Path:
    """Return a file of so many bytes of ones."""
    file = folder / "data"
    file.write_bytes(b"\x01" * size)
    return file


def test_room_is_written_behind_what_is_used_and_nothing_before_it_is_touched(tmp_path: Path) -> None:
    file = file_of(tmp_path, SMALL)
    room = FileRoom(file, ROOM)
    room.used(SMALL)
    finished(room)
    data = file.read_bytes()
    assert data[:SMALL] == b"\x01" * SMALL
    assert len(data) >= SMALL + ROOM
    assert not any(data[SMALL:])
    assert room.bytes_left() == len(data) - SMALL


def test_more_is_made_when_half_of_it_is_used(tmp_path: Path) -> None:
    file = file_of(tmp_path, SMALL)
    room = FileRoom(file, ROOM)
    room.used(SMALL)
    finished(room)
    length = file.stat().st_size
    room.used(SMALL + ROOM // 4)
    finished(room)
    assert file.stat().st_size == length
    room.used(SMALL + ROOM // 2 + (256 << 10))
    finished(room)
    assert file.stat().st_size > length


@pytest.mark.parametrize(("used", "room"), [(SMALL - 1, ROOM), (SMALL, 0)])
def test_a_small_store_and_one_without_room_are_left_as_they_are(tmp_path: Path, used: int, room: int) -> None:
    file = file_of(tmp_path, SMALL)
    one = FileRoom(file, room)
    one.used(used)
    finished(one)
    assert file.stat().st_size == SMALL


def test_a_disk_without_plenty_of_space_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_room, "free_bytes", lambda _: 15 * ROOM)
    file = file_of(tmp_path, SMALL)
    room = FileRoom(file, ROOM)
    for _ in range(2):
        room.used(SMALL)
        finished(room)
    assert file.stat().st_size == SMALL


def test_a_disk_that_fails_is_told_of_once_and_left_to_the_commits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    room = FileRoom(tmp_path / "gone", ROOM)
    with caplog.at_level(logging.WARNING, "grpcflow.coordinator.storage"):
        for _ in range(2):
            room.used(SMALL)
            finished(room)
    [told] = caplog.records
    assert "no more room is made ahead" in told.getMessage()


def test_a_closed_one_writes_no_more(tmp_path: Path) -> None:
    file = file_of(tmp_path, SMALL)
    room = FileRoom(file, 64 * ROOM)
    room.used(SMALL)
    room.close()
    length = file.stat().st_size
    room.used(SMALL)
    finished(room)
    assert file.stat().st_size == length


def test_commits_beside_the_making_of_room_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    # As many meetings as there can be: small pieces, no pauses, and no thought of who is busy.
    monkeypatch.setattr(file_room, "_PIECE", 4096)
    monkeypatch.setattr(file_room, "_PAUSE", 0.0)
    monkeypatch.setattr(file_room, "_BUSY", 0.0)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    written: dict[bytes, bytes] = {}
    with closing(LmdbStore(tmp_path, room=ROOM)) as store:
        for number in range(150):
            batch = {f"{chance.randrange(300):04}".encode(): chance.randbytes(chance.randrange(100_000))}
            store.commit(Batch(batch))
            written |= batch
            assert store.size_bytes() > 0, number
    assert (tmp_path / "data.mdb").stat().st_size > SMALL
    with closing(LmdbStore(tmp_path)) as store:
        assert dict(store.scan(b"", b"\xff", 1_000)) == written


def test_room_is_not_counted_as_used_and_may_still_be_written(tmp_path: Path) -> None:
    with closing(LmdbStore(tmp_path, room=64 * ROOM)) as store:
        store.commit(Batch({b"k": b"v" * SMALL}))
        store.commit(Batch({b"l": b"v" * SMALL}))
        finished(store._room)
        assert store.size_bytes() < 4 * SMALL
        assert (tmp_path / "data.mdb").stat().st_size > 64 * ROOM
        assert store._room.bytes_left() > 60 * ROOM
