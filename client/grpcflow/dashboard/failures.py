"""What failed for good, grouped by task and error, and what is done to a group. Knows no HTTP."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from grpcflow.dashboard.pages import plain
from grpcflow.failed_model import FailedFilter

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link

__all__ = ["AT_ONCE", "failures", "purge_group", "retry_group"]

#: Failures that are looked at for groups, the newest; those of a group that are shown; those that are retried at once.
_LOOKED_AT: Final = 2_000
_SHOWN: Final = 20
AT_ONCE: Final = 1_000


def failures(link: "Link", said: Mapping[str, str]) -> dict[str, Any]:
    """Return the groups, that with the newest failure first.

    Args:
        link: Whose coordinator is asked.
        said: ``task`` and ``type`` as patterns, ``queue``; what is empty is any.

    Returns:
        ``groups``: of each ``task``, ``type``, how many (``count``), ``first`` and ``last`` as Unix time, and
        ``calls``, the newest of them; ``more``: True where there are older ones that were not looked at.

    Raises:
        InvalidRequest: A pattern is too long.
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    wanted: FailedFilter = {
        "task": said.get("task", ""),
        "type": said.get("type", ""),
        "queue": said.get("queue", ""),
    }
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    looked = 0
    for call in link.connection.list_failed(wanted, _LOOKED_AT):
        looked += 1
        key = call.task, call.type or call.reason
        empty = {"task": key[0], "type": key[1], "count": 0, "first": 0.0, "last": 0.0, "calls": []}
        group = groups.setdefault(key, empty)
        when = call.failed_at.timestamp()
        group["count"] += 1
        group["last"] = max(group["last"], when)
        group["first"] = when if not group["first"] else min(group["first"], when)
        if len(group["calls"]) < _SHOWN:
            group["calls"].append(plain(call))
    ordered = sorted(groups.values(), key=lambda group: -group["last"])
    return {"groups": ordered, "count": looked, "more": looked >= _LOOKED_AT, "at": datetime.now(UTC).timestamp()}


def retry_group(link: "Link", task: str, type_name: str) -> str:
    """Run again what did not succeed of the graphs of a group's calls, a thousand of them at once; say what was done.

    Args:
        link: Whose coordinator is asked.
        task: Name of the task.
        type_name: Class name of the failure; "": any.
    """
    wanted: FailedFilter = {"task": task, "type": type_name}
    calls = [(call.id, call.graph) for call in link.connection.list_failed(wanted, AT_ONCE)]
    done = link.connection.retry_failed(calls)
    told = f"Run again: {done.retried:,} tasks of {done.graphs:,} graphs."
    if done.refused:
        told += f" {len(done.refused):,} could not be: {done.refused[0].error}"
    if done.unknown_tasks:
        told += f" No connected worker knows {', '.join(done.unknown_tasks)}."
    return f"{told} There may be more: look again." if len(calls) >= AT_ONCE else told


def purge_group(link: "Link", task: str, type_name: str) -> str:
    """Take a group's calls off the list, a thousand of them at once; say what was done. Arguments as above."""
    wanted: FailedFilter = {"task": task, "type": type_name}
    calls = [call.id for call in link.connection.list_failed(wanted, AT_ONCE)]
    purged = link.connection.purge_failed(calls)
    told = f"Taken off the list: {purged:,}; their results stay as long as they would have."
    return f"{told} There may be more: look again." if len(calls) >= AT_ONCE else told
