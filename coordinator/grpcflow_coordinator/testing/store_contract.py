"""The suite that every store must pass: subclass `StoreContract` and say how to open one.

It may use nothing of a store but the contract, and may not know which store it tests. It needs pytest and hypothesis,
which the `dev` extra brings. A subclass in a test file is all a new store needs:

    class TestMemoryStore(StoreContract):
        def open_store(self, folder: Path) -> Store:
            return MemoryStore()
"""
# ruff: noqa: D102  # the tests' names are sentences

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpcflow_coordinator.storage.contract import KEY_LIMIT, Batch, Store, StoreFailed

#: Above every key of one letter that the tests use.
END = b"\xff" * 4

#: Few and near keys, so that random batches meet; with prefixes of each other and both ends of the byte.
_KEYS = st.one_of(
    st.binary(min_size=1, max_size=3),
    st.sampled_from([b"\x00", b"\x00\x00", b"a", b"a\x00", b"a\xff", b"b", b"\xff", b"\xff\xff", b"k" * KEY_LIMIT]),
)
_BOUNDS = st.one_of(st.just(b""), _KEYS)
_VALUES = st.one_of(st.binary(max_size=8), st.just(b"v" * 5000))
#: A key and what to write there; None: delete it.
_Order = tuple[bytes, bytes | None]
_BATCHES = st.lists(st.tuples(_KEYS, st.one_of(st.none(), _VALUES)), max_size=12)


