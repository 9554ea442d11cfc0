"""A coordinator and some workers as processes of this machine, for as long as a `with` block lasts.

It starts and stops processes and reads their logs; it knows nothing of what they are used for.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from grpcflow import Grpcflow

START_SECONDS = 30.0
STOP_SECONDS = 10.0
LOG_LINES = 12


class ClusterError(Exception):
    """A part of the cluster did not start or died; the message holds the last lines of its log."""


class LocalCluster:
    """Processes on a free port of 127.0.0.1; their data and logs are in `folder`.

    `app` is what `-A` takes; `concurrency` is the number of tasks that each worker runs at once.
    """

    def __init__(self, folder: Path, app: str, concurrency: int = 1) -> None:
        self.folder = folder
        self.app = app
        self.concurrency = concurrency
        self.address = f"127.0.0.1:{free_port()}"
        #: What the processes see; tasks that submit further work find the coordinator here.
        self.environment = {**os.environ, "GRPCFLOW_COORDINATOR": self.address, "PYTHONPATH": absolute_path()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Starts the coordinator; returns before it serves."""
        self._start(
            "coordinator", "grpcflow_coordinator", "--data", str(self.folder / "data"), "--listen", self.address
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops everything: asks first, the workers before the coordinator, and kills what does not listen."""
        names = sorted(self.processes, key=lambda name: name == "coordinator")
        deadline = time.monotonic() + STOP_SECONDS
        for group in (names[:-1], names[-1:]):
            for name in group:
                self.processes[name].terminate()
            for name in group:
                self._finish(name, deadline)

    def start_worker(self, name: str, queues: str = "default", *more: str) -> None:
        """Starts a worker for queues separated by commas, with more options; returns before it is connected."""
        options = ["-A", self.app, "-n", name, "-c", str(self.concurrency), "--coordinator", self.address]
        self._start(name, "grpcflow_worker", *options, "--queues", queues, *more)

    def kill_worker(self, name: str) -> None:
        """Kills a worker with -9, as a machine that loses power would; it cannot clean up."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=STOP_SECONDS)

    def wait_until_online(self, app: Grpcflow, names: Collection[str]) -> None:
        """Waits for at most START_SECONDS until all these workers answer a ping."""
        deadline = time.monotonic() + START_SECONDS
        missing = set(names)
        while missing:
            self.check()
            if time.monotonic() > deadline:
                raise ClusterError(f"no answer from {', '.join(sorted(missing))}\n{self.last_lines(*sorted(missing))}")
            missing = set(names) - answering(app)

    def check(self) -> None:
        """Raises ClusterError when a process that should run has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise ClusterError(f"{name} ended with exit code {process.returncode}\n{self.last_lines(name)}")

    def last_lines(self, *names: str) -> str:
        """Returns the end of the logs of these processes, or of all."""
        parts = []
        for name in names or self.processes:
            log = self.folder / f"{name}.log"
            lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
            parts.append("\n".join([f"--- {name}", *lines]))
        return "\n".join(parts)

    def _start(self, name: str, module: str, *arguments: str) -> None:
        # Each in a session of its own: a Ctrl-C in the terminal is for us, and we stop them in order.
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _finish(self, name: str, deadline: float) -> None:
        process = self.processes[name]
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=STOP_SECONDS)


def answering(app: Grpcflow) -> set[str]:
    """Returns the names of the workers that answer a ping; none while the coordinator is not there yet."""
    try:
        return set(app.control.inspect(timeout=1.0).ping() or ())
    except ConnectionError:
        time.sleep(0.05)
        return set()


def absolute_path() -> str:
    """Returns PYTHONPATH with its entries made absolute: the processes run in another folder than we do."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(str(Path(entry).absolute()) for entry in entries if entry)


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
