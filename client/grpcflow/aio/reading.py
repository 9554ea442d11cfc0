"""Reads an answer that is a stream, of items or of events, on an event loop; ahead is read what grpc itself holds."""

import asyncio
import time
from typing import Any, Final

import grpc
import grpc.aio

from grpcflow import errors, statuses
from grpcflow.aio.link import was_cancelled
from grpcflow.aio.session import LoopSession
from grpcflow.items import OpenReader, Reader

__all__ = ["LoopReader"]

#: Seconds that a coordinator has to be reached before the reader is told.
_REACH: Final = 10.0


class LoopReader(Reader):
    """Reads one answer that is a stream; a deadline that comes ends it, since it ends the call.

    Args:
        session: Lends the link.
        ask: Asks for it, on a channel.
    """

    def __init__(self, session: LoopSession, ask: OpenReader) -> None:
        self._session, self._ask = session, ask
        self._loan: Any = None
        self._call: Any = None

    async def next(self, deadline: float | None) -> Any:
        """Return the next message; None where the answer has ended, or the monotonic deadline has come."""
        message = await self._message(deadline)
        self.ended = message is None
        return message

    async def _message(self, deadline: float | None) -> Any:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                call = self._call or await self._begin()
                message = await call.read()
        except TimeoutError:
            return None
        except grpc.RpcError as failed:
            self.error = None if statuses.is_passing(failed) else statuses.error_of_call(failed)
            return None
        except errors.CoordinatorUnavailable as error:  # no link could be had
            self.error = error if self._session.is_closed else None
            return None
        except grpc.aio.UsageError:
            return None  # the channel was closed between the loan and the call
        except asyncio.CancelledError:
            if was_cancelled():
                raise
            return None  # the channel was closed
        if message is grpc.aio.EOF:
            self.complete = True
            return None
        return message

    async def _begin(self) -> Any:
        self._loan = self._session.lend(time.monotonic() + _REACH)
        link = await self._loan.__aenter__()
        self._call = self._ask(link.channel)
        return self._call

    async def close(self) -> None:
        """Read no more; what is on its way is thrown away."""
        call, loan, self._call, self._loan = self._call, self._loan, None, None
        if call is not None:
            call.cancel()
        if loan is not None:
            await loan.__aexit__(None, None, None)
