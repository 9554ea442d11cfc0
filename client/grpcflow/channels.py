"""How channels to the coordinator are opened: with certificates and a token where there are any, and safe for threads.

Any thread may close a `ThreadSafeChannel` while others begin calls on it. Generated stubs have grpc look up a handle
for each method, by a call that grpc says is not safe for threads: on a channel that another thread closes at that
moment it reads freed memory, and the process dies of it (grpcio 1.85). The handle saves little, and a stub is made for
each call here; so none is asked for.

A token travels as metadata of each call, read anew where its file has changed, and so does the name of a namespace.
gRPC's own credentials of calls are not used: they would ask for it on a thread of their own, and refuse to send it over
loopback without TLS.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc

from grpcflow.credentials import SYSTEM_ROOTS, Credentials
from grpcflow.errors import ImproperlyConfigured
from grpcflow_protos.limits import NAMESPACE_KEY

__all__ = ["PLAIN", "Door", "ThreadSafeChannel"]

#: Options of a channel.
Options = Sequence[tuple[str, Any]]


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


class _KeptFile:
    """A file that may change: what it holds now, or what it held last where it cannot be read at the moment."""

    def __init__(self, path: str, setting: str) -> None:
        from pathlib import Path  # which most programs that ask need not load

        self._path, self._setting = Path(path), setting
        self._seen: object = None
        self._held: bytes | None = None

    def read(self) -> bytes:
        """Return what it holds; opens it only where it has changed.

        Raises:
            ImproperlyConfigured: It could never be read.
        """
        try:
            found = self._path.stat()
            seen = found.st_mtime_ns, found.st_size, found.st_ino
            if seen != self._seen:
                self._held, self._seen = self._path.read_bytes(), seen
        except OSError as error:
            if self._held is None:
                raise ImproperlyConfigured(f"{self._setting} names {self._path}: {error.strerror}.") from error
        assert self._held is not None
        return self._held


class Door:
    """Opens channels with the same credentials, which are read anew for each.

    Args:
        credentials: What is shown and believed.

    Raises:
        ImproperlyConfigured: A file cannot be read, or holds no token.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        self.credentials = given = credentials or Credentials()
        self._ca = _kept(given.tls_ca if given.tls_ca != SYSTEM_ROOTS else "", "coordinator_tls_ca")
        self._cert = _kept(given.tls_cert, "coordinator_tls_cert")
        self._key = _kept(given.tls_key, "coordinator_tls_key")
        self._token_file = _kept(given.token_file, "coordinator_token_file")
        self._named = ((NAMESPACE_KEY, given.namespace),) if given.namespace else ()
        self._metadata()
        self._transport()

    def open(self, address: str, options: Options) -> Any:
        """Open a channel for threads.

        Args:
            address: ``HOST:PORT``.
            options: gRPC's options of the channel.
        """
        transport = self._transport()
        plain = grpc.insecure_channel(address, options) if transport is None else None
        return self._bearing(plain or grpc.secure_channel(address, _given(transport), options))

    def open_on_loop(self, address: str, options: Options) -> Any:
        """Open a channel on the running event loop; parameters as for ``open``."""
        import grpc.aio  # which programs without an event loop need not load

        transport = self._transport()
        plain = grpc.aio.insecure_channel(address, options) if transport is None else None
        return self._bearing(plain or grpc.aio.secure_channel(address, _given(transport), options))

    def _transport(self) -> grpc.ChannelCredentials | None:
        """Return what proves who is who to TLS; None without it."""
        if not self.credentials.tls_ca:
            return None
        ca, key, cert = (one.read() if one else None for one in (self._ca, self._key, self._cert))
        return grpc.ssl_channel_credentials(ca, key, cert)

    def _bearing(self, channel: Any) -> Any:
        return _BearingChannel(channel, self._metadata) if self._metadata() else channel

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what each call bears."""
        token = self.credentials.token
        if self._token_file is not None:
            token = self._token_file.read().decode("ascii", "replace").strip()
            if not token:
                raise ImproperlyConfigured(f"coordinator_token_file names {self.credentials.token_file}: it is empty.")
        shown = (("authorization", f"Bearer {token}"),) if token else ()
        return (*shown, *self._named)


def _kept(path: str, setting: str) -> _KeptFile | None:
    return _KeptFile(path, setting) if path else None


def _given(transport: grpc.ChannelCredentials | None) -> grpc.ChannelCredentials:
    assert transport is not None
    return transport


#: Opens channels without TLS and without a token: to a coordinator on this machine.
PLAIN: Final = Door()


class _BearingChannel:
    """A channel, for threads or for an event loop, whose calls bear a token, or name a namespace."""

    def __init__(self, channel: Any, metadata: Callable[[], tuple[tuple[str, str], ...]]) -> None:
        self._channel, self._metadata = channel, metadata

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """Return what makes a call with one request and one answer."""
        return _BearingCall(self._channel.unary_unary(*args, **options), self._metadata)

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """Return what makes a call with one request and many answers."""
        return _BearingCall(self._channel.unary_stream(*args, **options), self._metadata)

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """Return what makes a call with many requests and one answer."""
        return _BearingCall(self._channel.stream_unary(*args, **options), self._metadata)

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """Return what makes a call with many requests and many answers."""
        return _BearingCall(self._channel.stream_stream(*args, **options), self._metadata)

    def close(self, *args: Any) -> Any:
        """End every call on it; on an event loop what this returns is awaited."""
        return self._channel.close(*args)


class _BearingCall:
    """Makes calls of one method that bear metadata."""

    def __init__(self, call: Any, metadata: Callable[[], tuple[tuple[str, str], ...]]) -> None:
        self._call, self._metadata = call, metadata

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._call(*args, metadata=self._metadata(), **options)

    def future(self, *args: Any, **options: Any) -> Any:
        """Make a call whose answer comes later."""
        return self._call.future(*args, metadata=self._metadata(), **options)
