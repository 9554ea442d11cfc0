"""Thousands of connections to one coordinator, each with a client's session that says hello and then rests.

They speak just enough HTTP/2 by themselves: a real client costs a hundred times the memory of a socket, and this
process is to hold ten thousand.
"""

from __future__ import annotations

import asyncio
import resource
import struct
from typing import Any, Final

from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2

#: File descriptors that are left for everything else.
SPARE: Final = 200

#: Connections that are opened at once.
AT_ONCE: Final = 200

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _ACK = 0, 1, 4, 6, 1


def allowed(wanted: int) -> int:
    """Raise the limit of open files as far as it goes; return how many connections fit, at most as many as wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        soft = max(soft, wanted + SPARE if hard == resource.RLIM_INFINITY else hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, soft - SPARE)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


def _greeting(authority: str) -> bytes:
    """Return all that a connection says: the preface, a call of Session, and its hello."""
    fields = b"\x83\x86\x04" + _text("/grpcflow.v1.ClientService/Session") + b"\x01" + _text(authority)
    fields += b"\x0f\x10" + _text("application/grpc") + b"\x00" + _text("te") + _text("trailers")
    hello = client_service_pb2.ClientHello(revision=limits.REVISION, version="soak", client="crowd")
    message = client_service_pb2.SessionRequest(hello=hello).SerializeToString()
    data = struct.pack(">BI", 0, len(message)) + message
    opened = _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, 4, 1, fields)
    return _PREFACE + opened + _frame(_DATA, 0, 1, data)


class _Guest(asyncio.Protocol):
    """One connection: answers what HTTP/2 must have answered, and notes when it was welcomed."""

    def __init__(self, greeting: bytes) -> None:
        self._greeting = greeting
        self._left = b""
        self._transport: Any = None
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Say hello."""
        self._transport = transport
        transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        data = self._left + data
        while len(data) >= 9 and len(data) >= 9 + (size := int.from_bytes(data[:3], "big")):
            kind, flags, payload, data = data[3], data[4], data[9 : 9 + size], data[9 + size :]
            if kind in {_SETTINGS, _PING} and not flags & _ACK:
                self._transport.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
            elif kind == _DATA and not self.welcomed.done():
                self.welcomed.set_result(None)
        self._left = data

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail where it was not welcomed yet."""
        if not self.welcomed.done():
            self.welcomed.set_exception(exc or ConnectionError("it was ended"))


async def crowd(address: str, count: int) -> list[asyncio.Transport]:
    """Open so many connections and wait until each was welcomed.

    Raises:
        OSError: one could not be opened, or was ended.
    """
    host, port = address.rsplit(":", 1)
    greeting, loop = _greeting(address), asyncio.get_running_loop()
    opened: list[asyncio.Transport] = []
    for start in range(0, count, AT_ONCE):
        coming = [
            loop.create_connection(lambda: _Guest(greeting), host, int(port))
            for _ in range(min(AT_ONCE, count - start))
        ]
        pairs = await asyncio.gather(*coming)
        async with asyncio.timeout(60):
            await asyncio.gather(*(guest.welcomed for _, guest in pairs))
        opened += [transport for transport, _ in pairs]
    return opened
