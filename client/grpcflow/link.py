"""One gRPC channel and the one stream on it: what is opened, and thrown away when it breaks.

A link knows how to send and to read; what is sent, and what happens when it ends, is the session's affair.
"""

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Final

import grpc

from grpcflow import statuses
from grpcflow.channels import PLAIN, Door, ThreadSafeChannel
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2
from grpcflow_protos.wire_parts import LARGE, Apart, Piece, taken_apart

__all__ = ["OPTIONS", "PROBE", "Link", "Received", "joined"]

#: A message of the coordinator, perhaps with large values beside it.
Received = client_service_pb2.SessionResponse | Apart[client_service_pb2.SessionResponse]

_METHOD: Final = "/grpcflow.v1.ClientService/Session"

#: Options of the channel.
OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_send_message_length", limits.MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", limits.MESSAGE_LIMIT),
    # A new link must mean a new connection, also where the old one is dead and does not know it.
    ("grpc.use_local_subchannel_pool", 1),
    # Keeps an idle stream alive behind address translation; a silent coordinator is found by a probe.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # The retry policy is the session's own.
    ("grpc.enable_retries", 0),
)
#: What is asked for a sign of life.
PROBE: Final = client_service_pb2.GetResultsRequest(states_only=True)
#: The way to the values of nodes that succeeded.
_TO_VALUES: Final = (
    client_service_pb2.SessionResponse.SUCCESSES_FIELD_NUMBER,
    client_service_pb2.Successes.VALUES_FIELD_NUMBER,
)
_NUMBERS: Final = itertools.count(1)


class Link:
    """One channel and its stream.

    Args:
        address: ``HOST:PORT``.
        connect_timeout: Seconds until the coordinator must have said welcome.
        version: Version of the client, for people.
        door: Opens the channel.

    Attributes:
        welcome: The coordinator's welcome; None until it came.
        welcome_by: Monotonic time until which it must come.
        heard: Monotonic time of the last sign of life.
        fault: Why this side ended it; empty where it did not.
        is_closed: True once its channel is thrown away, and all calls on it are cancelled.
        probe: A question on its way that the coordinator has to answer, and None otherwise.
    """

    def __init__(self, address: str, connect_timeout: float, version: str = "", door: Door = PLAIN) -> None:
        self.address, self._door = address, door
        self.number = next(_NUMBERS)
        self.welcome: client_service_pb2.ClientWelcome | None = None
        self.heard = time.monotonic()
        self.welcome_by = self.heard + connect_timeout
        self.fault = ""
        self.is_closed = False
        self.probe: Any = None
        hello = client_service_pb2.SessionRequest(
            hello=client_service_pb2.ClientHello(
                revision=limits.REVISION,
                features=limits.FEATURES,
                version=version,
                client=f"{socket.gethostname()}:{os.getpid()}",
            )
        )
        self._open(hello.SerializeToString())

    def _open(self, hello: bytes) -> None:
        """Open the channel and the stream on it."""
        self.channel: Any = ThreadSafeChannel(self._door.open(self.address, OPTIONS))
        self._outbox: SimpleQueue[Piece | None] = SimpleQueue()
        self._call: Any = self._stream()(_messages(hello, self._outbox))

    def _stream(self) -> Any:
        """Return what opens the stream."""
        return self.channel.stream_stream(
            _METHOD,
            request_serializer=None,
            response_deserializer=_read_response,
        )

    def send(self, *pieces: Piece) -> None:
        """Put encoded requests on their way; those of many callers leave together. Never blocks."""
        for piece in pieces:
            self._outbox.put(piece)

    async def read(self, receive: Callable[["Link", Received], None]) -> grpc.RpcError | None:
        """Hand every message to ``receive`` until the stream ends.

        Returns:
            The status it ended with, or None where the coordinator ended it well.
        """
        try:
            for message in self._call:
                receive(self, message)
        except grpc.RpcError as error:
            # It is the call itself, which its traceback would keep until the next collection: and where that is the
            # interpreter's last one, it waits for a lock of a thread of grpc's that has no turn any more.
            return error.with_traceback(None)
        return None

    def abort(self, fault: str) -> None:
        """End the stream from this side; ``read`` returns. Any thread may do so, more than once."""
        self.fault = self.fault or fault
        self._outbox.put(None)
        self._call.cancel()

    async def close(self) -> None:
        """Throw the channel away, and every call on it."""
        self.is_closed = True
        self._outbox.put(None)
        self._call.cancel()
        self.channel.close()

    def ask(self, timeout: float) -> None:
        """Send a probe: any answer but silence shows that the coordinator lives."""
        try:
            self.probe = self._question().future(PROBE, timeout=timeout)
        except ValueError:  # the channel was closed a moment ago; the reader is about to say so
            self.probe = None

    def _question(self) -> Any:
        """Return what asks for a sign of life."""
        return self.channel.unary_unary(
            "/grpcflow.v1.ClientService/GetResults",
            request_serializer=client_service_pb2.GetResultsRequest.SerializeToString,
            response_deserializer=client_service_pb2.GetResultsResponse.FromString,
        )

    def judge(self) -> None:
        """Look at the probe's answer, where there is one: life, or the end of this link."""
        if self.probe is None or not self.probe.done():
            return
        silent = self._answer() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
        self.probe = None
        if silent:
            self.abort("it is silent")
        else:
            self.heard = time.monotonic()

    def _answer(self) -> grpc.StatusCode:
        """Return the status of a probe that is done."""
        status: grpc.StatusCode = self.probe.code()
        return status

    def describe(self, error: grpc.RpcError | None) -> str:
        """Say in a few words why the link ended."""
        if self.fault:
            return self.fault
        if error is None:
            return "it ended the stream"
        code, _ = statuses.reason_of_call(error)
        return f"{code + ': ' if code else ''}{statuses.details_of(error) or error}"


def _read_response(data: bytes) -> Received:
    """Read a message, large values of its one column apart: as views, since they are decoded soon enough."""
    if len(data) < LARGE:
        return client_service_pb2.SessionResponse.FromString(data)
    data, values = taken_apart(data, _TO_VALUES, viewed=True)
    message = client_service_pb2.SessionResponse.FromString(data)
    return Apart(message, values) if values else message


def _messages(hello: bytes, outbox: "SimpleQueue[Piece | None]") -> Iterator[bytes]:
    """Yield the hello, then all that waits, joined: encoded messages one after the other are one message.

    Runs in a thread of grpc's. Ends at None.
    """
    yield hello
    piece = outbox.get()
    while piece is not None:
        message, piece = joined(piece, outbox)
        if message is None:
            return
        yield message
        piece = piece or outbox.get()


def joined(piece: Piece, outbox: "SimpleQueue[Piece | None]") -> tuple[bytes | None, Piece]:
    """Join a piece with those that wait behind it: encoded messages one after the other are one message.

    Args:
        piece: The first.
        outbox: The others. A message is cut at ``BATCH_BYTES``, unless one piece is larger; one in parts is a message.

    Returns:
        The message, and the piece that had no place in it, empty where there is none. Where the end stands behind the
        first piece the message is None.
    """
    if isinstance(piece, tuple):
        return b"".join(piece), b""
    batch, size = [piece], len(piece)
    while size < limits.BATCH_BYTES:
        try:
            more = outbox.get_nowait()
        except Empty:
            break
        if more is None:
            return None, b""
        if isinstance(more, tuple) or size + len(more) > limits.BATCH_BYTES:
            return b"".join(batch), more
        batch.append(more)
        size += len(more)
    return batch[0] if len(batch) == 1 else b"".join(batch), b""
