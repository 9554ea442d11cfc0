"""The supervisor's side of commands that the app defines: sends them to where the app is, takes the replies.

It may NOT run user code or know what a command means.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

import msgspec

from grpcflow_worker.executors import frames
from grpcflow_worker.executors.frames import FrameReader, News, Reply
from grpcflow_worker.executors.outflow import Outflow

#: Commands that may be under way at once; of one that never ends the caller's time is over long before.
_OPEN: Final = 1_000

_decode = msgspec.msgpack.Decoder(Reply).decode


class Asked:
    """The commands that are under way on one socket.

    Args:
        connection: the socket, which does not block; who made it closes it.
        outflow: writes to it.
        ended: called once where the other side is gone, before those who wait are told so.
    """

    def __init__(self, connection: socket.socket, outflow: Outflow, ended: Callable[[], None]) -> None:
        """Listen at once, on the running event loop."""
        self._connection = connection
        self._outflow = outflow
        self._ended = ended
        self._reader = FrameReader()
        self._open: dict[int, Callable[[bytes, str], None]] = {}
        self._last = 0
        asyncio.get_running_loop().add_reader(connection.fileno(), self._readable)

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """Send a command; `told` is called once, on the event loop, with its reply or with what went wrong."""
        if len(self._open) >= _OPEN:
            told(b"", f"{_OPEN} commands of the app have not ended: ask again later")
            return
        self._last += 1
        self._open[self._last] = told
        self._outflow.write(frames.large_frame(News(name, self._last, asked=data)))

    def unwatch(self) -> None:
        """Listen no more; must be called before the socket is closed."""
        asyncio.get_running_loop().remove_reader(self._connection.fileno())

    def give_up(self, why: str) -> None:
        """Answer all that are under way with what went wrong."""
        while self._open:
            self._open.popitem()[1](b"", why)

    def _readable(self) -> None:
        data = b""
        with contextlib.suppress(OSError):  # the other side is gone, as where it says nothing more
            try:
                data = self._connection.recv(frames.CHUNK)
            except BlockingIOError:
                return
        if not data:
            self._ended()
            self.give_up("the process in which the app's commands run has ended: see the worker's log and ask again")
            return
        for body in self._reader.feed(data):
            reply = _decode(body)
            told = self._open.pop(reply.number, None)
            if told is not None:
                told(reply.reply, reply.error)
