"""The file that holds the process id of a worker, and tells a second worker to stay away.

The file is locked for as long as the process lives, so neither a crash nor a process id that was given away again can
mislead anybody. This file may NOT know anything of workers. Unix only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


class PidFileError(Exception):
    """The file cannot be had; the text says why and what to do."""


@contextlib.contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Hold the file while the body runs, then remove it.

    Args:
        path: where it is; one that a process left which is gone is taken over.

    Raises:
        PidFileError: a live process holds it, or it cannot be written.
    """
    try:
        descriptor = _hold(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise PidFileError(f"the pid file {path} cannot be written: {reason}; name another with --pidfile") from error
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        # First gone, then free: who waits for it must not be given a file that has no name any more.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def _hold(path: str) -> int:
    """Open and lock the file; returns its descriptor."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            text = f"process {holder or '(unknown)'} holds the pid file {path}: this worker runs already"
            raise PidFileError(f"{text}; stop that one, or name another file with --pidfile") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between the two steps: there is a new one, or none


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
