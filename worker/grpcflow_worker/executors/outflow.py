"""Writes to a socket from an event loop, in order, without ever waiting for the other side.

It knows nothing of what it writes. It may NOT be used by a process without an event loop.
"""

import asyncio
import contextlib
import socket
from collections import deque


class Outflow:
    """What is to go out on one socket, as far as the socket does not take it yet.

    Args:
        connection: the socket, which does not block; who made it closes it.
    """

    __slots__ = ("_connection", "_emptied", "_kept", "_unsent")

    def __init__(self, connection: socket.socket) -> None:
        """Start with nothing."""
        self._connection = connection
        #: Views, since a frame may be large.
        self._unsent: deque[memoryview] = deque()
        self._emptied = asyncio.Event()
        #: What leaves with the next write.
        self._kept: list[bytes | bytearray] = []

    def __len__(self) -> int:
        """How many writes wait, whole or in part."""
        return len(self._unsent)

    def keep(self, data: bytes | bytearray) -> None:
        """Write it with what comes next, or with `write_kept`: one write for many costs what one for one does."""
        self._kept.append(data)

    def write_kept(self) -> None:
        """Write what was kept."""
        kept = self._kept
        if kept:
            self._kept = []
            self.write(kept[0] if len(kept) == 1 else b"".join(kept))

    def write(self, data: bytes | bytearray) -> None:
        """Write now or later. Where the other side is gone, nothing happens: its owner hears of that elsewhere."""
        if self._kept:
            self.write_kept()
        if self._unsent:
            self._unsent.append(memoryview(data))
            return
        try:
            done = self._connection.send(data)
        except BlockingIOError:
            done = 0
        except OSError:
            return
        if done < len(data):
            self._unsent.append(memoryview(data)[done:])
            asyncio.get_running_loop().add_writer(self._connection.fileno(), self._write_on)

    async def flush(self, seconds: float) -> None:
        """Wait until all is written, at most so long."""
        if self._unsent:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):  # the other side reads nothing any more
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()

    def unwatch(self) -> None:
        """Write no more; must be called before the socket is closed."""
        asyncio.get_running_loop().remove_writer(self._connection.fileno())

    def _write_on(self) -> None:
        try:
            done = self._connection.send(self._unsent[0])
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()  # as above
        else:
            rest = self._unsent.popleft()[done:]
            if rest:
                self._unsent.appendleft(rest)
        if not self._unsent:
            self.unwatch()
            self._emptied.set()
