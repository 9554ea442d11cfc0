"""TLS and mutual TLS over the real wire, for threads and event loops, and new certificates while it runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.coordinator.support.serving import BOUND, Wire, serving
from tests.support.certificates import Authority, Pair

from grpcflow import errors
from grpcflow.aio.connection import LoopConnection
from grpcflow.connection import Connection
from grpcflow.credentials import Credentials
from grpcflow.retry_policy import RetryPolicy
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.security.certificates import Certificates

#: Asks for the workers in one of the ways.
Ask = Callable[[Wire, Credentials], Awaitable[Any]]

ONCE = RetryPolicy(tries=1, window=BOUND, first_delay=0.01)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.vouch()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


def shown(pair: Pair) -> dict[str, Any]:
    return {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}


def believing(authority: Authority, own: Pair | None = None) -> Credentials:
    if own is None:
        return Credentials(tls_ca=str(authority.cert))
    return Credentials(tls_ca=str(authority.cert), tls_cert=str(own.cert), tls_key=str(own.key))


async def workers_by_thread(wire: Wire, credentials: Credentials) -> Any:
    """Ask on a thread, as programs without an event loop do; the reader's stream and a single call."""

    def ask() -> Any:
        connection = Connection(
            [wire.coordinator.address], retry_policy=ONCE, connect_timeout=BOUND, credentials=credentials
        )
        try:
            return connection.list_workers()
        finally:
            connection.close()

    async with asyncio.timeout(BOUND):
        return await asyncio.to_thread(ask)


async def workers_on_loop(wire: Wire, credentials: Credentials) -> Any:
    connection = LoopConnection(
        [wire.coordinator.address], retry_policy=ONCE, connect_timeout=BOUND, credentials=credentials
    )
    try:
        async with asyncio.timeout(BOUND):
            return await connection.alist_workers()
    finally:
        await connection.aclose()


WAYS = (workers_by_thread, workers_on_loop)


@pytest.mark.parametrize("ask", WAYS)
async def test_who_believes_the_authority_is_served_and_others_are_not(
    ask: Ask, authority: Authority, pair: Pair, stranger: Authority
) -> None:
    async with serving(**shown(pair)) as wire:
        assert list(await ask(wire, believing(authority))) == []
        with pytest.raises(errors.CoordinatorUnavailable):
            await ask(wire, believing(stranger))
        with pytest.raises(errors.CoordinatorUnavailable):
            await ask(wire, Credentials())


@pytest.mark.parametrize("ask", WAYS)
async def test_mutual_tls_takes_only_clients_of_its_authorities(
    ask: Ask, authority: Authority, pair: Pair, stranger: Authority
) -> None:
    async with serving(**shown(pair), tls_client_ca=str(authority.cert)) as wire:
        assert list(await ask(wire, believing(authority, authority.vouch("client")))) == []
        with pytest.raises(errors.CoordinatorUnavailable):
            await ask(wire, believing(authority))
        with pytest.raises(errors.CoordinatorUnavailable):
            await ask(wire, believing(authority, stranger.vouch("client")))


async def test_a_new_certificate_is_shown_without_a_restart_and_half_a_one_is_not(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(pair.cert.read_bytes())
    key.write_bytes(pair.key.read_bytes())
    async with serving(tls_cert=str(cert), tls_key=str(key)) as wire:
        first = await certificate(wire)
        newer = authority.vouch()
        cert.write_bytes(newer.cert.read_bytes())
        assert await certificate(wire) == first, "a certificate without its key was shown"
        key.write_bytes(newer.key.read_bytes())
        second = await certificate(wire)
        assert second != first
        assert second == ssl.PEM_cert_to_DER_cert(newer.cert.read_text())
        assert list(await workers_on_loop(wire, believing(authority))) == []


async def certificate(wire: Wire) -> bytes:
    """Return the certificate that the coordinator shows to a new connection."""
    host, port = wire.coordinator.address.split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    async with asyncio.timeout(BOUND):
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


def test_files_that_do_not_go_together_are_refused_with_their_names(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    other = authority.vouch()
    with pytest.raises(ConfigurationError, match=other.key.name):
        Certificates(pair.cert, other.key)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Certificates(tmp_path / "none.pem", pair.key)


def test_what_a_client_is_told_wrongly_says_which_setting(tmp_path: Path, pair: Pair) -> None:
    with pytest.raises(errors.ImproperlyConfigured, match="coordinator_tls_key"):
        Credentials(tls_ca="system", tls_cert=str(pair.cert))
    with pytest.raises(errors.ImproperlyConfigured, match="coordinator_tls_ca"):
        Credentials(tls_cert=str(pair.cert), tls_key=str(pair.key))
    with pytest.raises(errors.ImproperlyConfigured, match="coordinator_tls_ca names"):
        Connection(["127.0.0.1:1"], credentials=Credentials(tls_ca=str(tmp_path / "none")))
