"""Questions on their way to workers, and the answers that come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_protos.v1 import worker_service_pb2

#: Seconds that an answer waits for others where more than so many are still to come.
MOMENT: Final = 0.002
MANY: Final = 8


@dataclass(slots=True, frozen=True)
class Answer:
    """What became of one target."""

    worker: str
    status: Literal["answered", "no_reply", "disconnected"]
    reply: bytes = b""
    error: str = ""


#: Questions that wait for a worker which does not read them, and bytes of these; of further ones it is not asked.
UNREAD: Final = 10_000
UNREAD_BYTES: Final = 8 * 1024 * 1024

#: A target and what became of it.
Came = tuple[Session, Answer]

#: How the reply to one question, or None where its stream ended, is taken.
Taker = Callable[["worker_service_pb2.ControlReply | None"], None]


class ControlDesk:
    """Sends control commands to workers and matches the replies."""

    def __init__(self) -> None:
        self._next_id = 1
        self._open: dict[WorkerStream, dict[int, Taker]] = {}

    def answered(self, stream: WorkerStream, reply: worker_service_pb2.ControlReply) -> None:
        """A worker answered; the answer to a probe, or one that came too late, is let go."""
        take = self._open.get(stream, {}).get(reply.id)
        if take is not None:
            take(reply)

    def stream_ended(self, stream: WorkerStream) -> None:
        """A stream is gone: its questions will not be answered."""
        for take in self._open.pop(stream, {}).values():
            take(None)

    async def ask(
        self, command: str, arguments: bytes, targets: Sequence[Session], seconds: float
    ) -> AsyncIterator[list[Came]]:
        """Ask each target and give the answers as they come, those of one moment together.

        Args:
            command: what is asked.
            arguments: one JSON object.
            targets: whom.
            seconds: after which the wait ends.
        """
        coming: asyncio.Queue[Came | None] = asyncio.Queue()
        asked: dict[int, tuple[WorkerStream, Session]] = {}
        for session in targets:
            stream = session.stream
            if isinstance(stream, WorkerStream):
                asked[self._send(stream, session, command, arguments, coming)] = stream, session
            else:
                coming.put_nowait((session, Answer(session.name, "disconnected")))
        timer = asyncio.get_running_loop().call_later(seconds, coming.put_nowait, None)
        try:
            silent = {session.id: session for session in targets}
            while silent and (together := await _come(coming, many=len(silent) > MANY)):
                for session, _ in together:
                    del silent[session.id]
                yield together
            if silent:
                yield [(session, Answer(session.name, "no_reply")) for session in silent.values()]
        finally:
            timer.cancel()
            for number, (stream, _) in asked.items():
                self._forget(stream, number)

    def _send(
        self,
        stream: WorkerStream,
        session: Session,
        command: str,
        arguments: bytes,
        coming: asyncio.Queue[Came | None],
    ) -> int:
        """Send a question; the answer goes into the queue, once."""
        number = self._next_id
        self._next_id += 1

        def take(reply: worker_service_pb2.ControlReply | None) -> None:
            self._forget(stream, number)
            answer = Answer(session.name, "disconnected")
            if reply is not None:
                answer = Answer(session.name, "answered", reply.reply, reply.error)
            coming.put_nowait((session, answer))

        self._open.setdefault(stream, {})[number] = take
        question = worker_service_pb2.ControlCommand(id=number, command=command, arguments=arguments or b"{}")
        if len(stream.commands) < UNREAD and stream.command_bytes < UNREAD_BYTES:  # else it is one that did not reply
            stream.order(question)
        return number

    def _forget(self, stream: WorkerStream, number: int) -> None:
        """Expect no answer to a question any more."""
        found = self._open.get(stream)
        if found is not None:
            found.pop(number, None)
            if not found:
                del self._open[stream]


async def _come(coming: asyncio.Queue[Came | None], *, many: bool) -> list[Came]:
    """Wait for the next answer, and return it with those that came with it; nothing where the time is over."""
    first = await coming.get()
    if first is None:
        return []
    if many:
        await asyncio.sleep(MOMENT)
    together = [first]
    while not coming.empty():
        another = coming.get_nowait()
        if another is None:
            coming.put_nowait(None)  # the time is over: the next call says so
            break
        together.append(another)
    return together
