"""Fixtures of the tests of tokens and namespaces: a file for tokens, and looks that come soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpcflow_coordinator import engine, health, realms
from grpcflow_coordinator.security import guard


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Where the token file of a coordinator is to be."""
    return tmp_path / "tokens.json"


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator looks at files, realms and disks so often that nobody has to wait for it."""
    monkeypatch.setattr(guard, "LOOK", 0.02)
    monkeypatch.setattr(realms, "RETRY", 0.05)
    monkeypatch.setattr(engine, "FULL_RETRY", 0.02)
    monkeypatch.setattr(health, "LOOK", 0.02)
