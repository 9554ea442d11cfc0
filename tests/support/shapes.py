"""What a canvas is made of, as it was written: its steps, members, header and callbacks.

One half of the reference evaluator, apart from what runs. May NOT import grpcflow: the judge shares no code with the
judged.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Canvas = Mapping[str, Any]


def kind(canvas: Canvas) -> str:
    """Returns the kind of a canvas; that of a plain call is "task"."""
    return canvas.get("subtask_type") or "task"


def is_nothing(canvas: Canvas) -> bool:
    """Tells whether a canvas is a chain without a single step, at any depth."""
    return kind(canvas) == "chain" and all(is_nothing(step) for step in canvas["kwargs"]["tasks"])


def members(canvas: Canvas) -> list[Canvas]:
    """Returns the members of a group; those of groups directly in it stand in their place, empty chains in none."""
    found: list[Canvas] = []
    for member in canvas["kwargs"]["tasks"]:
        if kind(member) == "group":
            found += members(member)
        elif not is_nothing(member):
            found.append(member)
    return found


def empty_chains(canvas: Canvas) -> list[Canvas]:
    """Returns the empty chains that stand among the members of a group, and among those of groups directly in it."""
    found: list[Canvas] = []
    for member in canvas["kwargs"]["tasks"]:
        if kind(member) == "group":
            found += empty_chains(member)
        elif is_nothing(member):
            found.append(member)
    return found


def header(canvas: Canvas) -> list[Canvas]:
    """Returns the header members of a chord, written as a list or as a group."""
    return members(header_group(canvas))


def header_group(canvas: Canvas) -> Canvas:
    """Returns the header of a chord as the group that it stands for."""
    written = canvas["kwargs"]["header"]
    tasks = {"subtask_type": "group", "options": {}, "kwargs": {"tasks": written}}
    return written if isinstance(written, Mapping) else tasks


def callbacks(canvas: Canvas, option: str) -> list[Canvas]:
    """Returns the callbacks of one kind; a group carries those of the groups directly in it as well."""
    found = canvas["options"].get(option) or []
    listed = [found] if isinstance(found, Mapping) else list(found)
    if kind(canvas) == "group":
        for member in canvas["kwargs"]["tasks"]:
            if kind(member) == "group":
                listed += callbacks(member, option)
    return listed


def starmaps(canvas: Canvas) -> list[Canvas]:
    """Returns the members of the group that chunks stands for."""
    size, items, task = canvas["kwargs"]["n"], list(canvas["kwargs"]["it"]), canvas["kwargs"]["task"]
    return [
        {
            "task": "xstarmap",
            "args": [],
            "kwargs": {"task": task, "it": items[start : start + size]},
            "options": {},
            "subtask_type": "xstarmap",
            "immutable": True,
        }
        for start in range(0, len(items), size)
    ]


def steps(canvas: Canvas) -> Iterator[Canvas]:
    """Yields the steps of a chain without those that stand for nothing; a group of one is its member."""
    return (step for step, counts in parts(canvas) if counts)


def parts(canvas: Canvas) -> Iterator[tuple[Canvas, bool]]:
    """Yields the parts of a chain in order, each with False where it stands for nothing, so that it is skipped."""
    for step in canvas["kwargs"]["tasks"]:
        if kind(step) == "chain":
            yield step, any(True for _ in steps(step))
        elif kind(step) != "group" or len(members(step)) > 1:
            yield step, True
        else:
            unrolled = _unrolled(step)
            counts = any(True for _ in steps(unrolled))
            yield unrolled if counts else step, counts


def _unrolled(group: Canvas) -> Canvas:
    """Returns a group of one as a chain of that, which carries the group's callbacks."""
    options = {name: callbacks(group, name) for name in ("link", "link_error")}
    tasks = [*empty_chains(group), *members(group)]
    return {**group, "kwargs": {"tasks": tasks}, "options": options, "subtask_type": "chain"}
