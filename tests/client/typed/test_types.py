"""What an editor knows: the files beside this one and the examples of docs/types.md, read by both checkers of types.

Each line there that is wrong says so in a comment, and a comment that nothing is wrong with is an error too. So that a
checker that finds nothing cannot pass for one that looks, each also reads a file of mistakes and has to find them all.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.support.tree import PACKAGES, ROOT, relative

HERE: Final = Path(__file__).parent
PAGE: Final = ROOT / "docs" / "types.md"
PYTHON: Final = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATHS: Final = [str(ROOT / folder) for folder in ("", "client", "protos")]

#: What the modules of all pages import; the pages' own has tasks without annotations.
TASKS: Final = 'from grpcflow import Grpcflow\n\napp = Grpcflow("tasks")\n'

#: One mistake in each line from the third on.
MISTAKES: Final = """from typing import assert_type
from tests.client.typed.shop import add, fetch, label
add.delay("1", 2)
assert_type(add.delay(1, 2).get(), str)
assert_type((add.s(1) | label.s()).delay().get(), int)
assert_type(fetch.delay("a").get(), str)
add.delay(1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
"""
LINES: Final = {3, 4, 5, 6, 7}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the modules of the page, its program and a file of mistakes."""
    blocks = PYTHON.findall(PAGE.read_text(encoding="utf-8"))
    modules = {block.partition("\n")[0][2:]: block for block in blocks if block.startswith("# ")}
    program = "\n".join(block for block in blocks if not block.startswith("# "))
    texts = {**modules, "types_page.py": program, "tasks.py": TASKS, "mistakes.py": MISTAKES}
    assert len(texts) == 4, f"{PAGE.name} has the modules {sorted(modules)}"
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_mypy_knows_what_tasks_take_and_give_and_finds_every_mistake(folder: Path) -> None:
    told = checked("mypy", "--no-error-summary", "--no-pretty", str(HERE), str(folder), MYPYPATH=str(folder))
    found = {(Path(name).name, int(line)) for name, line in re.findall(r"^(.*?):(\d+): error", told, re.MULTILINE)}
    assert found == {("mistakes.py", line) for line in LINES}, told


def test_basedpyright_knows_what_tasks_take_and_give_and_finds_every_mistake(folder: Path) -> None:
    settings = {
        "include": [str(HERE), str(folder)],
        "extraPaths": [*PATHS, str(folder)],
        "pythonVersion": "3.11",
        "typeCheckingMode": "standard",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "reportUnusedExpression": "none",
        "reportMissingModuleSource": "none",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    told = checked("basedpyright", "-p", str(folder), "--outputjson", "--pythonpath", sys.executable)
    read = json.loads(told)
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in read["generalDiagnostics"]
        if each["severity"] != "information"
    }
    assert found == {("mistakes.py", line) for line in LINES}, told
    assert read["summary"]["filesAnalyzed"] >= len(list(HERE.glob("*.py"))) + 4


def test_every_package_that_is_shipped_says_that_it_is_typed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(shipped) == sorted(["client/pytest_grpcflow", *map(relative, PACKAGES.values())])
    assert [path for path in shipped if not (ROOT / path / "py.typed").is_file()] == []


def checked(tool: str, *arguments: str, **environment: str) -> str:
    """Returns what a checker of types says; it must find something, and not break."""
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    around: Mapping[str, str] = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, env=around, capture_output=True, text=True, timeout=150)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout
