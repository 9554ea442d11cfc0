"""Where receivers of the late signals of a worker run: `worker_ready`, `task_revoked` and their like.

Such a receiver may start threads, open channels or take its time. So it runs neither in the process that forks the
children nor on the event loop: it gets a fork of its own, or a thread where the process may have threads. One place
for all of them, so that what `worker_ready` keeps `worker_shutdown` finds. Commands that the app defines run there too,
in threads: neither waits for the other. This file may NOT know children, nor how work gets to them.
"""

import contextlib
import os
import queue
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec
import setproctitle

from grpcflow_worker import app_commands, hooks
from grpcflow_worker.executors import frames, parent
from grpcflow_worker.executors.aside import Aside
from grpcflow_worker.executors.frames import FrameReader, News, Reply

#: Seconds that receivers get to end after the last signal.
PATIENCE: Final = 5.0

#: Commands of the app that run at once; one that never ends must not keep all others from it.
COMMANDS: Final = 8

_decode = msgspec.msgpack.Decoder(News).decode


class ThreadHerald:
    """Runs receivers in a thread, which starts with the first signal.

    Args:
        facts: the worker.
    """

    def __init__(self, facts: hooks.WorkerFacts) -> None:
        """Take the facts."""
        self._facts = facts
        self._news: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._commands = Aside(COMMANDS)

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """Have a command of the app carried out; what came of it is told in a thread."""
        self._commands.run(lambda: told(*app_commands.carry_out(self._facts, name, data)))

    def tell(self, news: News) -> None:
        """Have a signal sent; see `hooks.late`."""
        if self._thread is None:
            # A daemon: a receiver that never returns must not keep the process.
            self._thread = threading.Thread(target=self._run, name="grpcflow-signals", daemon=True)
            self._thread.start()
        self._news.put(news)

    def close(self) -> None:
        """Wait until all is told, at most `PATIENCE` seconds. Blocks."""
        if self._thread is not None:
            self._news.put(None)
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while (news := self._news.get()) is not None:
            hooks.late(self._facts, news)


class SocketHerald(Protocol):
    """Runs receivers of what comes in on a socket from the supervisor."""

    def start(self, news: socket.socket) -> None:
        """Begin to read; the socket is the herald's from now on."""

    def close(self) -> None:
        """The supervisor has closed its side: wait until all is told, at most `PATIENCE` seconds. Blocks."""

    def discard(self) -> None:
        """It reads no more: leave nothing of it, so that another can start."""


class ReadingHerald:
    """Reads, and runs receivers, in a thread.

    Args:
        facts: the worker.
    """

    def __init__(self, facts: hooks.WorkerFacts) -> None:
        """Take the facts."""
        self._facts = facts
        self._thread: threading.Thread | None = None

    def start(self, news: socket.socket) -> None:
        """See `SocketHerald.start`."""
        self._thread = threading.Thread(
            target=_tell_all, args=(self._facts, news), name="grpcflow-signals", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """See `SocketHerald.close`."""
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def discard(self) -> None:
        """See `SocketHerald.discard`: a thread that reads no more is none."""


class ForkHerald:
    """Reads, and runs receivers, in a fork of this process.

    Args:
        facts: the worker.
        let_go: called in the fork: closes what belongs to this process alone.
    """

    def __init__(self, facts: hooks.WorkerFacts, let_go: Callable[[], None]) -> None:
        """Take the parts."""
        self._facts = facts
        self._let_go = let_go
        self._pid = 0

    def start(self, news: socket.socket) -> None:
        """See `SocketHerald.start`."""
        self._pid = os.fork()
        if self._pid == 0:
            self._become(news)
        news.close()

    def close(self) -> None:
        """See `SocketHerald.close`."""
        if not self._pid:
            return
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            done, _ = os.waitpid(self._pid, os.WNOHANG)
            if done:
                return
            time.sleep(0.01)
        self.discard()

    def discard(self) -> None:
        """See `SocketHerald.discard`."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so the id is still its own
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _become(self, news: socket.socket) -> None:
        """In the fork: tell until there is nothing more to tell, and never come back."""
        from grpcflow_worker.executors.child import leave

        code = 1
        try:
            with news.dup() as mine:
                self._let_go()
                for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT):
                    signal.signal(number, signal.SIG_DFL)
                parent.die_with_parent()
                setproctitle.setproctitle(f"grpcflow-worker: signals of {self._facts.hostname}")
                _tell_all(self._facts, mine)
            code = 0
        except BaseException:  # noqa: BLE001 - it must not come back into the loop that it was forked from
            traceback.print_exc()
        finally:
            leave(code)


def _tell_all(facts: hooks.WorkerFacts, news: socket.socket) -> None:
    """Send each signal and carry out each command that comes in, until the supervisor closes its side."""
    reader = FrameReader()
    commands, writing = Aside(COMMANDS), threading.Lock()
    while data := news.recv(frames.CHUNK):
        for body in reader.feed(data):
            one = _decode(body)
            if one.asked:
                commands.run(partial(_carry_out, facts, one, news, writing))
            else:
                hooks.late(facts, one)


def _carry_out(facts: hooks.WorkerFacts, asked: News, news: socket.socket, writing: threading.Lock) -> None:
    """Carry out one command and tell the supervisor what came of it, unless that is gone."""
    reply, error = app_commands.carry_out(facts, asked.name, asked.asked)
    with writing, contextlib.suppress(OSError):
        news.sendall(frames.large_frame(Reply(asked.number, reply, error)))
