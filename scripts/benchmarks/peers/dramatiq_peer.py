"""dramatiq on Redis, broker and results: two processes. Runs in the peers' own Python."""
# pyright: reportMissingImports=false

from __future__ import annotations

import uuid
from typing import Any

import dramatiq  # type: ignore[import-not-found,unused-ignore]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found,unused-ignore]
from dramatiq.middleware import GroupCallbacks, Pipelines  # type: ignore[import-not-found,unused-ignore]
from dramatiq.rate_limits.backends import RedisBackend as Limits  # type: ignore[import-not-found,unused-ignore]
from dramatiq.results import Results  # type: ignore[import-not-found,unused-ignore]
from dramatiq.results.backends import RedisBackend  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import redis_server, work
from benchmarks.peers.driver import NoWay, Peer, main, start

#: Milliseconds that a result is waited for; the other side gives up earlier.
LIMIT = 600_000

results: Any = RedisBackend(url=redis_server.PATIENT_URL)
# Results stand behind callbacks, since what follows a task is done in the reverse order: a callback finds them stored.
middleware = [
    GroupCallbacks(Limits(url=redis_server.PATIENT_URL)),
    Pipelines(),
    Results(backend=results, store_results=True),
]
broker: Any = RedisBroker(url=redis_server.PATIENT_URL, middleware=middleware)
dramatiq.set_broker(broker)
add: Any = dramatiq.actor(actor_name="add")(work.add)
echo: Any = dramatiq.actor(actor_name="echo")(work.echo)


def _member(chord: str, number: int) -> Any:
    """Return a member of a chord; its id follows from the chord's, so that a callback finds it by two values."""
    return add.message(number, number).copy(message_id=f"{chord}-{number}")


def total_of(chord: str, count: int) -> int:
    """Add up the results of a chord's members: a completion callback is not handed them."""
    return sum(_member(chord, number).get_result(backend=results) for number in range(count))


total: Any = dramatiq.actor(actor_name="total")(total_of)


def _messages(count: int) -> list[Any]:
    return [add.message(i, i) for i in range(count)]


class DramatiqPeer(Peer):
    """dramatiq, with groups, completion callbacks and pipelines of its own."""

    settings = (
        "Redis as broker and result backend with hiredis, 2 processes of 8 threads (its default), only the middleware "
        "of results, pipelines and group callbacks, JSON; a chord is a completion callback that reads results"
    )
    durability = redis_server.DURABILITY
    packages = ("dramatiq", "redis")

    def open(self) -> None:
        """Start Redis."""
        redis_server.start_redis()

    def clear(self) -> None:
        """Empty Redis."""
        redis_server.flush()

    def start_workers(self) -> None:
        """Start two processes."""
        start("dramatiq", "benchmarks.peers.dramatiq_peer", "--processes", "2", "--threads", "8")

    def submit(self, count: int) -> None:
        """A group."""
        dramatiq.group(_messages(count)).run()

    def one(self, number: int) -> int:
        """A message, whose result is waited for by Redis's blocking pop."""
        value: int = add.send(number, 1).get_result(block=True, timeout=LIMIT)
        return value

    def group(self, count: int) -> list[int]:
        """A group."""
        return list(dramatiq.group(_messages(count)).run().get_results(block=True, timeout=LIMIT))

    def chord(self, count: int) -> int:
        """A group with a completion callback."""
        chord = uuid.uuid4().hex
        last = total.message(chord, count)
        group = dramatiq.group(_member(chord, number) for number in range(count))
        group.add_completion_callback(last)
        group.run()
        value: int = last.get_result(block=True, timeout=LIMIT)
        return value

    def chords(self, count: int, each: int) -> int:
        """Nothing of its own."""
        raise NoWay("a completion callback belongs to one group of plain messages: groups with callbacks do not nest")

    def chain(self, steps: int) -> int:
        """A pipeline."""
        pipeline = dramatiq.pipeline([add.message(0, 1), *(add.message(1) for _ in range(steps - 1))])
        value: int = pipeline.run().get_result(block=True, timeout=LIMIT)
        return value

    def echoes(self, texts: list[str]) -> list[str]:
        """A group."""
        return list(dramatiq.group(echo.message(text) for text in texts).run().get_results(block=True, timeout=LIMIT))


if __name__ == "__main__":
    main(DramatiqPeer())
