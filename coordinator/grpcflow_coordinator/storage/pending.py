"""Commits that are durable in the journal and not in the records' file yet, as one layer over it.

Knows bytes only, no file and no LMDB. Who changes it and who reads it see to it, with a lock of theirs, that what is
read of it and of the file belongs together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sortedcontainers import SortedDict

from grpcflow_coordinator.storage.contract import Batch

#: What `get` gives for a key that the layer says nothing of.
UNSAID: Final = b"(what is under this key in the file stands)"


class Pending:
    """What the commits of the layer write, by key; None: the key is deleted."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        # sortedcontainers carries no types.
        self._changes: Any = SortedDict()

    def __len__(self) -> int:
        """Return of how many keys it speaks."""
        return len(self._changes)

    def take(self, batch: Batch) -> None:
        """Lay a commit over those before."""
        changes = self._changes
        for key in batch.deletes:
            changes[key] = None
        for key, value in batch.puts.items():  # one by one: `update` would sort all of them anew
            changes[key] = value

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, None where it is deleted, and `UNSAID` where nothing is said of it."""
        value: bytes | None = self._changes.get(key, UNSAID)
        return value

    def between(self, start: bytes, end: bytes) -> dict[bytes, bytes | None]:
        """Return what is said of the keys with start <= key < end, in their order."""
        changes = self._changes
        return {key: changes[key] for key in changes.irange(start, end, inclusive=(True, False))}

    def items(self) -> Iterable[tuple[bytes, bytes | None]]:
        """Return all that is said, in the order of the keys."""
        found: Iterable[tuple[bytes, bytes | None]] = self._changes.items()
        return found

    def with_batch(self, batch: Batch) -> Batch:
        """Return a batch that writes the layer and a further commit over it."""
        merged = Batch()
        for key, value in self._changes.items():
            if value is None:
                merged.deletes.add(key)
            else:
                merged.puts[key] = value
        merged.merge(batch)
        return merged
