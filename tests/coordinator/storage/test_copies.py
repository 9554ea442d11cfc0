"""Backup, restore, compact, export and import of whole folders: what has its name is whole, nothing is overwritten."""

import io
import json
import os
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.support.log_state import logs_put_back

from grpcflow_coordinator import tools
from grpcflow_coordinator.__main__ import command
from grpcflow_coordinator.core.model import TOKEN_NUMBER_BITS
from grpcflow_coordinator.storage import copies, formats, keys, lmdb_opening, portable
from grpcflow_coordinator.storage.contract import Batch, StoreDamaged, StoreFull, StoreLocked
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot
from grpcflow_coordinator.storage.memory import MemoryStore

EVERYTHING = 1 << 30


def contents(folder: Path) -> dict[bytes, bytes]:
    """Return all records of a folder but the count of starts, and see that it steps ahead where it was copied."""
    snapshot = LmdbSnapshot(folder)
    found = dict(snapshot.scan(b"", b"\xff" * 8, EVERYTHING))
    snapshot.close()
    return found


def without_epoch(found: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in found.items() if key != keys.EPOCH}


def epoch(found: dict[bytes, bytes]) -> int:
    return formats.read_number(found[keys.EPOCH])


def run(command: object, *arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments], input=stdin)  # type: ignore[arg-type]


def test_a_backup_is_restored_and_counts_its_starts_from_where_nobody_was(data: Path, tmp_path: Path) -> None:
    before = contents(data)
    made = run(tools.backup, tmp_path / "backup", "--data", data)
    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]
    epochs = set()
    for name in ("first", "second", "third"):
        restored = run(tools.restore, tmp_path / "backup", "--data", tmp_path / name)
        assert restored.exit_code == 0, restored.output
        after = contents(tmp_path / name)
        assert without_epoch(after) == without_epoch(before)
        epochs.add(epoch(after))
        assert not (tmp_path / name / lmdb_opening.RESTORING).exists()
    assert min(epochs) >= epoch(before) + copies.EPOCHS_AHEAD
    assert max(epochs) < 1 << (64 - TOKEN_NUMBER_BITS)
    assert len(epochs) > 1, "two restored stores would hand out the same tokens"
    assert contents(data) == before


def test_a_backup_says_what_it_is_and_is_not_made_twice(data: Path, tmp_path: Path) -> None:
    manifest = copies.backup(data, tmp_path / "backup", version="9.9", timeout=60)
    assert msgspec.to_builtins(manifest) == json.loads((tmp_path / "backup" / lmdb_opening.MANIFEST).read_text())
    assert manifest.bytes == (tmp_path / "backup" / "data.mdb").stat().st_size
    assert (manifest.version, manifest.format) == ("9.9", 1)
    with pytest.raises(copies.CopyRefused, match="exists: name a folder that does not"):
        copies.backup(data, tmp_path / "backup", version="9.9", timeout=60)


@pytest.mark.parametrize("damage", ["flipped", "cut", "no manifest", "no data", "manifest of another kind"])
def test_a_backup_that_is_not_what_it_was_is_not_restored(data: Path, tmp_path: Path, damage: str) -> None:
    backup, target = tmp_path / "backup", tmp_path / "target"
    copies.backup(data, backup, version="1", timeout=60)
    file = backup / "data.mdb"
    content = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(content[:9000] + bytes((content[9000] ^ 1,)) + content[9001:])
    elif damage == "cut":
        file.write_bytes(content[:-4096])
    elif damage == "no data":
        file.unlink()
    elif damage == "no manifest":
        (backup / lmdb_opening.MANIFEST).unlink()
    else:
        (backup / lmdb_opening.MANIFEST).write_text('["?"]')
    result = run(tools.restore, backup, "--data", target)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert not (target / "data.mdb").exists()


