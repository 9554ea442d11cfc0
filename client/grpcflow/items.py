"""The items of a task's stream on a client's connection: a running task sends them, anybody reads them.

Written once for threads and event loops, as coroutines; see ``blocking``. Knows the wire's messages; what an item means
is the codec's affair, and how an answer is read is that of who waits: see ``reading`` for threads.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from grpcflow import errors
from grpcflow.calls import ANSWER_TIME, Calls
from grpcflow.session import Session
from grpcflow.settled import Settled, settled_from
from grpcflow_protos.v1 import client_service_pb2, client_service_pb2_grpc, value_pb2

__all__ = ["Cursor", "Item", "Items", "OpenReader", "Reader"]

_log: Final = logging.getLogger("grpcflow.connection")

#: An encoded item and its content type; empty means JSON.
Item = tuple[bytes, str]

#: Takes a channel, makes a call on it whose answer is a stream, and returns the call.
OpenReader: TypeAlias = Callable[[Any], Any]


class Cursor:
    """How far the stream of one task was read; pure, and the same for threads and for event loops.

    Args:
        id: The task's id as users know it.
        first: Number of the first item wanted.

    Attributes:
        number: Number of the next item.
        end: How the task ended; None before all items were given.
    """

    def __init__(self, id: str, first: int = 0) -> None:
        self.id = id
        self.number = first
        self.end: Settled | None = None

    def request(self) -> client_service_pb2.ReadItemsRequest:
        """Return the request for all that is still to come."""
        return client_service_pb2.ReadItemsRequest(id=self.id, first=self.number)

    def take(self, message: client_service_pb2.ReadItemsResponse) -> Iterator[Item]:
        """Yield the items of a message, each once.

        Raises:
            RequestFailed: Items are missing before those that came.
        """
        if message.first > self.number:
            text = f"the coordinator sent item {message.first} of {self.id} where {self.number} was next; read it again"
            raise errors.RequestFailed(text, code="ITEMS_OUT_OF_ORDER")
        for item in message.items[self.number - message.first :]:
            self.number += 1
            yield item.data, item.content_type
        if message.HasField("end"):
            self.end = settled_from(message.end)

    def late(self, timeout: float | None) -> errors.TimeoutError:
        """Return the error of one who waited long enough."""
        message = (
            f"{self.id} did not end within {timeout or 0:g} s; it goes on, and its stream can be read on with "
            f"stream(first={self.number})"
        )
        return errors.TimeoutError(message)


class Reader(ABC):
    """One answer that is a stream, read as far as it goes.

    Attributes:
        error: Why it ended for good; None where asking again may help.
        ended: True once no message will come any more.
        complete: True where the coordinator ended it, and all is well.
    """

    error: errors.GrpcflowError | None = None
    ended: bool = False
    complete: bool = False

    @abstractmethod
    async def next(self, deadline: float | None) -> Any:
        """Return the next message; None where the answer has ended, or the monotonic deadline has come."""

    @abstractmethod
    async def close(self) -> None:
        """Read no more; what is on its way is thrown away."""


def _asked(request: client_service_pb2.ReadItemsRequest, channel: Any) -> Any:
    return client_service_pb2_grpc.ClientServiceStub(channel).ReadItems(request)


class Items:
    """Calls about items; a part of what is asked of a coordinator."""

    _session: Session
    _calls: Calls
    #: Asks for a stream of answers; set by the side that waits.
    _open_reader: Callable[[OpenReader], Reader]

    async def aemit(self, node: bytes, token: int, first: int, items: Sequence[Item]) -> None:
        """Append items to the stream of a running node, durably.

        Args:
            node: The 16 bytes of the node.
            token: Token of the attempt that runs it.
            first: Number of the first of them, counted from 0 in the attempt.
            items: Encoded values, at most 500 with together some 1 MiB.

        Raises:
            StaleAttempt: The node is no longer that attempt's.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer: send the same again.
            GrpcflowError: It refused.
        """
        values = [value_pb2.Value(data=data, content_type=content_type) for data, content_type in items]
        request = client_service_pb2.EmitRequest(node=node, token=token, first=first, items=values)
        await self._calls.request(
            lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).Emit(request, timeout=left),
            timeout=ANSWER_TIME,
        )

    async def aread_items(
        self, id: str, *, first: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[Item | Settled, None]:
        """Yield the items of a task's stream as they come, each once, and at last how the task ended.

        A lost coordinator is asked again for what is missing, until the time is over.

        Args:
            id: The task's id as users know it.
            first: Number of the first item wanted.
            timeout: Seconds until the end; None: without limit.

        Raises:
            TimeoutError: The task did not end in time.
            NotFound: The coordinator does not know it, or no longer.
            CoordinatorUnavailable: The connection was closed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        cursor, failures = Cursor(id, first), 0
        while True:
            reader = self._open_reader(partial(_asked, cursor.request()))
            try:
                while (message := await reader.next(deadline)) is not None:
                    failures = 0
                    for item in cursor.take(message):
                        yield item
                    if cursor.end is not None:
                        yield cursor.end
                        return
            finally:
                await reader.close()
            if reader.error is not None:
                raise reader.error
            left = float("inf") if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise cursor.late(timeout)
            failures += 1
            if failures == 2:
                _log.warning("the stream of %s is read on once the coordinator is back", id)
            await self._calls._pause(min(left, self._session.policy.delay(failures)))
