"""What a Batch says after put, delete and merge."""

import itertools
import random

from grpcflow_coordinator.storage.contract import Batch

KEYS = (b"a", b"b", b"c")


def said(batch: Batch) -> dict[bytes, bytes | None]:
    """Everything the batch says, with None for a deleted key."""
    assert batch.deletes.isdisjoint(batch.puts)
    return {**batch.puts, **dict.fromkeys(batch.deletes)}


def test_the_last_word_about_a_key_counts() -> None:
    batch = Batch()
    batch.put(b"a", b"1")
    batch.delete(b"a")
    assert said(batch) == {b"a": None}
    batch.put(b"a", b"2")
    assert said(batch) == {b"a": b"2"}


def test_merging_is_saying_the_one_after_the_other(rng: random.Random) -> None:
    for _ in range(300):
        batches = [Batch(), Batch()]
        wanted: dict[bytes, bytes | None] = {}
        for number, batch in enumerate(batches):
            for key in rng.sample(KEYS, rng.randrange(4)):
                value = rng.choice([None, b"%d" % number])
                wanted[key] = value
                batch.delete(key) if value is None else batch.put(key, value)
        other = said(batches[1])
        batches[0].merge(batches[1])
        assert said(batches[0]) == wanted
        assert said(batches[1]) == other, "merge changed what was merged in"


def test_a_batch_is_true_when_there_is_something_to_commit() -> None:
    assert not Batch()
    assert Batch({b"a": b""})
    assert Batch({}, {b"a"})


def test_size_counts_keys_and_values_and_deletes() -> None:
    assert Batch({b"ab": b"123", b"c": b""}, {b"defg"}).size_bytes() == 2 + 3 + 1 + 4
    assert Batch().size_bytes() == 0


def test_two_new_batches_share_nothing() -> None:
    for one, two in itertools.pairwise([Batch(), Batch(), Batch()]):
        one.put(b"a", b"1")
        one.delete(b"b")
        assert not two
