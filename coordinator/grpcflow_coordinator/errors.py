"""What the coordinator refuses, each with a stable code, and the gRPC status that each code travels as.

The core speaks in codes; only this file and rpc/ know statuses.
"""

from __future__ import annotations

from typing import Final

import grpc

_INVALID = grpc.StatusCode.INVALID_ARGUMENT

#: Stable code -> gRPC status. protos/PROTOCOL.md says of each what the caller should do.
STATUS_OF: Final[dict[str, grpc.StatusCode]] = {
    "GRAPH_CYCLE": _INVALID,
    "DANGLING_EDGE": _INVALID,
    "DUPLICATE_ID": _INVALID,
    "NODE_LIMIT": _INVALID,
    "CHUNK_TOO_LONG": _INVALID,
    "PAYLOAD_TOO_LARGE": _INVALID,
    "NAME_TOO_LONG": _INVALID,
    "ID_TOO_LONG": _INVALID,
    "UNKNOWN_CONTENT_TYPE": _INVALID,
    "UNKNOWN_TEMPLATE": _INVALID,
    "EMPTY_GRAPH": _INVALID,
    "CHUNK_OUT_OF_ORDER": _INVALID,
    "BAD_GRAPH_ID": _INVALID,
    "EDGES_DISAGREE": _INVALID,
    "BAD_PRIORITY": _INVALID,
    "BAD_TIME": _INVALID,
    "MALFORMED": _INVALID,
    "HELLO_EXPECTED": _INVALID,
    "TOO_MANY_IDS": _INVALID,
    "BAD_ARGUMENTS": _INVALID,
    "UNKNOWN_COMMAND": _INVALID,
    "UNKNOWN_SIGNAL": _INVALID,
    "BAD_STATE": _INVALID,
    "BAD_SCHEDULE": _INVALID,
    "UNKNOWN_SCHEDULE": grpc.StatusCode.NOT_FOUND,
    "NO_GROUP": grpc.StatusCode.FAILED_PRECONDITION,
    "STALE_ATTEMPT": grpc.StatusCode.FAILED_PRECONDITION,
    "SETTLED": grpc.StatusCode.FAILED_PRECONDITION,
    "NO_VALUE": grpc.StatusCode.FAILED_PRECONDITION,
    "UNKNOWN_GROUP": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_GRAPH": grpc.StatusCode.NOT_FOUND,
    "ARGUMENTS_GONE": grpc.StatusCode.FAILED_PRECONDITION,
    "STILL_RUNNING": grpc.StatusCode.FAILED_PRECONDITION,
    "ITEMS_OUT_OF_ORDER": _INVALID,
    "TOO_MANY_ITEMS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_REQUESTS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "RECOVERING": grpc.StatusCode.UNAVAILABLE,
    "ID_TAKEN": grpc.StatusCode.ALREADY_EXISTS,
    "NAME_TAKEN": grpc.StatusCode.ALREADY_EXISTS,
    "REVISION_UNKNOWN": grpc.StatusCode.FAILED_PRECONDITION,
    "MESSAGE_TOO_LARGE": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "STORE_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "REPLACED": grpc.StatusCode.ABORTED,
    "NOT_YOURS": grpc.StatusCode.PERMISSION_DENIED,
    "ROLE_FORBIDDEN": grpc.StatusCode.PERMISSION_DENIED,
    "QUEUE_FORBIDDEN": grpc.StatusCode.PERMISSION_DENIED,
    "NAMESPACE_FORBIDDEN": grpc.StatusCode.PERMISSION_DENIED,
    "NAMESPACE_CLOSED": grpc.StatusCode.UNAVAILABLE,
    "NAMESPACES_OFF": grpc.StatusCode.FAILED_PRECONDITION,
    "UNKNOWN_NAMESPACE": grpc.StatusCode.NOT_FOUND,
    "TOO_MANY_NAMESPACES": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOKEN_MISSING": grpc.StatusCode.UNAUTHENTICATED,
    "TOKEN_WRONG": grpc.StatusCode.UNAUTHENTICATED,
    "TOKEN_EXPIRED": grpc.StatusCode.UNAUTHENTICATED,
    "TOKEN_ENDED": grpc.StatusCode.UNAVAILABLE,
    "UNKNOWN_NODE": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_DESTINATION": grpc.StatusCode.NOT_FOUND,
    "SILENT": grpc.StatusCode.UNAVAILABLE,
    "STOPPING": grpc.StatusCode.UNAVAILABLE,
}


#: Bytes of what a refusal says: it travels twice in the trailers, coded, and transports take 8 KiB of these.
MESSAGE_BYTES: Final = 1_000

#: Characters that are kept of the begin and of the end of a longer one.
_HEAD, _TAIL = 600, 300


class Refusal(Exception):
    """A request that is not carried out.

    Args:
        code: one of `STATUS_OF`.
        message: what is wrong and what to do, for people; the middle of a long one is left out.
        retry_after: seconds after which the same may be tried again; None: nobody knows.
    """

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        if len(message) > MESSAGE_BYTES or not message.isascii():
            message = _short(message)
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def status(self) -> grpc.StatusCode:
        """The gRPC status that the code travels as."""
        return STATUS_OF[self.code]


def _short(message: str) -> str:
    """Return a message that fits the trailers, whatever a stranger's names in it are."""
    data = message.encode("utf-8", "backslashreplace")
    if len(data) > MESSAGE_BYTES:
        data = data[:_HEAD] + b" ... " + data[-_TAIL:]
    return data.decode("utf-8", "ignore")


class ConfigurationError(Exception):
    """The coordinator cannot start as it was told to; the message says what to change."""
