"""The reference store keeps the contract; and its failpoints do what tests of the engine rely on."""

from pathlib import Path

import pytest

from grpcflow_coordinator.storage.contract import Batch, Store, StoreFull
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.testing.store_contract import StoreContract


class TestMemoryStoreContract(StoreContract):
    """The contract, on memory."""

    def open_store(self, folder: Path) -> Store:
        return MemoryStore()


class PowerCut(Exception):
    """What the failpoint raises."""


@pytest.mark.parametrize(("place", "kept"), [("before", None), ("after", b"2")])
def test_a_failpoint_cuts_before_or_after_the_write(place: str, kept: bytes | None) -> None:
    def cut(reached: str, batch: Batch) -> None:
        assert batch.puts == {b"b": b"2"}
        if reached == place:
            raise PowerCut

    store = MemoryStore()
    store.commit(Batch({b"a": b"1"}))
    store.failpoint = cut
    with pytest.raises(PowerCut):
        store.commit(Batch({b"b": b"2"}))
    again = store.reopened()
    assert (again.get(b"a"), again.get(b"b")) == (b"1", kept)
    again.commit(Batch({b"c": b"3"}))


def test_a_full_store_writes_nothing_and_goes_on_after_a_delete() -> None:
    store = MemoryStore(capacity=10)
    store.commit(Batch({b"a": b"12345"}))
    assert (store.size_bytes(), store.free_bytes()) == (6, 4)
    batch = Batch({b"b": b"12345"})
    with pytest.raises(StoreFull, match="6 of 10 bytes"):
        store.commit(batch)
    assert store.keys(b"", b"z", 9) == [b"a"]
    store.commit(Batch({}, {b"a"}))
    store.commit(batch)
    assert store.scan(b"", b"z", 9) == [(b"b", b"12345")]


def test_overwriting_counts_the_new_value_only() -> None:
    store = MemoryStore(capacity=6)
    store.commit(Batch({b"a": b"12345"}))
    store.commit(Batch({b"a": b"54321"}))
    assert store.size_bytes() == 6


def test_a_reopened_store_shares_nothing_with_the_old_one() -> None:
    store = MemoryStore()
    store.commit(Batch({b"a": b"1"}))
    again = store.reopened()
    again.commit(Batch({b"a": b"2"}))
    assert store.reopened().get(b"a") == b"1"
