"""The cluster under measurement: a durable coordinator and workers with two prefork children each."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.processes import command, cpu_seconds, environment, family, free_port

#: Seconds in which a cluster, or what is added to it, must be up.
START_LIMIT = 60.0

#: Seconds in which a coordinator with millions of calls must be up again.
RESTART_LIMIT = 300.0

#: Where the package of the benchmark lies.
_SCRIPTS = Path(__file__).parent.parent


class Cluster:
    """A coordinator and workers, running: a context manager.

    Args:
        workers: how many, with two prefork children each; 0 for none.
        folder: where the data lies; None: a temporary folder.
        extra: further variables of the environment of workers that are started.
    """

    def __init__(self, workers: int = 1, folder: Path | None = None, extra: Mapping[str, str] | None = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._scratch = Path(tempfile.mkdtemp(prefix="bench-"))
        self._data = folder or self._scratch / "data"
        self._workers = workers
        self._extra = dict(extra or {})
        #: By name; the coordinator is the first.
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def _start(self, name: str, *words: str) -> None:
        with (self._scratch / f"{name}.log").open("ab") as file:
            self._processes[name] = subprocess.Popen(
                words,
                env={**environment(self.address, _SCRIPTS), **self._extra},
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self._scratch,
            )

    def __enter__(self) -> Cluster:
        from benchmarks import tasks

        try:
            self._start_coordinator()
            for number in range(self._workers):
                self.start_worker(f"bench{number or ''}")
            tasks.app.conf.update(coordinator=self.address)
            self.wait_for_workers(self._workers)
        except BaseException:
            self._stop()
            raise
        return self

    def _start_coordinator(self) -> None:
        data = ("--data", str(self._data), "--listen", self.address)
        self._start("coordinator", command("grpcflow-coordinator"), *data)

    def start_worker(self, name: str, queues: str = "default") -> None:
        """Start a worker with two prefork children; `wait_for_workers` says when it is there."""
        options = ("-A", "benchmarks.tasks", "-c", "2", "-P", "prefork", "-n", name, "--queues", queues)
        self._start(name, command("grpcflow-worker"), *options)

    def start_simulated(self, count: int, queue: str, capacity: int = 64) -> None:
        """Start a process that is many workers at once, each a connection; see simulated.py."""
        options = (self.address, "--workers", str(count), "--queue", queue, "--capacity", str(capacity))
        self._start(f"simulated-{queue}-{count}", sys.executable, "-m", "benchmarks.simulated", *options)

    def end(self, name: str) -> None:
        """End a process that was started under this name, or whose name begins so."""
        for full in [full for full in self._processes if full.startswith(name)]:
            _end(self._processes.pop(full))

    def restart(self) -> float:
        """Kill the coordinator with -9 and start it again on its data; return the seconds until it answers."""
        from benchmarks import tasks

        process = self._processes["coordinator"]
        process.kill()
        process.wait(START_LIMIT)
        tasks.app.connection.close()  # its pause before it connects again is not what is measured
        start = time.perf_counter()
        self._start_coordinator()
        self.wait_until(self._listens, "the coordinator listens", RESTART_LIMIT)
        self.wait_until(lambda: tasks.app.connection.list_workers() is not None, "the coordinator answers")
        return time.perf_counter() - start

    def _listens(self) -> bool:
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=1):
            return True

    def wait_for_workers(self, count: int) -> None:
        """Wait until the coordinator answers and that many workers are there."""
        from benchmarks import tasks

        self.wait_until(lambda: len(tasks.app.connection.list_workers()) == count, f"{count} workers are there")

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = START_LIMIT) -> None:
        """Wait for something that the coordinator tells.

        Raises:
            SystemExit: it did not come, or a process ended meanwhile; the message holds the logs.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and all(one.poll() is None for one in self._processes.values()):
            try:
                if condition():
                    return
            except ConnectionError:
                pass  # it is not up yet
            time.sleep(0.02)
        logs = "\n".join(path.read_text()[-4_000:] for path in self._scratch.glob("*.log"))
        raise SystemExit(f"within {seconds:g} s it was not so that {what}\n{logs}")

    def __exit__(self, *_: object) -> None:
        from benchmarks import tasks

        try:
            tasks.app.connection.close()
        finally:
            self._stop()

    def _stop(self) -> None:
        """End every process, and leave nothing behind."""
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            _end(process)
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def coordinator(self) -> int:
        """The process id of the coordinator."""
        return self._processes["coordinator"].pid

    def bytes_on_disk(self) -> int:
        """Return how many bytes the coordinator's data takes on disk; holes in files do not count."""
        return sum(path.stat().st_blocks * 512 for path in self._data.rglob("*") if path.is_file())

    def cpu(self) -> float:
        """Return the CPU seconds of all processes of the cluster and of this one."""
        pids = [os.getpid()]
        for process in self._processes.values():
            pids += family(process.pid)
        return cpu_seconds(pids)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to stop, and kill it where it does not."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(15)
