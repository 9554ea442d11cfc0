"""Who is told the coordinator's metrics, of which namespaces, on which addresses; and what it says when it cannot."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.coordinator.security.token_files import caller, give, take_away
from tests.coordinator.support.serving import call, serving
from tests.support.certificates import Authority
from tests.support.scraping import Scrape, answered

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.metrics.reading import Reading
from grpcflow_coordinator.security.token_file import Role
from grpcflow_protos.metrics import gathering
from grpcflow_protos.metrics.figures import Figures
from grpcflow_protos.metrics.gathering import Unavailable, gathered

pytestmark = pytest.mark.usefixtures("quick_looks")


async def asked(wire: Any, token: str = "") -> tuple[int, str]:
    """Return status and body of an answer."""
    status, body, _ = await asyncio.to_thread(answered, wire.coordinator.metrics.url, token)
    return status, body.decode()


def shown(body: str) -> set[str]:
    """Return the namespaces of which something is told."""
    told = Scrape(body).values
    return {value for _, labels in told for name, value in labels if name == "namespace"}


async def test_each_is_told_of_what_is_his(tokens: Path) -> None:
    everywhere, here = give(tokens, [Role.METRICS]), give(tokens, [Role.INSPECT])
    there, chief = give(tokens, [Role.METRICS], namespace="other"), give(tokens, [Role.ADMIN])
    elsewhere, web = give(tokens, [Role.INSPECT], namespace="third"), give(tokens, [Role.SUBMIT, Role.WORK])
    async with serving(tokens=str(tokens), metrics="127.0.0.1:0") as wire:
        every = {"default", "other", "third"}
        for token, seen in (
            (everywhere, every),
            (chief, every),
            (here, {"default"}),
            (there, {"other"}),
            (elsewhere, {"third"}),
        ):
            status, body = await asked(wire, token)
            assert (status, shown(body)) == (200, seen)
        for token, refused, code in (("", 401, "TOKEN_MISSING"), ("gft_x_y", 401, "TOKEN_WRONG"), (web, 403, "ROLE_")):
            status, body = await asked(wire, token)
            assert status == refused
            assert body.startswith(code)


async def test_a_token_that_was_taken_away_opens_nothing_any_more(tokens: Path) -> None:
    token, _ = give(tokens, [Role.METRICS]), give(tokens, Role)
    async with serving(tokens=str(tokens), metrics="127.0.0.1:0") as wire:
        assert (await asked(wire, token))[0] == 200
        take_away(tokens, token)
        wire.coordinator._recheck()
        assert (await asked(wire, token))[0] == 401


async def test_the_role_is_for_no_call(tokens: Path) -> None:
    token = give(tokens, [Role.METRICS])
    async with serving(tokens=str(tokens), metrics="127.0.0.1:0") as wire:
        with pytest.raises(grpc.aio.AioRpcError, match="is for the role"):
            await caller(wire, token).submit(call())


async def test_a_new_namespace_is_told_of_without_a_restart(tokens: Path) -> None:
    token = give(tokens, [Role.METRICS])
    async with serving(tokens=str(tokens), metrics="127.0.0.1:0") as wire:
        give(tokens, Role, namespace="late")
        wire.coordinator._recheck()
        opening = wire.coordinator.realms._opening
        assert opening is not None
        await opening
        assert shown((await asked(wire, token))[1]) == {"default", "late"}


async def test_they_are_told_over_tls_where_the_coordinator_has_a_certificate(tmp_path: Path) -> None:
    from grpcflow_coordinator.server import Coordinator

    authority = Authority(tmp_path / "authority")
    pair = authority.vouch()
    config = Config(
        data="unused",
        memory=True,
        listen="127.0.0.1:0",
        metrics="127.0.0.1:0",
        tls_cert=str(pair.cert),
        tls_key=str(pair.key),
    )
    coordinator = Coordinator(config)
    await coordinator.start()
    try:
        assert coordinator.metrics is not None
        context = ssl.create_default_context(cafile=str(authority.cert))
        status, _, _ = await asyncio.to_thread(answered, coordinator.metrics.url, context=context)
        assert (status, coordinator.metrics.url[:8]) == (200, "https://")
    finally:
        await coordinator.stop()


def test_an_address_that_others_reach_needs_tls_and_tokens() -> None:
    with pytest.raises(ConfigurationError, match=r"metrics 0\.0\.0\.0:9551.*TLS and tokens lack.*--insecure"):
        Config(data="x", metrics="0.0.0.0:9551")
    with pytest.raises(ConfigurationError, match=r"metrics 0\.0\.0\.0:9551.*tokens lack"):
        Config(data="x", metrics="0.0.0.0:9551", tls_cert="c", tls_key="k")
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        Config(data="x", metrics="9551")
    assert Config(data="x", metrics="0.0.0.0:9551", insecure=True).metrics
    assert Config(data="x", metrics="[::1]:0").metrics


async def test_a_port_that_is_taken_ends_the_start_and_says_what_to_do() -> None:
    async with serving(metrics="127.0.0.1:0") as wire:
        assert wire.coordinator.metrics is not None
        port = wire.coordinator.metrics.url.split(":")[2].partition("/")[0]
        with pytest.raises(ConfigurationError, match="another address with --metrics"):
            async with serving(metrics=f"127.0.0.1:{port}"):
                raise AssertionError("it serves")


# --- a loop that has other things to do ---------------------------------------------------------------------------


async def nothing() -> Figures:
    return []


async def test_a_loop_that_does_not_come_to_it_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PATIENCE", 0.01)
    cancelled = asyncio.Event()

    async def never() -> Figures:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return []

    with pytest.raises(Unavailable, match="had no time"):
        await asyncio.to_thread(gathered, asyncio.get_running_loop(), never)
    async with asyncio.timeout(30):
        await cancelled.wait()


def test_a_loop_that_has_ended_is_told_of() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(Unavailable, match="it stops"):
        gathered(loop, nothing)


async def test_what_cannot_be_gathered_is_503_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Reading) -> Figures:
        await asyncio.Event().wait()
        return []

    async with serving(metrics="127.0.0.1:0") as wire:
        with monkeypatch.context() as patch:
            patch.setattr(gathering, "PATIENCE", 0.01)
            patch.setattr(Reading, "figures", never)
            assert (await asked(wire))[0] == 503
        assert (await asked(wire))[0] == 200
