"""The pages that a newcomer follows do what they say: the quickstart, and the project that comes from Celery."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.example_cluster import cluster, run
from tests.support.pages import Page
from tests.support.tree import ROOT

from grpcflow import Grpcflow
from local_cluster import LocalCluster

QUICKSTART = ROOT / "docs" / "quickstart.md"
MIGRATION = ROOT / "docs" / "coming-from-celery.md"
CHANGES = re.compile(r"^`([\w/]+\.py)`\.(?:(?!```).)*```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORTS = re.compile(r"^\| `(from (?:celery|kombu)[^`]*)` \| `(from grpcflow[^`]*)` \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The cluster of the quickstart, with its file of tasks."""
    folder = tmp_path_factory.mktemp("quickstart")
    for name, text in Page.read(QUICKSTART).modules.items():
        (folder / name).write_text(text)
    with cluster(folder, "hello", folder) as made:
        made.start_worker("w1")
        made.wait_until_online(Grpcflow("probe", coordinator=made.address, set_as_current=False), ["w1"])
        yield made


def test_the_quickstart_gives_what_it_says(hello: LocalCluster) -> None:
    (hello.folder / "quickstart_page.py").write_text(Page.read(QUICKSTART).program)
    run(hello, "quickstart_page.py")


def test_the_call_of_the_quickstart_prints_what_it_shows(hello: LocalCluster) -> None:
    typed = "import sys; from grpcflow.cli import main; sys.exit(main())"
    command = ["-A", "hello", "call", "hello.greet", "--args", '["Ann"]', "--wait"]
    assert run(hello, "-c", typed, *command) == '"Hello, Ann"\n'
    shown = QUICKSTART.read_text(encoding="utf-8")
    assert """$ grpcflow -A hello call hello.greet --args '["Ann"]' --wait\n"Hello, Ann"\n""" in shown


def after(change: str) -> str:
    """The file that a change leads to."""
    return "".join(f"{line[1:]}\n" for line in change.splitlines() if not line.startswith("-"))


def before(change: str) -> str:
    """The file that a change begins with."""
    return "".join(f"{line[1:]}\n" for line in change.splitlines() if not line.startswith("+"))


def test_the_project_that_came_from_celery_passes_its_tests(tmp_path: Path) -> None:
    text = MIGRATION.read_text(encoding="utf-8")
    changes = dict(CHANGES.findall(text))
    assert set(changes) == {"orders/app.py", "orders/tasks.py", "test_orders.py"}
    for name, change in changes.items():
        compile(before(change), name, "exec")
        assert "celery" in before(change)
        assert "celery" not in after(change).lower()
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(after(change))
    [settings] = re.findall(r"^```ini\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "pytest.ini").write_text(settings)
    (tmp_path / "orders" / "__init__.py").touch()
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "pytest_grpcflow"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_examples_of_coming_from_celery_give_what_they_say() -> None:
    exec(compile(Page.read(MIGRATION).program, str(MIGRATION), "exec"), {})


def test_every_import_that_is_named_can_be_made() -> None:
    pairs = IMPORTS.findall(MIGRATION.read_text(encoding="utf-8"))
    assert len(pairs) > 12
    for there, here in pairs:
        exec(here, {})
        names = [set(line.partition(" import ")[2].split(", ")) for line in (there, here)]
        renamed = {"Celery", "OperationalError", "start_worker"}
        assert names[0] - names[1] <= renamed, f"{there} becomes {here}"
