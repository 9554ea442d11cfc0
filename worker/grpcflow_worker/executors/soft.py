"""Raises `SoftTimeLimitExceeded` in the task that a child runs, and in no other code.

The supervisor writes the token of the attempt into the shared page and sends SIGUSR1. Between the two and the moment
when Python runs the handler the task may have ended, so the handler compares tokens; and it never raises inside of
this package, where half a frame could be on the socket: the supervisor simply asks again. This file may NOT know time.
"""

import contextvars
import mmap
import os
import signal
from types import FrameType
from typing import Final

from grpcflow import errors
from grpcflow_worker.executor import Ended
from grpcflow_worker.executors.frames import (
    MARK,
    SOFT_RAISED,
    SOFT_RAISED_AT,
    SOFT_SIGNAL,
    SOFT_WANTED,
    SOFT_WANTED_AT,
)
from grpcflow_worker.invoke import Invoke

#: Code of these packages is never interrupted; that of the first not even where it calls others.
_NEVER: Final = "grpcflow_worker.executors."
_NOT_ITSELF: Final = "grpcflow_worker."


class SoftLimit:
    """The soft time limit of one child process.

    Args:
        mark: the page shared with the supervisor.
    """

    def __init__(self, mark: mmap.mmap) -> None:
        """Take the page; `install` makes the signal work."""
        self._mark = mark
        #: The attempt that may be interrupted, 0 for none, and its limit in seconds.
        self._token = 0
        self._seconds = 0.0

    def install(self) -> None:
        """Take the signal. Main thread only."""
        signal.signal(SOFT_SIGNAL, self._told)

    def guard(self, invoke: Invoke, base: int, seconds: float) -> Invoke:
        """Return `invoke` with its attempts open to the limit while they run.

        Args:
            invoke: runs the attempt at an offset.
            base: token of the attempt at offset 0.
            seconds: the limit, for the message.
        """

        def guarded(offset: int) -> bytes | Ended:
            self._token, self._seconds = base + offset, seconds
            try:
                # In a context of its own: where the end of a task is interrupted, nothing of it is left to the next.
                return contextvars.copy_context().run(invoke, offset)
            except errors.SoftTimeLimitExceeded as error:
                from grpcflow import failures

                return Ended(base + offset, "failure", failure=failures.capture(error).SerializeToString())
            finally:
                self._token = 0

        return guarded

    def _told(self, _number: int, frame: FrameType | None) -> None:
        """Handle the signal: raise, where the attempt that it is for is what runs here."""
        wanted: int = SOFT_WANTED.unpack_from(self._mark, SOFT_WANTED_AT)[0]
        raised: int = SOFT_RAISED.unpack_from(self._mark, SOFT_RAISED_AT)[0]
        if not wanted or wanted == raised:
            return
        if not self._token:
            if wanted == MARK.unpack_from(self._mark)[1]:
                # It has no soft limit, and the signal was sent to stop it: then it does what it does by default.
                signal.signal(SOFT_SIGNAL, signal.SIG_DFL)
                os.kill(os.getpid(), SOFT_SIGNAL)
            return
        if wanted == self._token and _in_the_task(frame):
            SOFT_RAISED.pack_into(self._mark, SOFT_RAISED_AT, wanted)
            raise errors.SoftTimeLimitExceeded(f"the task ran longer than its soft time limit of {self._seconds:g} s")


def _in_the_task(frame: FrameType | None) -> bool:
    """True where the interrupted code is the task's, or was called by it, and not the worker's own."""
    own = frame is None or _module(frame).startswith(_NOT_ITSELF)
    while not own and frame is not None:
        module = _module(frame)
        if module == __name__:
            return True  # the guard: all above it belongs to the attempt
        own = module.startswith(_NEVER)
        frame = frame.f_back
    return False


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
