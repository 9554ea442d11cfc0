"""What attempts print and log, on its way to the coordinator: of each attempt in order, and never without bound.

A task that logs faster than its lines can leave loses the oldest that wait, and the numbers of the others show that.
What was sent and is not acknowledged is sent again in the same pieces, by which the coordinator knows them. Pure data:
this file may NOT do I/O, read a clock or know what an attempt is beyond its token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from grpcflow_protos import limits
from grpcflow_protos.v1 import log_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.log_lines import LogLine, size_of

#: Bytes that may wait.
WAITING_BYTES: Final = 4 * limits.BATCH_BYTES

#: Bytes that one message takes.
_MESSAGE_BYTES: Final = limits.BATCH_BYTES // 2


class _Waiting:
    """Lines of one attempt that were not sent."""

    __slots__ = ("lines", "next", "size")

    def __init__(self) -> None:
        #: Number of the line that comes next.
        self.next = 0
        #: Each with its number; those of dropped ones lack.
        self.lines: deque[tuple[int, LogLine]] = deque()
        self.size = 0


class TaskLogs:
    """What the open attempts of a worker logged and the coordinator has not acknowledged."""

    __slots__ = ("_ended", "_flying", "_unsent", "_waiting", "limit", "size")

    def __init__(self) -> None:
        #: Bytes that the coordinator keeps of an attempt; 0: it wants nothing.
        self.limit = 0
        #: Bytes that wait.
        self.size = 0
        self._waiting: dict[int, _Waiting] = {}
        #: Attempts that have ended and whose lines must leave before their ends do.
        self._ended: dict[int, _Waiting] = {}
        #: Sent and not acknowledged, by number of the message; and what was sent on a stream that is gone.
        self._flying: deque[tuple[int, log_pb2.LoggedLines]] = deque()
        self._unsent: deque[log_pb2.LoggedLines] = deque()

    def add(self, token: int, dropped: int, lines: Iterable[LogLine]) -> None:
        """Take what an open attempt logged."""
        if not self.limit:
            return
        waiting = self._waiting.get(token)
        if waiting is None:
            waiting = self._waiting[token] = _Waiting()
        waiting.next += dropped
        for line in lines:
            waiting.lines.append((waiting.next, line))
            waiting.next += 1
            self._grow(waiting, size_of(line))
            while waiting.lines and (waiting.size > self.limit or self.size > WAITING_BYTES):
                self._grow(waiting, -size_of(waiting.lines.popleft()[1]))

    def _grow(self, waiting: _Waiting, size: int) -> None:
        waiting.size += size
        self.size += size

    def end(self, token: int) -> None:
        """An attempt has ended: what it logged leaves before its end."""
        waiting = self._waiting.pop(token, None)
        if waiting is not None and waiting.lines:
            self._ended[token] = waiting

    def forget(self, token: int) -> None:
        """Drop what waits of an attempt that is no longer ours."""
        for held in (self._waiting, self._ended):
            waiting = held.pop(token, None)
            if waiting is not None:
                self.size -= waiting.size

    def welcome(self, limit: int) -> None:
        """Begin with a coordinator that keeps so many bytes of an attempt; 0: nothing, and nothing is sent."""
        self.limit = limit
        if not limit:
            self._waiting.clear()
            self._ended.clear()
            self._unsent.clear()
            self.size = 0

    def fill(self, message: pb.WorkRequest) -> bool:
        """Move what fits into a message whose ``sequence`` is set; True where ends must wait for the next one."""
        if not (self.size or self._unsent):
            return False
        room = _MESSAGE_BYTES
        while self._unsent and room > 0:
            room -= self._send(message, self._unsent.popleft())
        for held in (self._ended, self._waiting):
            for token in list(held) if room > 0 else ():
                waiting = held[token]
                while waiting.lines and room > 0:
                    room -= self._send(message, self._piece(token, waiting))
                if held is self._ended and not waiting.lines:
                    del held[token]
        return bool(self._unsent or self._ended)

    def _send(self, message: pb.WorkRequest, piece: log_pb2.LoggedLines) -> int:
        message.logs.append(piece)
        self._flying.append((message.sequence, piece))
        return piece.ByteSize()

    def _piece(self, token: int, waiting: _Waiting) -> log_pb2.LoggedLines:
        """Take the oldest lines of an attempt, as many as one piece may have."""
        first, line = waiting.lines.popleft()
        size, most = size_of(line), min(self.limit, limits.LOG_PIECE_BYTES)
        taken = [line]
        while waiting.lines:
            number, line = waiting.lines[0]
            size += size_of(line)
            if number != first + len(taken) or size > most:
                size -= size_of(line)
                break
            taken.append(waiting.lines.popleft()[1])
        self._grow(waiting, -size)
        lines = (
            log_pb2.LogLine(time_ms=at, level=level, logger=logger, text=text) for at, level, logger, text in taken
        )
        return log_pb2.LoggedLines(token=token, first=first, lines=lines)

    def acknowledge(self, sequence: int) -> None:
        """Drop what was sent in messages up to ``sequence``."""
        while self._flying and self._flying[0][0] <= sequence:
            self._flying.popleft()

    def rewind(self) -> None:
        """The stream is gone: what was not acknowledged is sent again, and first."""
        self._unsent = deque([piece for _, piece in self._flying] + list(self._unsent))
        self._flying.clear()
