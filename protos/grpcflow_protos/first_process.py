"""What the first process of a container owes to all others: it passes signals on and reaps whom nobody waits for.

The system gives process 1 every orphan, ignores each signal that it has no handler for, and ends everything when it
ends. So a daemon that finds itself to be process 1 becomes a child of a small parent that does only this. Where the
container brings an init of its own (`docker run --init`, a pod's shared namespace), nothing of it happens.

It imports nothing but the standard library, stands here because coordinator and worker both need it, and may not start
a thread before it forks.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

#: What is not passed on: it cannot be caught, or it says something of this process and not of the daemon.
_KEPT: Final = frozenset(
    {
        "SIGKILL",
        "SIGSTOP",
        "SIGCHLD",
        "SIGTTIN",
        "SIGTTOU",
        "SIGSEGV",
        "SIGBUS",
        "SIGFPE",
        "SIGILL",
        "SIGABRT",
        "SIGTRAP",
    }
)

#: ``si_code`` of a signal that the terminal sent, to all processes in its foreground.
_FROM_KERNEL: Final = 0x80

#: What tells Linux which signal a process gets when its parent has gone.
_PR_SET_PDEATHSIG: Final = 1

#: Added to the number of the signal that ended a process, as shells do.
SIGNALLED: Final = 128


def step_aside() -> None:
    """Go on in a child where this is process 1, whose parent then does what process 1 has to; else do nothing.

    To be called before anything else is started: it forks. The parent never returns from it, and ends as the child
    does.
    """
    if os.getpid() == 1:
        look_after()


def look_after(ended: Callable[[int], int] = int) -> None:
    """Go on in a child; the parent passes signals on, reaps every process that ends, and ends as the child does.

    A child whose parent is killed is killed. A system that cannot wait for signals, such as macOS, has no containers
    either: there this process goes on as it is.

    Args:
        ended: called by the parent with the child's exit code (`SIGNALLED` and the number, where a signal ended it);
            returns its own.
    """
    if not hasattr(signal, "sigwaitinfo"):
        return
    numbers = {number for number in signal.valid_signals() if _name(number) not in _KEPT}
    watched = numbers | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _end_with(parent)
        return
    os._exit(ended(_until_it_ends(child, watched)))


def _end_with(parent: int) -> None:
    """Have the system kill this process when its parent has gone: a parent that is killed cannot pass that on."""
    try:
        import ctypes
    except (ImportError, MemoryError):  # there is none, or no memory may be made executable: then it goes on alone
        return
    with suppress(AttributeError, OSError):  # a C library without it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(SIGNALLED + signal.SIGKILL)


def _until_it_ends(child: int, watched: Collection[int]) -> int:
    """Return the exit code of the child, which is that of this process."""
    while True:
        told = signal.sigwaitinfo(watched)
        if told.si_signo == signal.SIGCHLD:
            code = _reap(child)
            if code is not None:
                return code
        elif told.si_code != _FROM_KERNEL:  # else the child has it already
            os.kill(child, told.si_signo)


def _reap(child: int) -> int | None:
    """Take note of every process that has ended; return the child's exit code once it is among them."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if ended == 0:
            return code
        if ended == child:
            found = os.waitstatus_to_exitcode(status)
            code = found if found >= 0 else SIGNALLED - found


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the signals without a name
        return ""
