"""Ends this process when the one that made it dies. Linux only; elsewhere the end of a socket must do it."""

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> bool:
    """Ask the kernel for SIGKILL when the parent dies; False where the platform has no such thing.

    It comes besides the end of the socket, which a process stuck in C code cannot notice.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        done: int = ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (OSError, AttributeError):
        return False  # a libc without prctl: the socket still ends
    return done == 0
