"""The store with what is not committed yet on top: what a step reads.

Writes of one batch gather in the top layer; `seal` hands the layer to a commit and starts another, and
`settled` drops it once the store has it. Knows bytes only, no record.
"""

from __future__ import annotations

from collections import deque

from grpcflow_coordinator.storage.contract import Batch, Store
from grpcflow_coordinator.storage.merging import merged_keys, merged_pairs

#: The byte of a key that tells its kind: scans stay within one kind.
KIND_AT = 3

#: Bytes from which on a value is a large one.
LARGE = 16_384


class Layer:
    """One batch and, by kind, the keys it touches; and how many bytes of large values were written."""

    __slots__ = ("batch", "large", "touched")

    def __init__(self) -> None:
        self.batch = Batch()
        self.large = 0
        self.touched: dict[int, set[bytes]] = {}


class Overlay:
    """Reads through the layers to the store; writes to the top layer."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._top = Layer()
        self._sealed: deque[Layer] = deque()

    def get(self, key: bytes) -> bytes | None:
        """Return the value that the key will have once all layers are committed."""
        batch = self._top.batch
        value = batch.puts.get(key)
        if value is not None:
            return value
        if key in batch.deletes:
            return None
        for layer in reversed(self._sealed):
            value = layer.batch.puts.get(key)
            if value is not None:
                return value
            if key in layer.batch.deletes:
                return None
        return self.store.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a value."""
        top = self._top
        if top.batch.deletes:
            top.batch.deletes.discard(key)
        top.batch.puts[key] = value
        if len(value) >= LARGE:
            top.large += len(value)
        touched = top.touched.get(key[KIND_AT])
        if touched is None:
            touched = top.touched[key[KIND_AT]] = set()
        touched.add(key)

    def delete(self, key: bytes) -> None:
        """Delete a key; one that is not there is fine."""
        top = self._top
        top.batch.puts.pop(key, None)
        top.batch.deletes.add(key)
        top.touched.setdefault(key[KIND_AT], set()).add(key)

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Return pairs with start <= key < end in order, as they will be once all layers are committed."""
        changed = self._changed(start, end)
        if not changed:
            return self.store.scan(start, end, limit, reverse=reverse)
        below = self.store.scan(start, end, limit + len(changed), reverse=reverse)
        return merged_pairs(below, changed, limit, reverse=reverse)

    def keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Return the keys of such a scan."""
        changed = self._changed(start, end)
        if not changed:
            return self.store.keys(start, end, limit)
        return merged_keys(self.store.keys(start, end, limit + len(changed)), changed, limit)

    def _changed(self, start: bytes, end: bytes) -> dict[bytes, bytes | None]:
        kind = start[KIND_AT]
        changed: dict[bytes, bytes | None] = {}
        for layer in (*self._sealed, self._top):
            for key in layer.touched.get(kind, ()):
                if start <= key < end:
                    changed[key] = layer.batch.puts.get(key)
        return changed

    @property
    def dirty(self) -> bool:
        """True where there is something to commit in the top layer."""
        return bool(self._top.batch)

    def size(self) -> int:
        """Return how many writes the top layer holds."""
        return len(self._top.batch.puts) + len(self._top.batch.deletes)

    def large_bytes(self) -> int:
        """Return how many bytes of large values were written to the top layer."""
        return self._top.large

    def seal(self) -> Batch:
        """Close the top layer and return its batch, to be committed."""
        layer = self._top
        self._sealed.append(layer)
        self._top = Layer()
        return layer.batch

    def settled(self) -> None:
        """The oldest sealed layer is in the store."""
        self._sealed.popleft()
