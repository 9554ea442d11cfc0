"""Sends what a running task says beside its end to the supervisor: at once, and then at most every so often.

The first word goes out in the thread that says it. What follows within a pause waits for its end, and a thread made
for it writes that out, since the task may say nothing more for hours. Used in child processes only; it may NOT know
tasks or what is said.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

#: Seconds between two frames of progress, and of logs.
PAUSE: Final = 0.002
LOG_PAUSE: Final = 0.05


class Pacer:
    """Has what waits written out soon.

    Args:
        flush: writes out what waits; called from any thread.
        pause: seconds between two calls of it.
    """

    def __init__(self, flush: Callable[[], None], pause: float) -> None:
        """Take the parts; no thread runs before it is needed."""
        self._flush = flush
        self._seconds = pause
        self._next = 0.0
        self._something = threading.Event()
        self._pause = threading.Event()  # never set: a wait on it is a pause
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def soon(self) -> None:
        """Something waits: write it out now, or a pause after the last time."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._seconds
            self._flush()
            return
        if self._thread is None:
            self._start()
        self._something.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="grpcflow-progress", daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        """Write out, a pause later, what came too soon after a frame. Runs in a thread of its own."""
        while True:
            self._something.wait()
            self._something.clear()
            self._pause.wait(self._seconds)
            try:
                self._flush()
            except OSError:
                return  # the supervisor is gone, and this process goes with it


class Reporter(Pacer):
    """Where tasks of this process report their progress.

    Args:
        keep: takes token, state, encoded value and content type; replaces what waits of the same attempt.
        flush: writes out what waits; called from any thread.
    """

    def __init__(self, keep: Callable[[int, str, bytes, str], None], flush: Callable[[], None]) -> None:
        super().__init__(flush, PAUSE)
        self._keep = keep
        #: True in a process that user code forked: its copy of the socket must not be written to.
        self.strayed = False

    def __call__(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """Report how far an attempt is.

        Raises:
            RuntimeError: this process is a fork that the task made.
        """
        if self.strayed:
            raise RuntimeError(
                "update_state() works in the process that runs the task only, and this is a fork of it; "
                "have the fork tell the task, and the task report"
            )
        self._keep(token, state, data, content_type)
        self.soon()
