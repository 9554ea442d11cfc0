"""The commands on whole folders when something goes wrong: bad input, a full disk, an end in the middle, torn files."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.coordinator.support.holding import holding
from tests.support.log_state import logs_put_back

from grpcflow_coordinator import tools
from grpcflow_coordinator.__main__ import command
from grpcflow_coordinator.storage import copies, lmdb_opening, portable
from grpcflow_coordinator.storage.contract import Batch, StoreDamaged, StoreFailed
from grpcflow_coordinator.storage.folder_lock import FolderLock
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot
from grpcflow_coordinator.storage.memory import MemoryStore

EVERYTHING = 1 << 30


def contents(folder: Path) -> dict[bytes, bytes]:
    with closing(LmdbSnapshot(folder)) as snapshot:
        return dict(snapshot.scan(b"", b"\xff" * 8, EVERYTHING))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(*arguments: object) -> Result:
    """Run a command in this process, and see that it says what is wrong where something is."""
    result = CliRunner().invoke(command, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# --- bad input


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1"])
def test_a_backup_takes_some_time(data: Path, tmp_path: Path, seconds: str) -> None:
    result = run("backup", tmp_path / "backup", "--timeout", seconds, "--data", data)
    assert result.exit_code == 1
    assert "give more than 0 with --timeout" in result.output
    assert names(tmp_path) == ["data"]


@pytest.mark.parametrize("words", [("backup",), ("export",)], ids=lambda words: words[0])
def test_a_name_that_no_file_can_have_is_refused(data: Path, words: tuple[str]) -> None:
    result = run(*words, "x" * 300, "--data", data)
    assert result.exit_code == 1
    assert "File name too long" in result.output


def test_an_empty_name_of_the_data_folder_is_not_the_default_one(tmp_path: Path) -> None:
    """A script whose variable is not set must not restore over what another folder was to get."""
    result = run("compact", "--data", "")
    assert result.exit_code == 1
    assert "data is empty: name a folder with --data" in result.output


@pytest.mark.parametrize("made", ["x", -1, 1 << 60, None], ids=str)
def test_a_manifest_that_says_nonsense_is_found_before_anything_is_made(
    data: Path, tmp_path: Path, made: object
) -> None:
    manifest = copies.backup(data, tmp_path / "backup", version="1", timeout=60)
    said = msgspec.to_builtins(manifest) | {"made_unix_ms": made}
    (tmp_path / "backup" / lmdb_opening.MANIFEST).write_text(json.dumps(said))
    result = run("restore", tmp_path / "backup", "--data", tmp_path / "target")
    assert result.exit_code == 1
    assert "is no whole backup" in result.output
    assert not (tmp_path / "target").exists()


def test_a_backup_that_lacks_its_end_is_refused_before_it_is_copied(data: Path, tmp_path: Path) -> None:
    copies.backup(data, tmp_path / "backup", version="1", timeout=60)
    os.truncate(tmp_path / "backup" / "data.mdb", 0)
    result = run("restore", tmp_path / "backup", "--data", tmp_path / "target")
    assert result.exit_code == 1
    assert "has 0 bytes and had" in result.output
    assert not (tmp_path / "target").exists()


def test_a_backup_is_not_written_to(data: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    copies.backup(data, backup, version="1", timeout=60)
    before = (backup / "data.mdb").read_bytes()
    for words in (("compact",), ("migrate",), ("migrate", "--finalise"), ("--listen", "127.0.0.1:0")):
        with logs_put_back():
            result = run(*words, "--data", backup)
        assert result.exit_code == 1
        assert "is a backup, which a change would spoil" in result.output
    assert (backup / "data.mdb").read_bytes() == before
    assert run("check", "--data", backup).exit_code == 0
    copies.restore(backup, tmp_path / "target")


def test_a_file_of_nothing_is_not_taken_for_a_store_that_is_new(data: Path) -> None:
    os.truncate(data / "data.mdb", 0)
    for words in (("check",), ("compact",), ("migrate",), ("backup", data.parent / "b"), ("export", data.parent / "e")):
        result = run(*words, "--data", data)
        assert result.exit_code == 1
        assert "is empty, what was in it is gone; restore it from a backup" in result.output
    assert names(data.parent) == ["data"]
    assert (data / "data.mdb").stat().st_size == 0


def frames(*parts: object) -> io.BytesIO:
    """Return a stream of parts that are as they say, whatever they say."""
    stream = io.BytesIO(portable.MAGIC)
    stream.seek(0, io.SEEK_END)
    for part in parts:
        body = msgspec.msgpack.encode(part)
        stream.write(struct.pack(">II", len(body), zlib.crc32(body)) + body)
    stream.seek(0)
    return stream


HEADER = ["header", {"format": 1, "version": "1"}]


@pytest.mark.parametrize(
    "parts",
    [
        [["pairs", [[b"k", b"v"]]]],
        [["header"]],
        [["header", "?"]],
        [["header", {"format": "one", "version": "1"}]],
        [HEADER, ["pairs"]],
        [HEADER, ["pairs", []]],
        [HEADER, ["pairs", {}]],
        [HEADER, ["pairs", [[b"k"]]]],
        [HEADER, ["pairs", [["text", "text"]]]],
        [HEADER, ["pairs", [[b"", b"v"]]]],
        [HEADER, ["pairs", [[b"k" * 600, b"v"]]]],
        [HEADER, ["pairs", [[b"k", b"v"]]], ["pairs", [[b"a", b"v"]]]],
        [HEADER, ["end"]],
        [HEADER, ["end", 0, b"?"]],
        [HEADER, ["end", "?", 7]],
        [HEADER, HEADER],
        [HEADER, ["more"]],
        [7],
        [{}],
    ],
    ids=str,
)
def test_a_stream_of_well_made_nonsense_is_refused(parts: list[object]) -> None:
    with pytest.raises(StoreDamaged, match=r"export|is broken"):
        portable.load(frames(*parts), MemoryStore(), newest=2)


# --- what stands at a name is whole, and what failed gives its room back


def test_an_export_overwrites_nothing_and_is_for_its_owner(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "stream"
    assert run("export", target, "--data", data).exit_code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    before = target.read_bytes()
    for folder in (data, tmp_path / "nowhere"):
        assert run("export", target, "--data", folder).exit_code == 1
    assert target.read_bytes() == before
    assert names(tmp_path) == ["data", "stream"]


def test_an_export_to_a_full_disk_says_so(data: Path) -> None:
    result = run("export", "/dev/full", "--data", data)
    assert result.exit_code == 1
    assert "No space left on device" in result.output


@pytest.mark.parametrize("words", [("backup",), ("export",)], ids=lambda words: words[0])
def test_what_fails_in_the_middle_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str]
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copies, "_digest", no_room)
    monkeypatch.setattr(portable, "_blocks", no_room)
    result = run(*words, tmp_path / "made", "--data", data)
    assert result.exit_code == 1
    assert "made cannot be written: [Errno 28] No space left on device" in result.output
    assert names(tmp_path) == ["data"]


def test_what_a_killed_process_left_is_taken_away_by_the_next_one(data: Path, tmp_path: Path) -> None:
    for folder, name in ((tmp_path, "backup"), (tmp_path, "stream"), (data, "compacted")):
        left = folder / f"{name}{copies.PARTIAL}"
        left.mkdir()
        (left / "data.mdb").write_bytes(b"half")
        (left / "stream").write_bytes(b"half")
        (left / "coordinator.lock").write_text("1\n")
    copies.backup(data, tmp_path / "backup", version="1", timeout=60)
    copies.compact(data)
    assert run("export", tmp_path / "stream", "--data", data).exit_code == 0
    assert names(tmp_path) == ["backup", "data", "stream"]
    assert names(tmp_path / "backup") == [lmdb_opening.MANIFEST, "data.mdb"]
    assert not [name for name in names(data) if copies.PARTIAL in name]


def test_two_do_not_make_the_same(data: Path, tmp_path: Path) -> None:
    partial = tmp_path / f"backup{copies.PARTIAL}"
    partial.mkdir()
    with FolderLock(partial):
        (partial / "data.mdb").write_bytes(b"half")
        with pytest.raises(copies.CopyRefused, match="is being made by another process"):
            copies.backup(data, tmp_path / "backup", version="1", timeout=60)
        assert (partial / "data.mdb").read_bytes() == b"half"


def test_a_restore_that_fails_gives_the_room_back_and_still_bars_the_folder(data: Path, tmp_path: Path) -> None:
    backup, target = tmp_path / "backup", tmp_path / "target"
    copies.backup(data, backup, version="1", timeout=60)
    whole = (backup / "data.mdb").read_bytes()
    (backup / "data.mdb").write_bytes(whole[:9000] + b"?" + whole[9001:])
    with pytest.raises(copies.CopyRefused, match="is not what it was"):
        copies.restore(backup, target)
    assert not [file for file in (target / lmdb_opening.RESTORING).iterdir() if file.stat().st_size > 100]
    with pytest.raises(StoreDamaged, match="did not come to its end: run it again"):
        LmdbStore(target)
    (backup / "data.mdb").write_bytes(whole)
    copies.restore(backup, target)
    LmdbStore(target).close()


def test_a_backup_that_takes_too_long_is_given_up_and_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def slowly(_: LmdbSnapshot, folder: Path) -> None:
        (folder / "data.mdb").write_bytes(b"half")
        over.wait(30)

    monkeypatch.setattr(LmdbSnapshot, "copy_to", slowly)
    with pytest.raises(copies.CopyGivenUp, match=r"not done within 0\.05 s, and nothing of it is kept"):
        copies.backup(data, tmp_path / "backup", version="1", timeout=0.05)
    assert names(tmp_path) == ["data"]
    over.set()


def test_a_backup_that_is_interrupted_ends_while_its_thread_still_copies(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read must not be closed below the thread: LMDB would read where nothing is."""
    over, copying = threading.Event(), threading.Event()

    def slowly(_: LmdbSnapshot, folder: Path) -> None:
        (folder / "data.mdb").write_bytes(b"half")
        copying.set()
        over.wait(30)

    def interrupted(_: object, timeout: float) -> None:
        assert copying.wait(timeout)
        raise KeyboardInterrupt

    monkeypatch.setattr(LmdbSnapshot, "copy_to", slowly)
    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(copies.CopyGivenUp, match="was interrupted, and nothing of it is kept"):
        copies.backup(data, tmp_path / "backup", version="1", timeout=30)
    assert names(tmp_path) == ["data"]
    over.set()


