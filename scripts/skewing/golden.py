"""Makes golden data: what a state of the tree wrote, as an export, for the tests of every later one.

`scripts/skew --golden COMMIT FILE` writes it; a release adds one file to tests/coordinator/storage/golden.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from skewing.trees import ROOT, SOON, Parts, SkewError, Tree, tree_of

#: What runs under the commit, from a folder whose name tells nothing of the machine: tracebacks name it.
PROGRAMS: Final = ("__init__.py", "skew_tasks.py", "story.py")


def anonymous_folder() -> Path:
    """Return an empty folder of the same name on every machine."""
    folder = Path(tempfile.gettempdir()) / "grpcflow-golden"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def make(commit: str, folder: Path, target: Path) -> None:
    """Let a commit play the story, and export what it wrote.

    Raises:
        SkewError: a part of it failed.
    """
    package = folder / Path(__file__).parent.name
    package.mkdir()
    for name in PROGRAMS:
        shutil.copy(Path(__file__).with_name(name), package)
    tree = replace(tree_of(commit, folder / "tree"), tasks=folder)
    parts = Parts(folder / "story")
    try:
        parts.coordinator(tree)
        _play(tree, parts, "before")
        parts.worker("w1", tree)
        _play(tree, parts, "after")
        parts.stop("w1")
        parts.stop("coordinator")
    finally:
        parts.close()
    command = [
        sys.executable,
        "-m",
        "grpcflow_coordinator",
        "export",
        str(target),
        "--data",
        str(parts.folder / "data"),
    ]
    subprocess.run(command, env=Tree("this tree", ROOT).environment(), check=True, timeout=SOON)


def _play(tree: Tree, parts: Parts, part: str) -> None:
    program = str(tree.tasks / "skewing" / "story.py")
    ran = subprocess.run(
        [sys.executable, program, parts.address, part],
        env=tree.environment(GRPCFLOW_COORDINATOR=parts.address),
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * SOON,
    )
    if ran.returncode:
        raise SkewError(f"{tree.name} could not play the part {part!r}: {ran.stderr[-2_000:]}")
