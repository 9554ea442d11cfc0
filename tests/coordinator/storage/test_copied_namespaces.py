"""The commands on folders take the namespaces of a data folder along, or say that they do not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.coordinator.support.storied import tell

from grpcflow_coordinator import tools
from grpcflow_coordinator.namespaces import NAMESPACES, folder_of, names_in
from grpcflow_coordinator.storage import copies, keys
from grpcflow_coordinator.storage.contract import Batch, StoreDamaged
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_opening import DATA, RESTORING
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot

NAMES = ("", "team-a", "team-b")


@pytest.fixture(scope="module")
def storied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which each namespace has a story, and one name that nobody can tell from another by it."""
    story = dict(tell().store.scan(b"", b"\xff" * 8, 1 << 30))
    folder = tmp_path_factory.mktemp("storied") / "data"
    for name in NAMES:
        store = LmdbStore(folder_of(folder, name))
        store.commit(Batch({**story, b"\xfe" + name.encode(): b"mark"}))
        store.close()
    (folder / NAMESPACES / "opened-just-now").mkdir()
    (folder / NAMESPACES / "No Namespace").mkdir()
    return folder


@pytest.fixture
def data(tmp_path: Path, storied: Path) -> Path:
    """The same for one test."""
    return shutil.copytree(storied, tmp_path / "data")


def contents(folder: Path) -> dict[bytes, bytes]:
    """Returns all records but the count of starts."""
    snapshot = LmdbSnapshot(folder)
    found = dict(snapshot.scan(b"", b"\xff" * 8, 1 << 30))
    snapshot.close()
    return {key: value for key, value in found.items() if key != keys.EPOCH}


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])  # type: ignore[arg-type]


def test_a_backup_takes_each_namespace_along_and_a_restore_brings_each_back(data: Path, tmp_path: Path) -> None:
    made = run(tools.backup, tmp_path / "backup", "--data", data)
    assert "with 2 namespaces" in made.output, made.output
    restored = run(tools.restore, tmp_path / "backup", "--data", tmp_path / "again")
    assert "with 2 namespaces" in restored.output, restored.output
    assert names_in(tmp_path / "again") == ["team-a", "team-b"]
    for name in NAMES:
        assert contents(folder_of(tmp_path / "again", name)) == contents(folder_of(data, name))
        LmdbStore(folder_of(tmp_path / "again", name)).close()


def test_one_namespace_of_a_backup_is_restored_by_its_own_folder(data: Path, tmp_path: Path) -> None:
    run(tools.backup, tmp_path / "backup", "--data", data)
    shutil.rmtree(folder_of(data, "team-a"))
    restored = run(tools.restore, folder_of(tmp_path / "backup", "team-a"), "--data", folder_of(data, "team-a"))
    assert restored.exit_code == 0, restored.output
    assert contents(folder_of(data, "team-a")) == contents(folder_of(tmp_path / "backup", "team-a"))


