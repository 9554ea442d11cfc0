"""Pages that ask when they are looked at: schedules, tasks, settings; each as plain data for JSON. Knows no HTTP."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from grpcflow.cli.printing import duration
from grpcflow.cli.schedule_screen import as_json
from grpcflow.dashboard.failures import failures
from grpcflow.dashboard.pages import plain
from grpcflow.inspection import Inspect
from grpcflow.schedule_control import ScheduleControl

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link
    from grpcflow.limit_model import LimitInfo, Retention

__all__ = ["LOOKS"]

#: Seconds that each worker has to answer.
_PATIENCE: Final = 1.0
#: Next times of a schedule that are shown.
_NEXT: Final = 5


def _schedules(link: "Link", said: Mapping[str, str]) -> dict[str, Any]:
    """Return the schedules, by name; ``name`` is a pattern or a part of a name."""
    name = said.get("name", "")
    pattern = name if not name or any(letter in name for letter in "*?") else f"*{name}*"
    found = ScheduleControl(cast(Any, link)).list(pattern, count=_NEXT)
    return {"schedules": [plain(as_json(one)) for one in found], "at": time.time()}


def _tasks(link: "Link", _said: Mapping[str, str]) -> dict[str, Any]:
    """Return the tasks that workers know or that have run, by name: who knows them, and how they did."""
    ask = Inspect(link, None, _PATIENCE)
    registered, stats = ask.registered(), ask.stats()
    tasks: dict[str, dict[str, Any]] = {}

    def of(name: str) -> dict[str, Any]:
        return tasks.setdefault(name, {"name": name, "workers": [], "options": "", "done": 0, "lately": None})

    for worker, reply in registered.items():
        for text in reply if isinstance(reply, list) else ():
            name, _, options = str(text).partition(" ")
            of(name)["workers"].append(worker)
            of(name)["options"] = options.strip("[]")
    for figures in stats.values():
        total = figures.get("total") if isinstance(figures, Mapping) else None
        for name, done in total.items() if isinstance(total, Mapping) else ():
            of(str(name))["done"] += done if isinstance(done, int) else 0
    for name, lately in link.tasks().items():
        of(name)["lately"] = lately
    silent = [*registered.no_reply, *registered.disconnected]
    return {"tasks": [tasks[name] for name in sorted(tasks)], "silent": silent}


def _limits(link: "Link", _said: Mapping[str, str]) -> dict[str, Any]:
    """Return the limits of tasks and queues, those in the code too."""
    return {"limits": [_limit(one) for one in link.connection.list_limits()]}


def _settings(link: "Link", said: Mapping[str, str]) -> dict[str, Any]:
    """Return what is set for the whole cluster: limits and retention."""
    return {**_limits(link, said), "retention": [_retention(one) for one in link.connection.list_retention()]}


def _limit(info: "LimitInfo") -> dict[str, Any]:
    return {
        "scope": info.scope,
        "name": info.name,
        "limit": str(info.limit),
        "is_set": info.is_set,
        "running": info.running,
        "waiting": info.waiting_lines,
        "next_in": info.next_in.total_seconds(),
    }


def _retention(kept: "Retention") -> dict[str, Any]:
    named = {"scope": kept.scope, "name": kept.name}
    return {**named, **{what: _kept(getattr(kept, what)) for what in ("results", "failures", "arguments")}}


def _kept(keep: Any) -> str:
    """Return how much is kept of something, in words."""
    parts = [] if keep.age is None else [duration(keep.age.total_seconds())]
    parts += [f"the newest {keep.count:,}"] if keep.count else []
    return ", ".join(parts) or "as usual"


#: The looks by their names.
LOOKS: Final[dict[str, "Callable[[Link, Mapping[str, str]], dict[str, Any]]"]] = {
    "failed": failures,
    "limits": _limits,
    "schedules": _schedules,
    "tasks": _tasks,
    "settings": _settings,
}