def test_a_restore_overwrites_nothing(data: Path, tmp_path: Path) -> None:
    copies.backup(data, tmp_path / "backup", version="1", timeout=60)
    before = (data / "data.mdb").read_bytes()
    result = run(tools.restore, tmp_path / "backup", "--data", data)
    assert result.exit_code == 1
    assert "there are data in" in result.output
    assert (data / "data.mdb").read_bytes() == before


def test_a_restore_that_was_interrupted_is_begun_anew(data: Path, tmp_path: Path) -> None:
    copies.backup(data, tmp_path / "backup", version="1", timeout=60)
    target = tmp_path / "target"
    (target / lmdb_opening.RESTORING).mkdir(parents=True)
    (target / lmdb_opening.RESTORING / "data.mdb").write_bytes(b"half")
    copies.restore(tmp_path / "backup", target)
    assert without_epoch(contents(target)) == without_epoch(contents(data))


def test_a_backup_of_a_newer_version_says_which(data: Path, tmp_path: Path) -> None:
    copies.backup(data, tmp_path / "backup", version="77", timeout=60)
    manifest = json.loads((tmp_path / "backup" / lmdb_opening.MANIFEST).read_text())
    (tmp_path / "backup" / lmdb_opening.MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(copies.CopyRefused, match="made by grpcflow 77 in format 99: restore it with that version"):
        copies.restore(tmp_path / "backup", tmp_path / "target")


def test_a_copy_that_has_no_room_is_refused_with_the_numbers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: type("Disk", (), {"f_bavail": 1, "f_frsize": 4096})())
    with pytest.raises(StoreFull, match=r"4096 bytes free, and up to .* are needed"):
        copies.backup(data, tmp_path / "backup", version="1", timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_compacting_keeps_every_record_and_gives_the_free_pages_back(data: Path) -> None:
    store = LmdbStore(data)
    store.commit(Batch({b"\x00\x00\x00zz%d" % number: b"v" * 5000 for number in range(200)}))
    store.commit(Batch({}, {b"\x00\x00\x00zz%d" % number for number in range(200)}))
    with pytest.raises(StoreLocked):
        copies.compact(data)
    store.close()
    before = contents(data)
    size, smaller = copies.compact(data)
    assert smaller < size - 500_000
    assert contents(data) == before
    assert (data / "data.mdb").stat().st_mode & 0o777 == 0o600
    LmdbStore(data).close()


def test_an_export_is_imported_whole(data: Path, tmp_path: Path) -> None:
    before = contents(data)
    assert run(tools.export, tmp_path / "stream", "--data", data).exit_code == 0
    imported = run(tools.import_, tmp_path / "stream", "--data", tmp_path / "new")
    assert imported.exit_code == 0, imported.output
    after = contents(tmp_path / "new")
    assert without_epoch(after) == without_epoch(before)
    assert epoch(after) >= epoch(before) + copies.EPOCHS_AHEAD
    again = run(tools.import_, tmp_path / "stream", "--data", tmp_path / "new")
    assert again.exit_code == 1
    assert "there are data in" in again.output


def stream_of(records: dict[bytes, bytes]) -> bytes:
    store, stream = MemoryStore(), io.BytesIO()
    store.commit(Batch(dict(records)))
    portable.export(store, stream, store_format=1, version="1")
    return stream.getvalue()


def test_every_cut_and_every_flipped_byte_of_a_stream_is_found() -> None:
    records = {b"\x00\x00\x00k%03d" % number: b"v" * number for number in range(60)}
    whole = stream_of(records)
    target = MemoryStore()
    assert portable.load(io.BytesIO(whole), target, newest=2)[1] == 60
    assert dict(target.scan(b"", b"\xff", EVERYTHING)) == records
    for length in range(len(whole)):
        with pytest.raises(StoreDamaged):
            portable.load(io.BytesIO(whole[:length]), MemoryStore(), newest=2)
    for at in range(len(whole)):
        with pytest.raises(StoreDamaged):
            portable.load(
                io.BytesIO(whole[:at] + bytes((whole[at] ^ 0x41,)) + whole[at + 1 :]), MemoryStore(), newest=2
            )


def test_a_stream_of_a_newer_format_or_of_another_thing_is_refused() -> None:
    stream = io.BytesIO()
    portable.export(MemoryStore(), stream, store_format=3, version="42")
    with pytest.raises(portable.StreamDamaged, match="made by grpcflow 42 in format 3, this version reads up to 2"):
        portable.load(io.BytesIO(stream.getvalue()), MemoryStore(), newest=2)
    with pytest.raises(portable.StreamDamaged, match="no export that this version reads"):
        portable.load(io.BytesIO(b"grpcflow store 2\n"), MemoryStore(), newest=2)


def test_an_import_that_fails_leaves_no_store_behind(tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(stream_of({b"\x00\x00\x00k": b"v"})[:-5])
    result = run(tools.import_, tmp_path / "stream", "--data", tmp_path / "new")
    assert result.exit_code == 1
    assert "cut short" in result.output
    assert not (tmp_path / "new" / "data.mdb").exists()
    with pytest.raises(StoreDamaged, match="did not come to its end"):
        LmdbStore(tmp_path / "new")


def test_check_tells_by_its_exit_code(data: Path, tmp_path: Path) -> None:
    assert run(tools.check, "--data", data).exit_code == 0
    store = LmdbStore(data)
    store.commit(Batch({}, {next(iter(store.keys(keys.ALIAS, keys.after(keys.ALIAS), 1)))}))
    store.close()
    result = run(tools.check, "--data", data)
    assert result.exit_code == 1
    assert "broken   alias: the id 'my-own' does not lead to" in result.output
    nowhere = run(tools.check, "--data", tmp_path / "nowhere")
    assert nowhere.exit_code == 1
    assert "there is no store in" in nowhere.output


def test_a_folder_is_finalised_once_and_says_so(data: Path) -> None:
    assert "has format 1, which the release before reads too" in run(tools.migrate, "--data", data).output
    assert "has format 2 now" in run(tools.migrate, "--finalise", "--data", data).output
    assert "has format 2, the newest one" in run(tools.migrate, "--finalise", "--data", data).output
    snapshot = LmdbSnapshot(data)
    assert json.loads(snapshot.description())["finalised_by"].startswith("grpcflow ")
    snapshot.close()


def test_a_start_after_one_that_died_of_a_broken_page_says_how_to_restore(data: Path) -> None:
    content = bytearray((data / "data.mdb").read_bytes())
    for page in range(3, len(content) // 4096):
        content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    (data / "data.mdb").write_bytes(content)
    (data / lmdb_opening.STARTING).touch()
    with pytest.raises(StoreDamaged, match=r"has pages that cannot be read: .*grpcflow-coordinator restore BACKUP"):
        LmdbStore(data)
    assert bytes(content) == (data / "data.mdb").read_bytes()


def test_a_start_that_was_killed_costs_the_next_one_a_reading_and_no_more(data: Path) -> None:
    (data / lmdb_opening.STARTING).touch()
    store = LmdbStore(data)
    assert (data / lmdb_opening.STARTING).exists()
    store.recovered()
    assert not (data / lmdb_opening.STARTING).exists()
    store.close()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (formats.encode((formats.VERSION + 1, 7)), "a record of format 2 was found; this coordinator reads up to 1"),
        (b"\xc1torn", "a record cannot be read"),
    ],
    ids=["newer", "torn"],
)
def test_a_start_on_records_that_cannot_be_read_says_what_to_do(data: Path, record: bytes, words: str) -> None:
    store = LmdbStore(data)
    store.commit(Batch({keys.EPOCH: record}))
    store.close()
    before = (data / "data.mdb").read_bytes()
    with logs_put_back():
        result = run(command, "--data", data, "--listen", "127.0.0.1:0")
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
    assert (data / "data.mdb").read_bytes() == before
