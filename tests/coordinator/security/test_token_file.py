"""The token file: changed by several at once, moved, linked to, owned by another user, and written on a full disk."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from hmac import compare_digest
from pathlib import Path
from typing import Any

import pytest
from tests.coordinator.security.token_files import give

from grpcflow_coordinator.errors import ConfigurationError, Refusal
from grpcflow_coordinator.security.token_file import Role, TokenFile, change_file, new_token, read_file, write_file
from grpcflow_coordinator.security.tokens import Tokens

BOUND = 40.0


def test_two_who_change_it_at_once_undo_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    give(path, Role, name="revoked")
    reading, second_done = threading.Event(), threading.Event()
    early: list[bool] = []

    def revoke_slowly(content: TokenFile) -> TokenFile:
        reading.set()
        early.append(second_done.wait(0.05))
        return TokenFile(tokens=tuple(one for one in content.tokens if one.name != "revoked"))

    def add() -> None:
        reading.wait(BOUND)
        made, _ = new_token("added", [Role.WORK])
        change_file(path, lambda content: TokenFile(tokens=(*content.tokens, made)))
        second_done.set()

    second = threading.Thread(target=add)
    second.start()
    change_file(path, revoke_slowly)
    second.join(BOUND)
    assert early == [False], "the second one waits for the first"
    assert [one.name for one in read_file(path).tokens] == ["added"]


def test_it_keeps_who_may_read_it_and_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokens.json"
    give(path, Role)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    owned: list[tuple[int, int]] = []
    real = os.fstat

    def another(handle: int) -> Any:
        """Says that the new file is somebody else's, as it is where root changes the file of a service."""
        return os.stat_result([*real(handle)[:4], 4_711, 4_712, *real(handle)[6:]])

    monkeypatch.setattr(os, "fstat", another)
    monkeypatch.setattr(os, "fchown", lambda _, user, group: owned.append((user, group)))
    give(path, Role)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert owned == [(path.stat().st_uid, path.stat().st_gid)]


def test_of_a_link_the_file_is_changed(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "tokens.json", tmp_path / "tokens.json"
    real.parent.mkdir()
    link.symlink_to(real)
    give(link, Role)
    give(link, Role)
    assert link.is_symlink()
    assert len(read_file(real).tokens) == 2


def test_where_it_cannot_be_written_it_stays_and_nothing_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens.json"
    give(path, Role)
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="cannot be written: No space left"):
        write_file(path, TokenFile())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_gone_for_a_moment_revokes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens.json"
    token = give(path, Role)
    tokens = Tokens(path)
    content = path.read_bytes()
    path.unlink()
    with caplog.at_level(logging.ERROR):
        assert not tokens.reload()
    assert "is gone: write one, without tokens in it to revoke all" in caplog.text
    assert tokens.identify(f"Bearer {token}").name == "someone"
    path.write_bytes(content)
    assert tokens.reload()
    write_file(path, TokenFile())
    assert tokens.reload()
    with pytest.raises(Refusal, match="not known"):
        tokens.identify(f"Bearer {token}")


def test_rights_that_were_mended_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    give(path, Role)
    tokens = Tokens(path)
    new = give(path, Role)
    path.chmod(0o620)
    assert not tokens.reload()
    path.chmod(0o600)
    assert tokens.reload()
    assert tokens.identify(f"Bearer {new}").name == "someone"


@pytest.mark.parametrize(
    ("name", "value"), [("sha256", "x" * 64), ("sha256", "A" * 64), ("sha256", "é"), ("id", "a_b"), ("id", "")]
)
def test_a_hash_or_an_id_that_no_token_can_have_is_refused_where_it_is_read(
    tmp_path: Path, name: str, value: str
) -> None:
    path = tmp_path / "tokens.json"
    token = {"id": "a", "name": "x", "sha256": "0" * 64, "roles": ["work"]}
    path.write_text(json.dumps({"tokens": [token]}))
    assert len(read_file(path).tokens) == 1
    path.write_text(json.dumps({"tokens": [token | {name: value}]}))
    with pytest.raises(ConfigurationError, match="is not one"):
        read_file(path)


@pytest.mark.parametrize("shown", ["right", "another secret", "unknown id", "no secret"])
def test_a_secret_is_compared_in_constant_time_and_one_that_nobody_has_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    path = tmp_path / "tokens.json"
    right, other = give(path, [Role.SUBMIT]), give(path, [Role.SUBMIT])
    name = right.split("_")[1]
    texts = {"another secret": f"gft_{name}_{other.split('_', 2)[2]}", "unknown id": f"gft_{'0' * len(name)}_x"}
    compared: list[tuple[int, int]] = []

    def noted(one: str, another: str) -> bool:
        compared.append((len(one), len(another)))
        return compare_digest(one, another)

    monkeypatch.setattr("grpcflow_coordinator.security.tokens.hmac.compare_digest", noted)
    kept = Tokens(path)
    if shown == "right":
        assert kept.identify(f"Bearer {right}").roles == {Role.SUBMIT}
    else:
        with pytest.raises(Refusal, match="not known"):
            kept.identify(f"Bearer {texts.get(shown, 'gft_' + name)}")
    assert compared == [(64, 64)], "one comparison of digests of one length, whatever is shown"
