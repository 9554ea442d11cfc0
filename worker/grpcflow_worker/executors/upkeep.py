"""What a child process looks after besides its tasks: the memory that it takes, and the title that people see.

It may NOT know tasks but by their names, nor talk to the supervisor.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import setproctitle

#: Where Linux says how much memory a process takes, in pages, the resident ones second.
_STATM: Final = Path("/proc/self/statm")

_KIB: Final = 1024


def growth(most: int) -> Callable[[], bool] | None:
    """Return what tells whether this process takes more memory than it may; None where it may take any.

    What counts is the resident memory, pages shared with other processes among it.

    Args:
        most: KiB; 0: any.
    """
    if not most:
        return None
    read = _reader()
    return lambda: read() > most


def _reader() -> Callable[[], int]:
    """What reads the resident memory of this process in KiB, in about two microseconds."""
    if not _STATM.exists():
        return _peak
    statm = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)  # until the process ends
    page = os.sysconf("SC_PAGE_SIZE")
    return lambda: int(os.pread(statm, 128, 0).split()[1]) * page // _KIB


def _peak() -> int:
    """The most KiB that this process ever took, where no system file says what it takes now."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // _KIB if sys.platform == "darwin" else peak


class Title:
    """The title of a child process: whose it is, and which task it runs.

    Args:
        hostname: name of the worker.
        place: number of the child.
    """

    __slots__ = ("_base", "_shown")

    def __init__(self, hostname: str, place: int) -> None:
        """Show it without a task."""
        self._base = f"grpcflow-worker: {hostname} child {place}"
        self._shown = ""
        setproctitle.setproctitle(self._base)

    def show(self, what: str) -> None:
        """Show what it does, "" for nothing. Less than a microsecond, and nothing where that is shown already."""
        if what != self._shown:
            self._shown = what
            setproctitle.setproctitle(f"{self._base}: {what}" if what else self._base)
