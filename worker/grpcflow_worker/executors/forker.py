"""The supervisor's side of the forkserver: starts it, asks it for children, hears of their ends.

Starting it is an exec without a fork of Python code, so it is safe beside gRPC's threads. This file may NOT import
the app or anything that it may need.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from grpcflow_worker.executor import ExecutorError
from grpcflow_worker.executors import frames
from grpcflow_worker.executors.frames import COMMAND, FORK, HERALD, KILL, Answer, FrameReader, News, Preload
from grpcflow_worker.executors.herald_link import HeraldLink

_MODULE = "grpcflow_worker.executors.forkserver"

_log = logging.getLogger("grpcflow.worker")
_decode = msgspec.msgpack.Decoder(Answer).decode


class ForkerListener(Protocol):
    """Who hears of the children."""

    def made(self, number: int, pid: int) -> None:
        """Child `number` exists as process `pid`."""

    def exited(self, number: int, status: int) -> None:
        """Child `number` is gone, with this raw wait status."""

    def forkserver_gone(self, forker: "Forker") -> None:
        """A forkserver died; nothing more comes from it, and its children cannot be asked after."""


class Forker:
    """One forkserver process.

    Args:
        listener: hears of the children, on the event loop.
    """

    def __init__(self, listener: ForkerListener) -> None:
        """Make it; `launch` starts the process."""
        self._listener = listener
        self._reader = FrameReader()
        self._control: socket.socket | None = None
        #: The way to the app's receivers, past the forkserver, which must never wait for one of these.
        self._herald = HeraldLink(lambda theirs: self._send(COMMAND.pack(HERALD, 0, 0), [theirs.fileno()]))
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: asyncio.Future[Answer] | None = None

    @property
    def gone(self) -> bool:
        """True before it was launched and after it ended: no child can be made."""
        return self._control is None

    async def launch(self, preload: Preload, seconds: float) -> Answer:
        """Start the process and wait until it has imported the app.

        Args:
            preload: what to import.
            seconds: how long to wait for it.

        Raises:
            ExecutorError: the import failed (with its traceback), or took longer than `seconds`.
        """
        loop = asyncio.get_running_loop()
        self._loaded = loop.create_future()
        control, theirs = socket.socketpair()
        news = self._herald.open()
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - an exec of ourselves, milliseconds
                [sys.executable, "-m", _MODULE, str(theirs.fileno()), str(news.fileno())],
                pass_fds=[theirs.fileno(), news.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            theirs.close()
            news.close()
        self._control = control
        control.sendall(frames.frame(preload))
        control.setblocking(False)
        loop.add_reader(control.fileno(), self._readable)
        try:
            async with asyncio.timeout(seconds):
                answer = await self._loaded
        except TimeoutError:
            raise ExecutorError(
                f"importing the app took longer than {seconds:g} s; see what its modules do when they are imported"
            ) from None
        if answer.error:
            raise ExecutorError(f"the app cannot be imported:\n{answer.error}")
        return answer

    def fork(self, number: int, place: int, descriptors: list[int]) -> None:
        """Ask for child `number` in a place; it gets the three descriptors, the caller keeps its own."""
        self._send(COMMAND.pack(FORK, number, place), descriptors)

    def kill(self, number: int, signal_number: int) -> None:
        """Send a signal to child `number`, if it is still there."""
        self._send(COMMAND.pack(KILL, number, signal_number), [])

    def emit(self, news: News) -> None:
        """Have the app's receivers told of a late signal."""
        if not self.gone:  # as in `_send`
            self._herald.emit(news)

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """Have a command of the app carried out; see `Executor.ask`."""
        if self.gone:
            told(b"", "the process that holds the app has ended: ask again once there is a new one")
        else:
            self._herald.ask(name, data, told)

    async def close(self, seconds: float = 1.0) -> None:
        """End the process; it is killed after `seconds`, which are also what the app's receivers get."""
        end = time.monotonic() + seconds
        await self._herald.flush(seconds)
        self._detach()
        process = self._process
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)

    def _send(self, data: bytes, descriptors: list[int]) -> None:
        if self._control is None:
            return  # it is gone and the listener knows
        try:
            socket.send_fds(self._control, [data], descriptors)
        except OSError:
            # Not at once: the caller may be in the middle of making a child that must then be settled too.
            asyncio.get_running_loop().call_soon(self._gone)

    def _readable(self) -> None:
        control = self._control
        if control is None:
            return
        try:
            data = control.recv(frames.CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        for body in self._reader.feed(data):
            self._hear(_decode(body))

    def _hear(self, answer: Answer) -> None:
        if answer.loaded or answer.error:
            if self._loaded is not None and not self._loaded.done():
                self._loaded.set_result(answer)
        elif answer.exited:
            self._listener.exited(answer.child, answer.status)
        else:
            self._listener.made(answer.child, answer.pid)

    def _gone(self) -> None:
        if self._control is None:
            return
        self._detach()
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_result(Answer(error="the process that imports the app died while importing it"))
            return
        self._listener.forkserver_gone(self)

    def _detach(self) -> None:
        self._herald.close()  # first: what came last is still read
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None


def shared_page(size: int) -> int:
    """Return the descriptor of an unnamed file of `size` bytes for two processes to share."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("grpcflow-mark", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
