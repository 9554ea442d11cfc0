"""A real Prometheus on a free port, with what tests ask it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from tests.cluster.harness import wait_for
from tests.support.scraping import answered

#: Seconds that anything may take: it scrapes every second.
BOUND = 60.0


class Prometheus:
    """A server that runs.

    Args:
        process: its process.
        log: where its output goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.url = f"http://127.0.0.1:{wait_for('Prometheus to listen', self._port, BOUND)}"
        wait_for("Prometheus to be ready", lambda: self._status("/-/ready") == 200, BOUND)

    def _port(self) -> int | None:
        """Return the port that it listens on; it was given none, so that nobody else can have it."""
        assert self._process.poll() is None, self._log.read_text()
        found = psutil.Process(self._process.pid).net_connections("tcp")
        return next((one.laddr.port for one in found if one.status == psutil.CONN_LISTEN), None)

    def _status(self, path: str) -> int:
        return answered(self.url + path)[0]

    def ask(self, path: str, **words: str) -> Any:
        """Return what its programming interface answers; fails where that is an error."""
        status, body, _ = answered(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}")
        answer = json.loads(body)
        assert (status, answer["status"]) == (200, "success"), (words, answer)
        return answer["data"]

    def query(self, expression: str) -> list[float]:
        """Return the values that a query has now."""
        return [float(one["value"][1]) for one in self.ask("query", query=expression)["result"]]

    def wait(self, expression: str) -> list[float]:
        """Wait until a query has values, and return them."""
        found: list[float] = wait_for(f"{expression} to have a value", lambda: self.query(expression), BOUND)
        return found


@contextlib.contextmanager
def prometheus(folder: Path, config: Path) -> Iterator[Prometheus]:
    """Run a server with a configuration; its log is printed, which pytest shows where a test failed."""
    log = folder / "prometheus.log"
    command = [
        *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'series'}"),
        *("--web.listen-address=127.0.0.1:0", "--log.level=warn"),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
    try:
        yield Prometheus(process, log)
    finally:
        process.terminate()
        try:
            process.wait(BOUND)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(BOUND)
        print(log.read_text()[-3000:])
