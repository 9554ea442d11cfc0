"""Clients that only keep their connection alive are not sent away for it; who pings without end is."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tests.coordinator.support import serving

from grpcflow.link import OPTIONS
from soaking import connections

_PING, _GOAWAY = 6, 7

#: The option that says how long clients wait between two pings at least.
INTERVAL = "grpc.http2.min_ping_interval_without_data_ms"

#: Pings of one connection: after two that come too early gRPC ends it.
COUNT = 10


class _Pinging(connections._Guest):
    """A connection with a client's session that counts the answers to its pings."""

    def __init__(self, greeting: bytes) -> None:
        super().__init__(greeting)
        self.answered = 0
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Take frames, and look at each before that."""
        found = self._left + data
        while len(found) >= 9 and len(found) >= 9 + (size := int.from_bytes(found[:3], "big")):
            self.answered += found[3] == _PING and bool(found[4])
            if found[3] == _GOAWAY:
                self._end(found[17 : 9 + size].decode())
            found = found[9 + size :]
        super().data_received(data)
        if self.answered == COUNT:
            self._end("answered")

    def connection_lost(self, exc: Exception | None) -> None:
        """It was ended."""
        self._end("lost")

    def _end(self, how: str) -> None:
        if not self.over.done():
            self.over.set_result(how)

    def ping(self) -> None:
        """Ping."""
        self._transport.write(connections._frame(_PING, 0, 0, bytes(8)))


async def _pinged(address: str) -> str:
    """Open a session, ping, and return what came of it."""
    host, port = address.rsplit(":", 1)
    greeting, loop = connections._greeting(address), asyncio.get_running_loop()
    transport, guest = await loop.create_connection(lambda: _Pinging(greeting), host, int(port))
    async with asyncio.timeout(serving.BOUND):
        await guest.welcomed
        for _ in range(COUNT):
            guest.ping()
        how = await guest.over
    transport.abort()
    return how


async def test_the_interval_that_is_set_is_the_one_that_pings_are_held_to(monkeypatch: pytest.MonkeyPatch) -> None:
    make: Any = grpc.aio.server
    set_to: dict[str, int] = {}

    def made(*, options: list[tuple[str, int]], **given: Any) -> Any:
        """Make a server that lets pings come as they like, by the option of which that is said."""
        set_to.update(options)
        wider = [(name, 0 if name == INTERVAL else value) for name, value in options]
        return make(options=wider, **given)

    async with serving.serving() as wire:
        assert await _pinged(wire.coordinator.address) in {"too_many_pings", "lost"}
        await wire.works()
    monkeypatch.setattr(grpc.aio, "server", made)
    async with serving.serving() as wire:
        assert await _pinged(wire.coordinator.address) == "answered"
    # What clients do that hear nothing is well within it.
    assert set_to[INTERVAL] < dict(OPTIONS)["grpc.keepalive_time_ms"]
