"""What workers could be given: nodes that wait in queues or for their time, as a worker would describe them.

Reads the records in small pieces and lets others go on between them; decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from heapq import nsmallest
from itertools import chain
from typing import Any, Final, NamedTuple

from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.core.loaded import Timer
from grpcflow_coordinator.core.model import Graph, Run, Template, TimerKind, split_node, text_id
from grpcflow_coordinator.core.ordering import NO_LIMIT
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.core.timers import is_of
from grpcflow_coordinator.engine import Engine
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2

#: Records, or lines in memory, that are looked at before others have their turn.
PIECE: Final = 200

#: Timers that one question looks at in all: far behind the next ones nobody looks for those of a rare queue.
TIMERS_LOOKED_AT: Final = 5_000

#: Largest payload in bytes that is shown; of a larger one only the size is.
SHOWN_PAYLOAD: Final = 4_096


class Place(NamedTuple):
    """A node and where it stands among others: the lowest rank goes first."""

    rank: tuple[int, int]
    graph: bytes
    node: int


#: By queue and task name the nodes that go first, in order.
Places = dict[tuple[str, str], list[Place]]


class Upcoming:
    """Looks for one question.

    Args:
        engine: where the nodes are.
        limit: how many of them are told for each worker.
    """

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._records = engine.committed
        self._cluster: Cluster = engine.machine.cluster
        self._limit = limit
        self._looked = 0
        #: What was written already, for many workers could be given the same.
        self._written: dict[tuple[bytes, int], bytes] = {}
        self._runs: dict[bytes, tuple[int, list[bytes]]] = {}

    async def queued(self, sessions: Sequence[Session]) -> dict[bytes, list[bytes]]:
        """Return for each session the nodes of its queues that it could be given next, each as JSON."""
        found = await self._in_lines({queue for session in sessions for queue in session.ring})
        told: dict[bytes, list[bytes]] = {}
        for session in sessions:
            items = [await self._item(place) for place in self._of(session, found)]
            told[session.id] = [item for item in items if item]
        return told

    async def scheduled(self, sessions: Sequence[Session]) -> dict[bytes, list[bytes]]:
        """Return for each session the nodes that wait for their time and that it could be given then, as JSON."""
        found = await self._due(sessions)
        told: dict[bytes, list[bytes]] = {}
        for session in sessions:
            items: list[bytes] = []
            for place in self._of(session, found):
                if item := await self._item(place):
                    when = datetime.fromtimestamp(place.rank[0] / 1000, UTC).isoformat()
                    priority = b"%d" % json.loads(item)["delivery_info"]["priority"]
                    items.append(b'{"eta": "%s", "priority": %s, "request": %s}' % (when.encode(), priority, item))
            told[session.id] = items
        return told

    def _of(self, session: Session, found: Places) -> list[Place]:
        """Return the first of the places that a session could be given."""
        queues, tasks = set(session.ring), session.facts.tasks
        mine = [places for (queue, task), places in found.items() if queue in queues and task in tasks]
        return nsmallest(self._limit, chain.from_iterable(mine))

    async def _pause(self) -> None:
        """Let others go on after each piece."""
        self._looked += 1
        if self._looked % PIECE == 0:
            await asyncio.sleep(0)

    # What stands in queues

    async def _in_lines(self, queues: set[str]) -> Places:
        """Return the first nodes of each lane of these queues."""
        first: dict[tuple[str, str], list[tuple[int, int, Line]]] = {}
        for line in list(self._cluster.lines.by_key.values()):
            await self._pause()
            if line.queued > 0 and line.key.queue in queues:
                lines = first.setdefault(line.key[:2], [])
                lines.append((-line.key.priority, min(line.low(), NO_LIMIT), line))
                if len(lines) > 2 * self._limit:
                    lines[:] = nsmallest(self._limit, lines, key=lambda one: one[:2])
        found: Places = {}
        for lane, lines in first.items():
            places = found[lane] = []
            for _, _, line in nsmallest(self._limit, lines, key=lambda one: one[:2]):
                places += await self._head(line)
            places[:] = nsmallest(self._limit, places)
        return found

    async def _head(self, line: Line) -> list[Place]:
        """Return the first nodes of a line: what came back, what is in memory, what is on the disk."""
        before = -line.key.priority
        places = [
            Place((before, sequence), entry.graph, entry.first + offset)
            for sequence, offset, entry in line.back[: self._limit]
        ]
        entries = list(line.window)
        if line.more and sum(entry.count - entry.taken for entry in entries) < self._limit:
            entries += self._engine.records.entries(line.key, line.loaded_to, NO_LIMIT, self._limit)
        for entry in entries:
            await self._pause()
            for offset in range(entry.taken, min(entry.count, entry.taken + self._limit)):
                if entry.gone is None or offset not in entry.gone:
                    places.append(Place((before, entry.sequence + offset), entry.graph, entry.first + offset))
            if len(places) >= 2 * self._limit:
                break
        return places

    # What waits for its time

    async def _due(self, sessions: Sequence[Session]) -> Places:
        """Return the nodes that are due next, of each queue and task that somebody serves."""
        found: Places = {}
        after: tuple[int, int, bytes] | None = None
        for _ in range(TIMERS_LOOKED_AT // PIECE):
            page = self._records.timers_behind(after, PIECE)
            for timer in page:
                if timer.kind == TimerKind.READY:
                    self._add_due(found, timer)
            if len(page) < PIECE or self._enough(found, sessions):
                break
            after = page[-1].due_ms, page[-1].kind, page[-1].node
            await asyncio.sleep(0)
        return found

    def _add_due(self, found: Places, timer: Timer) -> None:
        graph_id, index = split_node(timer.node)
        graph, run = self._records.graph(graph_id), self._records.run_of(graph_id, index)
        if graph is None or run is None or run.is_join or not is_of(timer, graph):
            return
        template = graph.templates[run.template]
        places = found.setdefault((template.queue, template.task), [])
        room = min(timer.count, self._limit - len(places))
        places += [Place((timer.due_ms, index + offset), graph_id, index + offset) for offset in range(max(room, 0))]

    def _enough(self, found: Places, sessions: Sequence[Session]) -> bool:
        """Return whether there is as much for every session as it is told."""
        return all(len(self._of(session, found)) >= self._limit for session in sessions)

    # How a node looks

    async def _item(self, place: Place) -> bytes:
        """Return a node as a worker describes one that it holds; empty where it settled meanwhile."""
        key = place.graph, place.node
        item = self._written.get(key)
        if item is None:
            await self._pause()
            item = self._written[key] = self._write(*key)
        return item

    def _write(self, graph_id: bytes, index: int) -> bytes:
        graph, run = self._records.graph(graph_id), self._records.run_of(graph_id, index)
        if graph is None or run is None or self._records.outcome(graph_id, index) is not None:
            return b""
        return json.dumps(self._described(graph, run, index)).encode()

    def _described(self, graph: Graph, run: Run, index: int) -> dict[str, Any]:
        template = graph.templates[run.template]
        args, kwargs = self._arguments(graph, run, template, index)
        progress = self._records.progress(graph.id, index)
        return {
            "id": text_id(graph.id, index, run.own_id),
            "name": template.task,
            "args": args,
            "kwargs": kwargs,
            "type": template.task,
            "hostname": None,
            "time_start": None,
            "acknowledged": False,
            "delivery_info": {
                "exchange": "",
                "routing_key": template.queue,
                "priority": template.priority,
                "redelivered": progress is not None and progress.losses > 0,
            },
            "worker_pid": None,
            "group": str(uuid.UUID(bytes=run.group)) if run.group else None,
        }

    def _arguments(self, graph: Graph, run: Run, template: Template, index: int) -> tuple[Any, Any]:
        """Return the arguments as they were sent, where they are small and JSON; else how large they are."""
        call = graph_pb2.Template.FromString(template.wire)
        if call.sensitive:
            return limits.HIDDEN, limits.HIDDEN
        payload = self._payload(graph, run, index)
        if payload is None:
            return "(not kept)", ""
        kind = call.content_type
        if len(payload) > SHOWN_PAYLOAD or kind not in {"", "application/json"}:
            return f"({len(payload)} bytes)", ""
        try:
            args, kwargs = json.loads(payload)
        except (ValueError, TypeError, RecursionError):
            return f"({len(payload)} bytes, not shown)", ""
        return args, kwargs

    def _payload(self, graph: Graph, run: Run, index: int) -> bytes | None:
        """Return the payload of a node; that of its neighbours is kept, for these come next as a rule."""
        kept = self._runs.get(graph.id)
        if kept is None or kept[0] != run.first:
            self._runs = {graph.id: (run.first, self._records.payloads(graph.id, run))}
            kept = self._runs[graph.id]
        at = index - run.first
        return kept[1][at] if at < len(kept[1]) else None


def merged(reply: bytes, items: Iterable[bytes], room: int) -> bytes:
    """Return a JSON list with further items behind its own, as far as there is room; what is no list is left alone.

    Args:
        reply: the list, as JSON.
        items: each as JSON.
        room: bytes that the whole may have.
    """
    reply = reply.strip()
    if not (reply.startswith(b"[") and reply.endswith(b"]")):
        return reply
    inner = reply[1:-1].strip()
    parts, size = ([inner] if inner else []), len(reply)
    for item in items:
        size += len(item) + 2
        if size > room:
            break
        parts.append(item)
    return b"[" + b", ".join(parts) + b"]"
