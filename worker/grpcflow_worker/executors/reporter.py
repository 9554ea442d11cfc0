"""Sends what a running task says of its progress to the supervisor: at once, and at most every 2 ms.

The first word goes out in the thread that says it. What follows within 2 ms replaces what waits, and a thread made
for it writes the last one out, since the task may say nothing more for hours. Used in child processes only; it may
NOT know tasks or what is said.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

#: Seconds between two frames of progress.
PAUSE: Final = 0.002


class Reporter:
    """Where tasks of this process report their progress.

    Args:
        keep: takes token, state, encoded value and content type; replaces what waits of the same attempt.
        flush: writes out what waits; called from any thread.
    """

    def __init__(self, keep: Callable[[int, str, bytes, str], None], flush: Callable[[], None]) -> None:
        """Take the parts; no thread runs before it is needed."""
        self._keep = keep
        self._flush = flush
        self._next = 0.0
        self._something = threading.Event()
        self._pause = threading.Event()  # never set: a wait on it is a pause
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
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
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PAUSE
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
            self._pause.wait(PAUSE)
            try:
                self._flush()
            except OSError:
                return  # the supervisor is gone, and this process goes with it
