"""The feed of events: what happened lately, in order, for whoever reads along. Decides nothing about tasks.

What is durable is put in as the outbox passes it on, as little of it as can be: which nodes, what, when. What else an
event tells is read from the records when somebody reads it. It is kept in memory and bounded by the nodes it names; a
log on disk may keep more, which `event_replay` reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from grpcflow_coordinator.core.effects import Assign, Effects
from grpcflow_coordinator.core.model import NodeState, Now
from grpcflow_coordinator.event_erasing import Erasure
from grpcflow_coordinator.event_log import EventLog
from grpcflow_coordinator.happenings import Happening, Numbered
from grpcflow_protos.v1 import event_service_pb2 as pb

#: Nodes that the events name which are kept; so many bytes of what somebody said of his own count as one node.
LENGTH: Final = 100_000
SAID: Final = 256

_SETTLED: Final = {
    NodeState.SUCCESS: pb.EVENT_KIND_TASK_SUCCEEDED,
    NodeState.FAILURE: pb.EVENT_KIND_TASK_FAILED,
    NodeState.REVOKED: pb.EVENT_KIND_TASK_REVOKED,
    NodeState.IGNORED: pb.EVENT_KIND_TASK_IGNORED,
    NodeState.REJECTED: pb.EVENT_KIND_TASK_REJECTED,
}
_MOVED: Final = {
    "STARTED": pb.EVENT_KIND_TASK_STARTED,
    "RETRY": pb.EVENT_KIND_TASK_RETRIED,
    "PENDING": pb.EVENT_KIND_TASK_RETRIED,
}
_PRESENCE: Final = {
    "online": pb.EVENT_KIND_WORKER_ONLINE,
    "broken": pb.EVENT_KIND_WORKER_BROKEN,
    "back": pb.EVENT_KIND_WORKER_BACK,
    "offline": pb.EVENT_KIND_WORKER_OFFLINE,
}

_graph_of = itemgetter(0)


class Feed:
    """The last events.

    Args:
        now: the clock.
        length: how many nodes the events that are kept may name.
    """

    def __init__(self, now: Callable[[], Now], length: int = LENGTH) -> None:
        self._now = now
        self._length = length
        self._ring: deque[Happening] = deque()
        self._nodes = 0
        #: How many events there were before the first that is kept.
        self._gone = 0
        #: What is added to the number of an event to make its offset: later starts of the coordinator have higher ones.
        self.base = 0
        #: What keeps the events on disk as well; None: nothing does.
        self.log: EventLog | None = None
        self._waiting: set[asyncio.Event] = set()

    @property
    def end(self) -> int:
        """The offset of the newest event."""
        return self.base + self._gone + len(self._ring)

    @property
    def first(self) -> int:
        """The offset of the oldest event that is kept in memory; of the next one where none is."""
        return self.base + self._gone + 1

    def keep(self, log: EventLog) -> None:
        """Keep the events on disk as well, from the first one of this start; to be called once the base is set."""
        self.log = log
        for happening in self._ring:
            log.add(happening)

    def close(self) -> None:
        """Write what waits to be written."""
        if self.log is not None:
            self.log.close()

    def take(self, effects: Effects) -> None:
        """Put in what a step did."""
        if not (
            effects.sends or effects.values or effects.settled or effects.moved or effects.presence or effects.made
        ):
            return
        time_ms = self._now().wall_ms
        add = self._add
        for graph in effects.made:
            add(Happening(time_ms, pb.EVENT_KIND_TASK_SENT, graph))
        for send in effects.sends:
            if type(send) is Assign:
                nodes = range(send.first, send.first + send.count)
                add(Happening(time_ms, pb.EVENT_KIND_TASK_RECEIVED, send.graph, nodes, _name(send.stream)))
        if len(effects.values) == 1:
            graph, index, _ = effects.values[0]
            add(Happening(time_ms, pb.EVENT_KIND_TASK_SUCCEEDED, graph, (index,)))
        else:
            for graph, found in groupby(effects.values, _graph_of):
                add(Happening(time_ms, pb.EVENT_KIND_TASK_SUCCEEDED, graph, [one[1] for one in found]))
        for graph, index, _, outcome in effects.settled:
            add(Happening(time_ms, _SETTLED[outcome.state], graph, (index,)))
        for graph, index, state in effects.moved:
            kind = _MOVED.get(state, pb.EVENT_KIND_TASK_PROGRESS)
            add(Happening(time_ms, kind, graph, (index,), detail=state))
        for what, worker, why in effects.presence:
            add(Happening(time_ms, _PRESENCE[what], worker=worker, detail=why))
        if self._waiting:
            self._wake()

    def publish(self, type_name: str, fields: bytes, graph: bytes = b"", nodes: Sequence[int] = ()) -> int:
        """Put in an event of somebody's own; return its offset."""
        kind = pb.EVENT_KIND_CUSTOM
        self._add(Happening(self._now().wall_ms, kind, graph, nodes, type=type_name, fields=fields))
        self._wake()
        return self.end

    def _add(self, happening: Happening) -> None:
        self._ring.append(happening)
        if self.log is not None:
            self.log.add(happening)
        self._nodes += _weight(happening)
        while self._nodes > self._length:
            self._nodes -= _weight(self._ring.popleft())
            self._gone += 1

    async def erase(self, erasure: Erasure) -> list[str]:
        """Take out of events, in memory and on disk, what they say of some nodes; offsets stay as they are.

        Returns:
            What could not be rewritten, for people.
        """
        for at, happening in enumerate(self._ring):
            clean = erasure.clean(happening)
            if clean is not happening:
                self._nodes += _weight(clean) - _weight(happening)
                self._ring[at] = clean
        return [] if self.log is None else await self.log.erase(erasure)

    def page(self, after: int, limit: int) -> tuple[Numbered, int]:
        """Return up to `limit` events behind an offset, each with its own, and how many are no longer there.

        Of an earlier start of the coordinator nothing is in memory, and nobody knows how much that was: that is not
        counted.
        """
        start = max(0, after - self.base)
        missed = max(0, self._gone - start)
        first = max(0, start - self._gone)
        ring = self._ring
        stop = min(len(ring), first + limit)
        offset = self.base + self._gone + 1
        return [(offset + at, ring[at]) for at in range(first, stop)], missed

    def reaches(self, time_ms: int) -> bool:
        """Return whether an event from before this Unix time in milliseconds is kept in memory."""
        return bool(self._ring) and self._ring[0].time_ms < time_ms

    def since(self, time_ms: int) -> int:
        """Return the offset behind which events are from this Unix time in milliseconds or later.

        Where events that are gone may have been from then, it lies before them, so that the reader is told.
        """
        if self._gone and self._ring and self._ring[0].time_ms >= time_ms:
            return self.base
        low, high = 0, len(self._ring)
        while low < high:
            middle = (low + high) // 2
            if self._ring[middle].time_ms < time_ms:
                low = middle + 1
            else:
                high = middle
        return self.base + self._gone + low

    async def more(self, after: int, seconds: float) -> None:
        """Wait until there is something behind an offset, or the time is over."""
        if self.end > after:
            return
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            self._waiting.discard(event)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


def _weight(happening: Happening) -> int:
    """Return as how many nodes an event counts."""
    nodes = len(happening.nodes) or 1
    return nodes + len(happening.fields) // SAID if happening.fields else nodes


def _name(stream: object) -> str:
    """Return the name of the worker that a stream belongs to."""
    name = getattr(stream, "name", "")
    return name if isinstance(name, str) else ""
