"""The examples and the README do what they say, on a cluster of real processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.example_cluster import EXAMPLES, cluster, run
from tests.support.pages import claimed
from tests.support.tree import ROOT

from grpcflow import Grpcflow

BINARIES = Path(sys.executable).parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.timeout(120)


def test_the_census_is_exact_though_a_worker_is_killed(tmp_path: Path) -> None:
    report = tmp_path / "census.json"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    command = [sys.executable, "-m", "census", "--json", str(report), "--most", "600"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["exact"]
    assert told["killed_after"] > 0
    assert told["table"]["total"]["files"] == 600


def test_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    tasks, *programs = [text for language, text in blocks if language == "python"]
    commands = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    (tmp_path / "tasks.py").write_text(tasks)
    (tmp_path / "program.py").write_text("".join(map(claimed, programs)))
    with cluster(tmp_path, "tasks", tmp_path) as running:
        running.start_worker("w1", "default,urgent")
        running.wait_until_online(Grpcflow("probe", coordinator=running.address), ["w1"])
        for command in commands:
            if command.startswith("grpcflow "):
                told = subprocess.run(
                    f"{BINARIES}/{command}", shell=True, env=running.environment, capture_output=True, timeout=20
                )
                assert told.returncode == 0, (command, told.stdout, told.stderr)
        run(running, "program.py")
