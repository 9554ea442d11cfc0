"""Canvases as a user writes them down, as plain dicts: nothing is normalised, nothing is lowered.

The reference evaluator judges these; the strategies in canvases.py draw them. May NOT import grpcflow: what is
written here must not depend on the code that it judges.
"""

from collections.abc import Iterable, Sequence
from typing import Any

#: One canvas: the keys of a Celery signature (task, args, kwargs, options, subtask_type, immutable).
Canvas = dict[str, Any]


def call(task: str, *args: Any, **kwargs: Any) -> Canvas:
    """Returns one call of a task."""
    return _signature(task, args, kwargs)


def fixed(task: str, *args: Any, **kwargs: Any) -> Canvas:
    """Returns one call of a task that takes nothing from what came before it (immutable)."""
    return _signature(task, args, kwargs) | {"immutable": True}


def chain(*steps: Canvas) -> Canvas:
    """Returns steps that follow each other."""
    return _signature("chain", (), {"tasks": list(steps)}, "chain")


def group(*members: Canvas) -> Canvas:
    """Returns members that run side by side."""
    return _signature("group", (), {"tasks": list(members)}, "group")


def chord(header: Sequence[Canvas], body: Canvas) -> Canvas:
    """Returns header members that run side by side, and a body that gets the list of their values."""
    return _signature("chord", (), {"header": list(header), "body": body}, "chord")


def xmap(task: str, items: Iterable[Any]) -> Canvas:
    """Returns one task that calls another with each item."""
    return _signature("xmap", (), {"task": call(task), "it": list(items)}, "xmap") | {"immutable": True}


def xstarmap(task: str, items: Iterable[Sequence[Any]]) -> Canvas:
    """Returns one task that calls another with each item spread over its arguments."""
    rows = [list(item) for item in items]
    return _signature("xstarmap", (), {"task": call(task), "it": rows}, "xstarmap") | {"immutable": True}


def chunks(task: str, items: Iterable[Sequence[Any]], size: int) -> Canvas:
    """Returns a group of starmaps of *size* items each."""
    rows = [list(item) for item in items]
    return _signature("chunks", (), {"task": call(task), "it": rows, "n": size}, "chunks") | {"immutable": True}


def linked(canvas: Canvas, *callbacks: Canvas) -> Canvas:
    """Returns a copy of *canvas* with callbacks for its success."""
    return _with_option(canvas, "link", callbacks)


def on_error(canvas: Canvas, *errbacks: Canvas) -> Canvas:
    """Returns a copy of *canvas* with callbacks for its failure."""
    return _with_option(canvas, "link_error", errbacks)


def having(canvas: Canvas, **options: Any) -> Canvas:
    """Returns a copy of *canvas* with more options, such as countdown and expires."""
    return canvas | {"options": canvas["options"] | options}


def _signature(task: str, args: Iterable[Any], kwargs: dict[str, Any], subtask_type: str | None = None) -> Canvas:
    return {
        "task": task,
        "args": list(args),
        "kwargs": kwargs,
        "options": {},
        "subtask_type": subtask_type,
        "immutable": False,
    }


def _with_option(canvas: Canvas, option: str, callbacks: Sequence[Canvas]) -> Canvas:
    options = canvas["options"]
    return canvas | {"options": options | {option: [*options.get(option, ()), *callbacks]}}
