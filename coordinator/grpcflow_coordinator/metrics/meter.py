"""Counts what must be counted while it happens, of one namespace. Where metrics are off none of this is made.

The core knows nothing of it: a machine that is metered is a machine whose events are looked at before each step and
whose effects after it, and a store that is metered has its commits timed. Both look at what is there anyway, at
messages and runs rather than at single tasks where that can be.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from typing import Final

from grpcflow_coordinator.core.cluster import Cluster, Limits
from grpcflow_coordinator.core.effects import Assign, Effects
from grpcflow_coordinator.core.events import Ended, Event, Progressed, Raised, Report, Retried, Value, WorkerSpoke
from grpcflow_coordinator.core.loaded import Loaded
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Attempt, NodeState, Now, Template
from grpcflow_coordinator.core.story import Story
from grpcflow_coordinator.core.turns import DIRECT
from grpcflow_coordinator.metrics import families
from grpcflow_coordinator.storage.contract import Batch, Store
from grpcflow_protos.metrics.figures import Histogram, Histograms, Labels

#: Moments of a line's history that are kept; then every other one is dropped.
MOMENTS: Final = 8192

#: What the reports of workers are called; how others end is said in them.
_OUTCOMES: Final[dict[type[Report], str]] = {Value: "success", Raised: "failure", Retried: "retry"}

#: How an attempt can end without having run.
_NEVER_RAN: Final = frozenset({"returned", "revoked"})


class History:
    """Which sequence of the queues was given out when; the older, the less exactly.

    Entries of queues are numbered as they come and bear no time. When one came is found here without anything having
    been written for it.
    """

    __slots__ = ("_sequences", "_times", "first")

    def __init__(self, first: int) -> None:
        #: The first sequence of which anything is known.
        self.first = first
        self._sequences: list[int] = []
        self._times: list[int] = []

    def note(self, next_sequence: int, wall_ms: int) -> None:
        """Note that all sequences below `next_sequence` were given out by now."""
        sequences, times = self._sequences, self._times
        if sequences and (sequences[-1] == next_sequence or times[-1] == wall_ms):
            sequences[-1] = next_sequence
            return
        sequences.append(next_sequence)
        times.append(wall_ms)
        if len(sequences) > MOMENTS:
            del sequences[:-1:2]
            del times[:-1:2]

    def when(self, sequence: int) -> int | None:
        """Return the Unix time in milliseconds at which a sequence was given out; None: before this began."""
        if sequence < self.first or not self._sequences:
            return None
        return self._times[min(bisect_right(self._sequences, sequence), len(self._times) - 1)]


class CountingStory(Story):
    """The story of the core, which counts what is told by the word for it."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def tell(self, wall_ms: int, what: str, graph: bytes, first: int, count: int = 1, detail: str = "") -> None:
        """Remember that something happened, and count it."""
        self.counts[what] += count
        super().tell(wall_ms, what, graph, first, count, detail)


class QueueLabels(Labels):
    """Names of queues as they are shown; those of single workers are one, and so are the shares of a broadcast."""

    __slots__ = ()

    def of(self, name: str) -> str:
        """Return how a name is shown."""
        if name.endswith(DIRECT):
            return super().of(f"*{DIRECT}")
        broadcast, at, _ = name.partition("@")
        return super().of(f"{broadcast}@*" if at else name)


