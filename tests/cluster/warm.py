"""Daemons that start at once: a process that has imported what they import forks, and the child becomes one of them.

An interpreter and its imports cost a third of a second of the processor each time, and a run of the suite starts
hundreds of daemons. What they do is the same from `main` on; that the commands start from nothing is tested with the
examples, the pages, `grpcflow dev` and test_coordinator_start.py. This file knows nothing of clusters.

Run as a program (`python warm.py FD`) it is the process that forks; FD is a socket on which it is told what to start.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import setproctitle

#: What the daemons import before they do anything. gRPC starts no thread before its first use, so one may fork.
IMPORTED: Final = (
    "grpcflow_coordinator.__main__",
    "grpcflow_coordinator.server",
    "grpcflow_coordinator.storage.lmdb",
    "grpcflow_worker.__main__",
    "grpcflow_worker.executors.prefork",
    "grpcflow_worker.supervisor",
)

#: Most bytes of one message.
_MESSAGE: Final = 1 << 20

#: Seconds within which the process that forks is there, and answers.
_SOON: Final = 30.0

#: Seconds that daemons get at the end of all tests to end as well.
_FAREWELL: Final = 40.0


class Warm:
    """The process that forks, as those who want daemons see it; started with the first of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        #: Commands by process id, of daemons that have not been heard to have ended.
        self._running: dict[int, str] = {}

    def start(self, command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> Daemon:
        """Starts `python -m` with these words, in the folder of its log.

        Raises:
            AssertionError: The process that forks does not answer.
        """
        with self._lock:
            asked = {"command": list(command), "log": str(log), "env": dict(env)}
            self._connected().send(json.dumps(asked).encode())
            while (told := self._next(_SOON)) is not None:
                if "started" in told:
                    self._running[told["started"]] = " ".join(command)
                    self._codes.pop(told["started"], None)  # of another one, whose number came again
                    return Daemon(self, told["started"])
        raise AssertionError("the process that forks daemons does not answer")

    def code_of(self, pid: int, seconds: float) -> int | None:
        """Returns how a daemon ended, once it has, as subprocess says it; None after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            with self._lock:
                while pid not in self._codes and self._next(0) is not None:
                    pass
                if pid in self._codes:
                    return self._codes[pid]
            rest = deadline - time.monotonic()
            if rest <= 0:
                return None
            assert self._socket is not None
            select.select([self._socket], [], [], min(rest, 0.05))  # another thread may take what comes

    def close(self) -> None:
        """Ends the process that forks; raises AssertionError where a daemon is left behind."""
        if self._socket is None or self._process is None:
            return
        while self._running and self._next(_FAREWELL) is not None:
            pass
        self._socket.close()
        self._process.wait(_SOON)
        self._socket = self._process = None
        assert not self._running, f"daemons left behind by tests: {self._running}"

    def _connected(self) -> socket.socket:
        if self._socket is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, __file__, str(theirs.fileno())]
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            self._socket = ours
        return self._socket

    def _next(self, seconds: float) -> dict[str, Any] | None:
        """Takes one message, if one comes within so many seconds."""
        assert self._socket is not None
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        data = self._socket.recv(_MESSAGE)
        assert data, "the process that forks daemons has ended"
        told: dict[str, Any] = json.loads(data)
        if "ended" in told:
            self._codes[told["ended"]] = told["code"]
            self._running.pop(told["ended"], None)
        return told


class Daemon:
    """One daemon: what tests use of `subprocess.Popen`."""

    def __init__(self, warm: Warm, pid: int) -> None:
        self.pid = pid
        self._warm = warm

    def poll(self) -> int | None:
        """Returns the exit code, or None while it runs."""
        return self._warm.code_of(self.pid, 0)

    def wait(self, timeout: float) -> int:
        """Waits for its end and returns the exit code; raises TimeoutExpired after so many seconds."""
        code = self._warm.code_of(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it with -9."""
        self.send_signal(signal.SIGKILL)


#: The one of this process.
WARM: Final = Warm()


# ------------------------------------------------------------------------------------------ the process that forks


class Forking:
    """Forks daemons until nobody wants any more.

    Args:
        control: Where it is told what to start, and tells of what has ended.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._awake, self._waker = socket.socketpair()
        self._children: set[int] = set()

    def serve(self) -> dict[str, Any] | None:
        """Obeys to the end and returns None; in a child it returns what that is to become."""
        for end in (self._awake, self._waker):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        while True:
            readable, _, _ = select.select([self._control, self._awake], [], [])
            if self._awake in readable:
                self._awake.recv(4096)
                self._reap()
            if self._control in readable:
                data = self._control.recv(_MESSAGE)
                if not data:
                    return None
                pid = os.fork()
                if pid == 0:
                    self._let_go()
                    asked: dict[str, Any] = json.loads(data)
                    return asked
                self._children.add(pid)
                self._tell(started=pid)

    def _reap(self) -> None:
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._children.remove(pid)
                self._tell(ended=pid, code=os.waitstatus_to_exitcode(status))

    def _tell(self, **what: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # who would hear it has ended
            self._control.send(json.dumps(what).encode())

    def _let_go(self) -> None:
        """In a child: has nothing of what the parent serves with."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for own in (self._control, self._awake, self._waker):
            own.close()


def _nothing(_number: int, _frame: object) -> None:
    """Handles SIGCHLD: that there is a handler makes the wakeup descriptor readable."""


def become(asked: Mapping[str, Any]) -> NoReturn:
    """Goes on as `python -m` with the words asked for, in the folder of its log."""
    log = Path(asked["log"])
    with log.open("ab", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(log.parent)
    module, *words = asked["command"]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[0:1] = [str(log.parent), *paths]
    sys.orig_argv[:] = [sys.executable, "-m", module, *words]  # a worker that starts anew looks here
    sys.argv[:] = [module, *words]
    gc.unfreeze()
    setproctitle.setproctitle(" ".join(sys.orig_argv))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


def main() -> None:
    """Imports what all daemons do, then forks them."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    setproctitle.setproctitle("forks daemons for tests")  # before the environment changes, which lies beside the title
    for name in IMPORTED:
        importlib.import_module(name)
    for name in [name for name in IMPORTED if name.endswith("__main__")]:
        del sys.modules[name]  # each daemon runs its own as a program; what that imports is here
    gc.collect()
    gc.freeze()
    asked = Forking(control).serve()
    if asked is not None:
        become(asked)


if __name__ == "__main__":
    main()
