"""Tells when a cluster has nothing more to do, and if not, what it does.

Reads the memory of the coordinator's core, on the event loop that it runs on. It may not change anything there.
"""

import asyncio
from collections import Counter
from math import ceil
from typing import Final

from grpcflow.errors import TimeoutError as WaitedInVain
from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.model import LineKey
from grpcflow_coordinator.engine import Engine

__all__ = ["Stillness", "next_due"]

#: Real seconds between two looks where nothing was written; hand-outs write nothing.
_LOOK: Final = 0.02


class Stillness:
    """When one coordinator rests. All methods belong to its event loop.

    Args:
        engine: The coordinator's engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = asyncio.Event()

    def touch(self) -> None:
        """Say that something was written."""
        self._changed.set()

    async def wait(self, timeout: float) -> None:
        """Wait until nothing runs, nothing is queued that a worker would take, and nothing is on its way in.

        Args:
            timeout: Real seconds.

        Raises:
            TimeoutError: That did not come true; the message says what is waited for.
            RuntimeError: The coordinator has failed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            await self._flush(deadline)
            left = self.left()
            if not left:
                return
            if loop.time() >= deadline:
                raise WaitedInVain(
                    f"the cluster did not come to rest within {timeout:g} s: {'; '.join(left)}. Let what blocks go "
                    f"on, or give more time with timeout="
                )
            await self.next_change()

    async def _flush(self, deadline: float) -> None:
        """Let the engine step all that waits in its inbox."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._engine.flushed()
        except TimeoutError:
            if self._engine.failed is not None:
                raise RuntimeError("the coordinator has failed and works no more") from self._engine.failed

    async def next_change(self) -> None:
        """Wait until something was written since the last time, but no longer than a moment."""
        waiting = asyncio.ensure_future(self._changed.wait())
        await asyncio.wait([waiting], timeout=_LOOK)
        waiting.cancel()
        self._changed.clear()

    def left(self) -> list[str]:
        """Return what is still to be done, a few words each; empty where the coordinator rests."""
        cluster = self._engine.machine.cluster
        left = [*_running(cluster), *_queued(cluster, self._engine.now().pace_ms)]
        if cluster.staging or cluster.parked:
            left.append("a graph is being submitted")
        if cluster.releasing or cluster.jobs or cluster.abandoned:
            left.append("a large graph is being worked on")
        due = next_due(self._engine)
        if due is not None and due <= self._engine.now().wall_ms:
            left.append("a time has come")
        return left


def next_due(engine: Engine) -> int | None:
    """When the next thing is due, as Unix time in milliseconds; None: nothing is.

    That is a timer, a tick of a schedule, the next start that a rate allows, or the end of the wait of a batch.

    Args:
        engine: The coordinator's engine.
    """
    cluster, now = engine.machine.cluster, engine.now()
    due = [alarm for alarm, _, _ in cluster.alarms[:1]]
    if cluster.next_timer is not None:
        due.append(cluster.next_timer)
    if cluster.gates.wake_at is not None:
        due.append(now.wall_ms + ceil(max(0.0, cluster.gates.wake_at - now.pace_ms)))
    return min(due, default=None)


def _running(cluster: Cluster) -> list[str]:
    """What workers have."""
    names = {identity: session.name for identity, session in cluster.sessions.items()}
    counts = Counter(
        (attempt.template.task, names.get(attempt.session, "a lost worker")) for attempt in cluster.attempts.values()
    )
    return [f"{_times(count, task)} on {worker}" for (task, worker), count in counts.items()]


def _queued(cluster: Cluster, now_ms: float) -> list[str]:
    """What waits for a worker that is there and would take it now."""
    waiting = [
        line
        for line in cluster.lines.by_key.values()
        if line.queued and not cluster.gates.is_shut(line, now_ms) and _is_served(cluster, line.key, now_ms)
    ]
    return [f"{_times(line.queued, line.key.task)} in the queue {line.key.queue!r}" for line in waiting]


def _is_served(cluster: Cluster, key: LineKey, now_ms: float) -> bool:
    wake_at = cluster.gates.wake_at
    gathering = wake_at is not None and wake_at > now_ms
    return any(
        session.stream is not None
        and not session.draining
        and key.queue in session.ring
        and key.queue not in cluster.paused
        and key.task in session.facts.tasks
        and not (gathering and key.task in session.batching)
        for session in cluster.sessions.values()
    )


def _times(count: int, task: str) -> str:
    return task if count == 1 else f"{count} x {task}"
