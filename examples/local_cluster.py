"""A coordinator and some workers as processes of this machine, for as long as a `with` block lasts.

It starts and stops processes and reads their logs; it knows nothing of what they are used for. `played` is what the
examples wrap their job in, so that each of them ends alike: with a code, with nothing left running, also by Ctrl-C.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from grpcflow import Grpcflow

START_SECONDS = 30.0
STOP_SECONDS = 10.0
LOG_LINES = 12

#: What the coordinator's log says once it serves, before its address.
SERVING = re.compile(r"serving on ([\w.:]+)")


class ClusterError(Exception):
    """A part of the cluster did not start or died; the message holds the last lines of its log."""


class LocalCluster:
    """Processes on a free port of 127.0.0.1; their data and logs are in `folder`.

    `app` is what `-A` takes; `concurrency` is the number of tasks that each worker runs at once. `address` is known
    inside of the `with` block.
    """

    def __init__(self, folder: Path, app: str, concurrency: int = 1) -> None:
        self.folder = folder
        self.app = app
        self.concurrency = concurrency
        self.address = ""
        #: What the processes see; tasks that submit further work find the coordinator here.
        self.environment = {**os.environ, "PYTHONPATH": absolute_path()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Starts the coordinator on a port that the system chooses; returns once it serves."""
        try:
            self.start_coordinator()
        except BaseException:  # nobody leaves a block that was not entered
            self.stop()
            raise
        self.environment["GRPCFLOW_COORDINATOR"] = self.address
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops everything."""
        self.stop()

    def stop(self) -> None:
        """Stops everything: asks first, the workers before the coordinator, and kills what does not listen."""
        names = sorted(self.processes, key=lambda name: name == "coordinator")
        deadline = time.monotonic() + STOP_SECONDS
        for group in (names[:-1], names[-1:]):
            for name in group:
                self.processes[name].terminate()
            for name in group:
                self._finish(name, deadline)

    def start_coordinator(self) -> None:
        """Starts the coordinator where it was, if it was anywhere; returns once it serves."""
        log = self.folder / "coordinator.log"
        told = log.stat().st_size if log.exists() else 0
        data = str(self.folder / "data")
        self._start("coordinator", "grpcflow_coordinator", "--data", data, "--listen", self.address or "127.0.0.1:0")
        self.address = self._served(log, told)

    def kill_coordinator(self) -> None:
        """Kills the coordinator with -9."""
        self._kill("coordinator")

    def start(self, name: str, command: list[str]) -> None:
        """Starts a process that is no worker of ours, with the others' environment; it is stopped with them."""
        self._popen(name, command)

    def start_worker(self, name: str, queues: str = "default", *more: str) -> None:
        """Starts a worker for queues separated by commas, with more options; returns before it is connected."""
        options = ["-A", self.app, "-n", name, "-c", str(self.concurrency), "--coordinator", self.address]
        self._start(name, "grpcflow_worker", *options, "--queues", queues, *more)

    def staff(self, app: Grpcflow, *names: str) -> None:
        """Tells an app where the coordinator is, starts workers of these names, and waits until all are there."""
        app.conf.update(coordinator=self.address)
        for name in names:
            self.start_worker(name)
        self.wait_until_online(app, names)

    def kill_worker(self, name: str) -> None:
        """Kills a worker with -9, as a machine that loses power would; it cannot clean up."""
        self._kill(name)

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

    def _kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=STOP_SECONDS)

    def _served(self, log: Path, told: int) -> str:
        """Waits until the coordinator serves and returns its address, which its log tells after so many bytes."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := SERVING.search(log.read_bytes()[told:].decode(errors="replace"))):
            self.check()
            if time.monotonic() > deadline:
                raise ClusterError(f"the coordinator does not serve\n{self.last_lines('coordinator')}")
            time.sleep(0.02)
        return found[1]

    def _start(self, name: str, module: str, *arguments: str) -> None:
        self._popen(name, [sys.executable, "-m", module, *arguments])

    def _popen(self, name: str, command: list[str]) -> None:
        # Each in a session of its own: a Ctrl-C in the terminal is for us, and we stop them in order.
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
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


def played(name: str, job: Callable[[LocalCluster], bool], app: str = "", concurrency: int = 2) -> int:
    """Does an example's job on a cluster of its own in a folder of its own, and takes both away again.

    Args:
        name: the example's name.
        job: what it does; False says that its result is wrong.
        app: what `-A` takes; empty: the name.
        concurrency: how many tasks each worker runs at once.

    Returns:
        The exit code: 0 right, 1 wrong or not finished, 130 after Ctrl-C or SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=f"grpcflow-{name}-") as folder,
            LocalCluster(Path(folder), app or name, concurrency) as cluster,
        ):
            return finished(cluster, job)
    except ClusterError as error:
        print(f"the cluster failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130


def finished(cluster: LocalCluster, job: Callable[[LocalCluster], bool]) -> int:
    """Does the job and returns the exit code; a wait that is over tells what the processes said last."""
    try:
        right = job(cluster)
    except TimeoutError as error:
        raise ClusterError(f"{error}\n{cluster.last_lines()}") from error
    print("the result is right" if right else "THE RESULT IS WRONG")
    return 0 if right else 1
