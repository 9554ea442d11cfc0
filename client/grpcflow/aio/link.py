"""One channel of grpc.aio and the one stream on it: a link whose calls are awaited on an event loop.

All of it runs on the thread of the loop that it was opened on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
import grpc.aio

from grpcflow import forking
from grpcflow.aio.bell import Bell
from grpcflow.link import OPTIONS, PROBE, Link, Received, joined
from grpcflow_protos.wire_parts import Piece

__all__ = ["LoopLink", "was_cancelled"]

#: Seconds that a link which is closed waits for the end of its call, and turns of the loop for what follows from that.
_LAST_WORD: Final = 1.0
_TURNS: Final = 10


class LoopLink(Link):
    """One channel and its stream on the running event loop; parameters and attributes as those of ``Link``."""

    def _open(self, hello: bytes) -> None:
        self.channel = self._door.open_on_loop(self.address, OPTIONS)
        self._outbox = Bell()
        self._call = self._stream()(_messages(hello, self._outbox))
        forking.outlives(self)

    async def read(self, receive: Callable[[Link, Received], None]) -> grpc.RpcError | None:
        """Hand every message to ``receive`` until the stream ends; return its status, None where it ended well."""
        try:
            async for message in self._call:
                receive(self, message)
        except grpc.RpcError as error:
            return error
        except asyncio.CancelledError:
            if was_cancelled():
                raise
            # It is the call that was: this side has ended it.
        return None

    async def close(self) -> None:
        """Throw the channel away, and every call on it."""
        self.is_closed = True
        self._outbox.put(None)
        self._call.cancel()
        if self.probe is not None:
            self.probe.cancel()
            self.probe = None
        await self.channel.close()
        forking.ended(self)
        # What grpc still has to say of the call it says on this loop; until then the call holds on to grpc's core, and
        # a fork in the next line of whoever closes would wait for it in vain.
        try:
            await asyncio.wait_for(self._call.code(), _LAST_WORD)
        except (grpc.RpcError, grpc.aio.UsageError, TimeoutError):
            pass
        except asyncio.CancelledError:
            if was_cancelled():
                raise
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def ask(self, timeout: float) -> None:
        """Send a probe: any answer but silence shows that the coordinator lives."""
        self.probe = asyncio.get_running_loop().create_task(self._ask(timeout), name="grpcflow-probe")

    async def _ask(self, timeout: float) -> grpc.StatusCode:
        try:
            status: grpc.StatusCode = await self._question()(PROBE, timeout=timeout).code()
        except grpc.aio.UsageError:  # the channel was closed a moment ago; the reader is about to say so
            return grpc.StatusCode.CANCELLED
        return status

    def _answer(self) -> grpc.StatusCode:
        status: grpc.StatusCode = self.probe.result()
        return status


def was_cancelled() -> bool:
    """Return whether the asyncio task that runs is being cancelled; if not, it is a call of grpc's that was."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _messages(hello: bytes, outbox: Bell) -> AsyncIterator[Any]:
    """Yield the hello, then all that waits, joined; ends at None."""
    yield hello
    piece: Piece | None = await outbox.next()
    while piece is not None:
        message, piece = joined(piece, outbox)
        if message is None:
            return
        yield message
        piece = piece or await outbox.next()
