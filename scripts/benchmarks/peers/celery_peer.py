"""Celery on Redis, broker and results: a prefork worker with two children. Runs in the peers' own Python."""
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

from celery import Celery, chain, chord, group  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import redis_server, work
from benchmarks.peers.driver import Peer, main, start

#: Seconds between two looks of who waits for a group. Results come by themselves, but Celery 5.7 then still waits for
#: one interval where the last ones came together, and its default is half a second.
PAUSE = 0.005

app: Any = Celery("peer", broker=redis_server.URL, backend=redis_server.URL)
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=False,
    task_track_started=False,
    task_send_sent_event=False,
    worker_send_task_events=False,
    worker_disable_rate_limits=True,
    worker_prefetch_multiplier=64,
    worker_enable_remote_control=False,
)
add: Any = app.task(name="add")(work.add)
total: Any = app.task(name="total")(work.total)
echo: Any = app.task(name="echo")(work.echo)


class CeleryPeer(Peer):
    """Celery, with groups, chords and chains of its own."""

    settings = (
        "Redis as broker and result backend with hiredis, prefork -c 2, prefetch multiplier 64, early acks, JSON; no "
        "gossip, mingle, heartbeat, events, rate limits or remote control; get(interval=0.005); canvas of its own"
    )
    durability = redis_server.DURABILITY
    packages = ("celery", "redis")

    def open(self) -> None:
        """Start Redis."""
        redis_server.start_redis()

    def clear(self) -> None:
        """Empty Redis."""
        redis_server.flush()

    def start_workers(self) -> None:
        """Start a worker with two children."""
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
        start("celery", "-A", "benchmarks.peers.celery_peer", "worker", "-P", "prefork", "-c", "2", *quiet)

    def submit(self, count: int) -> None:
        """A group."""
        group(add.s(i, i) for i in range(count)).apply_async()

    def one(self, number: int) -> int:
        """`delay().get()`."""
        value: int = add.delay(number, 1).get()
        return value

    def group(self, count: int) -> list[int]:
        """A group."""
        values: list[int] = group(add.s(i, i) for i in range(count)).apply_async().get(interval=PAUSE)
        return values

    def chord(self, count: int) -> int:
        """A chord."""
        value: int = chord((add.s(i, i) for i in range(count)), total.s()).apply_async().get(interval=PAUSE)
        return value

    def chords(self, count: int, each: int) -> int:
        """A chord of chords."""
        members = [chord([add.s(i, i) for i in range(each)], total.s()) for _ in range(count)]
        value: int = chord(members, total.s()).apply_async().get(interval=PAUSE)
        return value

    def chain(self, steps: int) -> int:
        """A chain."""
        value: int = chain(add.s(0, 1), *(add.s(1) for _ in range(steps - 1))).apply_async().get(interval=PAUSE)
        return value

    def echoes(self, texts: list[str]) -> list[str]:
        """A group."""
        values: list[str] = group(echo.s(text) for text in texts).apply_async().get(interval=PAUSE)
        return values


if __name__ == "__main__":
    main(CeleryPeer())
