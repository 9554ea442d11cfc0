"""The page that compares settings and options with Celery's names all of both sides, with the defaults of the code.

Celery's names and defaults stand in celery_names.txt beside this file, as facts. A setting or an option that is new
here needs its row on the page; one that is in the code no longer belongs among those that only Celery has.
"""

import ast
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, Final

import click
import pytest
from tests.support.tree import ROOT

from grpcflow import Task
from grpcflow.cli import command_line
from grpcflow.conf import Settings
from grpcflow.lower.options import CALL_OPTIONS_ELSEWHERE, OPTIONS
from grpcflow.setting_names import ELSEWHERE
from grpcflow.task_option_names import TASK_OPTIONS_ELSEWHERE
from grpcflow_coordinator.__main__ import command as coordinator_command
from grpcflow_worker.__main__ import command as worker_command
from grpcflow_worker.celery_options import OPTIONS_ELSEWHERE
from grpcflow_worker.config import WorkerConfig

PAGE: Final = ROOT / "docs" / "settings-compared.md"
FACTS: Final = Path(__file__).with_name("celery_names.txt")

#: The kinds of names, by the headings of the page.
HEADINGS: Final = {
    "## Settings": "settings",
    "## Options of a task": "task",
    "## Options of a call": "call",
    "## Options of a worker": "worker",
}
KINDS: Final = tuple(HEADINGS.values())
CODE: Final = re.compile(r"`([^`]+)`")
SETTING: Final = re.compile(r"(?:task|worker|result|beat|broker|database|redis|event|control|security)_\w+")
LONG_OPTION: Final = re.compile(r"--[a-z][a-z-]+")
#: What a cell says where Celery has no default, or we have none that could be compared.
ABSENT: Final = object()


@dataclass
class Side:
    """Names of one kind on one side, each with its default as text, and all rows as they stand.

    Attributes:
        both: Those that Celery and grpcflow have: the default there, and the default here.
        celery: Those that only Celery has.
        ours: Those that only grpcflow has, with the default.
        seen: Every name as often as it stands at the head of a row.
    """

    both: dict[str, tuple[str, str]] = field(default_factory=dict)
    celery: set[str] = field(default_factory=set)
    ours: dict[str, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)


def read_page(text: str) -> dict[str, Side]:
    """Returns what the tables of the page say, by kind."""
    sides = {kind: Side() for kind in KINDS}
    kind, head = "", [""]
    for line in text.splitlines():
        if line.startswith("## "):
            kind = HEADINGS[line]
        if not line.startswith("|"):
            head = [""]
        elif head == [""]:
            head = cells_of(line)
        elif not line.startswith("| ---"):
            read_row(sides[kind], head, cells_of(line))
    return sides


def read_row(side: Side, head: list[str], cells: list[str]) -> None:
    """Adds one row of a table to what is known of its kind."""
    assert len(cells) == len(head), f"this row has {len(cells)} cells and its table {len(head)}: {cells}"
    row = dict(zip(head, cells, strict=True))
    for name in CODE.findall(cells[0]):
        side.seen[name] += 1
        match head[0]:
            case "in both":
                side.both[name] = (row.get("Celery's default", ""), row.get("default here", ""))
            case "only in Celery":
                assert row["instead"], f"{name}: say what to use instead"
                side.celery.add(name)
            case "only here":
                side.ours[name] = row.get("default", "")
            case other:
                raise AssertionError(f"a table of the page begins with {other!r}")


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read_facts(text: str) -> dict[str, dict[str, str]]:
    """Returns Celery's names with their defaults, by kind; empty text where there is none."""
    facts: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("["):
            current = facts[line.strip("[]")] = {}
        elif line and not line.startswith("#"):
            names, _, default = line.partition(" = ")
            current.update(dict.fromkeys(names.split(", "), default))
    return facts


def worker_defaults() -> dict[str, Any]:
    """Returns the default of each option of the worker's command, by each spelling.

    What the command leaves open is filled in by the worker's configuration, where that has a value for it.
    """
    context = click.Context(worker_command)
    filled = {item.name: item.default for item in fields(WorkerConfig) if item.default is not MISSING}
    found: dict[str, Any] = {}
    for parameter in worker_command.params:
        default = parameter.get_default(context)
        if isinstance(default, Enum) or default is None:  # click's word for what is not set is an enumeration
            default = filled.get(parameter.name or "")
        found.update(dict.fromkeys((*parameter.opts, *parameter.secondary_opts), default))
    return found


