"""Questions on their way to workers, and the answers that come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.streams import WorkerStream
from grpcflow_protos.v1 import worker_service_pb2


@dataclass(slots=True, frozen=True)
class Answer:
    """What became of one target."""

    worker: str
    status: Literal["answered", "no_reply", "disconnected"]
    reply: bytes = b""
    error: str = ""


class ControlDesk:
    """Sends control commands to workers and matches the replies."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._next_id = 1
        self._open: dict[tuple[WorkerStream, int], asyncio.Future[worker_service_pb2.ControlReply | None]] = {}

    def answered(self, stream: WorkerStream, reply: worker_service_pb2.ControlReply) -> None:
        """A worker answered; the answer to a probe, or one that came too late, is let go."""
        future = self._open.get((stream, reply.id))
        if future is not None and not future.done():
            future.set_result(reply)

    def stream_ended(self, stream: WorkerStream) -> None:
        """A stream is gone: its questions will not be answered."""
        for (owner, _), future in self._open.items():
            if owner is stream and not future.done():
                future.set_result(None)

    def targets(self, destination: list[str]) -> list[Session]:
        """Return the sessions that a destination names; all of them for none.

        Raises:
            Refusal: UNKNOWN_DESTINATION, with the names that exist.
        """
        sessions = sorted(self._cluster.sessions.values(), key=lambda session: session.name)
        if not destination:
            return sessions
        chosen: dict[bytes, Session] = {}
        for name in destination:
            exact = [session for session in sessions if session.name == name]
            short = [session for session in sessions if session.name.split("@")[0] == name]
            found = exact or short
            if len({session.name for session in found}) != 1:
                known = ", ".join(session.name for session in sessions) or "none"
                what = f"{name!r} fits several workers" if found else f"no worker has the name {name!r}"
                raise Refusal("UNKNOWN_DESTINATION", f"{what}; connected: {known}")
            session = next((one for one in found if not one.draining), found[0])
            chosen[session.id] = session
        return list(chosen.values())

    async def ask(
        self, command: str, arguments: bytes, targets: list[Session], seconds: float
    ) -> AsyncIterator[Answer]:
        """Ask each target and give the answers as they come; every wait ends after so many seconds."""
        tasks = [asyncio.create_task(self._ask_one(session, command, arguments, seconds)) for session in targets]
        try:
            for next_answer in asyncio.as_completed(tasks):
                yield await next_answer
        finally:
            for task in tasks:
                task.cancel()

    async def _ask_one(self, session: Session, command: str, arguments: bytes, seconds: float) -> Answer:
        stream = session.stream
        if not isinstance(stream, WorkerStream):
            return Answer(session.name, "disconnected")
        number = self._next_id
        self._next_id += 1
        future: asyncio.Future[worker_service_pb2.ControlReply | None] = asyncio.get_running_loop().create_future()
        self._open[stream, number] = future
        stream.commands.append(
            worker_service_pb2.ControlCommand(id=number, command=command, arguments=arguments or b"{}")
        )
        stream.wake()
        try:
            async with asyncio.timeout(seconds):
                reply = await future
        except TimeoutError:
            return Answer(session.name, "no_reply")
        finally:
            del self._open[stream, number]
        if reply is None:
            return Answer(session.name, "disconnected")
        return Answer(session.name, "answered", reply.reply, reply.error)
