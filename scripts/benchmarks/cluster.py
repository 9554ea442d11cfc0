"""The cluster under measurement: a durable coordinator and workers with two prefork children each."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import command, cpu_seconds, environment, family, free_port

#: Seconds in which a cluster must be up.
START_LIMIT = 30.0


class Cluster:
    """A coordinator and workers, running: a context manager.

    Args:
        workers: how many, with two prefork children each; 0 for none.
        folder: where the data lies; None: a temporary folder.
    """

    def __init__(self, workers: int = 1, folder: Path | None = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._scratch = Path(tempfile.mkdtemp(prefix="bench-"))
        self._data = folder or self._scratch / "data"
        self._workers = workers
        self._processes: list[subprocess.Popen[bytes]] = []

    def _start(self, name: str, *arguments: str, log: str = "") -> None:
        with (self._scratch / f"{log or name}.log").open("wb") as file:
            process = subprocess.Popen(
                [command(name), *arguments],
                env=environment(self.address, Path(__file__).parent.parent),
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self._scratch,
            )
        self._processes.append(process)

    def __enter__(self) -> Cluster:
        from benchmarks import tasks

        self._start("grpcflow-coordinator", "--data", str(self._data), "--listen", self.address)
        for number in range(self._workers):
            name = f"bench{number or ''}"
            options = ("-A", "benchmarks.tasks", "-c", "2", "-P", "prefork", "-n", name)
            self._start("grpcflow-worker", *options, log=name)
        tasks.app.conf.update(coordinator=self.address)
        try:
            self._wait_until_up(tasks.app)
        except BaseException:
            self._stop()
            raise
        return self

    def _wait_until_up(self, app: Any) -> None:
        """Wait until the coordinator answers and the worker is there."""
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            try:
                if len(app.connection.list_workers()) == self._workers:
                    return
            except ConnectionError:
                pass
            time.sleep(0.1)
        logs = "\n".join(path.read_text() for path in self._scratch.glob("*.log"))
        raise SystemExit(f"the cluster was not up within {START_LIMIT:g} s\n{logs}")

    def __exit__(self, *_: object) -> None:
        from benchmarks import tasks

        try:
            tasks.app.connection.close()
        finally:
            self._stop()

    def _stop(self) -> None:
        """End every process, and leave nothing behind."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(15)
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def coordinator(self) -> int:
        """The process id of the coordinator."""
        return self._processes[0].pid

    def bytes_on_disk(self) -> int:
        """Return how many bytes the coordinator's data takes on disk; holes in files do not count."""
        return sum(path.stat().st_blocks * 512 for path in self._data.rglob("*") if path.is_file())

    def cpu(self) -> float:
        """Return the CPU seconds of all processes of the cluster and of this one."""
        pids = [os.getpid()]
        for process in self._processes:
            pids += family(process.pid)
        return cpu_seconds(pids)
