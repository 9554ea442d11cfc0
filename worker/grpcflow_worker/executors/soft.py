"""Raises `SoftTimeLimitExceeded` in the task that a child runs, and in no other code.

The supervisor writes the token of the attempt into the shared page and sends SIGUSR1. Between the two and the moment
when Python runs the handler the task may have ended, so the handler compares tokens; and it never raises inside of
this package, where half a frame could be on the socket: the supervisor simply asks again. This file may NOT know time.
"""

import contextvars
import mmap
import signal
import sys
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

#: Where all of a task's frames begin. What else stands beside them prepares the next run, when the mark is still that
#: of the last attempt.
_RUNNERS: Final = frozenset(
    {("grpcflow_worker.invoke", "Bound.invoke"), ("grpcflow_worker.batch_runs", "BatchRun.invoke")}
)

#: Code of these is never interrupted: of the first itself, of the second nothing that it calls either.
_OWN: Final = "grpcflow_worker."
_PIPES: Final = "grpcflow_worker.executors."


class SoftLimit:
    """The soft time limit of one child process.

    Args:
        mark: the page shared with the supervisor.
    """

    def __init__(self, mark: mmap.mmap) -> None:
        """Take the page; `install` makes the signal work."""
        self._mark = mark
        #: Limit of the calls that run, in seconds; 0 for none.
        self._seconds = 0.0

    def install(self) -> None:
        """Take the signal. Main thread only."""
        signal.signal(SOFT_SIGNAL, self._told)

    def guard(self, invoke: Invoke, base: int, seconds: float) -> Invoke:
        """Return `invoke` such that an interruption at any point of it stays inside of its attempt.

        Args:
            invoke: runs the attempt at an offset.
            base: token of the attempt at offset 0.
            seconds: the limit, for the message.
        """

        def guarded(offset: int) -> bytes | Ended:
            self._seconds = seconds
            try:
                # In a context of its own: where the end of a task is interrupted, nothing of it is left to the next.
                return contextvars.copy_context().run(invoke, offset)
            except errors.SoftTimeLimitExceeded as error:
                from grpcflow import failures

                return Ended(base + offset, "failure", failure=failures.capture(error).SerializeToString())
            finally:
                self._seconds = 0.0

        return guarded

    def _told(self, _number: int, frame: FrameType | None) -> None:
        """Handle the signal: raise, where the attempt that it is for is what runs here."""
        wanted: int = SOFT_WANTED.unpack_from(self._mark, SOFT_WANTED_AT)[0]
        raised: int = SOFT_RAISED.unpack_from(self._mark, SOFT_RAISED_AT)[0]
        current: int = MARK.unpack_from(self._mark)[1]
        if not wanted == current != raised:
            return
        # The module is there once a coroutine has run. In one it is raised at an await: what is interrupted now may be
        # the event loop, which other code of the task still needs.
        coroutines = sys.modules.get("grpcflow.coroutines")
        if coroutines is not None and coroutines.soften(self._error()):
            SOFT_RAISED.pack_into(self._mark, SOFT_RAISED_AT, wanted)
        # The mark stays when a task ends; then what is interrupted is the worker's own code, and nothing is raised.
        elif _in_a_task(frame):
            SOFT_RAISED.pack_into(self._mark, SOFT_RAISED_AT, wanted)
            raise self._error()

    def _error(self) -> errors.SoftTimeLimitExceeded:
        limit = f"ran longer than its soft time limit of {self._seconds:g} s" if self._seconds else "was told to end"
        return errors.SoftTimeLimitExceeded(f"the task {limit}")


def _in_a_task(frame: FrameType | None) -> bool:
    """True where the interrupted code is a task's, or was called by it, and not the worker's own."""
    if frame is None or _module(frame).startswith(_OWN):
        return False
    at: FrameType | None = frame
    while at is not None:
        module = _module(at)
        if (module, at.f_code.co_qualname) in _RUNNERS:
            return True
        if module.startswith(_PIPES):
            return False
        at = at.f_back
    return False


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
