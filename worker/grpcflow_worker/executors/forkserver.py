"""The process that imports the app once and makes children of itself.

`python -m grpcflow_worker.executors.forkserver FD NEWS`: FD is a socket to the supervisor. First comes a `Preload`
frame; then fixed-size commands, FORK with the three descriptors of a child, KILL with a signal number, HERALD with
another NEWS where a herald has died. Answers are frames. NEWS is a socket on which signals for the app's receivers
come: it is the herald's. This process never runs a
task, has one thread only, and ends when the first socket does. It may NOT import gRPC: it forks. Where the app's import
started threads or channels, it starts fresh interpreters instead and says who did it.
"""

import gc
import importlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from typing import Final

import msgspec
import setproctitle

from grpcflow_protos.freed_memory import keep_freed_memory
from grpcflow_worker import hooks
from grpcflow_worker.executors import child as child_module
from grpcflow_worker.executors import frames, loading, parent
from grpcflow_worker.executors.frames import COMMAND, FORK, HERALD, KILL, Answer, Preload
from grpcflow_worker.executors.herald import ForkHerald, ReadingHerald, SocketHerald

#: Descriptors that come with FORK: the work socket, the urgent socket, the shared page.
_DESCRIPTORS: Final = 3


class Forkserver:
    """Makes children, kills them, and tells how they ended.

    Args:
        control: the socket to the supervisor.
        news: the socket on which signals for the app's receivers come.
        preload: what was imported, for spawned children.
        loaded: the imported app.
        spawn: True: start fresh interpreters, since this process must not fork.
    """

    def __init__(
        self,
        control: socket.socket,
        news: socket.socket,
        preload: Preload,
        loaded: loading.Loaded,
        *,
        spawn: bool,
    ) -> None:
        """Take the parts; `serve` does the rest."""
        self._control = control
        self._news: socket.socket | None = news  # None: the herald has it, or nothing more will come
        self._preload = preload
        self._loaded = loaded
        self._spawn = spawn
        self._children: dict[int, int] = {}  # process id to the supervisor's number of the child
        self._facts = hooks.WorkerFacts(preload.hostname, loaded.app, preload.concurrency)
        self._herald: SocketHerald = ReadingHerald(self._facts) if spawn else ForkHerald(self._facts, self._let_go)
        self._spawned: dict[int, subprocess.Popen[bytes]] = {}  # kept, or Popen would complain of a running child

    def serve(self) -> None:
        """Obey until the supervisor is gone."""
        awake, waker = socket.socketpair()
        awake.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._own = (self._control, awake, waker)
        assert self._news is not None
        with selectors.DefaultSelector() as selector:
            self._selector = selector
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(awake, selectors.EVENT_READ)
            selector.register(self._news, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is awake:
                        awake.recv(4096)
                    elif key.fileobj is self._news:
                        self._begin_herald()
                    elif key.fileobj is self._control and not self._obey():
                        self._begin_herald()  # perhaps the first signal came together with the end
                        self._herald.close()
                        return
                self._reap()

    def _begin_herald(self) -> None:
        """Give the news to the herald, once there are any."""
        news = self._news
        if news is None:
            return
        self._selector.unregister(news)
        try:
            some = news.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            some = b""
        if some:
            self._herald.start(news)
        else:
            news.close()  # the supervisor is gone, and nobody was told anything
        self._news = None

    def _expect_herald(self, news: socket.socket) -> None:
        """Have another herald, once there is something for it, in place of one that has died."""
        os.set_inheritable(news.fileno(), False)
        self._herald.discard()
        if self._news is not None:
            self._selector.unregister(self._news)
            self._news.close()
        self._news = news
        self._selector.register(news, selectors.EVENT_READ)

    def _obey(self) -> bool:
        """Read and do one command; False when the supervisor is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._control, COMMAND.size, _DESCRIPTORS)
        while data and len(data) < COMMAND.size:
            data += self._control.recv(COMMAND.size - len(data))
        if not data:
            return False
        what, number, argument = COMMAND.unpack(data)
        if what == FORK:
            pid = self._make(descriptors, argument)
            self._children[pid] = number
            self._say(Answer(child=number, pid=pid))
        elif what == KILL:
            for pid, child in self._children.items():
                if child == number:
                    os.kill(pid, argument)  # not reaped yet, so the id is still this child's
        elif what == HERALD:
            self._expect_herald(socket.socket(fileno=descriptors[0]))
        return True

    def _make(self, descriptors: list[int], place: int) -> int:
        """Make one child that owns the descriptors; returns its process id."""
        hooks.before_process(self._facts)
        if self._spawn:
            return self._start_interpreter(descriptors)
        pid = os.fork()
        if pid == 0:
            self._become_child(descriptors, place)
        for descriptor in descriptors:
            os.close(descriptor)
        return pid

    def _start_interpreter(self, descriptors: list[int]) -> int:
        command = [sys.executable, "-m", child_module.__name__, *map(str, descriptors)]
        process = subprocess.Popen(command, pass_fds=descriptors, stdin=subprocess.DEVNULL)
        self._spawned[process.pid] = process
        for descriptor in descriptors:
            os.close(descriptor)
        return process.pid

    def _become_child(self, descriptors: list[int], place: int) -> None:
        """In the fork: run as a child and never come back."""
        code = 1
        try:
            self._let_go()
            work, urgent = (socket.socket(fileno=descriptor) for descriptor in descriptors[:2])
            mark = child_module.enter(work, urgent, descriptors[2])
            gc.enable()
            preload = msgspec.structs.replace(self._preload, place=place)
            child_module.Child(work, urgent, mark, self._loaded.app, preload).run()
            code = 0
        except BaseException:  # noqa: BLE001 - a child must not come back into the forkserver's loop, whatever happens
            traceback.print_exc()
        finally:
            child_module.leave(code)

    def _let_go(self) -> None:
        """In a fork: close what belongs to this process alone."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for own in (*self._own, self._news):
            if own is not None:
                own.close()

    def _reap(self) -> None:
        """Tell of every child that has ended."""
        for pid, number in list(self._children.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._children[pid]
                process = self._spawned.pop(pid, None)
                if process is not None:
                    process.returncode = 0  # reaped here; Popen need not look for it
                self._say(Answer(child=number, exited=True, status=status))

    def _say(self, answer: Answer) -> None:
        self._control.sendall(frames.frame(answer))


def _nothing(_number: int, _frame: object) -> None:
    """Handle SIGCHLD: that there is a handler makes the wakeup descriptor readable."""


def main(arguments: list[str]) -> int:
    """Import, answer, serve. Returns the exit code."""
    parent.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control, news = (socket.socket(fileno=int(number)) for number in arguments[:2])
    for own in (control, news):
        os.set_inheritable(own.fileno(), False)
    preload = frames.read_preload(control)
    if preload is None:
        return 0
    keep_freed_memory()  # for the children, too
    setproctitle.setproctitle(f"grpcflow-worker: forkserver of {preload.hostname}")
    gc.disable()  # until the freeze: a collection between import and fork would only dirty pages
    try:
        with loading.ImportWatch() as watch:
            loaded = loading.load(preload)
    except BaseException:  # noqa: BLE001 - whatever user code raises at import is told to the supervisor
        control.sendall(frames.frame(Answer(error=traceback.format_exc())))
        return 1
    # What the first failure or input would import in each child: once here, and shared.
    importlib.import_module("grpcflow.failures")
    importlib.import_module("grpcflow_protos.v1.value_pb2")
    reasons = watch.reasons()
    warnings = [
        f"Children are started fresh instead of forked, because importing the app left something running: {reason}. "
        "Start it in the task that needs it, to save memory and time."
        for reason in reasons
    ]
    gc.collect()
    gc.freeze()
    answer = Answer(
        loaded=True,
        spawns=bool(reasons),
        tasks=list(loaded.tasks),
        conf=dict(loaded.conf),
        warnings=warnings,
        listens=hooks.listens(),
    )
    control.sendall(frames.frame(answer))
    Forkserver(control, news, preload, loaded, spawn=bool(reasons)).serve()
    return 0


if __name__ == "__main__":
    code = 1
    try:
        code = main(sys.argv[1:])
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the supervisor is gone; nobody is left to tell
    finally:
        # Threads that the app's import left running must not keep this process alive.
        child_module.leave(code)