#: Restores a backup, and dies like one that is killed as it is about to give a file of some name its place.
KILLED = """
import os, sys
from pathlib import Path
from grpcflow_coordinator.storage import copies
whole = Path.rename
Path.rename = lambda path, target: os._exit(9) if path.name == sys.argv[3] else whole(path, target)
copies.restore(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("last", [NAMESPACES, DATA])
def test_a_restore_that_is_killed_between_two_renames_is_begun_anew_by_the_same_command(
    data: Path, tmp_path: Path, last: str
) -> None:
    run(tools.backup, tmp_path / "backup", "--data", data)
    again = tmp_path / "again"
    died = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "backup", again, last], timeout=150, check=False)
    assert died.returncode == 9
    assert (again / NAMESPACES).exists() is (last == DATA)
    with pytest.raises(StoreDamaged, match="run it again"):
        LmdbStore(again)
    restored = run(tools.restore, tmp_path / "backup", "--data", again)
    assert restored.exit_code == 0, restored.output
    assert names_in(again) == ["team-a", "team-b"]
    assert not (again / RESTORING).exists()
    for name in NAMES:
        assert contents(folder_of(again, name)) == contents(folder_of(data, name))


def test_a_restore_that_fails_at_its_last_step_gives_the_folder_of_namespaces_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tools.backup, tmp_path / "backup", "--data", data)
    whole = Path.rename

    def fails(path: Path, target: Path) -> Path:
        if path.name == DATA:
            raise OSError(5, "Input/output error")
        return whole(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails)
        assert run(tools.restore, tmp_path / "backup", "--data", tmp_path / "again").exit_code != 0
    assert not (tmp_path / "again" / NAMESPACES).exists()
    assert run(tools.restore, tmp_path / "backup", "--data", tmp_path / "again").exit_code == 0


def test_namespaces_of_somebody_else_are_left_alone_by_every_try(data: Path, tmp_path: Path) -> None:
    run(tools.backup, tmp_path / "backup", "--data", data)
    mine = folder_of(tmp_path / "again", "mine")
    mine.mkdir(parents=True)
    (mine / "kept").touch()
    for _ in range(2):
        refused = run(tools.restore, tmp_path / "backup", "--data", tmp_path / "again")
        assert "move that folder away first" in refused.output
    assert (mine / "kept").exists()


@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_a_backup_that_lacks_a_namespace_is_not_restored_in_part(data: Path, tmp_path: Path, damage: str) -> None:
    run(tools.backup, tmp_path / "backup", "--data", data)
    inner = folder_of(tmp_path / "backup", "team-b")
    if damage == "gone":
        shutil.rmtree(inner)
    else:
        with (inner / "data.mdb").open("r+b") as file:
            file.seek(100)
            file.write(b"\xff")
    refused = run(tools.restore, tmp_path / "backup", "--data", tmp_path / "again")
    assert refused.exit_code == 1
    assert "team-b" in refused.output
    assert not list((tmp_path / "again").rglob("data.mdb"))


def test_a_backup_that_names_a_path_is_none(data: Path, tmp_path: Path) -> None:
    run(tools.backup, tmp_path / "backup", "--data", data)
    manifest = tmp_path / "backup" / "backup.json"
    manifest.write_text(manifest.read_text().replace('"team-a"', '"../team-a"'))
    refused = run(tools.restore, tmp_path / "backup", "--data", tmp_path / "again")
    assert refused.exit_code == 1
    assert "is no whole backup" in refused.output


def test_no_namespace_is_written_over(data: Path, tmp_path: Path) -> None:
    run(tools.backup, tmp_path / "backup", "--data", data)
    (data / "data.mdb").unlink()
    before = contents(folder_of(data, "team-a"))
    refused = run(tools.restore, tmp_path / "backup", "--data", data)
    assert refused.exit_code == 1
    assert f"there are data in {data / NAMESPACES}: move that folder away" in refused.output
    assert contents(folder_of(data, "team-a")) == before


def test_nothing_is_left_of_a_backup_that_fails_in_a_namespace(data: Path, tmp_path: Path) -> None:
    (folder_of(data, "team-b") / "data.mdb").write_bytes(b"no store")
    assert run(tools.backup, tmp_path / "backup", "--data", data).exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_check_compact_and_migrate_look_at_each(data: Path) -> None:
    for command, ends in ((tools.check, 0), (tools.compact, 0), (tools.migrate, 0)):
        ran = run(command, "--data", data)
        assert ran.exit_code == ends, ran.output
        for name in NAMES:
            assert f"{folder_of(data, name)}" in ran.output
    finalised = run(tools.migrate, "--finalise", "--data", data)
    assert finalised.output.count("has format 2 now") == 3
    store = LmdbStore(folder_of(data, "team-a"))
    store.commit(Batch({keys.TIMER + b"\x00" * 8: b"nonsense"}))
    store.close()
    broken = run(tools.check, "--data", data)
    assert broken.exit_code == tools.BROKEN, broken.output


def test_an_export_says_what_is_not_in_it(data: Path, tmp_path: Path) -> None:
    exported = run(tools.export, tmp_path / "stream", "--data", data)
    assert exported.exit_code == 0
    assert "Its 3 namespaces are not in it: export each by its own folder" in exported.output
    assert f"--data {folder_of(data, 'opened-just-now')}" in exported.output


def test_a_backup_without_namespaces_says_nothing_of_them(tmp_path: Path) -> None:
    LmdbStore(tmp_path / "data").close()
    manifest = copies.backup(tmp_path / "data", tmp_path / "backup", version="1", timeout=60)
    assert manifest.namespaces == []
    assert not (tmp_path / "backup" / NAMESPACES).exists()
