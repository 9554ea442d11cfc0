"""What events told of tasks and workers last, kept in memory: ``app.events.State``. Pure.

It takes the dictionaries that ``Receiver`` gives to handlers and is bounded; it asks nobody.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

__all__ = ["State", "TaskSeen", "WorkerSeen"]

#: The state that a task is in after an event, and the field that takes its time.
_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "task-sent": ("PENDING", "sent"),
    "task-received": ("RECEIVED", "received"),
    "task-started": ("STARTED", "started"),
    "task-succeeded": ("SUCCESS", "succeeded"),
    "task-failed": ("FAILURE", "failed"),
    "task-retried": ("RETRY", "retried"),
    "task-revoked": ("REVOKED", "revoked"),
    "task-rejected": ("REJECTED", "rejected"),
    "task-ignored": ("IGNORED", "ignored"),
}
_ENDS: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"})
_HERE: Final = frozenset({"worker-online", "worker-back", "worker-heartbeat"})
_GONE: Final = frozenset({"worker-offline", "worker-broken"})


#: What an event may say of a worker itself.
_TOLD: Final = ("active", "processed", "loadavg", "freq", "pid", "sw_ident", "sw_ver", "sw_sys")

#: Heartbeats whose times are kept.
_HEARTBEATS: Final = 4


class WorkerSeen:
    """A worker as events told of it.

    Attributes:
        hostname: Its name.
        alive: True while it is connected.
        timestamp: Unix time in seconds of the last event of it.
        active: How many tasks it ran when that was last told; None: it was not.
        processed: How many tasks had ended there; None: it was not told.
        loadavg: Load averages of its machine over 1, 5 and 15 minutes; None: they were not told.
        freq: Seconds between two heartbeats; None: not known.
        heartbeats: Unix times in seconds of its last heartbeats, at most 4, the newest last.
        sw_ident, sw_ver, sw_sys: What it runs, its version, and its operating system; None: not known.
        pid: Its process id; None: not known.
        reason: Why it is gone; empty: it is there, or nothing was said.
    """

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname
        self.alive = False
        self.timestamp = 0.0
        self.active: int | None = None
        self.processed: int | None = None
        self.loadavg: list[float] | None = None
        self.freq: float | None = None
        self.heartbeats: list[float] = []
        self.sw_ident: str | None = None
        self.sw_ver: str | None = None
        self.sw_sys: str | None = None
        self.pid: int | None = None
        self.reason = ""

    @property
    def id(self) -> str:
        """Its name."""
        return self.hostname

    @property
    def status_string(self) -> str:
        """ONLINE or OFFLINE."""
        return "ONLINE" if self.alive else "OFFLINE"

    def event(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Note an event of it: its type, and its dictionary."""
        self.timestamp = fields.get("timestamp", self.timestamp)
        if type_ in _HERE or type_ in _GONE:
            self.alive = type_ in _HERE
            self.reason = fields.get("reason", "")
        if type_ == "worker-heartbeat":
            self.heartbeats = [*self.heartbeats, self.timestamp][-_HEARTBEATS:]
        for name in _TOLD:
            if name in fields:
                setattr(self, name, fields[name])

    def __repr__(self) -> str:
        return f"<worker {self.hostname} {self.status_string}>"


