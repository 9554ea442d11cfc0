"""The reference store: a sorted map in memory, for tests and for clusters inside one process.

It is the plainest thing that keeps the contract, so that it can be the judge of the others. It may not touch the
disk, and "durable" means here: kept by this object. It imports nothing of the project but the contract.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from sortedcontainers import SortedDict

from grpcflow_coordinator.storage.contract import Batch, StoreFailed, StoreFull, check_batch, check_key, check_range

#: Called with "before" and "after" around each commit; what it raises leaves `commit` as it is.
Failpoint = Callable[[str, Batch], None]


class MemoryStore:
    """A `Store` that forgets everything with the object.

    Args:
        capacity: Most bytes of keys and values together; a commit that would pass it raises `StoreFull`.
        failpoint: Test hook. Raising at "before" leaves the store as it was; at "after" the batch is written, as if
            the process had died between the write and what follows it.
    """

    def __init__(self, *, capacity: int = sys.maxsize, failpoint: Failpoint | None = None) -> None:
        self.failpoint = failpoint
        self._capacity: Final = capacity
        self._lock: Final = threading.Lock()
        # sortedcontainers carries no types; everything that leaves this class is typed by the contract.
        self._map: Any = SortedDict()
        self._size = 0
        self._open = True

    def get(self, key: bytes) -> bytes | None:
        """Give the value under `key`, or None where there is none."""
        check_key(key)
        with self._lock:
            self._check_open()
            value: bytes | None = self._map.get(key)
            return value

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Give the pairs with `start <= key < end`; see the contract."""
        wanted = check_range(start, end, limit)
        with self._lock:
            self._check_open()
            return [(key, self._map[key]) for key in self._range(start, end, limit, reverse)] if wanted else []

    def keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Give the keys that `scan` would give, without their values."""
        wanted = check_range(start, end, limit)
        with self._lock:
            self._check_open()
            return self._range(start, end, limit, reverse=False) if wanted else []

    def commit(self, batch: Batch) -> None:
        """Write the whole batch at once; raises `StoreFull` where it would pass the capacity."""
        check_batch(batch)
        if self.failpoint is not None:
            self.failpoint("before", batch)
        with self._lock:
            self._check_open()
            size = self._size_after(batch)
            if size > self._capacity and size > self._size:
                raise StoreFull(
                    f"the store in memory holds {self._size} of {self._capacity} bytes and the commit needs "
                    f"{size - self._size} more; delete something or allow more"
                )
            for key in batch.deletes:
                self._map.pop(key, None)
            self._map.update(batch.puts)
            self._size = size
        if self.failpoint is not None:
            self.failpoint("after", batch)

    def tidy(self) -> None:
        """Do nothing: a commit leaves nothing for later."""
        with self._lock:
            self._check_open()

    def free_bytes(self) -> int:
        """Tell how many bytes of the capacity are left."""
        with self._lock:
            self._check_open()
            return max(0, self._capacity - self._size)

    def size_bytes(self) -> int:
        """Tell how many bytes of keys and values there are."""
        with self._lock:
            self._check_open()
            return self._size

    def close(self) -> None:
        """Refuse everything from now on; the records stay for `reopened`."""
        with self._lock:
            self._open = False

    def reopened(self) -> MemoryStore:
        """Close this store and give a new one with the same records and no failpoint, as after a restart."""
        self.close()
        successor = MemoryStore(capacity=self._capacity)
        with self._lock:
            successor._map = self._map.copy()
            successor._size = self._size
        return successor

    def _check_open(self) -> None:
        if not self._open:
            raise StoreFailed("the store in memory is closed; open a new one, or use `reopened`")

    def _range(self, start: bytes, end: bytes, limit: int, reverse: bool) -> list[bytes]:
        first: int = self._map.bisect_left(start)
        last: int = self._map.bisect_left(end)
        part: list[bytes]
        if reverse:
            part = self._map.keys()[max(first, last - limit) : last]
            part.reverse()
        else:
            part = self._map.keys()[first : min(last, first + limit)]
        return part

    def _size_after(self, batch: Batch) -> int:
        size = self._size
        for key in batch.deletes | batch.puts.keys():
            if (old := self._map.get(key)) is not None:
                size -= len(key) + len(old)
        return size + sum(len(key) + len(value) for key, value in batch.puts.items())
