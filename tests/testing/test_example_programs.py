"""The examples that bring tests along pass them, run as a user would; what their `run` prints is in tests/system."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.tree import ROOT

EXAMPLES = ROOT / "examples"
#: Every folder with a command; the other examples are single files.
PROGRAMS = sorted(path.parent for path in EXAMPLES.glob("*/run"))
TESTED = [folder for folder in PROGRAMS if list(folder.glob("test_*.py"))]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("folder", TESTED, ids=lambda folder: folder.name)
def test_the_tests_of_a_program_pass(folder: Path) -> None:
    # Without the plugins of our own suite, and without a cache in the tree.
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_every_program_says_what_it_shows_and_is_in_the_index() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for folder in PROGRAMS:
        page = (folder / "README.md").read_text(encoding="utf-8")
        assert f"\nexamples/{folder.name}/run" in page, folder.name
        assert "## What to try" in page, folder.name
        assert os.access(folder / "run", os.X_OK), folder.name
        assert f"({folder.name}/README.md)" in index, folder.name


def test_the_packages_of_node_are_named_exactly_and_come_from_no_host_of_ours() -> None:
    lock = json.loads((EXAMPLES / "node-worker" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages.keys() >= {"node_modules/@grpc/grpc-js", "node_modules/@grpc/proto-loader"}
    for name, package in packages.items():
        assert package["version"], name
        assert package["integrity"].startswith("sha512-"), name
        assert package.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/"), name
