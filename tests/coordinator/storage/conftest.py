"""Fixtures of the tests of stores: records in which everything stands, and a folder that holds them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.coordinator.support.storied import tell

from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.lmdb import LmdbStore


@pytest.fixture(scope="module")
def records() -> dict[bytes, bytes]:
    """All records of a store with a story."""
    return dict(tell().store.scan(b"", b"\xff" * 8, 1 << 30))


@pytest.fixture
def data(tmp_path: Path, records: dict[bytes, bytes]) -> Path:
    """A data folder that holds them, and that nobody has open."""
    folder = tmp_path / "data"
    with closing(LmdbStore(folder)) as store:
        store.commit(Batch(dict(records)))
    return folder
