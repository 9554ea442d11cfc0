"""A real cluster for tests: every part a process of its own, on free ports, in a temporary folder.

Nothing here sleeps blindly: every wait watches something and has a deadline, and a failure shows the logs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from tests.cluster.warm import WARM, Daemon
from tests.support.ports import HeldPort

from grpcflow import Grpcflow
from grpcflow_protos.v1.control_service_pb2 import WorkerState

HERE = Path(__file__).parent

#: Seconds after which a wait fails; generous, for a machine that does other things too.
LIMIT = 40.0

#: Seconds between two looks of a wait.
LOOK = 0.02


def wait_for(what: str, condition: Callable[[], Any], limit: float = LIMIT) -> Any:
    """Wait until `condition()` is true and return what it gave; fail by name after `limit` seconds.

    A coordinator that cannot be reached is no answer: on a busy machine a client gives up before it was welcomed.
    """
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while True:
        error: ConnectionError | None = None
        try:
            value = condition()
            if value:
                return value
        except ConnectionError as away:
            error = away
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit:g} s in vain for: {what}") from error
        pause.wait(LOOK)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; one that has ended and that nobody has reaped does not."""
    left = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left


class Process:
    """One of our commands, running; its output goes to a file.

    Args:
        log: where its output goes.
        command: what follows `python -m`.
        env: all of its environment.
        warm: True: a daemon, forked from a process that has imported what it needs; see warm.py.
    """

    def __init__(self, log: Path, *command: str, env: dict[str, str], warm: bool = False) -> None:
        self.log = log
        self.popen: subprocess.Popen[bytes] | Daemon
        if warm:
            self.popen = WARM.start(command, log=log, env=env)
            return
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=file, stderr=subprocess.STDOUT, env=env, cwd=log.parent
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.popen.pid

    def kill(self) -> None:
        """Kill it with -9 and reap it."""
        self.popen.kill()
        self.popen.wait(LIMIT)

    def terminate(self) -> int:
        """Ask it to stop, wait, and return the exit code."""
        self.popen.terminate()
        return self.popen.wait(LIMIT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.popen.send_signal(number)

    def children(self) -> list[psutil.Process]:
        """Return all its descendants that run."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return alive(psutil.Process(self.pid).children(recursive=True))
        return []


class Cluster:
    """A coordinator and workers; `stop` ends everything, whatever state it is in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held = HeldPort()
        self.port = self._held.number
        self.address = self._held.address
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.coordinator: Process | None = None
        self.workers: dict[str, Process] = {}
        self.app = Grpcflow("cluster", coordinator=self.address, set_as_current=False)
        self._all: list[Process] = []
        #: Options and queues of those that were hired, by name.
        self._hired: dict[str, tuple[str, ...]] = {}

    def environment(self, address: str | None = None) -> dict[str, str]:
        """Return the environment of the processes; tasks leave notes in the folder NOTES."""
        paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        return {
            **os.environ,
            "GRPCFLOW_COORDINATOR": address or self.address,
            "PYTHONPATH": paths,
            "NOTES": str(self.notes),
        }

    def start_coordinator(self, *options: str) -> Process:
        """Start the coordinator on the cluster's folder and port, and wait until it serves."""
        self.coordinator = self.launch_coordinator("grpcflow_coordinator", *options)
        wait_for("the coordinator to serve", self._serves)
        return self.coordinator

    def launch_coordinator(self, module: str, *options: str, **variables: str) -> Process:
        """Start a coordinator on the cluster's folder and port and wait for nothing."""
        command = [module, "--data", str(self.folder / "data"), "--listen", self.address, *options]
        return self._run("coordinator", *command, env=self.environment() | variables, warm=True)

    def _serves(self) -> bool:
        assert self.coordinator is not None
        if self.coordinator.popen.poll() is not None:
            raise AssertionError(f"the coordinator ended: {self.coordinator.log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def start_worker(
        self, name: str, *options: str, queues: str = "default", address: str | None = None, wait: bool = True
    ) -> Process:
        """Start a worker (2 prefork children unless the options say otherwise) and wait until it is known."""
        command = ["grpcflow_worker", "-A", "cluster_tasks", "-n", name, "-Q", queues, "-c", "2", *options]
        worker = self._run(name, *command, env=self.environment(address), warm=True)
        self.workers[name] = worker
        if wait:
            wait_for(f"worker {name} to be live", lambda: self.state_of(name) == "live" or self._ended(worker))
        return worker

    def hire(self, name: str, *options: str, queues: str = "default") -> None:
        """Start a worker unless the one of this name runs: for the cluster that many tests share.

        Whoever names it wants the same of it, since which test comes first is chance.
        """
        if name not in self.workers:
            self.start_worker(name, *options, queues=queues)
            self._hired[name] = (*options, queues)
        assert self._hired[name] == (*options, queues), f"{name} was hired for {self._hired[name]}: take another name"

    def assert_whole(self) -> None:
        """Fail where a process of this cluster has ended that nobody was to end."""
        assert self.coordinator is not None
        for process in (self.coordinator, *self.workers.values()):
            code = process.popen.poll()
            assert code is None, f"{process.log.stem} of the shared cluster ended with {code}: {self.logs()}"

    @staticmethod
    def _ended(worker: Process) -> bool:
        if worker.popen.poll() is not None:
            raise AssertionError(f"the worker ended: {worker.log.read_text()[-2000:]}")
        return False

    def state_of(self, name: str) -> str | None:
        """Return how a worker stands ("live", "broken", "draining"), or None where it is unknown."""
        found = {info.name: info.state for info in self.app.connection.list_workers()}
        state = found.get(name)
        return None if state is None else WorkerState.Name(state).removeprefix("WORKER_STATE_").lower()

    def _run(self, name: str, *command: str, env: dict[str, str], warm: bool = False) -> Process:
        process = Process(self.folder / f"{name}.log", *command, env=env, warm=warm)
        self._all.append(process)
        return process

    def noted(self, prefix: str = "") -> list[str]:
        """Return the names of the notes that tasks left: one file for each run of a task."""
        return sorted(path.name for path in self.notes.iterdir() if path.name.startswith(prefix))

    def count(self, prefix: str = "") -> int:
        """Return how many notes begin like this."""
        return len(self.noted(prefix))

    def launch(self, name: str, *command: str, **variables: str) -> Process:
        """Start a command and wait for nothing; `name` is that of its log, `variables` are for its environment."""
        return self._run(name, *command, env=self.environment() | variables)

    def logs(self) -> str:
        """Return the last lines of all logs."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """End everything."""
        with contextlib.suppress(Exception):
            self.app.connection.close()
        for process in reversed(self._all):
            children = process.children()
            with contextlib.suppress(ProcessLookupError):
                process.popen.send_signal(signal.SIGCONT)
                process.popen.kill()
            process.popen.wait(LIMIT)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._held.close()


@contextlib.contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    """Give a cluster in a folder; its logs are printed, which pytest shows where a test failed."""
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.stop()
        print(cluster.logs())
