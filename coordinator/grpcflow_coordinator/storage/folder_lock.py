"""One process to a data folder: a lock file that the kernel frees when its holder dies.

LMDB takes several writing processes and would let two coordinators share a folder, each sure to be the only
one. This file keeps the second one out. It may not know what the folder holds.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from grpcflow_coordinator.storage.contract import StoreFailed, StoreLocked

#: Name of the lock file; it holds the process id of the holder as text and is never removed.
LOCK_FILE: Final = "coordinator.lock"


class FolderLock:
    """The hold on one folder, from construction to `release`.

    A lock of the whole open file (flock), not of the process: so a second store in the same process is refused
    too, and closing some other handle of the file does not free it. A child process does not inherit it, as
    the handle closes on exec; a child that was forked without exec shares it until it ends.

    Args:
        folder: The folder; it must exist.

    Raises:
        StoreLocked: Another holder has it.
        OSError: The lock file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise StoreLocked(
                f"the data folder {folder} is held by process {holder or 'unknown'}; "
                "stop that coordinator first, or give this one another folder with --data"
            ) from None
        except OSError:
            os.close(self._handle)
            raise
        #: False after `release`.
        self.held = True
        told = f"{os.getpid()}\n".encode("ascii")
        try:
            os.pwrite(self._handle, told, 0)  # over what is there: on a full disk it has no room but that
            os.ftruncate(self._handle, len(told))
        except OSError:
            self.release()
            raise

    def __enter__(self) -> Self:
        """Hold the folder for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self.release()

    def release(self) -> None:
        """Let go of the folder; doing it twice is fine."""
        if self.held:
            self.held = False
            os.close(self._handle)


def hold(folder: Path) -> FolderLock:
    """Make a data folder where it does not exist, and hold it.

    Raises:
        StoreLocked: another holder has it.
        StoreFailed: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FolderLock(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreFailed(f"the data folder {folder} cannot be used: a file is in its place; name a folder") from error
    except OSError as error:
        raise StoreFailed(
            f"the data folder {folder} cannot be used: {error}; check its path, its rights and the room on its disk"
        ) from error
