"""How far running attempts say they are, on its way to the coordinator: of each attempt the newest only.

One report of an attempt is on its way at a time; what the task says meanwhile replaces what waits. So a task that
reports in a loop costs two reports of memory and one message a round trip. Pure data: this file may NOT do I/O,
read a clock or know what an attempt is beyond its token.
"""

from __future__ import annotations

from typing import Final

from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2 as pb

#: Bytes that one report costs beside what it says.
_OVERHEAD: Final = 16


class Progress:
    """The newest report of each running attempt that has one the coordinator does not know."""

    __slots__ = ("_flying", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, pb.Report] = {}
        #: Sent and not acknowledged: the number of the message, and the report.
        self._flying: dict[int, tuple[int, pb.Report]] = {}

    def add(self, report: pb.Report) -> None:
        """Take what an attempt says now; what it said before and was not sent is dropped."""
        self._waiting[report.token] = report

    def fill(self, message: pb.WorkRequest) -> bool:
        """Move what may go and fits (``BATCH_BYTES``, and always one) into a message whose ``sequence`` is set."""
        if not self._waiting:
            return False
        room = limits.BATCH_BYTES
        moved: list[int] = []
        for token, report in self._waiting.items():
            if token in self._flying:
                continue
            room -= report.ByteSize() + _OVERHEAD
            if room < 0 and moved:
                break
            moved.append(token)
        for token in moved:
            report = self._waiting.pop(token)
            self._flying[token] = message.sequence, report
            message.reports.append(report)
        return bool(moved)

    def acknowledge(self, sequence: int) -> list[int]:
        """Drop what was sent in messages up to ``sequence``; returns its tokens."""
        arrived = [token for token, (sent, _) in self._flying.items() if sent <= sequence]
        for token in arrived:
            del self._flying[token]
        return arrived

    def rewind(self) -> None:
        """The stream is gone: what was not acknowledged is sent again, unless something newer waits."""
        for token, (_, report) in self._flying.items():
            self._waiting.setdefault(token, report)
        self._flying.clear()

    def end(self, token: int) -> tuple[pb.Report | None, bool]:
        """Let go of an attempt that ended; returns what must arrive before its end, and whether it was sent already."""
        flying = self._flying.pop(token, None)
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            return waiting, False
        return (None, False) if flying is None else (flying[1], True)
