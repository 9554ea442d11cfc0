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
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.wire_parts import nested

#: How an attempt ended: a plain JSON value, or anything else as a report.
Entry = tuple[int, bytes | pb.Report]

#: Bytes that one entry costs beside its value: the token and the framing of both columns.
_OVERHEAD: Final = 16

#: A value of so many bytes is sent without a message being made of it.
_LARGE: Final = 64 * 1024
_VALUES: Final = pb.ReportedValues.VALUES_FIELD_NUMBER

#: Most ends in one message; the coordinator handles a message as one event.
MOST_ENTRIES: Final = 4000


class Outbox:
    """The ends of attempts on their way to the coordinator."""

    __slots__ = ("_before", "_said", "_sent", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._sent: deque[tuple[int, list[Entry]]] = deque()
        #: By token: progress that must arrive before the attempt's end, and for which of them this stream carried it.
        self._before: dict[int, pb.Report] = {}
        self._said: set[int] = set()

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

    def precede(self, progress: pb.Report, *, said: bool) -> None:
        """Have this progress arrive before the end of its attempt, which is added next.

        Args:
            progress: the report.
            said: True: this stream has carried it already, so only another one needs to.
        """
        self._before[progress.token] = progress
        if said:
            self._said.add(progress.token)

    def fill(self, message: pb.WorkRequest, parts: list[bytes] | None = None) -> None:
        """Move what fits (``BATCH_BYTES``, and always one) into a message whose ``sequence`` is set.

        Args:
            message: The message.
            parts: Where a large plain value goes instead, encoded; None: into the message, as others.
        """
        entries: list[Entry] = []
        tokens: list[int] = []
        values: list[bytes] = []
        room = limits.BATCH_BYTES
        while self._waiting and len(entries) < MOST_ENTRIES:
            entry = self._waiting[0]
            token, outcome = entry
            before = self._before.get(token) if self._before else None
            size = _OVERHEAD + (len(outcome) if isinstance(outcome, bytes) else outcome.ByteSize())
            if before is not None and token not in self._said:
                size += before.ByteSize()
                if size > limits.BATCH_BYTES and not entries:
                    # Two large payloads would outgrow the transport: the end follows in the next message.
                    self._fill_before(message, before)
                    break
            if size > room and entries:
                break
            room -= size
            entries.append(self._waiting.popleft())
            if before is not None:
                self._fill_pair(message, before, outcome)
            elif isinstance(outcome, bytes):
                tokens.append(token)
                values.append(outcome)
            else:
                message.reports.append(outcome)
        if parts is not None and len(values) == 1 and len(values[0]) >= _LARGE:
            head = pb.ReportedValues(tokens=tokens)
            parts += nested(pb.WorkRequest.VALUES_FIELD_NUMBER, head.SerializeToString(), _VALUES, values)
        elif tokens:
            message.values.tokens.extend(tokens)
            message.values.values.extend(values)
        if entries:
            self._sent.append((message.sequence, entries))

    def _fill_pair(self, message: pb.WorkRequest, before: pb.Report, outcome: bytes | pb.Report) -> None:
        """Add progress and end of one attempt, both as reports: a column of values may be read before the reports."""
        if before.token not in self._said:
            self._fill_before(message, before)
        if isinstance(outcome, bytes):
            outcome = pb.Report(token=before.token, value=value_pb2.Value(data=outcome))
        message.reports.append(outcome)

    def _fill_before(self, message: pb.WorkRequest, before: pb.Report) -> None:
        self._said.add(before.token)
        message.reports.append(before)

    def acknowledge(self, sequence: int) -> list[int]:
        """Drop what was sent in messages up to ``sequence``; returns its tokens."""
        dropped: list[int] = []
        while self._sent and self._sent[0][0] <= sequence:
            dropped.extend(token for token, _ in self._sent.popleft()[1])
        self._let_go(dropped)
        return dropped

    def rewind(self) -> None:
        """Put back what was sent and not acknowledged, in its order: the stream that carried it is gone."""
        self._said.clear()
        while self._sent:
            self._waiting.extendleft(reversed(self._sent.pop()[1]))

    def forget(self, tokens: Collection[int]) -> None:
        """Drop the waiting ends of attempts that are no longer ours."""
        if tokens:
            self._waiting = deque(entry for entry in self._waiting if entry[0] not in tokens)
            self._let_go(tokens)

    def _let_go(self, tokens: Collection[int]) -> None:
        if self._before:
            for token in tokens:
                self._before.pop(token, None)
                self._said.discard(token)
