"""Where receivers of the late signals of a worker run: `worker_ready`, `worker_shutting_down` and their like.

Such a receiver may start threads, open channels or take its time. So it runs neither in the process that forks the
children nor on the event loop: it gets a fork of its own, or a thread where the process may have threads. One place
for all of them, so that what `worker_ready` keeps `worker_shutdown` finds. This file may NOT know work or children.
"""

import os
import queue
import signal
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

import setproctitle

from grpcflow_worker import hooks
from grpcflow_worker.executors import frames, parent

#: One signal on the socket: its number and its argument.
_NEWS: Final = struct.Struct("<II")

#: Seconds that receivers get to end after the last signal.
PATIENCE: Final = 5.0


class ThreadHerald:
    """Runs receivers in a thread, which starts with the first signal.

    Args:
        facts: the worker.
    """

    def __init__(self, facts: hooks.WorkerFacts) -> None:
        """Take the facts."""
        self._facts = facts
        self._news: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, name: str, number: int) -> None:
        """Have a signal sent; see `hooks.late`."""
        if self._thread is None:
            # A daemon: a receiver that never returns must not keep the process.
            self._thread = threading.Thread(target=self._run, name="grpcflow-signals", daemon=True)
            self._thread.start()
        self._news.put((name, number))

    def close(self) -> None:
        """Wait until all is told, at most `PATIENCE` seconds. Blocks."""
        if self._thread is not None:
            self._news.put(None)
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while (news := self._news.get()) is not None:
            hooks.late(self._facts, *news)


class ForkHerald:
    """Runs receivers in a fork of this process, which is made with the first signal.

    Args:
        facts: the worker.
        let_go: called in the fork: closes what belongs to this process alone.
    """

    def __init__(self, facts: hooks.WorkerFacts, let_go: Callable[[], None]) -> None:
        """Take the parts."""
        self._facts = facts
        self._let_go = let_go
        self._socket: socket.socket | None = None
        self._pid = 0

    def tell(self, name: str, number: int) -> None:
        """Have a signal sent; see `hooks.late`. One that the fork has no room for is dropped: it is stuck."""
        if self._socket is None:
            self._socket = self._start()
        try:
            self._socket.send(_NEWS.pack(frames.LATE.index(name), number))
        except OSError:
            return  # it ended, by a receiver of the user's, or reads nothing any more

    def close(self) -> None:
        """Wait until all is told, at most `PATIENCE` seconds. Blocks."""
        if self._socket is None:
            return
        self._socket.close()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            done, _ = os.waitpid(self._pid, os.WNOHANG)
            if done:
                return
            time.sleep(0.01)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _start(self) -> socket.socket:
        mine, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            mine.close()
            self._become(theirs)
        theirs.close()
        mine.setblocking(False)
        return mine

    def _become(self, news: socket.socket) -> None:
        """In the fork: tell until there is nothing more to tell, and never come back."""
        from grpcflow_worker.executors.child import leave

        code = 1
        try:
            self._let_go()
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            parent.die_with_parent()
            setproctitle.setproctitle(f"grpcflow-worker: signals of {self._facts.hostname}")
            while len(data := news.recv(_NEWS.size, socket.MSG_WAITALL)) == _NEWS.size:
                index, number = _NEWS.unpack(data)
                hooks.late(self._facts, frames.LATE[index], number)
            code = 0
        except BaseException:  # noqa: BLE001 - it must not come back into the loop that it was forked from
            traceback.print_exc()
        finally:
            leave(code)
