"""The same over the real transport: bytes to every rpc, and to the port what is no call at all."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, reason, serving
from tests.fuzz.judging import Lines
from tests.fuzz.making import junk
from tests.fuzz.rpc_door import TYPES

from grpcflow_protos import limits

SEED = int(os.environ.get("GRPCFLOW_TEST_SEED", random.SystemRandom().randrange(2**32)))

#: What a stranger's program may say first to a port that it takes for another one.
FIRST_WORDS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0" * 64,
)


async def ended_with(wire: Wire, method: str, data: bytes) -> tuple[grpc.StatusCode, str] | None:
    """Calls a method with bytes; returns the status and the code of its refusal, None where it was taken."""
    stream = wire.channel.stream_stream(method, request_serializer=bytes, response_deserializer=bytes)
    call = stream(iter_one(data), timeout=BOUND)
    try:
        async for _ in call:
            return None
    except grpc.aio.AioRpcError as error:
        return reason(error)
    finally:
        call.cancel()
    return None


async def iter_one(data: bytes) -> AsyncIterator[bytes]:
    """Yields bytes, once."""
    yield data


async def test_bytes_that_are_no_message_are_refused_by_every_rpc_with_a_cure() -> None:
    async with serving() as wire:
        for method in TYPES:
            found = await ended_with(wire, method, b"\xff\xff\xff")
            assert found == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED"), method
        await wire.works()


async def test_what_is_no_call_at_all_disturbs_nobody() -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    with Lines() as lines:
        async with serving() as wire, asyncio.timeout(4 * BOUND):
            host, _, port = wire.coordinator.address.rpartition(":")
            for words in (*FIRST_WORDS, *(junk(rng) for _ in range(10))):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(words)
                await writer.drain()
                writer.close()
            await wire.works()
        lines.check()


async def test_a_message_beyond_the_limit_of_the_transport_is_refused_unread() -> None:
    async with serving() as wire:
        call = wire.channel.unary_unary(
            "/grpcflow.v1.ClientService/Submit", request_serializer=bytes, response_deserializer=bytes
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(bytes(limits.MESSAGE_LIMIT + 1), timeout=BOUND)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(limits.MESSAGE_LIMIT) in (caught.value.details() or "")
        await wire.works()
