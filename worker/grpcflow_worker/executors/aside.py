"""A few threads for calls that may block, beside an event loop that must not.

The threads are daemons: a call that never returns must not keep the process from ending, as those of
`concurrent.futures` do. It may NOT know what it runs.
"""

import queue
import threading
from collections.abc import Callable


class Aside:
    """Runs calls in threads, which start as they are needed.

    Args:
        count: how many threads at most.
    """

    def __init__(self, count: int) -> None:
        """Start with no thread."""
        self._count = count
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        #: Threads without work, less the calls that wait for one.
        self._free = 0

    def run(self, call: Callable[[], None]) -> None:
        """Have a call made as soon as a thread is free. It must not raise."""
        with self._lock:
            if self._free <= 0 and self._threads < self._count:
                self._threads += 1
                name = f"grpcflow-aside-{self._threads}"
                threading.Thread(target=self._work_on, name=name, daemon=True).start()
            else:
                self._free -= 1
        self._calls.put(call)

    def close(self) -> None:
        """End the threads once what they were given is done."""
        with self._lock:
            for _ in range(self._threads):
                self._calls.put(None)

    def _work_on(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            with self._lock:
                self._free += 1
