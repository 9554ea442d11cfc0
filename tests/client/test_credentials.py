"""Certificates, tokens and namespaces of clients: where they come from, sent with every call, no token in the clear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from grpcflow import Grpcflow, errors
from grpcflow.channels import Door
from grpcflow.cli import command_line
from grpcflow.cli.invocation import Invocation
from grpcflow.connection import Connection, connection_for
from grpcflow.credentials import Credentials, credentials_of
from grpcflow.link import OPTIONS
from grpcflow.statuses import error_for

BOUND = 40.0


def write(file: Path) -> None:
    file.write_text("other\n")


class Heard:
    """A server that notes which token each call bore, and which namespace it named."""

    def __init__(self) -> None:
        self.tokens: list[Any] = []
        self.namespaces: list[Any] = []
        self.address = ""

    def handle(self, _request: bytes, context: Any) -> bytes:
        borne = dict(context.invocation_metadata())
        self.tokens.append(borne.get("authorization"))
        self.namespaces.append(borne.get("grpcflow-namespace"))
        return b""


@pytest.fixture
def heard() -> Iterator[Heard]:
    server, found = grpc.server(futures.ThreadPoolExecutor(2)), Heard()
    handler: Any = grpc.unary_unary_rpc_method_handler(found.handle)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t.T", {"Ask": handler})])
    found.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield found
    server.stop(None)


def ask_by_thread(door: Door, address: str, times: Callable[[], None]) -> None:
    channel = door.open(address, OPTIONS)
    ask = channel.unary_unary("/t.T/Ask")
    ask(b"", timeout=BOUND)
    times()
    ask.future(b"", timeout=BOUND).result()
    channel.close()


def ask_on_loop(door: Door, address: str, times: Callable[[], None]) -> None:
    async def run() -> None:
        channel = door.open_on_loop(address, OPTIONS)
        ask = channel.unary_unary("/t.T/Ask")
        await ask(b"", timeout=BOUND)
        times()
        await ask(b"", timeout=BOUND)
        await channel.close()

    asyncio.run(run())


@pytest.mark.parametrize("ask", [ask_by_thread, ask_on_loop])
def test_each_call_bears_the_token_that_the_file_holds_then(
    ask: Callable[[Door, str, Callable[[], None]], None], heard: Heard, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    ask(Door(Credentials(token_file=str(file))), heard.address, lambda: write(file))
    assert heard.tokens == ["Bearer one", "Bearer other"]


@pytest.mark.parametrize("ask", [ask_by_thread, ask_on_loop])
def test_a_file_that_is_gone_for_a_moment_leaves_the_token_as_it_was(
    ask: Callable[[Door, str, Callable[[], None]], None], heard: Heard, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    ask(Door(Credentials(token_file=str(file))), heard.address, file.unlink)
    assert heard.tokens == ["Bearer one", "Bearer one"]


def test_without_a_token_nothing_is_borne(heard: Heard) -> None:
    ask_by_thread(Door(), heard.address, lambda: None)
    assert heard.tokens == heard.namespaces == [None, None]


@pytest.mark.parametrize("ask", [ask_by_thread, ask_on_loop])
@pytest.mark.parametrize("token", ["", "t"])
def test_each_call_names_the_namespace_with_a_token_and_without(
    ask: Callable[[Door, str, Callable[[], None]], None], heard: Heard, token: str
) -> None:
    ask(Door(Credentials(token=token, namespace="team-a")), heard.address, lambda: None)
    assert heard.namespaces == ["team-a", "team-a"]
    assert heard.tokens == ([f"Bearer {token}"] * 2 if token else [None, None])


def test_the_namespace_is_that_of_the_setting_or_else_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPCFLOW_NAMESPACE", "theirs")
    app = Grpcflow("elsewhere", set_as_current=False)
    assert app.conf.credentials.namespace == "theirs"
    app.conf.namespace = "ours"
    assert app.conf.credentials.namespace == "ours"
    one, other = (connection_for(["127.0.0.1:1"], Credentials(namespace=name)) for name in ("a", "b"))
    assert one is not other, "what is asked in one is not answered from another"
    for connection in (one, other):
        connection.close()


@pytest.mark.parametrize("name", ["Team", "a b", "a\n", "ü", "x" * 64, "../a"])
def test_what_is_no_name_of_a_namespace_is_refused_where_it_is_set(name: str) -> None:
    app = Grpcflow("nowhere", set_as_current=False)
    with pytest.raises(errors.ImproperlyConfigured, match="a to z"):
        app.conf.namespace = name
    with pytest.raises(errors.ImproperlyConfigured, match="GRPCFLOW_NAMESPACE"):
        credentials_of({}, {"GRPCFLOW_NAMESPACE": name})


def test_an_unknown_namespace_is_not_taken_for_a_task_that_is_not_there() -> None:
    error = error_for(grpc.StatusCode.NOT_FOUND.value[0], "UNKNOWN_NAMESPACE", "there is none")
    assert not isinstance(error, errors.NotFound)
    assert error.code == "UNKNOWN_NAMESPACE"


def test_settings_go_before_the_environment() -> None:
    environment = {"GRPCFLOW_TLS_CA": "theirs", "GRPCFLOW_TOKEN_FILE": "file", "GRPCFLOW_TOKEN": "secret"}
    assert credentials_of({"coordinator_tls_ca": "ours"}, environment) == Credentials(tls_ca="ours", token_file="file")
    assert credentials_of({}, {"GRPCFLOW_TOKEN": " secret\n"}) == Credentials(token="secret")
    assert credentials_of({}, {}) == Credentials()
    app = Grpcflow("secure", set_as_current=False)
    app.conf.update(coordinator_tls_ca="ca.pem", coordinator_token_file="token")
    assert (app.conf.credentials.tls_ca, app.conf.credentials.token_file) == ("ca.pem", "token")


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(Credentials(token="secret"))


@pytest.mark.parametrize("address", ["example.org:1", "192.0.2.1:1", "[2001:db8::1]:1", "dns:///h:1"])
def test_a_token_is_not_sent_to_another_machine_in_the_clear(address: str) -> None:
    token = Credentials(token="secret")
    with pytest.raises(errors.ImproperlyConfigured, match="GRPCFLOW_TLS_CA") as caught:
        Connection([address], credentials=token)
    assert "secret" not in str(caught.value)
    Credentials(token="secret", tls_ca="system").check([address])
    credentials_of({}, {"GRPCFLOW_TOKEN": "secret", "GRPCFLOW_INSECURE": "1"}).check([address])
    Credentials().check([address])
    token.check(["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/x"])


def test_other_credentials_are_another_connection() -> None:
    address = ["127.0.0.1:1"]
    one, other = (connection_for(address, Credentials(token=token)) for token in ("a", "b"))
    assert one is not other
    assert connection_for(address, Credentials(token="a")) is one
    for connection in (one, other):
        connection.close()


def test_the_options_reach_the_connection_and_the_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    made: list[tuple[Any, Any]] = []

    def note(addresses: Any, credentials: Any) -> Any:
        made.append((tuple(addresses), credentials))
        raise errors.CoordinatorUnavailable("nobody is there")

    monkeypatch.setattr("grpcflow.connection.connection_for", note)
    words = [
        "--coordinator",
        "127.0.0.1:1",
        "--tls-ca",
        "system",
        "status",
        "--token-file",
        str(file),
        "--namespace",
        "ours",
    ]
    CliRunner().invoke(command_line, words, obj=Invocation())
    assert made == [(("127.0.0.1:1",), Credentials(tls_ca="system", token_file=str(file), namespace="ours"))]
    said = Invocation(coordinator="127.0.0.1:1", credentials={"coordinator_token_file": str(file)})
    assert said.app_or_plain().conf.credentials.token_file == str(file)
