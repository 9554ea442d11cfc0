"""docs/reliability.md names beside each promise a test that is there."""

import re

from tests.support.tree import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")

#: A test file, and perhaps one test of it.
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows() -> list[tuple[str, str]]:
    """Returns each promise with what would catch its breach."""
    table = PAGE.split("## The promises")[1].split("\n## ")[0]
    lines = [line.split(" | ", 1) for line in table.splitlines() if line.startswith("| ")]
    return [(promise, catches) for promise, catches in lines[2:]]


def test_each_promise_names_a_test() -> None:
    assert len(rows()) > 20
    for promise, catches in rows():
        assert NAMED.search(catches) or "every world" in catches, promise


def test_what_is_named_is_there() -> None:
    for path, name in NAMED.findall(PAGE):
        assert (ROOT / path).is_file(), path
        assert not name or re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), name
