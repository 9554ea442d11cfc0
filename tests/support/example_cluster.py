"""The cluster that the examples bring along, for tests that run the examples and the README as a user would."""

import subprocess
import sys
from pathlib import Path

from tests.support.tree import ROOT

from local_cluster import LocalCluster

EXAMPLES = ROOT / "examples"


def cluster(folder: Path, app: str, path: Path, concurrency: int = 1) -> LocalCluster:
    """Returns a cluster whose processes find their app in `path`."""
    made = LocalCluster(folder, app, concurrency)
    made.environment["PYTHONPATH"] = str(path)
    return made


def run(on: LocalCluster, *arguments: str, code: int = 0) -> str:
    """Runs a Python program against a cluster and returns all that it printed; its exit code must be `code`."""
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=on.folder, env=on.environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == code, done.stdout + done.stderr + on.last_lines()
    return done.stdout if code == 0 else done.stderr
