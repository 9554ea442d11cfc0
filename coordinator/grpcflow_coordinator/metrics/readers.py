"""For how long readers have held the store at a moment of the past: pages that were freed since cannot be used again.

LMDB knows the commit at which each reader stands, and no time. So this remembers when it first saw a reader there.
"""

from __future__ import annotations

from grpcflow_coordinator.storage.lmdb_reading import Usage


class Readers:
    """The readers of one store, from one look to the next."""

    def __init__(self) -> None:
        #: Monotonic seconds at which a reader, its process and the commit at which it stands, was seen first.
        self._seen: dict[tuple[int, int], float] = {}

    def look(self, usage: Usage, now: float) -> tuple[float, int]:
        """Return for how long the oldest reader has been there, in seconds, and how many commits came since.

        Args:
            usage: what the store says of itself.
            now: monotonic seconds.
        """
        self._seen = {reader: self._seen.get(reader, now) for reader in usage.readers}
        age = now - min(self._seen.values(), default=now)
        lag = usage.last_commit - min((commit for _, commit in usage.readers), default=usage.last_commit)
        return age, max(0, lag)
