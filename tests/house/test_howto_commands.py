"""The commands that the how-to pages and those for newcomers show: the programs would take them, names and options."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.support.tree import ROOT

import grpcflow_coordinator.__main__ as coordinator
import grpcflow_worker.__main__ as worker
from grpcflow import cli

PAGES = sorted(
    [*(ROOT / "docs" / "howto").glob("*.md"), ROOT / "docs" / "quickstart.md", ROOT / "docs" / "coming-from-celery.md"]
)
PROGRAMS: dict[str, click.Command] = {
    "grpcflow": cli.command_line,
    "grpcflow-coordinator": coordinator.command,
    "grpcflow-worker": worker.command,
}
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Commands beside what they show, and in the column of a table that says what to type here.
TYPED = re.compile(r"^\$ (.+)$|^\| `celery [^|]*\| `(grpcflow[^`]*)`", re.MULTILINE)


def shown(page: Path) -> list[list[str]]:
    """Returns the words of each command of ours that stands in a page."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += [line or cell for line, cell in TYPED.findall(text)]
    split = [shlex.split(line.partition(" > ")[0], comments=True) for line in lines]
    return [words for words in split if words and words[0] in PROGRAMS]


def told_of(words: list[str]) -> str:
    """Has a program read a command line and tell about it in place of doing it; returns what is wrong, or nothing."""
    # What it is asked for last is its help, which comes once all words were found to be commands and options.
    told = CliRunner().invoke(PROGRAMS[words[0]], [*words[1:], "--help"])
    return "" if told.exit_code == 0 and told.output.startswith("Usage") else told.output or repr(told.exception)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_commands_that_there_are(page: Path) -> None:
    assert {" ".join(words): wrong for words in shown(page) if (wrong := told_of(words))} == {}


def test_a_mistake_in_a_page_would_be_seen() -> None:
    assert "No such command" in told_of(["grpcflow", "schedule", "lost"])
    assert "No such option" in told_of(["grpcflow-worker", "--quues", "a"])
    assert sum(len(shown(page)) for page in PAGES) > 15
