"""The examples and the README do what they say, on a cluster of real processes."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.consoles import Shown, as_anywhere, ids_in, shown_in
from tests.support.example_cluster import EXAMPLES, cluster, run
from tests.support.pages import claimed
from tests.support.tree import ROOT

from grpcflow import Grpcflow
from local_cluster import LocalCluster

BINARIES = Path(sys.executable).parent
#: Files that a census counts here: it is half done before it is over, and a worker starts meanwhile.
FILES = 240
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.timeout(300)


def typed(command: str, running: LocalCluster) -> str:
    """Returns all that a command of a shell prints, its complaints too."""
    environment = running.environment | {"PATH": f"{BINARIES}:{os.environ['PATH']}"}
    shell = ["/bin/sh", "-c", f"exec 2>&1; {command}"]
    done = subprocess.run(
        shell, cwd=running.folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    return done.stdout


def assert_prints_what_it_shows(page: list[Shown], running: LocalCluster) -> None:
    """Runs each command of a page and compares; what is asked until a task has begun may be asked again."""
    ids: dict[str, str] = {}
    for shown in page:
        command = shown.command
        for theirs, ours in ids.items():
            command = command.replace(theirs, ours)
        printed = typed(command, running)
        deadline = time.monotonic() + (40 if " inspect" in command else 0)
        while as_anywhere(printed) != as_anywhere(shown.output) and time.monotonic() < deadline:
            printed = typed(command, running)
        assert as_anywhere(printed) == as_anywhere(shown.output), command
        ids |= zip(ids_in(shown.output), ids_in(printed), strict=True)


def test_the_census_is_exact_though_a_worker_is_killed(tmp_path: Path) -> None:
    report = tmp_path / "census.json"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    command = [sys.executable, "-m", "census", "--json", str(report), "--most", str(FILES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["exact"]
    assert told["killed_after"] > 0
    assert told["table"]["total"]["files"] == FILES


def test_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    tasks, *programs = [text for language, text in blocks if language == "python"]
    commands = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    (tmp_path / "tasks.py").write_text(tasks)
    (tmp_path / "program.py").write_text("".join(map(claimed, programs)))
    with cluster(tmp_path, "tasks", tmp_path) as running:
        running.start_worker("w1", "default,urgent")
        running.start_worker("w2", "default")
        running.wait_until_online(Grpcflow("probe", coordinator=running.address), ["w1", "w2"])
        assert_prints_what_it_shows(shown_in(ROOT / "README.md"), running)
        for command in commands:
            if command.startswith("grpcflow "):
                told = subprocess.run(
                    f"{BINARIES}/{command}", shell=True, env=running.environment, capture_output=True, timeout=150
                )
                assert told.returncode == 0, (command, told.stdout, told.stderr)
        run(running, "program.py")
