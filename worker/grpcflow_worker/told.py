"""Questions about the worker itself: what it is, serves, was told and used; and answers to what needs no doing.

Each takes its arguments as one JSON object and answers at once. This file may NOT change anything.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from grpcflow_worker.app_commands import BadCommand
from grpcflow_worker.executor import Executor, Registered
from grpcflow_worker.session import Session

#: Attributes of tasks that ``registered`` tells where it is not said which.
_DEFAULT_ATTRIBUTES: Final = ("rate_limit",)

#: What executors say of an app beside its settings.
_NO_SETTINGS: Final = frozenset(
    ["addresses", "queues", "facts", "commands", "described", "was_set", "schedules_to_put"]
)

#: Names of settings whose values are nobody's business, and what is shown for them.
_SECRET: Final = re.compile(r"PASS|SECRET|TOKEN|API_?KEY|CREDENTIAL|SIGNATURE", re.IGNORECASE)
_MASK: Final = "********"

#: User and password in an address.
_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")

_EVENTS: Final = {"ok": "events are always there and need no switch: read them with app.events or grpcflow events"}


class Told:
    """The questions.

    Args:
        session: how the worker stands with the coordinator.
        executor: what runs the tasks.
        registered: what the app said at start.
        now: Unix time in seconds.
        started_at: Unix time in seconds at which the worker started.
    """

    def __init__(
        self,
        session: Session,
        executor: Executor,
        registered: Registered,
        now: Callable[[], float],
        started_at: float,
    ) -> None:
        """Take what they speak of."""
        self._session, self._executor, self._registered = session, executor, registered
        self._now, self._started_at = now, started_at

    def handlers(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """Return what answers each question, by its name."""
        return {
            "active_queues": self._active_queues,
            "clock": self._clock,
            "conf": self._conf,
            "disable_events": lambda _: _EVENTS,
            "enable_events": lambda _: _EVENTS,
            "memsample": self._memsample,
            "ping": lambda _: {"ok": "pong"},
            "registered": self._registered_tasks,
            "report": self._report,
            # Revokes, and what waits for its time, are kept by the coordinator, which answers for it.
            "revoked": lambda _: [],
            "scheduled": lambda _: [],
            "stats": self._stats,
        }

    def _clock(self, _: Mapping[str, Any]) -> Any:
        return {"clock": self._session.said}

    def _memsample(self, _: Mapping[str, Any]) -> Any:
        return _megabytes()

    def _report(self, _: Mapping[str, Any]) -> Any:
        mine = self._session.identity
        lines = (
            f"grpcflow {mine.version or '(version unknown)'}",
            f"Python {platform.python_version()} on {platform.platform()}",
            f"worker {mine.name} on {mine.host}, process {mine.process_id}",
            f"executor {mine.executor}, {mine.concurrency} at once, {len(mine.tasks)} tasks",
        )
        return {"ok": "\n".join(lines)}

    def _registered_tasks(self, arguments: Mapping[str, Any]) -> Any:
        wanted = arguments.get("attrs") or list(_DEFAULT_ATTRIBUTES)
        if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
            raise BadCommand('registered takes {"attrs": [NAME, ...]}')
        described = self._registered.conf.get("described", {})
        names = []
        for task in sorted(self._registered.tasks):
            about = described.get(task, {})
            told = " ".join(f"{each}={about[each]}" for each in wanted if each in about)
            names.append(f"{task} [{told}]" if told else task)
        return names

    def _conf(self, arguments: Mapping[str, Any]) -> Any:
        conf = self._registered.conf
        was_set = conf.get("was_set", conf)
        return {
            name: censored(name, value)
            for name, value in conf.items()
            if name not in _NO_SETTINGS and (arguments.get("with_defaults") or name in was_set)
        }

    def _active_queues(self, _: Mapping[str, Any]) -> Any:
        return [{"name": name, "weight": weight} for name, weight in self._session.weights.items()]

    def _stats(self, _: Mapping[str, Any]) -> Any:
        session = self._session
        figures = self._executor.stats()
        tasks = figures.get("tasks", {})
        processes = [each.get("pid") for each in figures.get("processes", ())]
        conf = self._registered.conf
        return {
            "broker": {"transport": "grpc", "hostname": (conf.get("addresses") or [None])[0]},
            "clock": session.said,
            "pid": os.getpid(),
            "uptime": round(self._now() - self._started_at),
            "pool": {
                "implementation": self._executor.kind,
                "max-concurrency": session.identity.concurrency,
                "processes": processes or [os.getpid()],
                "timeouts": [conf.get("task_soft_time_limit") or 0, conf.get("task_time_limit") or 0],
                **{name: figures[name] for name in ("max-tasks-per-child",) if name in figures},
            },
            **({"autoscaler": figures["autoscale"]} if figures.get("autoscale") else {}),
            "prefetch_count": session.capacity.announced,
            "total": {name: each.get("done", 0) for name, each in tasks.items()},
            "executor": figures,
            "rusage": _rusage(),
            "capacity": session.capacity.announced,
            "held": session.open,
            "labels": list(session.identity.labels),
            "session": {
                "draining": session.draining,
                "unacknowledged": session.unacknowledged,
                "queues": list(session.queues),
            },
        }


def censored(name: str, value: Any) -> Any:
    """Return the value of a setting as it may be shown: nothing of what is secret by its name, or in an address."""
    if isinstance(value, Mapping):
        return {key: censored(str(key), item) for key, item in value.items()}
    if _SECRET.search(name):
        return _MASK
    if isinstance(value, list):
        return [censored("", item) for item in value]
    return _LOGIN.sub(_MASK, value) if isinstance(value, str) else value


def _megabytes() -> str:
    """Return the memory that this process takes, for people."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:  # no /proc: the most that it ever took
        return f"{_rusage().get('maxrss', 0) / 1024:.1f}MB"
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / (1 << 20):.1f}MB"


def _rusage() -> dict[str, Any]:
    """What this process and its ended children used, under the names of ``resource``; empty on Windows."""
    try:
        import resource
    except ImportError:
        return {}
    fields: Sequence[str] = ("utime", "stime", "maxrss", "minflt", "majflt", "inblock", "oublock", "nvcsw", "nivcsw")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {name: getattr(usage, f"ru_{name}") for name in fields}