class Meter:
    """What was counted in one namespace.

    Attributes:
        tasks, queues: names as they are shown.
        story: what the core tells, counted.
        history: when what waits came.
        settled: nodes that ended, by state.
        started: attempts that were handed out, by task.
        ended: attempts whose worker said how they ended, by task and outcome.
        given_up: attempts whose loss ended their node.
        run, wait: seconds from hand-out to report by task, and from the queue to the hand-out by queue.
        commits, writes: seconds and writes of each commit.
    """

    def __init__(self) -> None:
        self.tasks, self.queues = Labels(), QueueLabels()
        self.story = CountingStory()
        self.history = History(0)
        self.settled: Counter[NodeState] = Counter()
        self.started: Counter[str] = Counter()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.given_up = 0
        self.run, self.wait = Histograms(families.WAITS), Histograms(families.WAITS)
        self.commits, self.writes = Histogram(families.COMMITS), Histogram(families.WRITES)

    def hear(self, event: WorkerSpoke, cluster: Cluster, now: Now) -> None:
        """Look at what a worker is about to report, while its attempts are still known."""
        session = cluster.sessions.get(cluster.by_stream.get(id(event.stream), b""))
        if session is None:
            return
        mine, attempts = session.attempts, cluster.attempts
        template: Template | None = None
        handed_ms = count = 0
        for token in event.tokens:
            if token not in mine:
                continue
            attempt = attempts[token]
            if attempt.template is not template or attempt.handed_ms != handed_ms:
                if template is not None:
                    self._end(template.task, "success", handed_ms, now, count)
                template, handed_ms, count = attempt.template, attempt.handed_ms, 0
            count += 1
        if template is not None:
            self._end(template.task, "success", handed_ms, now, count)
        for report in event.reports:
            if report.token in mine:
                self._report(attempts[report.token], report, now)

    def _report(self, attempt: Attempt, report: Report, now: Now) -> None:
        if isinstance(report, Progressed) or (isinstance(report, Ended) and report.how in ("started", "lost")):
            return  # what was lost is counted with those whose worker is gone
        outcome = report.how if isinstance(report, Ended) else _OUTCOMES[type(report)]
        self._end(attempt.template.task, outcome, attempt.handed_ms, now, 1)

    def _end(self, task: str, outcome: str, handed_ms: int, now: Now, count: int) -> None:
        label = self.tasks.of(task)
        self.ended[label, outcome] += count
        if handed_ms and outcome not in _NEVER_RAN:
            self.run[label].observe(max(0, now.wall_ms - handed_ms) / 1000, count)

    def take(self, effects: Effects, cluster: Cluster, now: Now) -> None:
        """Look at what a step did."""
        self.history.note(cluster.lines.next_sequence, now.wall_ms)
        for send in effects.sends:
            if type(send) is Assign:
                self._assigned(send, cluster, now)
        if effects.values:
            self.settled[NodeState.SUCCESS] += len(effects.values)
        for _, _, _, outcome in effects.settled:
            self.settled[outcome.state] += 1
            if outcome.token and outcome.failure is not None and outcome.failure.reason == "WORKER_LOST":
                self.given_up += 1

    def _assigned(self, send: Assign, cluster: Cluster, now: Now) -> None:
        self.started[self.tasks.of(send.template.task)] += send.count
        attempt = cluster.attempts.get(send.token)
        if send.losses or attempt is None or attempt.entry is None:
            return  # it ran already: when it came says nothing
        came_ms = self.history.when(attempt.entry.sequence + send.first - attempt.entry.first)
        if came_ms is None:
            graph = cluster.graphs.get(send.graph)
            came_ms = None if graph is None else graph.created_ms
        if came_ms is not None:
            wait = self.wait[self.queues.of(send.template.queue)]
            wait.observe(max(0, now.wall_ms - came_ms) / 1000, send.count)


class MeteredMachine(Machine):
    """A machine that a meter looks at.

    Args:
        limits: numbers that rule the core.
        meter: what counts.
    """

    def __init__(self, limits: Limits, meter: Meter) -> None:
        super().__init__(limits)
        self._meter = meter
        self.cluster.story = meter.story

    def start(self, loaded: Loaded, now: Now) -> Effects:
        """Begin a new epoch; what waits from before bears no time."""
        effects = super().start(loaded, now)
        self._meter.history.first = self.cluster.lines.next_sequence
        return effects

    def step(self, event: Event, loaded: Loaded, now: Now) -> Effects:
        """Take one event."""
        if type(event) is WorkerSpoke:
            self._meter.hear(event, self.cluster, now)
        effects = super().step(event, loaded, now)
        self._meter.take(effects, self.cluster, now)
        return effects


class MeteredStore:
    """A store whose commits are timed; all else goes straight to it.

    Args:
        store: the store.
        meter: what counts.
    """

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store, self._meter = store, meter
        # Not methods of this class: reading is done for every task.
        self.get = store.get
        self.scan = store.scan
        self.keys = store.keys
        self.tidy = store.tidy
        self.free_bytes = store.free_bytes
        self.size_bytes = store.size_bytes
        self.close = store.close

    def commit(self, batch: Batch) -> None:
        """Write the whole batch, durably."""
        began = time.perf_counter()
        self._store.commit(batch)
        self._meter.commits.observe(time.perf_counter() - began)
        self._meter.writes.observe(len(batch.puts) + len(batch.deletes))
