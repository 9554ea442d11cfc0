"""The coordinator's disk: the store in memory behind its contract, with bad weather, and a ledger of all commits.

What is in here is durable; what the engine has not committed yet is its overlay and dies with the process. A commit
may find no room, take long, fail, or be the last thing that the process did, with or without effect.

May NOT know the core; the ledger reads which records come and go, never what is in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from grpcflow_coordinator.core.model import Outcome
from grpcflow_coordinator.engine import LOW_WATER
from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.contract import Batch, StoreFailed, StoreFull
from grpcflow_coordinator.storage.memory import MemoryStore

_PREFIX: Final = len(keys.SPACE) + 1
_GRAPH: Final = keys.GRAPH[-1]
_OUTCOME: Final = keys.OUTCOME[-1]
#: What stays when all is over: the epoch, the numbers of queues and the marks of plain lines, and how far rates are.
STAYING: Final = frozenset({keys.META, keys.LANE, keys.MARK, keys.RATE})


class Killed(BaseException):
    """The process died in the middle of a commit; no exception that the product could catch."""


class Breach(AssertionError):
    """Something was promised and does not hold; the text says what."""


@dataclass(slots=True)
class Ledger:
    """What was ever durable.

    Attributes:
        graphs: Every graph that became real.
        outcomes: How each node settled, encoded; those of deleted graphs too.
        pruned: Graphs that were deleted.
        lives: How often each graph became real.
        may_return: True where a graph may be submitted again once it was deleted.
        again: Nodes whose outcome was taken back by a retry of their graph.
        may_retry: True where somebody asked for such a retry.
        owners: The graph that reads from each graph which a task submitted in its place.
    """

    graphs: set[bytes] = field(default_factory=set)
    outcomes: dict[bytes, bytes] = field(default_factory=dict)
    pruned: set[bytes] = field(default_factory=set)
    lives: Counter[bytes] = field(default_factory=Counter)
    may_return: bool = False
    again: set[bytes] = field(default_factory=set)
    may_retry: bool = False
    owners: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, batch: Batch) -> None:
        """Take in a commit.

        Raises:
            Breach: A node settles twice, a graph becomes real twice, or is deleted while another one reads from it.
        """
        deleted = [key[_PREFIX:] for key in batch.deletes if key[_PREFIX - 1] == _GRAPH]
        self.pruned.update(deleted)
        for graph in deleted:
            owner = self.owners.get(graph, b"")
            if owner in self.graphs and owner not in self.pruned:
                raise Breach(f"graph {graph.hex()} was deleted, and graph {owner.hex()} reads from it")
        for key in batch.puts:
            if key[_PREFIX - 1] == _GRAPH:
                self._is_real(key[_PREFIX:])
        for key, value in batch.puts.items():
            if key[_PREFIX - 1] == _OUTCOME:
                self._settled(key[_PREFIX:], value)

    def _is_real(self, graph: bytes) -> None:
        if graph in self.pruned:
            if not self.may_return:
                raise Breach(f"graph {graph.hex()} became real a second time")
            self.pruned.discard(graph)
            self.outcomes = {node: value for node, value in self.outcomes.items() if not node.startswith(graph)}
        elif graph in self.graphs:
            return
        self.graphs.add(graph)
        self.lives[graph] += 1

    def _settled(self, node: bytes, value: bytes) -> None:
        if node in self.outcomes:
            if not self.may_retry:
                raise Breach(f"node {node.hex()} settled twice")
            self.again.add(node)
        self.outcomes[node] = value

    def outcome(self, graph: bytes, index: int) -> Outcome | None:
        """Return how a node settled, also of a deleted graph; None: it has not."""
        data = self.outcomes.get(graph + index.to_bytes(4, "big"))
        return None if data is None else formats.read_outcome(data)

    def has_settled(self, graph: bytes, index: int) -> bool:
        """Return whether a node has settled durably, perhaps in the commit that deleted its graph."""
        return graph + index.to_bytes(4, "big") in self.outcomes or graph in self.pruned


class Disk(MemoryStore):
    """A store that outlives the processes that use it.

    Attributes:
        full: True: nothing that needs room is taken.
        latency: Seconds that a commit takes.
        fails: True: the next commit fails, with nothing written.
        dies: "before" or "after": in the next commit the process dies, and the commit has no effect, or all of it.
        commits: How many there were.
    """

    def __init__(self, hold: Callable[[float], None]) -> None:
        super().__init__()
        self._hold = hold
        self.ledger = Ledger()
        self.full = self.fails = False
        self.latency = 0.0
        self.dies = ""
        self.commits = 0

    def commit(self, batch: Batch) -> None:
        """See the contract of stores.

        Raises:
            Killed: The process dies here.
        """
        dies, self.dies = self.dies, ""
        if dies == "before":
            raise Killed(dies)
        if self.fails:
            self.fails = False
            raise StoreFailed("the simulated disk failed; start again from what is on it")
        if self.full and self._size_after(batch) > self.size_bytes():
            raise StoreFull("the simulated disk is full; wait until there is room")
        super().commit(batch)
        self.commits += 1
        self.ledger.take(batch)
        if self.latency:
            self._hold(self.latency)
        if dies:
            raise Killed(dies)

    def free_bytes(self) -> int:
        """See the contract of stores."""
        return 0 if self.full else 4 * LOW_WATER

    def left(self) -> list[bytes]:
        """Return the keys of all records but those that stay for good."""
        found = self.keys(keys.SPACE, keys.after(keys.SPACE), 1_000_000)
        return [key for key in found if key[:_PREFIX] not in STAYING]
