"""What a worker is told of certificates, its token and its namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpcflow_worker.credential_options import door_of, take_credentials
from grpcflow_worker.subscription import ConfigError


def test_options_become_settings_and_reach_child_processes() -> None:
    options = {"tls_ca": "ca", "tls_cert": None, "tls_key": None, "token_file": "t", "namespace": "ours", "other": 1}
    environment: dict[str, str] = {}
    assert take_credentials(options, environment) == {
        "coordinator_tls_ca": "ca",
        "coordinator_token_file": "t",
        "namespace": "ours",
    }
    assert environment == {"GRPCFLOW_TLS_CA": "ca", "GRPCFLOW_TOKEN_FILE": "t", "GRPCFLOW_NAMESPACE": "ours"}
    assert options == {"other": 1}


def test_an_option_goes_before_the_app(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for file in (ours, theirs):
        file.write_text("x")
    settings = {"coordinator_token_file": str(theirs)}
    door = door_of(settings, {"coordinator_token_file": str(ours)}, ["127.0.0.1:1"])
    assert door.credentials.token_file == str(ours)


def test_what_cannot_be_used_is_told_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="coordinator_token_file names"):
        door_of({"coordinator_token_file": str(tmp_path / "none")}, {}, ["127.0.0.1:1"])
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        door_of({"coordinator_token_file": str(empty)}, {}, ["127.0.0.1:1"])
    empty.write_text("token")
    with pytest.raises(ConfigError, match="GRPCFLOW_TLS_CA"):
        door_of({"coordinator_token_file": str(empty)}, {}, ["example.org:1"])
