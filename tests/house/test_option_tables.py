"""The pages that describe options describe all: each setting, each option of a task and of a call has its row."""

import re
from pathlib import Path

from tests.support.tree import ROOT

from grpcflow import Task
from grpcflow.conf import Settings
from grpcflow.lower.options import OPTIONS

DOCS = ROOT / "docs"


def described(page: Path) -> set[str]:
    """Returns the names at the head of the rows of a page's tables, handlers without their arguments."""
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`(\w+)[`(]", row.split(" | ")[0])}


def test_every_setting_is_described() -> None:
    assert set(Settings().as_dict()) - described(DOCS / "configuration.md") == set()


def test_every_option_of_a_task_is_described() -> None:
    # This one changes nothing; it is told of in the row of `ignore_result`.
    assert set(Task.OPTIONS) - described(DOCS / "tasks.md") == {"store_errors_even_if_ignored"}


def test_every_option_of_a_call_is_described() -> None:
    # This one is written by replace() alone.
    assert set(OPTIONS) - described(DOCS / "calling.md") == {"replaced_task_nesting"}
