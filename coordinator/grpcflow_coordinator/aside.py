"""Commits beside the event loop: of few and large writes, which mostly wait for the disk.

The engine hands over one batch at a time and steps none before it has ended, so the store still has one writer at a
time, and nothing is told before it is durable. Meanwhile the loop receives, decodes and sends; what it posts forms the
next batch, so that a disk that is slow is asked less often, for more.

A commit of many small writes stays on the loop: LMDB gives up the interpreter's lock at every write, and beside a busy
loop each of them waits for it. This file decides nothing about tasks, and may not touch the engine's memory.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Final, Protocol

from grpcflow_coordinator.storage.contract import Batch

#: Bytes from which on a batch is a large one, and how many a write has on the average then.
LARGE: Final = 256 * 1024
LARGE_WRITE: Final = 16 * 1024

#: Writes from which on a batch is not even looked at: to sum its bytes one walks over all of it.
MANY: Final = 1_024

#: Seconds that the end waits for a commit under way; a disk that takes longer is left to the end of the process.
END: Final = 30.0

#: Is called on the loop with what went wrong, or None.
Done = Callable[[Exception | None], None]


class Aside(Protocol):
    """Commits batches, one at a time, while the event loop goes on."""

    def takes(self, batch: Batch) -> bool:
        """Return whether a batch is to be committed so."""
        ...

    def begin(self, batch: Batch, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        """Begin to commit a batch.

        Args:
            batch: what is to be written; nobody changes it any more.
            loop: the event loop that runs here.
            done: called once on it, unless the loop ends before.
        """
        ...

    def close(self) -> None:
        """Wait for a commit under way, and begin none any more."""
        ...


class CommitThread:
    """Commits on a thread of its own, which starts with the first batch.

    Args:
        commit: writes a batch and returns once it is durable; as `Store.commit`.
    """

    def __init__(self, commit: Callable[[Batch], None]) -> None:
        self._commit = commit
        self._asked: queue.SimpleQueue[tuple[Batch, asyncio.AbstractEventLoop, Done] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def takes(self, batch: Batch) -> bool:
        """Return whether a batch has few and large writes."""
        writes = len(batch.puts) + len(batch.deletes)
        return writes < MANY and batch.size_bytes() >= max(LARGE, writes * LARGE_WRITE)

    def begin(self, batch: Batch, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        """Begin to commit a batch; see `Aside`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="grpcflow-commit", daemon=True)
            self._thread.start()
        self._asked.put((batch, loop, done))

    def close(self) -> None:
        """Wait for a commit under way, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._asked.put(None)
            thread.join(END)

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            batch, loop, done = asked
            error: Exception | None = None
            try:
                self._commit(batch)
            except Exception as failed:  # noqa: BLE001  # the engine is told, whatever it is
                error = failed
            try:
                loop.call_soon_threadsafe(done, error)
            except RuntimeError:  # the loop has ended: there is nobody to be told
                return
            del asked, batch, done, error  # large, and the next one may be a long time away
