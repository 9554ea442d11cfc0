"""Asks the coordinator and the workers what the screen shows, and joins it. Knows nothing of drawing.

A question blocks whoever asks it; `watch` does so in threads. What came over the wire is believed in nothing: an answer
of another shape is no answer, and every text is cleaned.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final, TypeVar

from grpcflow.cli.overview import STATES
from grpcflow.cli.printing import call_text
from grpcflow.cli.top.model import MOST, Failure, Line, Listing, Running, Summary, View, WorkerLine
from grpcflow.cli.top.queue_lines import queue_lines
from grpcflow.cli.top.rates import Rates
from grpcflow.cli.top.text import clean
from grpcflow.control import Connected
from grpcflow.inspection import Inspect

if TYPE_CHECKING:
    from grpcflow.failed_model import FailedCall
    from grpcflow.replies import Replies
    from grpcflow_protos.v1.control_service_pb2 import ListQueuesResponse, WorkerInfo

__all__ = ["Gatherer"]

_Line = TypeVar("_Line", bound=Line)

#: States of workers in the order in which they are shown: what needs somebody comes first.
_URGENT: Final = ("no reply", "broken", "draining", "unknown", "live")


class Gatherer:
    """What is known of the cluster, as of the last questions.

    `ask_coordinator` and `ask_workers` may run at once, in two threads; `view` in either.

    Args:
        app: Whose coordinator is asked.
        patience: Seconds that each worker has to answer.
        now: Unix time in seconds.
    """

    def __init__(self, app: Connected, patience: float = 1.0, now: Callable[[], float] = time.time) -> None:
        self._app = app
        self._patience = patience
        self._now = now
        self.rates = Rates(now)
        self._asked = False
        self._workers: list[WorkerInfo] = []
        self._queues: ListQueuesResponse | None = None
        self._failed: list[FailedCall] = []
        self._active: dict[str, list[Mapping[str, Any]]] = {}
        self._silent: frozenset[str] = frozenset()
        #: By name and process: when it started, in Unix time; None: it did not say.
        self._started: dict[tuple[str, int], float | None] = {}

    # --- questions ----------------------------------------------------------------------------------------

    def ask_coordinator(self) -> None:
        """Ask the coordinator for workers, queues and failures: three calls.

        Raises:
            GrpcflowError: It could not be reached, or refused.
        """
        connection = self._app.connection
        workers, queues = connection.list_workers(), connection.list_queues()
        failed = sorted(connection.list_failed({}, MOST), key=lambda call: call.failed_at, reverse=True)
        self._workers, self._queues, self._failed = sorted(workers, key=lambda one: one.name), queues, failed
        self._asked = True

    def ask_workers(self) -> None:
        """Ask the workers what they run: one call, and one more where a worker is new.

        Raises:
            GrpcflowError: The coordinator could not be reached, or refused.
        """
        active = Inspect(self._app, None, self._patience).active()
        self._active = {worker: list(_tasks(reply)) for worker, reply in active.items()}
        self._silent = frozenset(active.no_reply)
        known = {(one.name, one.process_id) for one in self._workers}
        self._started = {key: began for key, began in self._started.items() if key in known}
        fresh = {name for name, process in known if name in active and (name, process) not in self._started}
        if fresh:
            self._learn(Inspect(self._app, sorted(fresh), self._patience).stats())

    def _learn(self, stats: "Replies") -> None:
        """Note since when workers run; who does not say is not asked again."""
        for worker in self._workers:
            figures = stats.get(worker.name)
            uptime = figures.get("uptime") if isinstance(figures, Mapping) else None
            if worker.name in stats:
                began = self._now() - uptime if isinstance(uptime, (int, float)) else None
                self._started[worker.name, worker.process_id] = began

    # --- what is known ------------------------------------------------------------------------------------

    def view(self, wanted: str = "", fault: str = "") -> View:
        """Return all that is known.

        Args:
            wanted: Only lines in which this text stands, be it in small letters or capitals; empty: all.
            fault: Why it is not fresh; empty: it is.
        """
        queues = self._queues
        lines = [] if queues is None else queue_lines(queues, self._served(), self.rates.queues())
        workers = sorted(map(self._worker_line, self._workers), key=lambda line: (_URGENT.index(line.state), line.name))
        return View(
            workers=_chosen(workers, wanted),
            queues=_chosen(lines, wanted),
            running=self._running(wanted),
            failures=_chosen(map(_failure, self._failed), wanted, at_least=len(self._failed) >= MOST),
            summary=self._summary(workers),
            finished=self.rates.rate("finished"),
            failed=self.rates.rate("failed"),
            submitted=self.rates.rate("submitted"),
            fault=fault,
            asked=self._asked,
            missed=self.rates.missed,
        )

    def _served(self) -> set[str]:
        return {queue for worker in self._workers for queue in worker.queues}

    def _worker_line(self, worker: "WorkerInfo") -> WorkerLine:
        state = STATES.get(worker.state, "unknown")
        began = self._started.get((worker.name, worker.process_id))
        return WorkerLine(
            name=clean(worker.name),
            state="no reply" if state == "live" and worker.name in self._silent else state,
            executor=clean(worker.executor),
            concurrency=worker.concurrency,
            running=worker.running,
            held=worker.held,
            capacity=worker.capacity,
            uptime=None if began is None else max(0.0, self._now() - began),
            queues=tuple(clean(queue) for queue in sorted(worker.queues)),
            host=clean(worker.host),
            process_id=worker.process_id,
            load=tuple(worker.load.load_average),
            memory=worker.load.memory,
            processed=worker.load.processed,
            version=clean(worker.load.version),
            labels=tuple(clean(label) for label in worker.labels),
        )

    def _running(self, wanted: str) -> Listing[Running]:
        """Return the running tasks, the longest first; only those that are shown are put into words."""
        now = self._now()
        tasks = [(worker, task) for worker, found in self._active.items() for task in found]
        if wanted:
            lines = [_running_line(worker, task, now) for worker, task in tasks]
            return _chosen(sorted(lines, key=lambda line: -(line.seconds or 0.0)), wanted)
        first = nsmallest(MOST, tasks, key=lambda pair: _since(pair[1], now))
        return Listing(tuple(_running_line(worker, task, now) for worker, task in first), len(tasks) - len(first))

    def _summary(self, workers: list[WorkerLine]) -> Summary:
        states: dict[str, int] = {}
        for worker in workers:
            states[worker.state] = states.get(worker.state, 0) + 1
        return Summary(
            workers=states,
            running=sum(worker.running for worker in workers),
            places=sum(worker.concurrency for worker in workers),
            waiting=0 if self._queues is None else sum(lane.waiting for lane in self._queues.lanes),
            scheduled=0 if self._queues is None else self._queues.scheduled,
            failures=len(self._failed),
            more_failures=len(self._failed) >= MOST,
        )


def _tasks(reply: object) -> Iterable[Mapping[str, Any]]:
    """Return what of a reply are tasks."""
    for task in reply if isinstance(reply, list) else ():
        if isinstance(task, Mapping) and isinstance(task.get("id"), str) and isinstance(task.get("name"), str):
            yield task


def _since(task: Mapping[str, Any], now: float) -> float:
    """Return when a task began, in Unix time; of one that does not say: now."""
    started = task.get("time_start")
    return float(started) if isinstance(started, (int, float)) else now


def _running_line(worker: str, task: Mapping[str, Any], now: float) -> Running:
    delivery = task.get("delivery_info")
    queue = delivery.get("routing_key", "") if isinstance(delivery, Mapping) else ""
    process = task.get("worker_pid")
    known = isinstance(task.get("time_start"), (int, float))
    return Running(
        id=clean(task["id"]),
        call=clean(_call(task)),
        worker=clean(worker),
        seconds=max(0.0, now - _since(task, now)) if known else None,
        queue=clean(queue),
        process_id=process if isinstance(process, int) else 0,
    )


def _call(task: Mapping[str, Any]) -> str:
    """Return name and arguments; arguments of an odd shape are shown as they are."""
    args, kwargs = task.get("args"), task.get("kwargs")
    usual = isinstance(args, (list, tuple, str, type(None))) and isinstance(kwargs, (Mapping, str, type(None)))
    return call_text(task) if usual else f"{task['name']}({args}, {kwargs})"


def _failure(call: "FailedCall") -> Failure:
    error = f"{call.type}: {call.message}" if call.message else call.type or call.reason
    return Failure(
        id=clean(call.id),
        task=clean(call.task),
        error=clean(error),
        when=call.failed_at,
        worker=clean(call.worker),
        queue=clean(call.queue),
        retries=call.retries,
    )


def _chosen(lines: Iterable[_Line], wanted: str, *, at_least: bool = False) -> Listing[_Line]:
    """Return the first of those lines in which a text stands."""
    folded = wanted.casefold()
    found = [line for line in lines if not folded or folded in _words(line).casefold()]
    return Listing(tuple(found[:MOST]), max(0, len(found) - MOST), at_least)


def _words(line: Line) -> str:
    """Return the texts of a line that a filter looks at."""
    match line:
        case WorkerLine():
            return " ".join((line.name, line.state, line.executor, line.host, *line.queues))
        case Running():
            return f"{line.call} {line.worker} {line.id} {line.queue}"
        case Failure():
            return f"{line.task} {line.error} {line.worker} {line.id} {line.queue}"
        case _:
            return f"{line.queue} {line.task} {line.why}"
