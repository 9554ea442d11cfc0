"""The example of docs/testing.md is what stands in examples/bookshop, and its tests pass."""

import os
import re
import subprocess
import sys

import pytest
from tests.support.tree import ROOT

SHOP = ROOT / "examples" / "bookshop"
BLOCK = re.compile(r"^```py\n# bookshop/(\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_files_of_the_example() -> None:
    shown = BLOCK.findall((ROOT / "docs" / "testing.md").read_text(encoding="utf-8"))
    assert [name for name, _ in shown] == ["tasks.py", "test_bookshop.py"]
    for name, text in shown:
        assert (SHOP / name).read_text(encoding="utf-8") == f"# bookshop/{name}\n{text}"


@pytest.mark.slow
def test_the_tests_of_the_example_pass() -> None:
    # As a user would run it, but for the plugins of our own suite, and without a cache in the tree.
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=SHOP, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
