"""States of the tree as folders that processes can run from, and the processes of one cluster."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]

#: The folders of the tree that hold its packages.
PACKAGES: Final = ("client", "worker", "coordinator", "protos")

#: Commits back from here where there is no tag.
BACK: Final = 40

#: Seconds that a process has to start or to end.
SOON: Final = 30.0


class SkewError(Exception):
    """Something could not be done; the message says what."""


@dataclass(frozen=True)
class Tree:
    """One state of the tree."""

    name: str
    folder: Path
    #: Where the package of skew_tasks.py is.
    tasks: Path = Path(__file__).parents[1]

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a process that runs this state."""
        paths = [str(self.folder / package) for package in PACKAGES] + [str(self.tasks)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "GRPCFLOW_COLOR": "no", **variables}


def previous() -> str:
    """Return the newest tag, or where there is none a commit a good way back."""
    tag = _git("describe", "--tags", "--abbrev=0", check=False).strip()
    return tag or _git("rev-parse", "--short", f"HEAD~{BACK}").strip()


def tree_of(commit: str, folder: Path) -> Tree:
    """Unpack the packages of a commit into a folder."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, *PACKAGES], capture_output=True, check=False, timeout=SOON
    )
    if archive.returncode:
        raise SkewError(f"the commit {commit} cannot be unpacked: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return Tree(commit, folder)


def _git(*arguments: str, check: bool = True) -> str:
    ran = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False, timeout=SOON
    )
    if check and ran.returncode:
        raise SkewError(f"git {' '.join(arguments)}: {ran.stderr.strip()}")
    return ran.stdout


@dataclass
class Parts:
    """The processes of one cluster, each from a tree of its own; `close` ends them all.

    Args:
        folder: for data, logs and what the clients saw.
    """

    folder: Path
    address: str = ""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    trees: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = socket.socket()  # or another process could be given the port between two coordinators
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._held.getsockname()[1]}"

    def coordinator(self, tree: Tree, *options: str) -> None:
        """Start the coordinator, or replace the one that runs by this one, and wait until it serves."""
        self.stop("coordinator")
        data = ["--data", str(self.folder / "data"), "--listen", self.address]
        process = self._start("coordinator", tree, "-m", "grpcflow_coordinator", *data, *options)
        host, port = self.address.split(":")
        deadline = time.monotonic() + SOON
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SkewError(
                        f"the coordinator of {tree.name} does not serve: {self.log('coordinator')}"
                    ) from None
                time.sleep(0.05)

    def worker(self, name: str, tree: Tree) -> None:
        """Start a worker, or replace it: the one before finishes what it runs."""
        self.stop(name)
        options = ["-A", "skewing.skew_tasks", "-n", name, "-Q", "default", "-c", "2"]
        self._start(name, tree, "-m", "grpcflow_worker", *options)

    def client(self, name: str, tree: Tree) -> None:
        """Start a client; it calls until it is told to end."""
        program = str(Path(__file__).with_name("skew_tasks.py"))
        self._start(name, tree, program, self.address, str(self.folder / f"{name}.json"), stdin=subprocess.PIPE)

    def end_client(self, name: str) -> Mapping[str, Any]:
        """Let a client wait for what it called; return what it saw."""
        process = self.running.pop(name)
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(4 * SOON)
        except subprocess.TimeoutExpired:
            process.kill()
        out = self.folder / f"{name}.json"
        if not out.exists():
            raise SkewError(f"the client {name} of {self.trees[name]} did not end well: {self.log(name)}")
        found: Mapping[str, Any] = json.loads(out.read_text())
        return found

    def stop(self, name: str) -> None:
        """Ask a process to end, and wait for it."""
        process = self.running.pop(name, None)
        if process is not None:
            process.terminate()
            try:
                process.wait(SOON)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise SkewError(f"{name} of {self.trees[name]} did not end in {SOON:g} s: {self.log(name)}") from None

    def runs(self) -> list[int]:
        """Return the values of all runs of tasks that leave a line."""
        file = self.folder / "runs"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def log(self, name: str) -> str:
        """Return the last lines of a log."""
        return self.whole_log(name)[-2_000:]

    def whole_log(self, name: str) -> str:
        """Return all that a process wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """End everything."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()
        self._held.close()

    def _start(self, name: str, tree: Tree, *command: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
        self.trees[name] = tree.name
        variables = {"GRPCFLOW_COORDINATOR": self.address, "RUNS": str(self.folder / "runs")}
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                env=tree.environment(**variables),
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        self.running[name] = process
        return process
