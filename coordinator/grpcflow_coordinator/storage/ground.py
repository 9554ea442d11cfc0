"""What lies under a data folder: its file system, whether LMDB can trust it, how much room it has.

LMDB maps its file into memory, orders its writes by fsync and keeps others out by locks. File systems that reach over a
network, or through another program, promise none of the three: a store there may lose what was told, or be torn, with
no error at all. This file reads /proc/self/mountinfo and decides by name. It opens no store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from grpcflow_coordinator.storage.contract import StoreUntrusted

#: Where Linux tells what is mounted; other systems have none, and nothing is known there.
MOUNTS: Final = Path("/proc/self/mountinfo")

#: File systems that LMDB cannot trust, each with what stands behind it. A type of `fuse.NAME` counts as `fuse`.
UNTRUSTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("nfs", "nfs4"), "it reaches over a network"),
    **dict.fromkeys(("cifs", "smb3", "smbfs", "ncpfs"), "it is a share of another machine"),
    **dict.fromkeys(("afs", "coda", "ceph", "lustre", "beegfs", "orangefs", "gpfs"), "it reaches over a network"),
    **dict.fromkeys(("9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs"), "it is a folder of the machine's host"),
    **dict.fromkeys(("fuse", "fuseblk"), "a program stands between it and the disk"),
}

#: Free bytes on a disk below which an error of reading or writing is taken for a full disk.
FULL_BELOW: Final = 4 << 20

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_UPPER: Final = re.compile(r"(?:^|,)upperdir=([^,]+)")


class Mount(NamedTuple):
    """One line of the table of mounts."""

    point: str
    kind: str
    #: Options of the file system itself, as mount took them.
    options: str


def read_mounts(table: str) -> list[Mount]:
    """Read the text of /proc/self/mountinfo; lines of another form are passed over."""
    mounts: list[Mount] = []
    for line in table.splitlines():
        before, dash, behind = line.partition(" - ")
        fields, (kind, *rest) = before.split(" "), behind.split(" ")
        if dash and len(fields) >= 5 and kind:
            mounts.append(Mount(_plain(fields[4]), kind, rest[1] if len(rest) > 1 else ""))
    return mounts


def mount_of(folder: Path, mounts: list[Mount]) -> Mount | None:
    """Return the mount that an absolute path lies on: the deepest one, and of one place the last; None: unknown."""
    found: Mount | None = None
    for mount in mounts:
        deeper = found is None or len(mount.point) >= len(found.point)
        if deeper and (mount.point == "/" or folder == Path(mount.point) or Path(mount.point) in folder.parents):
            found = mount
    return found


def check_ground(folder: Path, *, mounts: Path = MOUNTS) -> None:
    """Refuse a folder on a file system that LMDB cannot trust.

    Args:
        folder: the data folder; it need not exist.
        mounts: the table of mounts; where it cannot be read, nothing is known and nothing is refused.

    Raises:
        StoreUntrusted: the message names the file system and what to do.
    """
    try:
        table = read_mounts(mounts.read_text("utf-8", "surrogateescape"))
    except OSError:
        return  # not Linux, or no /proc: there is nothing to judge by
    mount = mount_of(folder.resolve(), table)
    if mount is None:
        return
    reason = _reason(mount.kind)
    if reason is None and mount.kind == "overlay" and (upper := _UPPER.search(mount.options)) is not None:
        # What is written to an overlay lands in its upper folder; whether that can be seen from here or not.
        below = mount_of(Path(upper[1]), [one for one in table if one.kind != "overlay"])
        reason = None if below is None else _reason(below.kind)
    if reason is not None:
        raise StoreUntrusted(
            f"the data folder {folder} lies on {mount.point}, whose file system is {mount.kind}: {reason}, and there "
            "what was committed may be lost or torn without any error. Name a folder on a disk of this machine with "
            "--data, or say --unsafe-filesystem where you know better"
        )


def free_bytes(folder: Path) -> int:
    """Tell how many bytes the disk of a folder has left for us."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(kind: str) -> str | None:
    return UNTRUSTED.get(kind.partition(".")[0])


def _plain(field: str) -> str:
    """Undo the escapes of the table: spaces and such stand in it as backslash and three octal digits."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), field)
