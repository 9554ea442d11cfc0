"""The commands of tokens, and the file that they write: no secret in it, whole, and readable by its owner alone."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grpcflow_coordinator.__main__ import command
from grpcflow_coordinator.config import load
from grpcflow_coordinator.errors import ConfigurationError, Refusal
from grpcflow_coordinator.security.token_file import Role, read_file
from grpcflow_coordinator.security.tokens import Tokens


def typed(path: Path, *words: str) -> Result:
    return CliRunner().invoke(command, ["token", *words, "--tokens", str(path)])


def test_a_token_is_made_listed_and_revoked(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tokens.json"
    added = typed(path, "add", "ci", "--role", "submit", "--role", "inspect", "--queue", "web.*", "--expires", "90d")
    token = added.stdout.strip()
    assert added.exit_code == 0
    assert token.startswith("gft_")
    identity = Tokens(path).identify(f"Bearer {token}")
    assert (identity.name, identity.roles, identity.queues) == (
        "ci",
        frozenset({Role.SUBMIT, Role.INSPECT}),
        ("web.*",),
    )
    secret = token.split("_", 2)[2]
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listed = typed(path, "list")
    assert "ci" in listed.stdout
    assert "submit, inspect" in listed.stdout
    for shown in (listed.stdout, typed(path, "list", "--json").stdout):
        assert secret not in shown
        assert read_file(path).tokens[0].sha256 not in shown
    assert [one["name"] for one in json.loads(typed(path, "list", "--json").stdout)["tokens"]] == ["ci"]
    assert typed(path, "revoke", "ci").stdout == "revoked: 1\n"
    with pytest.raises(Refusal, match="not known"):
        Tokens(path).identify(f"Bearer {token}")
    assert "there is no token" in typed(path, "revoke", "ci").output


def test_each_token_is_another(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    tokens = {typed(path, "add", "x", "--role", "work").stdout for _ in range(20)}
    assert len(tokens) == 20
    assert len(read_file(path).tokens) == 20


def test_a_token_is_of_a_namespace_and_of_the_default_one_where_it_says_none(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    inside = typed(path, "add", "ci", "--role", "submit", "--namespace", "team-a").stdout.strip()
    outside = typed(path, "add", "ops", "--role", "admin").stdout.strip()
    tokens = Tokens(path)
    assert [tokens.identify(f"Bearer {one}").namespace for one in (inside, outside)] == ["team-a", ""]
    assert tokens.namespaces == {"team-a", ""}
    listed = typed(path, "list").stdout.splitlines()
    assert listed[0].endswith("namespace team-a")
    assert "namespace" not in listed[1]
    assert path.read_text().count("namespace") == 1, "versions that know no namespaces read the other token"


@pytest.mark.parametrize("name", ["", "default", "Team", "a.b", "..", "a/b", "a b", "a\n", "x" * 64, "é"])
def test_what_is_no_name_of_a_namespace(tmp_path: Path, name: str) -> None:
    path = tmp_path / "tokens.json"
    refused = typed(path, "add", "x", "--role", "work", "--namespace", name)
    assert refused.exit_code == 2
    assert "is no name of a namespace: write" in refused.output.replace("\n", " ")
    assert not path.exists()
    if name:
        token = {"id": "a", "name": "x", "sha256": "0" * 64, "roles": ["work"], "namespace": name}
        path.write_text(json.dumps({"tokens": [token]}))
        with pytest.raises(ConfigurationError, match="is no name of a namespace"):
            read_file(path)


def test_limits_are_set_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    assert typed(path, "limit", "submit", "--payload", "1000", "--nodes", "5").exit_code == 0
    assert "limit of submit: payload 1000, nodes 5" in typed(path, "list").stdout
    assert typed(path, "limit", "submit").exit_code == 0
    assert read_file(path).limits == {}


@pytest.mark.parametrize("length", ["", "d", "9x", "-1d", "0d", "99999999999999w"])
def test_what_is_no_length_of_time(tmp_path: Path, length: str) -> None:
    refused = typed(tmp_path / "t.json", "add", "x", "--role", "work", "--expires", length)
    assert refused.exit_code == 2
    assert "Error" in refused.output


@pytest.mark.parametrize("text", ["", "[]", "{", '{"tokens": [{"id": "a"}]}', '{"nonsense": 1}', "\x00\xff"])
def test_a_file_that_is_none_says_so_and_shows_nothing_of_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is not one"):
        read_file(path)
    assert "is not one" in typed(path, "list").output


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    typed(path, "add", "x", "--role", "admin")
    path.chmod(0o620)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        Tokens(path)


def test_a_slip_of_the_pen_leaves_the_tokens_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = typed(path, "add", "x", "--role", "admin").stdout.strip()
    tokens = Tokens(path)
    path.write_text("{")
    assert not tokens.reload()
    assert tokens.identify(f"Bearer {token}").name == "x"
    path.write_text('{"tokens": []}')
    assert tokens.reload()
    with pytest.raises(Refusal, match="not known"):
        tokens.identify(f"Bearer {token}")


def test_a_token_without_a_time_zone_ends_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = typed(path, "add", "x", "--role", "admin", "--expires", "1h").stdout.strip()
    text = path.read_text()
    until = read_file(path).tokens[0].expires
    assert until is not None
    path.write_text(text.replace("Z", "").replace("+00:00", ""))
    assert read_file(path).tokens[0].expires == until.replace(tzinfo=None)
    seconds = until.replace(tzinfo=UTC).timestamp()
    assert Tokens(path, lambda: seconds - 1).identify(f"Bearer {token}").expires == seconds
    with pytest.raises(Refusal, match="expired"):
        Tokens(path, lambda: seconds).identify(f"Bearer {token}")
    assert datetime.fromtimestamp(seconds, UTC) == until


BEYOND = {"listen": "0.0.0.0:1", "data": "d"}
PAIR = {"tls_cert": "c", "tls_key": "k"}


@pytest.mark.parametrize(
    ("given", "lacking"),
    [({}, "TLS and tokens"), (PAIR, "tokens"), ({"tokens": "t"}, "TLS"), (PAIR | {"tls_client_ca": "a"}, "tokens")],
)
def test_beyond_loopback_takes_tls_and_tokens_or_to_be_said_aloud(given: dict[str, str], lacking: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{lacking} lack.*--insecure"):
        load(BEYOND | given, environment={})
    assert load(BEYOND | given | {"insecure": True}, environment={}).insecure


def test_with_both_it_listens_to_everybody() -> None:
    assert load(BEYOND | PAIR | {"tokens": "t"}, environment={}).listen == "0.0.0.0:1"
    environment = {"GRPCFLOW_COORDINATOR_TLS_CERT": "c", "GRPCFLOW_COORDINATOR_TLS_KEY": "k"}
    assert load(BEYOND | {"tokens": "t"}, environment=environment).tls_cert == "c"


@pytest.mark.parametrize("given", [{"tls_cert": "c"}, {"tls_key": "k"}, {"tls_client_ca": "a"}])
def test_half_of_what_belongs_together_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="tls_key"):
        load({"data": "d"} | given, environment={})