def defaults() -> dict[str, dict[str, Any]]:
    """Returns all names of ours with their defaults, by kind."""
    of_task: dict[str, Any] = {**dict.fromkeys(("name", "lazy", "shared"), ABSENT), "base": "grpcflow.Task"}
    task = {name: getattr(Task, name) for name in {*Task.OPTIONS, "bind"}}
    return {
        "settings": dict(Settings().as_dict()),
        "task": {**of_task, **{name: ABSENT if callable(value) else value for name, value in task.items()}},
        "call": dict.fromkeys((*OPTIONS, "args", "kwargs"), ABSENT),
        "worker": worker_defaults(),
    }


def options_of(command: click.Command) -> set[str]:
    """Returns the options of a command and of all below it."""
    found = {spelling for parameter in command.params for spelling in parameter.opts}
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return found.union(*(options_of(inner) for inner in below))


def literal(text: str) -> Any:
    """Returns the value that a cell shows; a text that is no literal of Python's is itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def same(default: Any, cell: str) -> bool:
    """Returns whether a cell says this default: a value in backticks, or words where there is none to be written."""
    shown = CODE.fullmatch(cell)
    if shown is None:
        return default is ABSENT or default in (None, (), False)
    held = dict(default) if isinstance(default, Mapping) else default
    value = literal(shown[1])
    return (type(value), value) == (type(held), held)


TEXT: Final = PAGE.read_text(encoding="utf-8")
SIDES: Final = read_page(TEXT)
CELERY: Final = read_facts(FACTS.read_text(encoding="utf-8"))
OURS: Final = defaults()
REFUSED: Final[Mapping[str, Collection[str]]] = {
    "settings": ELSEWHERE,
    "task": TASK_OPTIONS_ELSEWHERE,
    "call": CALL_OPTIONS_ELSEWHERE,
    "worker": OPTIONS_ELSEWHERE,
}


def test_the_facts_are_all_of_celery_5_7() -> None:
    assert len(CELERY["settings"]) == 207
    assert set(CELERY) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_celery_is_on_the_page(kind: str) -> None:
    side = SIDES[kind]
    assert set(side.both) | side.celery == set(CELERY[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_ours_is_on_the_page_and_no_other(kind: str) -> None:
    side = SIDES[kind]
    # Help is an option of every command.
    assert set(side.both) | set(side.ours) == set(OURS[kind]) - {"-h", "--help"}
    assert set(side.both) == set(OURS[kind]) & set(CELERY[kind]), "what both have stands in the table of both"


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_stands_twice(kind: str) -> None:
    assert [name for name, count in SIDES[kind].seen.items() if count > 1] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_says_what_to_use_for_every_name_that_only_celery_has(kind: str) -> None:
    assert set(REFUSED[kind]) == SIDES[kind].celery


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_on_the_page_are_those_of_the_code(kind: str) -> None:
    told = {name: here for name, (_, here) in SIDES[kind].both.items()} | SIDES[kind].ours
    assert {name: (cell, OURS[kind][name]) for name, cell in told.items() if not same(OURS[kind][name], cell)} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_celerys_defaults_on_the_page_are_celerys(kind: str) -> None:
    told = {name: there.strip("`") for name, (there, _) in SIDES[kind].both.items()}
    facts = {name: CELERY[kind][name] for name in told}
    assert told == facts


def test_the_page_speaks_of_no_setting_and_no_option_that_does_not_exist() -> None:
    spoken = [text for line in TEXT.splitlines() if not line.startswith("```") for text in CODE.findall(line)]
    settings = {text for text in spoken if SETTING.fullmatch(text)}
    exist = {name for kind in KINDS for name in (*OURS[kind], *CELERY[kind])}
    assert settings - exist == set()
    options = {option for text in spoken for option in LONG_OPTION.findall(text)}
    commands = (command_line, worker_command, coordinator_command)
    assert options - set().union(*map(options_of, commands)) - set(CELERY["worker"]) == set()


def test_a_wrong_default_is_seen() -> None:
    """The comparison itself can fail: with the value, with its type, and with words in its place."""
    assert [same(4, cell) for cell in ("`4`", "`5`", "`4.0`", "four")] == [True, False, False, False]
    assert [same(None, cell) for cell in ("`None`", "as the app says", "`0`")] == [True, True, False]
    assert [same("x", '`"x"`'), same(("a",), '`("a",)`'), same({"a": 1}, "`{'a': 1}`"), same(True, "`1`")] == [
        True,
        True,
        True,
        False,
    ]
