"""A channel that any thread may close while others begin calls on it.

Generated stubs have grpc look up a handle for each method, by a call that grpc says is not safe for threads: on a
channel that another thread closes at that moment it reads freed memory, and the process dies of it (grpcio 1.85). The
handle saves little, and a stub is made for each call here; so none is asked for. It may not hold anything else.
"""

from typing import Any

import grpc

__all__ = ["ThreadSafeChannel"]


class ThreadSafeChannel:
    """What stubs need of a channel, but for the handles.

    A call on it once it is closed raises ValueError.

    Args:
        channel: The channel.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel: Any = channel

    def unary_unary(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """Return what makes a call with one request and one answer."""
        return self._channel.unary_unary(method, request_serializer, response_deserializer)

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """Return what makes a call with one request and many answers."""
        return self._channel.unary_stream(method, request_serializer, response_deserializer)

    def stream_unary(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """Return what makes a call with many requests and one answer."""
        return self._channel.stream_unary(method, request_serializer, response_deserializer)

    def stream_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        """Return what makes a call with many requests and many answers."""
        return self._channel.stream_stream(method, request_serializer, response_deserializer)

    def close(self) -> None:
        """End every call on it."""
        self._channel.close()
