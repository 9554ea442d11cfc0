"""The setting ``task_annotations``: attributes and methods that the configuration gives to tasks.

It may import nothing of grpcflow but its errors.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from grpcflow.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from grpcflow.task import Task

__all__ = ["annotate"]


def annotate(task: "Task[..., Any]", annotations: Any) -> None:
    """Set on a task what the annotations say for it.

    Args:
        task: The task.
        annotations: A mapping of task names to mappings of attributes, in which ``*`` is for every task; an object
            with ``annotate(task)`` and, for every task, ``annotate_any()``; or a list of these. What stands under a
            task's own name wins over ``*``, and in a list the first that knows the task. A function becomes a method.

    Raises:
        ImproperlyConfigured: An annotation is none of these, or names what no task has.
    """
    sources: Sequence[Any] = (
        annotations if isinstance(annotations, (list, tuple)) else ([annotations] if annotations else ())
    )
    for attributes in (
        _first(_for_any(source) for source in sources),
        _first(_for(source, task) for source in sources),
    ):
        for name, value in attributes.items():
            if not isinstance(name, str) or not name.isidentifier() or not hasattr(type(task), name):
                raise ImproperlyConfigured(
                    f"task_annotations: the task {task.name} has no attribute {name!r} that could be set",
                    code="BAD_ANNOTATION",
                )
            # On the instance: its class may be that of tasks of other apps.
            setattr(task, name, MethodType(value, task) if isinstance(value, FunctionType) else value)


def _first(found: Iterable[Any]) -> Mapping[Any, Any]:
    """Return the first annotation that says anything."""
    return next((attributes for attributes in found if attributes), {})


def _for(source: Any, task: "Task[..., Any]") -> Any:
    """Return what one source says for a task by its name."""
    if isinstance(source, Mapping):
        return source.get(task.name)
    if not hasattr(source, "annotate"):
        raise ImproperlyConfigured(
            f"task_annotations holds {source!r}; it must be a mapping of task names, or an object with annotate(task)",
            code="BAD_ANNOTATION",
        )
    return source.annotate(task)


def _for_any(source: Any) -> Any:
    """Return what one source says for every task."""
    if isinstance(source, Mapping):
        return source.get("*")
    return source.annotate_any() if hasattr(source, "annotate_any") else None
