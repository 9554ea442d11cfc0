"""A coordinator whose data folder is a small disk of its own: a tmpfs in a mount namespace that nobody else sees.

SMALL_DISK says how many bytes it has, SMALL_DISK_READ_ONLY that nothing can be written to it after the mount. All else
is the real command. Where the kernel does not allow a namespace it ends with NOT_ALLOWED.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

from grpcflow_coordinator.__main__ import main

#: Exit code where this machine does not let a process have mounts of its own.
NOT_ALLOWED = 77

_NEW_MOUNTS, _NEW_USERS, _PRIVATE, _READ_ONLY, _REMOUNT = 0x20000, 0x10000000, 1 << 18 | 1 << 14, 1, 32


def may_mount() -> bool:
    """Return whether a process may have mounts of its own here."""
    command = shutil.which("unshare")
    return command is not None and subprocess.run([command, "-rm", "true"], check=False, timeout=10).returncode == 0


def mount(folder: Path, size: int, *, read_only: bool) -> None:
    """Put a tmpfs of its own over the folder, for this process and its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_MOUNTS if user == 0 else _NEW_MOUNTS | _NEW_USERS):
        sys.exit(NOT_ALLOWED)
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    where, options = str(folder).encode(), f"size={size}".encode()
    failed = libc.mount(b"none", b"/", None, _PRIVATE, None)
    failed |= libc.mount(b"tmpfs", where, b"tmpfs", 0, options)
    if read_only:
        failed |= libc.mount(b"tmpfs", where, b"tmpfs", _REMOUNT | _READ_ONLY, options)
    if failed:
        sys.exit(NOT_ALLOWED)


if __name__ == "__main__":
    data = Path(sys.argv[sys.argv.index("--data") + 1])
    data.mkdir(exist_ok=True)
    mount(data, int(os.environ["SMALL_DISK"]), read_only=bool(os.environ.get("SMALL_DISK_READ_ONLY")))
    main()
