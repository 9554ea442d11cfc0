"""Which attempt has a node. No index of that is kept: each hand-out and each settling would pay for it.

Whoever asks has it made from all attempts, and for a second each further question adds only those that came since; so
a storm of revokes does not look at everything that runs once for each of them. This file may NOT change an attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from grpcflow_coordinator.core.cluster import Step
from grpcflow_coordinator.core.model import Attempt, node_id

#: Seconds for which what was found is kept.
KEPT: Final = 1.0


class Running:
    """The attempts by the 16 bytes of their node.

    Args:
        known: attempts by node; some may be over.
        attempts: those that are not, by token.
    """

    __slots__ = ("_attempts", "_known")

    def __init__(self, known: Mapping[bytes, Attempt], attempts: Mapping[int, Attempt]) -> None:
        self._known, self._attempts = known, attempts

    def get(self, node: bytes) -> Attempt | None:
        """Return the attempt that a node has now; None: it does not run."""
        found = self._known.get(node)
        return found if found is not None and found.token in self._attempts else None

    def __contains__(self, node: bytes) -> bool:
        """Return whether a node runs."""
        return self.get(node) is not None


def running_nodes(step: Step) -> Running:
    """Return what runs now."""
    cluster = step.cluster
    known = cluster.known
    if not known:
        cluster.known_until = step.now.monotonic + KEPT
    for attempt in reversed(cluster.attempts.values()):  # the newest first, up to one that was there before
        node = node_id(attempt.graph, attempt.index)
        if known.get(node) is attempt:
            break
        known[node] = attempt
    return Running(known, cluster.attempts)


def let_go(step: Step) -> None:
    """Keep nothing of what was found, when its time is over."""
    if step.now.monotonic >= step.cluster.known_until:
        step.cluster.known.clear()
