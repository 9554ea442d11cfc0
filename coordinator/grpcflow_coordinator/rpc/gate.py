"""Lets graphs into the engine's inbox as fast as it takes them: the backpressure of submissions, fair between clients.

Who sends little goes straight in. While much waits, who sends much waits for a turn, first come first served, a little
at a time; meanwhile nothing more is read of its stream, so that HTTP/2's flow control holds the sender itself. What is
held so has a bound, and beyond it is refused. Decides nothing about tasks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from grpcflow_coordinator.errors import Refusal
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2

#: What a piece weighs beside its nodes, and what each of its runs does; a node weighs one, and so do so many bytes.
PIECE_WEIGHT: Final = 5
RUN_WEIGHT: Final = 4
BYTES_SHIFT: Final = 10

#: Weight in the inbox from which on much waits: about a tenth of a second of work.
LONG: Final = 4_000

#: Weight after which others have their turn; and the same while much waits, for who has had none.
GROUP: Final = 2_000
SMALL: Final = 50

#: Bytes of messages that may wait for turns, of all clients together.
HELD_BYTES: Final = 128 * 1024 * 1024

#: Seconds after which who was refused may come back.
COME_BACK: Final = 1.0


class Inbox(Protocol):
    """What the gate knows of the engine."""

    @property
    def posted(self) -> int:
        """How many events were posted so far."""
        ...

    @property
    def stepped(self) -> int:
        """How many of them were taken out of the inbox."""
        ...

    async def flushed(self) -> None:
        """Wait until all that was posted is durable and told."""
        ...


class Visitor:
    """One who submits: a stream, or a single call."""

    __slots__ = ("__weakref__", "last")

    def __init__(self) -> None:
        #: Number of the event that it posted last.
        self.last = 0


class Gate:
    """The way into the inbox.

    Args:
        inbox: the engine.
        held_bytes: bytes of messages that may wait for turns.
    """

    def __init__(self, inbox: Inbox, held_bytes: int = HELD_BYTES) -> None:
        self._inbox, self._held_bytes = inbox, held_bytes
        #: Weights in the inbox, each with the number of the event up to which it reaches; and their sum.
        self._marks: deque[tuple[int, int]] = deque()
        self._weight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        #: Bytes of messages that wait for turns.
        self.held = 0
        self._porter: asyncio.Task[None] | None = None

    @property
    def is_long(self) -> bool:
        """True while much waits in the inbox."""
        marks, stepped = self._marks, self._inbox.stepped
        while marks and marks[0][0] <= stepped:
            self._weight -= marks.popleft()[1]
        return self._weight >= LONG

    async def through(
        self, visitor: Visitor, pieces: Sequence[graph_pb2.GraphChunk], apart: int = 0
    ) -> AsyncIterator[graph_pb2.GraphChunk]:
        """Yield the pieces of one message as they may be posted, which must happen before the next one is asked for.

        Args:
            visitor: who submits.
            pieces: all of them.
            apart: bytes of values that were taken out of the one piece that there is then.

        Raises:
            Refusal: OVERLOADED: too much waits already, and the rest of the message is to come later.
        """
        weight = 0
        sizes = [_size(piece) + apart for piece in pieces]
        if pieces and self.is_long and visitor.last > self._inbox.stepped:
            await self._turn(sum(sizes))
        for piece, size in zip(pieces, sizes, strict=True):
            weight += weigh(piece, size)
            yield piece
            if weight > SMALL and weight > (SMALL if self.is_long else GROUP):
                self._note(visitor, weight)
                weight = 0
                await self._turn(sum(sizes))
        if weight:
            self._note(visitor, weight)

    def _note(self, visitor: Visitor, weight: int) -> None:
        """Add what a visitor has posted."""
        visitor.last = self._inbox.posted
        self._weight += weight
        self._marks.append((visitor.last, weight))

    async def _turn(self, size: int) -> None:
        """Let others go on; while much waits, until it is the turn of this one, whose message has so many bytes."""
        if not self.is_long and not self._waiting:
            await asyncio.sleep(0)
            return
        if self.held + size > self._held_bytes and self._waiting:
            raise Refusal(
                "OVERLOADED",
                f"the coordinator has {self.held >> 20} MiB of graphs of others to take first: "
                "come back in a moment, and send the same again",
                retry_after=COME_BACK,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held += size
        self._waiting.append(turn)
        if self._porter is None or self._porter.done():
            self._porter = asyncio.create_task(self._let_in())
        try:
            await turn
        finally:
            self.held -= size

    async def _let_in(self) -> None:
        """Give those who wait their turns."""
        while self._waiting:
            if self.is_long:
                await self._inbox.flushed()
                continue
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                await asyncio.sleep(0)  # it posts now


def _size(piece: graph_pb2.GraphChunk) -> int:
    """Return the bytes of a piece; none of one that will be refused, and is not looked through before."""
    return 0 if len(piece.runs) > limits.CHUNK_RUNS_MOST else piece.ByteSize()


def weigh(piece: graph_pb2.GraphChunk, size: int) -> int:
    """Return how much work a piece of a graph is, and how much memory it takes; `size`: its bytes."""
    if not size:
        return GROUP
    return PIECE_WEIGHT + RUN_WEIGHT * len(piece.runs) + sum(run.count for run in piece.runs) + (size >> BYTES_SHIFT)
