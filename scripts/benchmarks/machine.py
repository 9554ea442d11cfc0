"""The machine and the run: facts beside every figure, a folder for all scratch files, deadlines, an end by signal.

May know nothing of what is measured.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType


def facts() -> dict[str, object]:
    """Return what a figure depends on: CPUs, kernel, Python, and the versions of the parts."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("grpcio", "protobuf", "lmdb", "grpcflow")},
    }


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Put every temporary file of this process and of those it starts into one folder, and remove that at the end.

    SIGTERM ends the run as Ctrl-C does, so that the processes that were started are ended, too.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed[1], allowed[1]))  # a thousand workers are as many sockets
    settings = os.environ.get("TMPDIR"), tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="grpcflow-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # a server that will not run as root reaches the folder below it that is its own
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            _restore(*settings)
            resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
            signal.signal(signal.SIGTERM, before)


def _restore(named: str | None, folder: str | None) -> None:
    tempfile.tempdir = folder
    if named is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = named


@contextlib.contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Give up on what the block does after so many seconds; to be used on the main thread.

    Raises:
        SystemExit: it took longer; the message names what.
    """

    def late(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(f"{what} took more than {seconds:g} s: the machine is busy, or something hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