class TaskSeen:
    """A task as events told of it; what none told is None, or empty.

    Attributes:
        uuid: Its id.
        name: Name of the task.
        queue: Its queue.
        state: The state that the last event put it in.
        worker: The worker that has or had it.
        timestamp: Unix time in seconds of the last event of it.
        sent, received, started, succeeded, failed, retried, revoked, rejected, ignored: When that was.
        runtime: Seconds that it ran.
        exception: Class and message of its failure, or of why it was retried.
        retries: How often it was retried.
    """

    sent: float | None = None
    received: float | None = None
    started: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    ignored: float | None = None

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.name = ""
        self.queue = ""
        self.state = "PENDING"
        self.worker: WorkerSeen | None = None
        self.timestamp = 0.0
        self.runtime: float | None = None
        self.exception: str | None = None
        self.retries = 0

    @property
    def id(self) -> str:
        """Its id."""
        return self.uuid

    @property
    def ready(self) -> bool:
        """True once it has ended."""
        return self.state in _ENDS

    def event(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Note an event of it.

        Args:
            type_: The type of the event.
            fields: Its dictionary.
        """
        self.timestamp = fields.get("timestamp", self.timestamp)
        if type_ in _STATES:
            self.state, when = _STATES[type_]
            setattr(self, when, self.timestamp)
        elif type_ == "task-progress":
            self.state = fields.get("state") or self.state
        for name in ("name", "queue", "runtime", "exception", "retries"):
            if fields.get(name):  # empty: this event does not say
                setattr(self, name, fields[name])

    def info(self, fields: "list[str] | None" = None, extra: "list[str] | None" = None) -> dict[str, Any]:
        """Return what is known of it beside its id, name and state.

        Args:
            fields: Names of attributes; None: ``runtime``, ``exception``, ``retries``, ``queue``, ``worker``.
            extra: More names.
        """
        names = [
            *(("runtime", "exception", "retries", "queue", "worker") if fields is None else fields),
            *(extra or ()),
        ]
        found = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in found.items() if value not in (None, "")}

    def as_dict(self) -> dict[str, Any]:
        """Return all that is known of it."""
        return {**vars(self), "worker": self.worker.hostname if self.worker else None}

    def __repr__(self) -> str:
        return f"<task {self.name or '?'}({self.uuid}) {self.state}>"


class State:
    """The last tasks and workers that events told of; ``event`` is a handler for ``Receiver``.

    Args:
        callback: Called with the state and the event after each; None: nothing is.
        max_workers_in_memory: Most workers that are kept; those that were told of longest ago go first.
        max_tasks_in_memory: The same for tasks.

    Attributes:
        tasks: What is known of tasks by id, in the order of the last event of each.
        workers: What is known of workers by name.
        event_count: How many events it was told.
        task_count: How many of them were of tasks that it had not known.
    """

    def __init__(
        self,
        callback: "Callable[[State, dict[str, Any]], Any] | None" = None,
        max_workers_in_memory: int = 5_000,
        max_tasks_in_memory: int = 10_000,
    ) -> None:
        if max_workers_in_memory < 1 or max_tasks_in_memory < 1:
            raise ValueError("max_workers_in_memory and max_tasks_in_memory must be 1 or more")
        self.tasks: OrderedDict[str, TaskSeen] = OrderedDict()
        self.workers: OrderedDict[str, WorkerSeen] = OrderedDict()
        self.event_count = 0
        self.task_count = 0
        self._callback = callback
        self._most_workers = max_workers_in_memory
        self._most_tasks = max_tasks_in_memory
        self._lock = threading.RLock()

    def event(self, event: dict[str, Any]) -> "tuple[TaskSeen | WorkerSeen | None, bool]":
        """Note an event.

        Args:
            event: The dictionary that a handler gets.

        Returns:
            The task or the worker that it tells of, None where it tells of none; and whether it was not known before.
        """
        with self._lock:
            self.event_count += 1
            group = event["type"].partition("-")[0]
            found: tuple[TaskSeen | WorkerSeen | None, bool] = (None, False)
            if group == "task" and event.get("uuid"):
                found = self._of_task(event)
            elif group == "worker" and event.get("hostname"):
                found = self._of_worker(event["hostname"], event)
        if self._callback is not None:
            self._callback(self, event)
        return found

    def _of_task(self, event: dict[str, Any]) -> tuple[TaskSeen, bool]:
        task = self.tasks.get(event["uuid"])
        is_new = task is None
        if task is None:
            self.task_count += 1
            task = self.tasks[event["uuid"]] = TaskSeen(event["uuid"])
        self.tasks.move_to_end(task.uuid)
        task.event(event["type"], event)
        if event.get("hostname"):
            task.worker = self._of_worker(event["hostname"], {"timestamp": event.get("timestamp", 0.0)})[0]
        while len(self.tasks) > self._most_tasks:
            self.tasks.popitem(last=False)
        return task, is_new

    def _of_worker(self, hostname: str, event: Mapping[str, Any]) -> tuple[WorkerSeen, bool]:
        worker = self.workers.get(hostname)
        is_new = worker is None
        if worker is None:
            worker = self.workers[hostname] = WorkerSeen(hostname)
            worker.alive = True  # it is heard of; what follows says otherwise
        self.workers.move_to_end(hostname)
        worker.event(event.get("type", ""), event)
        while len(self.workers) > self._most_workers:
            self.workers.popitem(last=False)
        return worker, is_new

    # --- what is asked of it ------------------------------------------------------------------------------

    def tasks_by_timestamp(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, TaskSeen]]:
        """Yield ids and tasks, the one with the newest event first.

        Args:
            limit: Most tasks; None: all.
            reverse: False: the one with the oldest event first.
        """
        return self._chosen(lambda task: True, limit, reverse)

    def tasks_by_type(
        self, name: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, TaskSeen]]:
        """Yield the tasks of one name; the rest as in ``tasks_by_timestamp``."""
        return self._chosen(lambda task: task.name == name, limit, reverse)

    def tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, TaskSeen]]:
        """Yield the tasks that one worker has or had; the rest as in ``tasks_by_timestamp``."""
        return self._chosen(lambda task: task.worker is not None and task.worker.hostname == hostname, limit, reverse)

    def _chosen(
        self, wanted: Callable[[TaskSeen], bool], limit: int | None, reverse: bool
    ) -> Iterator[tuple[str, TaskSeen]]:
        with self._lock:
            known = list(reversed(self.tasks.items()) if reverse else self.tasks.items())
        found = [(uuid, task) for uuid, task in known if wanted(task)]
        return iter(found if limit is None else found[:limit])

    def task_types(self) -> list[str]:
        """Return the names of all tasks that are known, sorted."""
        with self._lock:
            return sorted({task.name for task in self.tasks.values() if task.name})

    def alive_workers(self) -> Iterator[WorkerSeen]:
        """Yield the workers that are connected."""
        with self._lock:
            return iter([worker for worker in self.workers.values() if worker.alive])

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget tasks.

        Args:
            ready: True: only those that have ended. False: all.
        """
        with self._lock:
            left = {} if not ready else {uuid: task for uuid, task in self.tasks.items() if not task.ready}
            self.tasks = OrderedDict(left)

    def clear(self, ready: bool = True) -> None:
        """Forget tasks, as ``clear_tasks``, and all workers, and count from 0 again."""
        with self._lock:
            self.clear_tasks(ready)
            self.workers.clear()
            self.event_count = self.task_count = 0

    def __repr__(self) -> str:
        return f"<State of {len(self.tasks)} tasks and {len(self.workers)} workers after {self.event_count} events>"
