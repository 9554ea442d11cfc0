"""The overlay: keys are those of a scan, whatever waits in the layers, and no value is read for them."""

import random

import pytest

from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_coordinator.storage.overlay import Overlay

KIND = b"\x00\x00\x00k"


def key(number: int) -> bytes:
    return KIND + number.to_bytes(2, "big")


def test_keys_are_those_of_a_scan(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        store = MemoryStore()
        store.commit(Batch({key(number): b"1" for number in rng.sample(range(40), 20)}))
        overlay = Overlay(store)
        for turn in range(3):
            for number in rng.sample(range(40), 6):
                overlay.delete(key(number)) if rng.random() < 0.5 else overlay.put(key(number), b"2")
            if turn < 2 and rng.random() < 0.5:
                overlay.seal()
        start, end, limit = key(rng.randrange(40)), key(rng.randrange(41)), rng.choice([1, 3, 50])
        if start < end:
            assert overlay.keys(start, end, limit) == [found for found, _ in overlay.scan(start, end, limit)]


def test_keys_read_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.commit(Batch({key(1): b"1", key(2): b"1"}))
    overlay = Overlay(store)
    overlay.delete(key(1))
    overlay.put(key(3), b"2")
    monkeypatch.setattr(store, "scan", None)
    assert overlay.keys(key(0), key(9), 9) == [key(2), key(3)]
