"""The ordered key-value contract that records stand on.

This file names what a store promises and the ways in which it fails. It may not know any implementation, may
not do I/O and imports nothing but the standard library.

The promises, which `grpcflow_coordinator.testing.store_contract` holds every implementation to:

Atomic
    `commit` writes the whole batch or nothing. A reader sees the store before it or after it, never between.
Durable
    When `commit` returns, the batch outlives the process and the machine's power (a store in memory: the
    store object). After a crash the store holds the batches of a prefix of the commits, at least up to the
    last one that returned.
Ordered
    Keys compare as `bytes` do: byte by byte, unsigned, a prefix before what it begins.
Threads
    Reads may come from any thread while one other thread commits. Two commits at once are allowed and run one
    after the other, in no promised order; the engine never does it. `close` waits for a commit under way;
    the caller sees to it that no read runs beside `close`.
Snapshots
    One call of `get`, `scan` or `keys` sees one moment. Two calls may see two, where a commit lies between
    them. No call leaves anything open behind it, so that a long-lived reader cannot make the file grow.
Ownership
    Returned `bytes` are copies and belong to the caller for good. A `Batch` belongs to the store from the call of
    `commit` until it returns; after `StoreFull` the caller has it back unchanged and may commit it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

#: Longest key in bytes: what LMDB was built to take.
KEY_LIMIT: Final = 511


class StoreError(Exception):
    """Base of everything a store raises. The message says what to do."""


class StoreFull(StoreError):
    """There was no room for the batch; nothing of it was written. Make room and commit the same batch again."""


class StoreFailed(StoreError):
    """The store can no longer be trusted: stop the process, mend the cause, recover from what is on disk."""


class StoreLocked(StoreError):
    """Another process holds the folder; the message names the folder and the process."""


class StoreDamaged(StoreError):
    """The folder holds something that is not a whole store of this format; the message says what to do."""


class StoreUntrusted(StoreError):
    """The folder lies where no store can keep its promises; the message says what to do."""


@dataclass(slots=True)
class Batch:
    """What one commit writes: a key stands in `puts` or in `deletes`, never in both.

    Use `put`, `delete` and `merge`, which keep that rule; writing to the two fields directly is for those who keep
    it themselves. Deleting a key that the store does not hold is fine.
    """

    #: Values to write, by key.
    puts: dict[bytes, bytes] = field(default_factory=dict)
    #: Keys to remove.
    deletes: set[bytes] = field(default_factory=set)

    def put(self, key: bytes, value: bytes) -> None:
        """Write `value` under `key`, whatever this batch said of the key before."""
        self.deletes.discard(key)
        self.puts[key] = value

    def delete(self, key: bytes) -> None:
        """Remove `key`, whatever this batch said of it before."""
        self.puts.pop(key, None)
        self.deletes.add(key)

    def merge(self, other: Batch) -> None:
        """Take over all that `other` says, as if it had been said after what stands here; `other` is unchanged."""
        if self.deletes and other.puts:
            self.deletes.difference_update(other.puts)
        if self.puts:
            for key in other.deletes:
                self.puts.pop(key, None)
        self.puts.update(other.puts)
        self.deletes |= other.deletes

    def size_bytes(self) -> int:
        """Bytes of all keys and values; walks over the whole batch."""
        return sum(map(len, self.puts)) + sum(map(len, self.puts.values())) + sum(map(len, self.deletes))

    def __bool__(self) -> bool:
        """Say whether there is anything to commit."""
        return bool(self.puts) or bool(self.deletes)


class Store(Protocol):
    """An ordered map from bytes to bytes; the promises stand at the head of this file.

    Keys have 1 to `KEY_LIMIT` bytes, values any number, none included. The bounds of a range have 0 to `KEY_LIMIT`
    bytes. Anything else raises `ValueError` before it touches the store. Reads raise `StoreFailed`, or
    `StoreDamaged` where the file itself is broken; every call after `close` raises `StoreFailed`.
    """

    def get(self, key: bytes) -> bytes | None:
        """Give the value under `key`, or None where there is none."""
        ...

    def scan(self, start: bytes, end: bytes, limit: int, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        """Give the pairs with `start <= key < end`, at most `limit` of them.

        Args:
            start: The lowest key wanted; empty means from the first.
            end: The bound above, itself left out; at or below `start` the range is empty.
            limit: Most pairs to give; 0 gives none, a negative one raises `ValueError`.
            reverse: False: in key order from `start` on. True: from the largest key below `end` downwards.
        """
        ...

    def keys(self, start: bytes, end: bytes, limit: int) -> list[bytes]:
        """Give the keys that `scan` would give, without their values."""
        ...

    def commit(self, batch: Batch) -> None:
        """Write the whole batch, durably; an empty batch costs nothing and is fine.

        Raises:
            StoreFull: There was no room. Nothing was written, the store goes on, the batch may be tried again.
            StoreFailed: Anything else. The store takes no further commit.
            ValueError: A key is empty or too long, or stands in both parts; nothing was written.
        """
        ...

    def tidy(self) -> None:
        """Do what a commit has left for later, where it left something; costs as much as a commit.

        To be called now and then, a second after a commit for instance. What was committed is as durable before.

        Raises:
            StoreFull: There was no room. The store goes on, and it may be tried again.
            StoreFailed: Anything else. The store takes no further commit.
        """
        ...

    def free_bytes(self) -> int:
        """Tell about how many bytes still fit, never more than the disk has; room inside the file counts for none."""
        ...

    def size_bytes(self) -> int:
        """Tell how large the store is, in bytes; a file does not shrink when records go."""
        ...

    def close(self) -> None:
        """Let go of everything, after a commit under way; closing twice is fine."""
        ...


def check_batch(batch: Batch) -> None:
    """Refuse a batch that no store may write.

    Raises:
        ValueError: A key is empty or longer than `KEY_LIMIT`, or is both written and deleted.
    """
    for group in (batch.puts, batch.deletes):
        # The C loops of min and max cost a quarter of a loop over the keys; only a bad batch pays for the search.
        if group and (max(map(len, group)) > KEY_LIMIT or not min(map(len, group))):
            check_key(next(key for key in group if not 1 <= len(key) <= KEY_LIMIT))
    if batch.deletes and not batch.deletes.isdisjoint(batch.puts):
        both = next(key for key in batch.deletes if key in batch.puts)
        raise ValueError(f"the key {both!r} is both written and deleted in one batch; use Batch.put and Batch.delete")


def check_key(key: bytes) -> None:
    """Refuse a key that no store takes.

    Raises:
        ValueError: The key is empty or longer than `KEY_LIMIT`.
    """
    if not 1 <= len(key) <= KEY_LIMIT:
        raise ValueError(f"a key has 1 to {KEY_LIMIT} bytes, this one has {len(key)}: {key[:40]!r}; shorten its parts")


def check_range(start: bytes, end: bytes, limit: int) -> bool:
    """Refuse a range that no store takes, and say whether the range can hold anything.

    Raises:
        ValueError: A bound is longer than `KEY_LIMIT`, or the limit is negative.
    """
    if len(start) > KEY_LIMIT or len(end) > KEY_LIMIT:
        raise ValueError(f"the bounds of a range have at most {KEY_LIMIT} bytes, not {len(start)} and {len(end)}")
    if limit < 0:
        raise ValueError(f"the limit of a scan is at least 0, not {limit}")
    return limit > 0 and start < end
