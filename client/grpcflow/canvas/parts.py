"""The parts of a signature's dict, whole and checked.

Pure; imports nothing of grpcflow.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["CALLBACKS", "as_list", "complete"]

#: Options that hold signatures.
CALLBACKS: Final = ("link", "link_error")


def as_list(value: Any) -> list[Any]:
    """Return none, one, or several callbacks as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, Mapping) else list(value)


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
