"""Reads figures where they stand: in the core's memory, the records, the store, the streams. Changes nothing.

It runs on the event loop, where nothing changes while it looks, and lets others have their turn between its looks; so a
cluster of thousands of queues and workers is told of without anybody having waited for it.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from grpcflow_coordinator.core.cluster import Cluster
from grpcflow_coordinator.core.lines import Line
from grpcflow_coordinator.core.ordering import NO_LIMIT
from grpcflow_coordinator.core.states import TERMINAL
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.metrics import families
from grpcflow_coordinator.metrics.meter import Meter
from grpcflow_coordinator.metrics.readers import Readers
from grpcflow_coordinator.realm import Realm, version
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_protos.metrics.figures import Family, Figures, Histogram, Value
from grpcflow_protos.metrics.gathering import Breath
from grpcflow_protos.metrics.memory import anonymous_bytes

#: Lines of one queue that are looked at for its oldest task on the disk, one for each task, priority and key.
LINES_LOOKED_AT: Final = 100

_Rows = dict[tuple[str, ...], Value]


class Reading:
    """What one scrape tells.

    Args:
        realms: what may be told of, by the names of their namespaces as they are shown.
        readers: what is remembered of readers of the stores, by the same names.
    """

    def __init__(self, realms: Mapping[str, Realm], readers: dict[str, Readers]) -> None:
        self._realms, self._readers = realms, readers
        self._rows: dict[Family, _Rows] = {family: {} for family in families.FAMILIES}
        self._breath = Breath()

    async def figures(self) -> Figures:
        """Return everything."""
        began = time.perf_counter()
        for namespace, realm in self._realms.items():
            if realm.meter is not None:
                await self._realm(namespace, realm, realm.meter)
        put = self._put
        memory = anonymous_bytes(os.getpid())
        if memory is not None:
            put(families.MEMORY, memory)
        put(families.BUILD, 1, version(), platform.python_version())
        put(families.SCRAPE, time.perf_counter() - began)
        return list(self._rows.items())

    def _put(self, family: Family, value: Value, *labels: str) -> None:
        self._rows[family][labels] = value

    async def _realm(self, namespace: str, realm: Realm, meter: Meter) -> None:
        self._counted(namespace, meter)
        self._streams(namespace, realm)
        self._store(namespace, realm)
        await self._breath.take()
        await self._queues(namespace, realm.engine, meter)

    # --- what was counted --------------------------------------------------------------------------------------

    def _counted(self, namespace: str, meter: Meter) -> None:
        put, told = self._put, meter.story.counts
        put(families.SUBMITTED, told["submitted"], namespace)
        put(families.LOST, told["lost"] + meter.given_up, namespace)
        for state in TERMINAL:
            put(families.SETTLED, meter.settled[state], namespace, state.name.lower())
        for task, count in meter.started.items():
            put(families.STARTED, count, namespace, task)
        for (task, outcome), count in meter.ended.items():
            put(families.ENDED, count, namespace, task, outcome)
        put(families.COMMIT, meter.commits.copy(), namespace)
        put(families.COMMIT_WRITES, meter.writes.copy(), namespace)
        self._histograms(families.RUN, namespace, meter.run)
        self._histograms(families.QUEUE_WAIT, namespace, meter.wait)

    def _histograms(self, family: Family, namespace: str, by_label: Mapping[str, Histogram]) -> None:
        for label, histogram in by_label.items():
            self._put(family, histogram.copy(), namespace, label)

    # --- streams and store -------------------------------------------------------------------------------------

    def _streams(self, namespace: str, realm: Realm) -> None:
        put, engine = self._put, realm.engine
        sessions = engine.machine.cluster.sessions.values()
        states = Counter(
            "broken" if session.stream is None else "draining" if session.draining else "live" for session in sessions
        )
        for state in ("live", "draining", "broken"):
            put(families.WORKERS, states[state], namespace, state)
        put(families.CAPACITY, sum(session.capacity for session in sessions if session.stream), namespace)
        put(families.CREDIT, sum(max(0, session.free) for session in sessions), namespace)
        put(families.IN_FLIGHT, len(engine.machine.cluster.attempts), namespace)
        put(families.CLIENTS, realm.clients.connected, namespace)
        put(families.INBOX, engine.posted - engine.stepped, namespace)

    def _store(self, namespace: str, realm: Realm) -> None:
        put, store = self._put, realm.store
        put(families.FULL, int(realm.engine.full), namespace)
        put(families.FREE, store.free_bytes(), namespace)
        put(families.SIZE, store.size_bytes(), namespace)
        if not isinstance(store, LmdbStore):
            return
        usage = store.usage()
        put(families.MAP, usage.map_bytes, namespace)
        put(families.READERS, len(usage.readers), namespace)
        age, lag = self._readers.setdefault(namespace, Readers()).look(usage, realm.engine.now().monotonic)
        put(families.READER_AGE, age, namespace)
        put(families.READER_LAG, lag, namespace)

    # --- queues ------------------------------------------------------------------------------------------------

    async def _queues(self, namespace: str, engine: Engine, meter: Meter) -> None:
        cluster = engine.machine.cluster
        named, serving = await self._serving(cluster)
        lines: dict[str, list[Line]] = {}
        for line in list(cluster.lines.by_key.values()):
            lines.setdefault(line.key.queue, []).append(line)
            await self._breath.take()
        now_ms = engine.now().wall_ms
        for queue in dict.fromkeys((*lines, *named, *cluster.paused)):
            label = meter.queues.of(queue)
            waiting = [line for line in lines.get(queue, ()) if line.queued > 0]
            came_ms = self._oldest(waiting, engine, meter)
            self._most(families.QUEUE_AGE, 0 if came_ms is None else max(0, now_ms - came_ms) / 1000, namespace, label)
            self._more(families.QUEUE_DEPTH, sum(line.queued for line in waiting), namespace, label)
            self._most(families.QUEUE_WORKERS, serving[queue], namespace, label)
            self._most(families.QUEUE_PAUSED, int(queue in cluster.paused), namespace, label)
            await self._breath.take()

    async def _serving(self, cluster: Cluster) -> tuple[set[str], Counter[str]]:
        """Return the queues that workers were told to serve, and how many serve each, their own ones among them."""
        named: set[str] = set()
        serving: Counter[str] = Counter()
        for session in list(cluster.sessions.values()):
            if session.stream is not None and not session.draining:
                named.update(session.queues)
                serving.update(set(session.ring))
                await self._breath.take()
        return named, serving

    def _more(self, family: Family, value: float, *labels: str) -> None:
        """Add to a row, which several queues share where these are too many."""
        rows = self._rows[family]
        rows[labels] = value + _number(rows.get(labels, 0))

    def _most(self, family: Family, value: float, *labels: str) -> None:
        """Let a row have the largest value of the queues that share it."""
        rows = self._rows[family]
        rows[labels] = max(value, _number(rows.get(labels, 0)))

    def _oldest(self, lines: Iterable[Line], engine: Engine, meter: Meter) -> int | None:
        """Return when the first of what waits came, as Unix time in milliseconds; None: not known, or nothing waits."""
        found: list[int] = []
        unknown: list[Line] = []
        for line in lines:
            head = line.head()
            came_ms = None if head == NO_LIMIT else meter.history.when(head)
            if came_ms is None:
                unknown.append(line)
            else:
                found.append(came_ms)
        for line in unknown[:LINES_LOOKED_AT]:
            found += _submitted(line, engine)
        return min(found, default=None)


def _submitted(line: Line, engine: Engine) -> list[int]:
    """Return when the graph of the first task of a line was made, where that is known."""
    records = engine.committed
    heads = list(line.window)[:1] or records.entries(line.key, line.loaded_to, NO_LIMIT, 1)
    if line.back:
        heads.append(line.back[0][2])
    graphs = (records.graph(head.graph) for head in heads)
    return [graph.created_ms for graph in graphs if graph is not None]


def _number(value: Value) -> float:
    assert not isinstance(value, Histogram)
    return value