# --- somebody reads meanwhile


@pytest.mark.parametrize("commits", [0, 1, 2, 3])
def test_a_folder_that_is_compacted_while_somebody_reads_it_is_whole_for_the_next(data: Path, commits: int) -> None:
    """A reader keeps the table of readers, which says which of its two heads the file stands at."""
    with closing(LmdbStore(data)) as store:
        for number in range(commits):
            store.commit(Batch({b"\x00\x00\x00zz": b"%d" % number}))
        store.finalise(b"{}")
    before = contents(data)
    with holding(LmdbSnapshot, data) as reader:
        copies.compact(data)
        with closing(LmdbStore(data)) as store:
            assert store.format == 2
            assert dict(store.scan(b"", b"\xff" * 8, EVERYTHING)) == before
            store.commit(Batch({}, {b"\x00\x00\x00zz"}))
        assert int(reader.communicate(timeout=150)[0]) == len(before)


# --- torn files, and an end from outside


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a command as a shell does."""
    words = [sys.executable, "-m", "grpcflow_coordinator", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_pages_of_nonsense_end_no_command_without_a_word(data: Path, tmp_path: Path) -> None:
    """LMDB ends a process that meets such a page; whoever started the command is told what to do."""
    os.truncate(data / "data.mdb", 3 * 4096)
    commands = [("check",), ("backup", tmp_path / "b"), ("export", tmp_path / "e"), ("compact",)]
    started = [start(*words, "--data", data) for words in commands]
    for words, process in zip(commands, started, strict=True):
        told = process.communicate(timeout=150)[0]
        assert process.returncode in (tools.BROKEN, tools.UNREADABLE), (words, told)
        assert "restore it from a backup: move" in told, words
    assert (data / "data.mdb").stat().st_size == 3 * 4096


def test_a_start_that_cannot_read_for_another_reason_does_not_call_the_folder_broken(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading that the system killed says nothing of the pages: who restored a backup for it would lose work."""
    (data / lmdb_opening.STARTING).touch()

    def killed(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, -signal.SIGKILL, "", "")

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", killed)
        with pytest.raises(StoreFailed, match=r"could not be read through \(signal 9\): nothing is known of it"):
            LmdbStore(data)
    LmdbStore(data).close()