class StoreContract(ABC):
    """Tests of what `contract.py` promises, in the names of its paragraphs."""

    @abstractmethod
    def open_store(self, folder: Path) -> Store:
        """Give an empty store that may use `folder`, which is empty."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Any:
        """An empty store, closed after the test."""
        store = self.open_store(tmp_path / "store")
        yield store
        store.close()

    # --- order and bounds

    def test_an_empty_store_has_nothing(self, store: Store) -> None:
        assert store.get(b"a") is None
        assert store.scan(b"", END, 10) == []
        assert store.scan(b"", END, 10, reverse=True) == []
        assert store.keys(b"", END, 10) == []

    def test_keys_come_in_byte_order_and_a_prefix_comes_first(self, store: Store) -> None:
        wanted = [b"\x00", b"a", b"a\x00", b"aa", b"b", b"\x7f", b"\x80", b"\xff"]
        store.commit(_batch({key: key for key in reversed(wanted)}))
        assert store.keys(b"", END, 100) == wanted
        assert store.scan(b"", END, 100) == [(key, key) for key in wanted]
        assert [key for key, _ in store.scan(b"", END, 100, reverse=True)] == wanted[::-1]

    def test_a_range_holds_its_start_and_not_its_end(self, store: Store) -> None:
        store.commit(_batch({b"a": b"1", b"b": b"2", b"c": b"3"}))
        assert store.scan(b"a", b"c", 10) == [(b"a", b"1"), (b"b", b"2")]
        assert store.keys(b"a", b"c", 10) == [b"a", b"b"]
        assert store.scan(b"a", b"c", 10, reverse=True) == [(b"b", b"2"), (b"a", b"1")]
        assert store.keys(b"a\x00", b"b\x00", 10) == [b"b"]
        assert store.scan(b"b", b"b", 10) == store.scan(b"c", b"a", 10) == []
        assert store.keys(b"a", b"", 10) == []

    def test_a_limit_cuts_from_the_side_where_the_scan_starts(self, store: Store) -> None:
        store.commit(_batch({bytes([65 + index]): b"" for index in range(20)}))
        assert store.keys(b"", END, 2) == [b"A", b"B"]
        assert store.scan(b"C", END, 1) == [(b"C", b"")]
        assert [key for key, _ in store.scan(b"", b"F", 2, reverse=True)] == [b"E", b"D"]
        assert store.scan(b"", END, 0) == store.scan(b"", END, 0, reverse=True) == []
        assert store.keys(b"", END, 0) == []

    def test_a_reverse_scan_starts_below_an_end_that_is_above_all_keys(self, store: Store) -> None:
        store.commit(_batch({b"a": b"1", b"b": b"2"}))
        assert store.scan(b"", b"zzz", 1, reverse=True) == [(b"b", b"2")]
        assert store.scan(b"bb", b"zzz", 1, reverse=True) == []

    def test_pages_of_a_long_scan_join_without_gap_or_repeat(self, store: Store) -> None:
        wanted = [index.to_bytes(4, "big") for index in range(1000)]
        store.commit(_batch(dict.fromkeys(wanted, b"v" * 50)))
        found: list[bytes] = []
        start = b""
        while page := store.keys(start, END, 77):
            found += page
            start = page[-1] + b"\x00"
        assert found == wanted

    # --- commit

    def test_a_commit_writes_and_deletes(self, store: Store) -> None:
        store.commit(_batch({b"a": b"1", b"b": b"2", b"c": b""}))
        store.commit(Batch({b"b": b"22", b"d": b"4"}, {b"a", b"never there"}))
        assert store.scan(b"", END, 10) == [(b"b", b"22"), (b"c", b""), (b"d", b"4")]
        assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (None, b"22", b"")

    def test_an_empty_commit_is_fine(self, store: Store) -> None:
        store.commit(Batch())
        assert store.keys(b"", END, 1) == []

    def test_a_commit_leaves_its_batch_as_it_was(self, store: Store) -> None:
        batch = Batch({b"b": b"2", b"a": b"1"}, {b"c"})
        store.commit(batch)
        assert batch == Batch({b"b": b"2", b"a": b"1"}, {b"c"})
        batch.put(b"a", b"changed later")
        assert store.get(b"a") == b"1"

    def test_large_values_and_the_longest_key_come_back_equal(self, store: Store) -> None:
        value = random.Random(7).randbytes(5 << 20)
        store.commit(_batch({b"k" * KEY_LIMIT: value}))
        assert store.get(b"k" * KEY_LIMIT) == value
        assert store.scan(b"k" * KEY_LIMIT, END, 1) == [(b"k" * KEY_LIMIT, value)]

    @pytest.mark.parametrize("key", [b"", b"k" * (KEY_LIMIT + 1)], ids=["empty", "too long"])
    def test_a_bad_key_is_refused_and_nothing_is_written(self, store: Store, key: bytes) -> None:
        with pytest.raises(ValueError, match="a key has 1 to 511 bytes"):
            store.commit(_batch({b"a": b"1", key: b"2"}))
        with pytest.raises(ValueError, match="a key has 1 to 511 bytes"):
            store.commit(Batch({b"a": b"1"}, {b"b", key}))
        with pytest.raises(ValueError, match="a key has 1 to 511 bytes"):
            store.get(key)
        assert store.keys(b"", END, 1) == []

    def test_a_key_in_both_parts_of_a_batch_is_refused(self, store: Store) -> None:
        with pytest.raises(ValueError, match="both written and deleted"):
            store.commit(Batch({b"a": b"1"}, {b"a"}))
        assert store.get(b"a") is None

    def test_bad_ranges_are_refused(self, store: Store) -> None:
        for ask in (store.scan, store.keys):
            with pytest.raises(ValueError, match="at least 0"):
                ask(b"a", b"b", -1)
            with pytest.raises(ValueError, match="at most 511 bytes"):
                ask(b"a", b"b" * (KEY_LIMIT + 1), 1)

    def test_it_does_what_a_dict_does(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        @settings(max_examples=60, deadline=None, print_blob=True)
        @given(batches=st.lists(_BATCHES, max_size=6), start=_BOUNDS, end=_BOUNDS, limit=st.integers(0, 30))
        def compare(batches: list[list[_Order]], start: bytes, end: bytes, limit: int) -> None:
            store = self.open_store(tmp_path_factory.mktemp("model") / "store")
            try:
                _compare_with_dict(store, batches, start, end, limit)
            finally:
                store.close()

        compare()

    # --- threads

    def test_a_reader_beside_a_committing_thread_sees_whole_commits_only(self, store: Store) -> None:
        keys = [b"%d" % index for index in range(20)]
        done = threading.Event()

        def write() -> None:
            try:
                for number in range(200):
                    store.commit(_batch(dict.fromkeys(keys, b"%d" % number)))
            finally:
                done.set()

        writer = threading.Thread(target=write)
        writer.start()
        last = -1
        try:
            while not done.is_set():
                values = {value for _, value in store.scan(b"", END, 100)}
                assert len(values) <= 1, f"one scan saw several commits: {values}"
                seen = int(next(iter(values), b"-1"))
                assert seen >= last, "a later scan saw an earlier commit"
                last = seen
        finally:
            writer.join(30)
        assert store.get(keys[0]) == b"199"

    def test_two_threads_that_commit_lose_nothing(self, store: Store) -> None:
        def write(letter: bytes) -> None:
            for number in range(50):
                store.commit(_batch({letter + b"%03d" % number: b""}))

        threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(store.keys(b"", END, 1000)) == 100

    # --- size and end

    def test_sizes_are_told(self, store: Store) -> None:
        store.commit(_batch({b"a": b"x" * 1_000_000}))
        assert store.size_bytes() >= 1_000_000
        assert store.free_bytes() > 0

    def test_a_closed_store_refuses_everything_and_closes_again(self, store: Store) -> None:
        store.commit(_batch({b"a": b"1"}))
        store.close()
        store.close()
        calls = (
            lambda: store.get(b"a"),
            lambda: store.scan(b"", END, 1),
            lambda: store.keys(b"", END, 1),
            lambda: store.commit(_batch({b"b": b"2"})),
            store.free_bytes,
            store.size_bytes,
        )
        for call in calls:
            with pytest.raises(StoreFailed, match="closed"):
                call()


def _compare_with_dict(store: Store, batches: list[list[_Order]], start: bytes, end: bytes, limit: int) -> None:
    """Commit each batch to the store and to a dict, and compare all that can be asked after each."""
    model: dict[bytes, bytes] = {}
    for orders in batches:
        batch = Batch()
        for key, value in orders:
            if value is None:
                batch.delete(key)
                model.pop(key, None)
            else:
                batch.put(key, value)
                model[key] = value
        store.commit(batch)
        # Bounds that are keys of the store are the ones that go wrong.
        for low, high in [(start, end), *((start, key) for key, _ in orders), *((key, end) for key, _ in orders)]:
            wanted = sorted(pair for pair in model.items() if low <= pair[0] < high)
            assert store.scan(low, high, limit) == wanted[:limit]
            assert store.scan(low, high, limit, reverse=True) == wanted[::-1][:limit]
            assert store.keys(low, high, limit) == [key for key, _ in wanted[:limit]]
        assert {key: store.get(key) for key, _ in orders} == {key: model.get(key) for key, _ in orders}


def _batch(puts: dict[bytes, bytes]) -> Batch:
    return Batch(dict(puts))
