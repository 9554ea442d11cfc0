"""huey on Redis or on SQLite: a consumer with two processes. Runs in the peers' own Python."""
# pyright: reportMissingImports=false

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import huey as package  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import redis_server, work
from benchmarks.peers.driver import Peer, main, start

#: Whether SQLite is the store; the other side says it by the peer's name.
SQLITE = os.environ.get("BENCH_PEER", "").startswith("huey-sqlite")

#: Seconds between two looks at SQLite, which wakes nobody.
PAUSE = 0.001

#: Seconds that SQLite waits for its lock: with huey's 5 a busy disk costs tasks and results.
LOCK_LIMIT = 300


def _huey() -> Any:
    if SQLITE:
        return package.SqliteHuey(filename=str(Path.cwd() / "huey.db"), timeout=LOCK_LIMIT)
    return package.RedisHuey(url=redis_server.PATIENT_URL, notify_result=True)


huey: Any = _huey()
add: Any = huey.task(name="add")(work.add)
total: Any = huey.task(name="total")(work.total)
echo: Any = huey.task(name="echo")(work.echo)


def _value(result: Any) -> Any:
    return result.get(blocking=True, max_delay=PAUSE, preserve=True)


def _members(count: int) -> list[Any]:
    return [add.s(i, i) for i in range(count)]


class HueyPeer(Peer):
    """huey, with groups, chords and pipelines of its own."""

    settings = "2 worker processes, no periodic tasks, no health check, pickle (huey's own format), results kept" + (
        "; SQLite in WAL mode, looked at every millisecond by workers and client, lock waited for 300 s"
        if SQLITE
        else "; Redis with hiredis, blocking pops, results notified"
    )
    durability = (
        "every statement is a transaction of SQLite, synced to disk before it returns (WAL, synchronous=FULL)"
        if SQLITE
        else redis_server.DURABILITY
    )
    packages = ("huey",) if SQLITE else ("huey", "redis")

    def open(self) -> None:
        """Start Redis where that is the store."""
        if not SQLITE:
            redis_server.start_redis()

    def clear(self) -> None:
        """Empty the store."""
        huey.storage.flush_all()

    def start_workers(self) -> None:
        """Start a consumer."""
        pace = ("-d", str(PAUSE), "-m", str(PAUSE), "-b", "1.0") if SQLITE else ()
        start("huey_consumer", "benchmarks.peers.huey_peer.huey", "-k", "process", "-w", "2", "-n", "-C", "-q", *pace)

    def submit(self, count: int) -> None:
        """A group."""
        huey.enqueue(package.group(_members(count)))

    def one(self, number: int) -> int:
        """A call, whose result is waited for."""
        value: int = _value(add(number, 1))
        return value

    def group(self, count: int) -> list[int]:
        """A group."""
        values: list[int] = _value(huey.enqueue(package.group(_members(count))))
        return values

    def chord(self, count: int) -> int:
        """A chord."""
        value: int = _value(huey.enqueue(package.chord(_members(count), total.s())))
        return value

    def chords(self, count: int, each: int) -> int:
        """A chord of chords."""
        members = [package.chord(_members(each), total.s()) for _ in range(count)]
        value: int = _value(huey.enqueue(package.chord(members, total.s())))
        return value

    def chain(self, steps: int) -> int:
        """A pipeline."""
        first = add.s(0, 1)
        for _ in range(steps - 1):
            first = first.then(add, 1)
        results = list(huey.enqueue(first))
        value: int = _value(results[-1])
        return value

    def echoes(self, texts: list[str]) -> list[str]:
        """A group."""
        values: list[str] = _value(huey.enqueue(package.group([echo.s(text) for text in texts])))
        return values


if __name__ == "__main__":
    main(HueyPeer())
