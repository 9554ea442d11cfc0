"""Counts what a worker does, and tells how it stands. Where metrics are off none of this is made.

The supervisor knows nothing of it: one that is metered is looked at as attempts end, while it knows what each was.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

from grpcflow_protos.metrics.figures import Family, Figures, Histograms, Labels, Value
from grpcflow_protos.metrics.memory import anonymous_bytes
from grpcflow_worker.executor import Ended
from grpcflow_worker.metrics import families
from grpcflow_worker.session import Phase, Session
from grpcflow_worker.supervisor import Supervisor


class Meter:
    """What was counted.

    Attributes:
        tasks: names of tasks as they are shown.
        ended: attempts that ended, by task and outcome.
        run: seconds that tasks ran, by task.
    """

    def __init__(self) -> None:
        self.tasks = Labels()
        self.ended: Counter[tuple[str, ...]] = Counter()
        self.run = Histograms(families.RUNS)

    def ran(self, task: str, count: int, seconds: float) -> None:
        """Take in that so many runs of a task took so many seconds together."""
        self.run[self.tasks.of(task)].observe(seconds / count, count)

    def end(self, session: Session | None, token: int, outcome: str) -> None:
        """Take in that an attempt ended, where it is still the session's."""
        run = None if session is None else session.run_of(token)
        if run is not None:
            self.ended[self.tasks.of(run.call.task), outcome] += 1


class MeteredSupervisor(Supervisor):
    """A supervisor whose meter sees how attempts end. Takes the arguments of `Supervisor`."""

    def __init__(self, *arguments: Any, meter: Meter, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._meter = meter

    def values(self, tokens: Sequence[int], datas: Sequence[bytes]) -> None:
        """Attempts gave plain JSON values."""
        for token in tokens:
            self._meter.end(self.session, token, "success")
        super().values(tokens, datas)

    def ended(self, ends: Sequence[Ended]) -> None:
        """Attempts ended in other ways."""
        for end in ends:
            self._meter.end(self.session, end.token, _outcome(end))
        super().ended(ends)

    async def figures(self) -> Figures:
        """Return everything; to be run on the worker's event loop."""
        rows: dict[Family, dict[tuple[str, ...], Value]] = {family: {} for family in families.FAMILIES}
        meter, session = self._meter, self.session
        rows[families.TASKS].update(meter.ended)
        rows[families.RUN].update({(task,): histogram.copy() for task, histogram in meter.run.items()})
        rows[families.INFO][self._config.name, self._executor.kind] = 1
        version = "" if session is None else session.identity.version
        rows[families.BUILD][version, platform.python_version()] = 1
        children = [] if session is None else self._at_work(rows, session)
        rows[families.CONNECTED][()] = int(session is not None and session.phase is Phase.ONLINE)
        rows[families.MEMORY][("supervisor",)] = anonymous_bytes(os.getpid()) or 0
        rows[families.MEMORY][("children",)] = sum(anonymous_bytes(child) or 0 for child in children)
        return list(rows.items())

    def _at_work(self, rows: dict[Family, dict[tuple[str, ...], Value]], session: Session) -> list[int]:
        """Add what is known once it has started; returns the process ids of its children."""
        figures = self._executor.stats()
        children = [one["pid"] for one in figures.get("processes", ()) if one.get("pid")]
        found: dict[Family, float] = {
            families.DRAINING: int(session.draining),
            families.RECONNECTS: max(0, session.streams - 1),
            families.OUTBOX: session.unacknowledged,
            families.HELD: session.open,
            families.RUNNING: len(self._executor.running()),
            families.WAITING: figures.get("waiting", 0),
            families.SLOTS: self._executor.places(),
            families.CHILDREN: len(children),
            families.CHILDREN_ENDED: figures.get("processes-ended", 0),
        }
        for family, value in found.items():
            rows[family][()] = value
        return children


def _outcome(end: Ended) -> str:
    if end.kind == "value":
        return "success"
    return "requeued" if end.kind == "rejected" and end.requeue else end.kind
