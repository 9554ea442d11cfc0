"""Notices that an event loop stands still, from a thread beside it, and says what it was doing.

It may NOT touch the loop but to ask it to answer, and knows asyncio tasks only as what the loop was running.
"""

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final

#: Seconds between two looks whether a loop that stood still goes on again.
_LOOK: Final = 1.0

#: Told of a loop that stands still: the asyncio task that it runs, and where its code is.
Told = Callable[["asyncio.Task[Any]", str], None]


class LoopWatch:
    """Asks a loop for an answer again and again while it has work.

    Args:
        loop: the loop.
        seconds: how long an answer may take.
        told: called in the watching thread, once for each time that the loop stands still.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, told: Told) -> None:
        """Take the parts; `start` begins to watch."""
        self._loop = loop
        self._seconds = seconds
        self._told = told
        self._answered = threading.Event()
        self._ended = False
        self._loop_thread = 0
        #: Set while the loop has work; nobody asks one that has none.
        self.busy = threading.Event()

    def start(self, loop_thread: int) -> None:
        """Begin to watch the loop of a thread, given by its identifier."""
        self._loop_thread = loop_thread
        threading.Thread(target=self._watch, name="grpcflow-loop-watch", daemon=True).start()

    def end(self) -> None:
        """Watch no longer; must be called before the loop is closed."""
        self._ended = True
        self.busy.set()
        self._answered.set()

    def _watch(self) -> None:
        half = self._seconds / 2
        pause = threading.Event()  # never set: a wait on it is a pause
        while True:
            pause.wait(half)
            self.busy.wait()
            if self._ended:
                return
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:
                return  # the loop was closed just now
            self._await_answer(half)

    def _await_answer(self, half: float) -> None:
        if self._answered.wait(half):
            return
        suspect = asyncio.current_task(self._loop)
        if self._answered.wait(half):
            return
        # One and the same twice: a loop that only has much to do, or no processor, runs many in turn.
        if suspect is not None and asyncio.current_task(self._loop) is suspect:
            self._told(suspect, self._place())
        while not self._answered.wait(_LOOK) and not self._ended:
            pass  # it was told of; one word for each time is enough

    def _place(self) -> str:
        """File, line and function that the loop's thread is in."""
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return "an unknown place"
        summary = traceback.extract_stack(frame, limit=1)[0]
        return f"{summary.filename}, line {summary.lineno}, in {summary.name}"
