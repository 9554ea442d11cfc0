"""Commits that run beside the coordinator's turns, as the product's thread for large values has them.

In a part of the worlds any batch may be committed so, not only a large one: what comes to the coordinator meanwhile
finds memory ahead of the disk, and it may die between the commit and the moment in which it hears of it.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from grpcflow_coordinator.storage.contract import StoreError

if TYPE_CHECKING:
    from tests.simulation.clockwork import Process
    from tests.simulation.disk import Disk

    from grpcflow_coordinator.aside import Done
    from grpcflow_coordinator.storage.contract import Batch

#: Which part of the batches is committed beside: one of these in each world.
PARTS: Final = (0.0, 0.0, 0.1, 0.5, 1.0)

#: Seconds at most until a commit comes, and until its end is heard of.
_COMES: Final = 0.03
_HEARD: Final = 0.01


class CommitBeside:
    """Commits a part of the batches in turns of their own; see `grpcflow_coordinator.aside.Aside`.

    Args:
        process: The coordinator.
        disk: Where to.
        seed: Of the world.

    Attributes:
        behind: Seconds that what is let out now was stepped before.
    """

    def __init__(self, process: Process, disk: Disk, seed: int) -> None:
        self._process, self._disk = process, disk
        self._part = random.Random(f"{seed} beside").choice(PARTS)
        self.behind = 0.0
        self._rng = random.Random(f"{seed} beside {process.clockwork.now}")

    def takes(self, batch: Batch) -> bool:
        """Draw."""
        return self._rng.random() < self._part

    def begin(self, batch: Batch, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        """Let the commit come in a moment, and its end be heard of in another one."""
        begun = self._process.clockwork.now
        self._process.call_later(self._rng.uniform(0.0, _COMES), self._commit, batch, done, begun)

    def _commit(self, batch: Batch, done: Done, begun: float) -> None:
        error: Exception | None = None
        try:
            self._disk.commit(batch)
        except StoreError as failed:
            error = failed
        self._process.call_later(self._rng.uniform(0.0, _HEARD), self._hear, done, error, begun)

    def _hear(self, done: Done, error: Exception | None, begun: float) -> None:
        self.behind = self._process.clockwork.now - begun
        done(error)
        self.behind = 0.0

    def close(self) -> None:
        """Nothing to wait for: a process that ends takes no turn any more."""
