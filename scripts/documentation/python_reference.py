"""The pages of the Python reference: which public names stand on which page. Their text comes from the docstrings.

Every name that a public module exports stands on exactly one page: the lists are compared with `__all__` when the
pages are made. mkdocstrings writes what stands below each name; it reads the sources and imports nothing of them.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from documentation.pages import ROOT

__all__ = ["python_pages"]


@dataclass(frozen=True)
class Part:
    """One page of the reference.

    Attributes:
        title: Its heading.
        told: One sentence below it.
        names: What it tells of, as a user would import it; a module stands for all that it exports.
    """

    title: str
    told: str
    names: tuple[str, ...]


_GRPCFLOW: Final = {
    "app-and-tasks": Part(
        "App and tasks",
        "The app, tasks, and what a running task sees. How to use them: [tasks](../../tasks.md), "
        "[calling](../../calling.md).",
        (
            "Grpcflow",
            "Task",
            "Context",
            "BatchCall",
            "shared_task",
            "shared_batch_task",
            "current_app",
            "current_task",
            "DuplicateTaskName",
            "AlwaysEagerIgnored",
        ),
    ),
    "canvas": Part(
        "Canvas",
        "Calls to be made, and what they are composed with. How to use them: [canvas](../../canvas/README.md).",
        (
            "Signature",
            "signature",
            "subtask",
            "maybe_signature",
            "chain",
            "group",
            "chord",
            "chunks",
            "xmap",
            "xstarmap",
            "StampingVisitor",
        ),
    ),
    "results": Part(
        "Results and graphs",
        "What a call gives back. How to use them: [results](../../results.md), [graphs](../../graphs.md).",
        (
            "AsyncResult",
            "GroupResult",
            "ResultSet",
            "result_from_tuple",
            "GraphView",
            "allow_join_result",
            "denied_join_result",
        ),
    ),
    "queues": Part(
        "Queues",
        "Queues that an app declares. How to use them: [routing](../../routing.md).",
        ("Queue", "Broadcast", "worker_direct"),
    ),
}

_OTHERS: Final = {
    "errors": Part(
        "Errors",
        "Every exception of grpcflow; those that are used most can be imported from `grpcflow` too. What each code "
        "means and its cure: [errors](../../errors.md).",
        ("grpcflow.errors",),
    ),
    "states": Part(
        "States", "The states of a task. What they mean: [results](../../results.md#states).", ("grpcflow.states",)
    ),
    "schedules": Part(
        "Schedules", "When something is due. How to use them: [schedules](../../schedules.md).", ("grpcflow.schedules",)
    ),
    "signals": Part(
        "Signals",
        "What one can be told of. Which process sends each: [configuration](../../configuration.md#signals).",
        ("grpcflow.signals",),
    ),
    "control": Part(
        "Control of a cluster",
        "What an app's attributes `control`, `control.inspect()`, `failed`, `schedules` and `events` are. How to use "
        "them: [remote control](../../remote-control.md), [failures](../../failures.md), "
        "[schedules](../../schedules.md), [events](../../events.md).",
        (
            "grpcflow.control.Control",
            "grpcflow.inspection.Inspect",
            "grpcflow.failed_control.FailedControl",
            "grpcflow.schedule_control.ScheduleControl",
            "grpcflow.event_control.Events",
        ),
    ),
    "testing": Part(
        "Testing",
        "A cluster inside of a test, and pytest's fixtures. How to use them: [testing](../../testing.md).",
        ("grpcflow.testing", "pytest_grpcflow"),
    ),
    "more": Part(
        "Traces, tasks that can be aborted",
        "How to use them: [traces](../../traces.md), [tasks](../../tasks.md).",
        ("grpcflow.opentelemetry", "grpcflow.contrib.abortable"),
    ),
}


def python_pages() -> dict[str, str]:
    """Returns the pages by their places in the site.

    Raises:
        ValueError: A public name stands on no page, or on two.
    """
    _check()
    made = {name: _page(part, [f"grpcflow.{each}" for each in part.names]) for name, part in _GRPCFLOW.items()}
    for name, part in _OTHERS.items():
        made[name] = _page(part, [each for place in part.names for each in _exported(place)])
    return {f"reference/python/{name}.md": text for name, text in made.items()}


def _exported(place: str) -> list[str]:
    """Returns the names of a module, or the one name."""
    if place.rpartition(".")[2][0].isupper():
        return [place]
    return [f"{place}.{name}" for name in _public(place)]


def _public(module: str) -> list[str]:
    """Returns the `__all__` of a module of the client, read and not imported: some of them need extras."""
    path = ROOT / "client" / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(statement.value)]
    raise ValueError(f"{source} has no __all__")


def _page(part: Part, names: list[str]) -> str:
    told = "\n\n".join(f"::: {name}" for name in names)
    return f"# {part.title}\n\n{part.told}\n\n{told}\n"


def _check() -> None:
    public = set(_public("grpcflow"))
    elsewhere = set(_public("grpcflow.errors")) | {"__version__", "states"}
    listed = [name for part in _GRPCFLOW.values() for name in part.names]
    missing, twice = public - elsewhere - set(listed), {name for name in listed if listed.count(name) > 1}
    unknown = set(listed) - public
    if missing or twice or unknown:
        raise ValueError(
            f"python_reference.py: missing {missing or 'none'}, twice {twice or 'none'}, unknown {unknown or 'none'}"
        )
