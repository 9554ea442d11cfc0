"""Where a data folder may lie: file systems that LMDB cannot trust are refused, unless that is said aloud."""

from pathlib import Path

import pytest

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.realm import open_store
from grpcflow_coordinator.storage import ground
from grpcflow_coordinator.storage.contract import StoreUntrusted
from grpcflow_coordinator.storage.ground import check_ground, mount_of, read_mounts

TABLE = r"""22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /srv rw - xfs /dev/vdb rw
31 30 0:27 / /srv/net rw - {kind} server:/export rw,vers=4.2
32 22 0:28 / /with\040space rw - nfs4 server:/export rw
33 22 0:29 / /box rw - overlay overlay rw,lowerdir=/lower,upperdir=/srv/net/upper,workdir=/srv/net/work
34 22 0:30 / /localbox rw - overlay overlay rw,lowerdir=/lower,upperdir=/srv/upper,workdir=/srv/work
a line of some other form
"""


def table(folder: Path, kind: str) -> Path:
    file = folder / "mountinfo"
    file.write_text(TABLE.format(kind=kind))
    return file


@pytest.mark.parametrize("kind", [*ground.UNTRUSTED, "fuse.sshfs", "fuse.glusterfs"])
def test_a_file_system_that_cannot_be_trusted_is_refused_with_its_name_and_the_cure(tmp_path: Path, kind: str) -> None:
    with pytest.raises(StoreUntrusted, match=rf"lies on /srv/net, whose file system is {kind}: .*--unsafe-filesystem"):
        check_ground(Path("/srv/net/data/grpcflow"), mounts=table(tmp_path, kind))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "f2fs"])
def test_a_file_system_of_this_machine_is_taken(tmp_path: Path, kind: str) -> None:
    check_ground(Path("/srv/net/data"), mounts=table(tmp_path, kind))


def test_an_overlay_is_judged_by_where_its_writes_land(tmp_path: Path) -> None:
    with pytest.raises(StoreUntrusted, match="whose file system is overlay: it reaches over a network"):
        check_ground(Path("/box/data"), mounts=table(tmp_path, "nfs"))
    check_ground(Path("/localbox/data"), mounts=table(tmp_path, "nfs"))


def test_the_deepest_mount_counts_and_names_are_not_prefixes(tmp_path: Path) -> None:
    mounts = read_mounts(TABLE.format(kind="nfs"))
    kinds = {path: mount_of(Path(path), mounts) for path in ("/srv/data", "/srv/net", "/srv/network", "/with space/x")}
    assert {path: found.kind if found else "" for path, found in kinds.items()} == {
        "/srv/data": "xfs",
        "/srv/net": "nfs",
        "/srv/network": "xfs",
        "/with space/x": "nfs4",
    }
    over = read_mounts(TABLE.format(kind="nfs") + "40 31 0:40 / /srv/net rw - ext4 /dev/vdc rw\n")
    found = mount_of(Path("/srv/net/data"), over)
    assert found is not None
    assert found.kind == "ext4", "what was mounted last over a place is what is there"


def test_where_nothing_is_known_nothing_is_refused(tmp_path: Path) -> None:
    check_ground(tmp_path, mounts=tmp_path / "missing")
    check_ground(tmp_path)


def test_the_coordinator_asks_before_it_touches_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "table"
    file.write_text(f"22 1 0:1 / / rw - ext4 /dev/vda rw\n23 22 0:2 / {tmp_path} rw - nfs server:/export rw\n")
    monkeypatch.setattr(ground.check_ground, "__kwdefaults__", {"mounts": file})
    data = tmp_path / "data"
    with pytest.raises(StoreUntrusted, match="is nfs"):
        open_store(Config(data=str(data)))
    assert not data.exists()
    open_store(Config(data=str(data), unsafe_filesystem=True)).close()
    assert (data / "data.mdb").exists()
