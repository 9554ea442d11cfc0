"""The parts of a signature's dict, whole and checked.

Pure; imports nothing of grpcflow.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = [
    "CALLBACKS",
    "OPTIONS",
    "STAMPED",
    "SUBMISSION",
    "as_list",
    "complete",
    "is_empty",
    "listed",
    "merged_options",
    "values_of",
]

#: Options that hold signatures.
CALLBACKS: Final = ("link", "link_error")

#: The option that names those options which are stamps.
STAMPED: Final = "stamped_headers"


#: Options of a submission as a whole: the app reads them where it submits, and they say nothing of a call.
SUBMISSION: Final = frozenset({"add_to_parent", "retry", "retry_policy"})

#: The options that a call may have.
OPTIONS: Final = SUBMISSION | frozenset(
    {
        *("queue", "priority", "countdown", "eta", "expires", "task_id", "link", "link_error", "ignore_result"),
        *("acks_late", "serializer", "compression", "headers", "max_deliveries", "track_started", "time_limit"),
        *("soft_time_limit", "shadow", "reply_to", "root_id", "parent_id", "route_name", "replaced_task_nesting"),
        *("concurrency_key", "concurrency_per_key", "fairness_key", "unique_for", "unique_on", "unique_stays"),
        *("idempotency_key", "result_expires", "result_failure_expires", "sensitive"),
        STAMPED,
    }
)


def as_list(value: Any) -> list[Any]:
    """Return none, one, or several callbacks as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, Mapping) else list(value)


def listed(composed: Mapping[str, Any]) -> list[Any]:
    """Return the members of a group or of a chord's header, or the steps of a chain, as they stand."""
    held: Any = composed["kwargs"].get("tasks")
    if held is None:
        header = composed["kwargs"]["header"]
        held = header["kwargs"]["tasks"] if isinstance(header, Mapping) and "tasks" in header["kwargs"] else header
    return [held] if isinstance(held, Mapping) else list(held)


def is_empty(canvas: Mapping[str, Any]) -> bool:
    """Return True for a chain that holds no step, or nothing but such chains."""
    waiting = [iter((canvas,))]
    while waiting:
        for current in waiting[-1]:
            if current["subtask_type"] != "chain":
                return False
            waiting.append(iter(current["kwargs"]["tasks"]))
            break
        else:
            waiting.pop()
    return True


def values_of(stamp: Any) -> list[Any]:
    """Return the value of a stamp, one or several, as a list."""
    if stamp is None:
        return []
    if isinstance(stamp, (set, frozenset)):
        return sorted(stamp, key=str)  # so that equal stamps are equal calls
    return list(stamp) if isinstance(stamp, (list, tuple)) else [stamp]


def merged_options(own: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in which new ones win over those that a signature has.

    What sticks: ``group_id`` and the values of stamps. Headers are merged name by name, and a new ``countdown`` or
    ``eta`` takes the place of both.
    """
    merged = {**own, **new}
    if not own or not new:
        return merged
    for given, replaced in (("countdown", "eta"), ("eta", "countdown")):
        if new.get(given) is not None and replaced not in new:
            merged.pop(replaced, None)
    if own.get("headers") and new.get("headers"):
        merged["headers"] = {**own["headers"], **new["headers"]}
    stamps = own.get(STAMPED) or ()
    if stamps or "group_id" in own:
        merged.update((name, own[name]) for name in ("group_id", *stamps) if name in own)
        merged[STAMPED] = [*stamps, *(name for name in new.get(STAMPED) or () if name not in stamps)]
    return merged


def complete(d: Mapping[str, Any]) -> dict[str, Any]:
    """Return a signature's dict with every part that was left out; refuse what is none."""
    task = d.get("task")
    if not isinstance(task, str) or not task:
        raise ValueError(f"a signature needs the name of its task under 'task', not {task!r}")
    parts = {
        "task": task,
        "args": d.get("args") or (),
        "kwargs": d.get("kwargs") or {},
        "options": d.get("options") or {},
        "subtask_type": d.get("subtask_type"),
        "immutable": bool(d.get("immutable", False)),
    }
    if not isinstance(parts["args"], (list, tuple)):
        raise ValueError(f"the args of the signature of {task} are {parts['args']!r}; they must be a list")
    for name in ("kwargs", "options"):
        if not isinstance(parts[name], Mapping):
            raise ValueError(f"the {name} of the signature of {task} are {parts[name]!r}; they must be a mapping")
    return parts
