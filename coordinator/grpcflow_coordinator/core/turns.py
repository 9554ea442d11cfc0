"""Which queue of a worker has its next turn. Pure arithmetic."""

from __future__ import annotations

from functools import reduce
from math import gcd

#: What the name of a queue that only one worker serves ends in: everybody may send to it.
DIRECT = ".dq"


def direct_queue(worker: str) -> str:
    """Return the queue that only the worker of this name serves."""
    return worker + DIRECT


def member_queue(queue: str, worker: str) -> str:
    """Return the queue in which a worker finds its share of a broadcast queue."""
    return f"{queue}@{worker}"


def ring(worker: str, queues: tuple[str, ...], weights: tuple[int, ...]) -> tuple[str, ...]:
    """Return the queues that a worker serves in the order of their turns, each as often as it weighs.

    The turns of a heavy queue are spread: one with weight 3 beside one with weight 1 gives a a b a. The worker's own
    queue and its shares of broadcast queues have a turn each.
    """
    factors = weights or (1,) * len(queues)
    whole = reduce(gcd, factors, 0) or 1
    left = {queue: factor // whole for queue, factor in zip(queues, factors, strict=True)}
    total = sum(left.values())
    credit = dict.fromkeys(left, 0)
    turns = []
    for _ in range(total):
        for queue, factor in left.items():
            credit[queue] += factor
        chosen = max(credit, key=credit.__getitem__)
        credit[chosen] -= total
        turns.append(chosen)
    return (*turns, direct_queue(worker), *(member_queue(queue, worker) for queue in left))
