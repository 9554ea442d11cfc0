"""procrastinate on Postgres, where there is one: submitting only, since it keeps no results.

Runs in the peers' own Python.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg  # type: ignore[import-not-found,unused-ignore]
from procrastinate import App, SyncPsycopgConnector  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import work
from benchmarks.peers.driver import NoWay, Peer, main, start

PORT = os.environ.get("BENCH_PORT", "5432")
ADDRESS = f"host=127.0.0.1 port={PORT} user=bench dbname=postgres"

#: Where the packages of the distributions put what is not on the PATH.
PACKAGED = Path("/usr/lib/postgresql")

#: Seconds in which Postgres must answer, and must end.
LIMIT = 30.0

#: Jobs in one statement.
BATCH = 1_000


def _binaries() -> Path:
    """Return the folder of the newest Postgres."""
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    packaged = sorted(PACKAGED.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if not packaged:
        raise NoWay("procrastinate needs Postgres, and there is none on the PATH or in its usual place")
    return packaged[-1].parent


def _owner() -> str | None:
    """Return who Postgres must run as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class ProcrastinatePeer(Peer):
    """procrastinate: durable, and with no results to read back."""

    settings = f"Postgres as it comes with fsync, batch_defer of {BATCH:,} jobs a statement, JSON"
    durability = "every batch is a transaction of Postgres, synced to disk before it returns"
    packages = ("procrastinate", "psycopg")

    def open(self) -> None:
        """Start Postgres and make the tables."""
        binaries, owner, data = _binaries(), _owner(), Path.cwd() / "data"
        data.mkdir(mode=0o700)
        if owner:
            Path.cwd().chmod(0o711)
            shutil.chown(data, owner)
        initialise = [str(binaries / "initdb"), "-D", str(data), "-U", "bench", "--auth=trust"]
        done = subprocess.run(initialise, user=owner, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise SystemExit(f"initdb failed: {done.stderr}")
        options = ("-D", str(data), "-p", PORT, "-h", "127.0.0.1", "-k", "")
        self._server = start(str(binaries / "postgres"), *options, log="postgres", user=owner)
        self._wait_until_up()
        self._app: Any = App(connector=SyncPsycopgConnector(conninfo=ADDRESS))
        self._app.open()
        self._app.schema_manager.apply_schema()
        self._add: Any = self._app.task(name="add")(work.add)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                psycopg.connect(ADDRESS).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        raise SystemExit(f"Postgres did not answer within {LIMIT:g} s: {Path('postgres.log').read_text()[-500:]}")

    def start_workers(self) -> None:
        """Nothing that could be compared."""
        raise NoWay("procrastinate keeps no results that could be awaited and checked")

    def clear(self) -> None:
        """Drop the jobs."""
        with psycopg.connect(ADDRESS) as connection:
            connection.execute("TRUNCATE procrastinate_jobs CASCADE")

    def submit(self, count: int) -> None:
        """Some batch_defers."""
        for first in range(0, count, BATCH):
            self._add.batch_defer(*({"x": i, "y": i} for i in range(first, min(first + BATCH, count))))

    def close(self) -> None:
        """Stop Postgres in its own way: killed, it would leave a piece of shared memory behind."""
        self._app.close()
        self._server.send_signal(signal.SIGINT)
        self._server.wait(LIMIT)


if __name__ == "__main__":
    main(ProcrastinatePeer())
