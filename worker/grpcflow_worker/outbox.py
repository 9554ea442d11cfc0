"""What a worker has to tell and what it told without being acknowledged: nothing is dropped before.

Ends of attempts leave here twice: once into a message, and for good when the coordinator acknowledged that message.
After a broken stream they go back to the front and are sent again under new sequence numbers. Pure data: this file
may NOT do I/O, read a clock or know what an attempt is beyond its token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2 as pb

#: How an attempt ended: a plain JSON value, or anything else as a report.
Entry = tuple[int, bytes | pb.Report]

#: Bytes that one entry costs beside its value: the token and the framing of both columns.
_OVERHEAD: Final = 16

#: Most ends in one message; the coordinator handles a message as one event.
MOST_ENTRIES: Final = 4000


class Outbox:
    """The ends of attempts on their way to the coordinator."""

    __slots__ = ("_sent", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._sent: deque[tuple[int, list[Entry]]] = deque()

    @property
    def has_waiting(self) -> bool:
        """True where ends wait for a message."""
        return bool(self._waiting)

    @property
    def is_empty(self) -> bool:
        """True where every end was acknowledged."""
        return not self._waiting and not self._sent

    @property
    def unacknowledged(self) -> int:
        """How many ends the coordinator has not acknowledged, sent or not."""
        return len(self._waiting) + sum(len(entries) for _, entries in self._sent)

    def tokens(self) -> Iterator[int]:
        """The tokens of all ends that were not acknowledged, oldest first."""
        for _, entries in self._sent:
            yield from (token for token, _ in entries)
        yield from (token for token, _ in self._waiting)

    def add_values(self, tokens: Iterable[int], values: Iterable[bytes]) -> None:
        """Take plain JSON values: ``tokens[i]`` gave ``values[i]``."""
        self._waiting.extend(zip(tokens, values, strict=True))

    def add_report(self, report: pb.Report) -> None:
        """Take the end of one attempt that is not a plain value."""
        self._waiting.append((report.token, report))

    def fill(self, message: pb.WorkRequest) -> None:
        """Move what fits (``BATCH_BYTES``, and always one) into a message whose ``sequence`` is set."""
        entries: list[Entry] = []
        tokens: list[int] = []
        values: list[bytes] = []
        room = limits.BATCH_BYTES
        while self._waiting and len(entries) < MOST_ENTRIES:
            entry = self._waiting[0]
            token, outcome = entry
            size = _OVERHEAD + (len(outcome) if isinstance(outcome, bytes) else outcome.ByteSize())
            if size > room and entries:
                break
            room -= size
            entries.append(self._waiting.popleft())
            if isinstance(outcome, bytes):
                tokens.append(token)
                values.append(outcome)
            else:
                message.reports.append(outcome)
        if tokens:
            message.values.tokens.extend(tokens)
            message.values.values.extend(values)
        if entries:
            self._sent.append((message.sequence, entries))

    def acknowledge(self, sequence: int) -> list[int]:
        """Drop what was sent in messages up to ``sequence``; returns its tokens."""
        dropped: list[int] = []
        while self._sent and self._sent[0][0] <= sequence:
            dropped.extend(token for token, _ in self._sent.popleft()[1])
        return dropped

    def rewind(self) -> None:
        """Put back what was sent and not acknowledged, in its order: the stream that carried it is gone."""
        while self._sent:
            self._waiting.extendleft(reversed(self._sent.pop()[1]))

    def forget(self, tokens: Collection[int]) -> None:
        """Drop the waiting ends of attempts that are no longer ours."""
        if tokens:
            self._waiting = deque(entry for entry in self._waiting if entry[0] not in tokens)
