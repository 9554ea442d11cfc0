"""Which nodes workers have: looked up among all attempts in one go, for questions. Changes nothing.

Attempts are kept by their tokens, since an index by node would cost something for each task. So a look costs what all
attempts cost, and where those are many it is used again for a while: questions take a tenth of the time at most.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from grpcflow_coordinator.core.model import Attempt, node_id
from grpcflow_coordinator.engine import Engine

#: How many times as long as it took a look is used again, and seconds up to which one costs nothing to speak of.
AGAIN: Final = 10
QUICK: Final = 0.001

#: So many attempts are looked through in less than QUICK by any machine: where it takes longer, others had the
#: processor meanwhile, and a question is answered as things are now.
FEW: Final = 1_000


class Running:
    """What runs.

    Args:
        engine: where the attempts are, and the clock.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._until = float("-inf")
        self._by_node: dict[bytes, Attempt] = {}
        self._by_graph: Counter[bytes] = Counter()

    def _look(self) -> None:
        began = self._engine.now().monotonic
        if began < self._until:
            return
        attempts = self._engine.machine.cluster.attempts.values()
        self._by_node = {node_id(attempt.graph, attempt.index): attempt for attempt in attempts}
        self._by_graph = Counter(attempt.graph for attempt in attempts)
        ended = self._engine.now().monotonic
        took = ended - began
        self._until = ended + (AGAIN * took if took > QUICK and len(self._by_node) > FEW else 0.0)

    def by_node(self) -> dict[bytes, Attempt]:
        """Return the attempts by the ids of their nodes."""
        self._look()
        return self._by_node

    def by_graph(self) -> Counter[bytes]:
        """Return how many there are of each graph."""
        self._look()
        return self._by_graph
