"""Graphs on their way to the coordinator: pure bookkeeping behind the client's stream, as for waiters.

Sends nothing, takes no lock and knows no gRPC; the session that owns the registry calls it under its own lock.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from grpcflow import errors
from grpcflow.retry_policy import RetryPolicy
from grpcflow.waiting import Operation
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2
from grpcflow_protos.wire_parts import Parted, Piece, joined, prefix

__all__ = ["Submission", "Submissions", "encoded", "in_parts"]


#: Number of the field of a request that is a graph's piece.
_SUBMITS: Final = client_service_pb2.SessionRequest.SUBMITS_FIELD_NUMBER


class Submission(Operation):
    """A graph on its way: its encoded pieces are kept until the coordinator has it.

    Args:
        graph: The graph's id.
        pieces: Encoded ``SessionRequest`` messages, one for each chunk; a large one in parts.
        once: True: it is given up as soon as no address could be reached.

    Attributes:
        tries: How often it could not be sent since a link worked last.
        since: Monotonic time from which its tries count.
    """

    __slots__ = ("graph", "once", "pieces", "since", "tries")

    def __init__(self, graph: bytes, pieces: Sequence[Piece], once: bool) -> None:
        super().__init__()
        self.graph, self.pieces, self.once = graph, pieces, once
        self.tries = 0
        self.since = time.monotonic()


class Submissions:
    """All submissions of one session that are not answered; a graph may be submitted by several threads."""

    def __init__(self) -> None:
        self._by_graph: dict[bytes, list[Submission]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_graph)

    def __iter__(self) -> Iterator[Submission]:
        return iter([submission for submissions in self._by_graph.values() for submission in submissions])

    def add(self, submission: Submission) -> None:
        """Keep it until it is answered."""
        self._by_graph.setdefault(submission.graph, []).append(submission)

    def discard(self, submission: Submission) -> None:
        """Let go of it, where it is kept."""
        listed = self._by_graph.get(submission.graph)
        if listed is not None and submission in listed:
            listed.remove(submission)
            if not listed:
                del self._by_graph[submission.graph]

    def finish(self, graph: bytes, error: Exception | None) -> None:
        """End the submissions of a graph; one that was answered before is passed over."""
        for submission in self._by_graph.pop(graph, ()):
            submission.finish(error)

    def fail_all(self, error: Exception) -> None:
        """End all of them with an error."""
        failed = list(self)
        self._by_graph.clear()  # before: the end of one may be the beginning of another
        for submission in failed:
            submission.finish(error)

    def welcomed(self) -> None:
        """Count the tries of all of them anew: a link works."""
        for submission in self:
            submission.tries = 0

    def link_ended(self, worked: bool, policy: RetryPolicy, addresses: int, error: Callable[[], Exception]) -> None:
        """Give up those that were tried often enough.

        Args:
            worked: True: the coordinator had welcomed that link.
            policy: How often they are tried.
            addresses: How many coordinators there are to try.
            error: Makes the error that they end with.
        """
        for submission in self:
            submission.tries = 0 if worked else submission.tries + 1
            if worked:
                submission.since = time.monotonic()
            most = addresses if submission.once else policy.tries
            if submission.tries >= most or policy.is_over(submission.tries, submission.since):
                self.discard(submission)
                submission.finish(error())


def encoded(chunks: Sequence[graph_pb2.GraphChunk]) -> list[bytes]:
    """Return the pieces of one graph as requests of the stream; arguments and errors as of ``in_parts``."""
    return [joined(piece) for piece in in_parts(chunks)]


def in_parts(chunks: Sequence[graph_pb2.GraphChunk | Parted]) -> list[Piece]:
    """Return the pieces of one graph as requests of the stream, those in parts that came so.

    Args:
        chunks: All of them, in order.

    Raises:
        InvalidRequest: There is none.
        PayloadTooLarge: A call is larger than a coordinator takes.
    """
    if not chunks:
        message = "a graph has at least one piece"
        raise errors.InvalidRequest(message, code="EMPTY_GRAPH")
    pieces: list[Piece] = []
    for chunk in chunks:
        # What the request's own serialising would give, less two copies of what may be mebibytes.
        if isinstance(chunk, Parted):
            parts = (chunk.message.SerializeToString(), *chunk.parts)
            size = sum(map(len, parts))
            pieces.append((prefix(_SUBMITS, size), *parts))
        else:
            body = chunk.SerializeToString()
            parts = ()
            size = len(body)
            pieces.append(prefix(_SUBMITS, size) + body)
        if size >= limits.PAYLOAD_LIMIT:
            _check_size(chunk, parts, size)
    return pieces


def _check_size(chunk: graph_pb2.GraphChunk | Parted, parts: Sequence[bytes], size: int) -> None:
    """Refuse here what the coordinator would refuse, or the transport could not carry.

    Raises:
        PayloadTooLarge: A payload, or the piece as a whole, is too large.
    """
    runs = () if isinstance(chunk, Parted) else chunk.runs
    payloads = parts or [payload for run in runs for payload in run.payloads]
    largest = max(map(len, payloads), default=0)
    cure = "put the data where tasks can read it and pass its address"
    if largest > limits.PAYLOAD_LIMIT:
        message = f"the arguments of a task have {largest} bytes; {limits.PAYLOAD_LIMIT} are allowed: {cure}"
        raise errors.PayloadTooLarge(message, cure=cure)
    if size > limits.MESSAGE_LIMIT:
        message = f"a piece of the graph has {size} bytes; {limits.MESSAGE_LIMIT} are allowed: cut it into more chunks"
        raise errors.PayloadTooLarge(message, code="MESSAGE_TOO_LARGE")
