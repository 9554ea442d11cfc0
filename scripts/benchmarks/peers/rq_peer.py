"""RQ on Redis: a pool of two workers that do not fork. Runs in the peers' own Python."""
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import redis  # type: ignore[import-not-found,unused-ignore]
from rq import Queue, get_current_job  # type: ignore[import-not-found,unused-ignore]
from rq.serializers import JSONSerializer  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import redis_server
from benchmarks.peers.driver import Peer, main, start

#: Seconds that a result is waited for; the other side gives up earlier.
LIMIT = 600

ADD = "benchmarks.peers.work.add"
ECHO = "benchmarks.peers.work.echo"
TOTAL = "benchmarks.peers.rq_peer.total_of_dependencies"
ADD_TO_DEPENDENCY = "benchmarks.peers.rq_peer.add_to_dependency"


def _dependencies() -> list[int]:
    job: Any = get_current_job()
    return [one.return_value() for one in job.fetch_dependencies()]


def total_of_dependencies() -> int:
    """Add up what the jobs returned that this one depends on."""
    return sum(_dependencies())


def add_to_dependency(number: int) -> int:
    """Add to what the job returned that this one depends on."""
    return _dependencies()[0] + number


def _value(job: Any) -> Any:
    result = job.latest_result(timeout=LIMIT)
    if result is None or result.exc_string:
        raise RuntimeError(f"job {job.id} failed: {result and result.exc_string}")
    return result.return_value


class RqPeer(Peer):
    """RQ, with dependencies between jobs."""

    settings = (
        "Redis with hiredis, worker-pool of 2 SimpleWorkers (no fork for a job), enqueue_many in one pipeline, JSON; "
        "chords and chains are jobs that depend on others and read their results"
    )
    durability = redis_server.DURABILITY
    packages = ("rq", "redis")

    def open(self) -> None:
        """Start Redis."""
        redis_server.start_redis()
        self._queue = Queue(
            "bench", connection=redis.Redis.from_url(redis_server.PATIENT_URL), serializer=JSONSerializer
        )

    def clear(self) -> None:
        """Empty Redis."""
        redis_server.flush()

    def start_workers(self) -> None:
        """Start a pool."""
        options = ("-n", "2", "-w", "rq.worker.SimpleWorker", "-S", "json", "-u", redis_server.PATIENT_URL, "-q")
        start("rq", "worker-pool", "bench", *options)

    def _many(self, function: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        datas = [Queue.prepare_data(function, args, description="") for args in arguments]
        jobs: list[Any] = self._queue.enqueue_many(datas)
        return jobs

    def _adds(self, count: int) -> list[Any]:
        return self._many(ADD, [(i, i) for i in range(count)])

    def submit(self, count: int) -> None:
        """One enqueue_many."""
        self._adds(count)

    def one(self, number: int) -> int:
        """A job, whose result stream is waited for."""
        value: int = _value(self._queue.enqueue(ADD, number, 1))
        return value

    def group(self, count: int) -> list[int]:
        """One enqueue_many."""
        return [_value(job) for job in self._adds(count)]

    def _chord(self, count: int) -> Any:
        return self._queue.enqueue(TOTAL, depends_on=self._adds(count))

    def chord(self, count: int) -> int:
        """A job that depends on the members."""
        value: int = _value(self._chord(count))
        return value

    def chords(self, count: int, each: int) -> int:
        """A job that depends on such jobs."""
        value: int = _value(self._queue.enqueue(TOTAL, depends_on=[self._chord(each) for _ in range(count)]))
        return value

    def chain(self, steps: int) -> int:
        """Jobs, each depending on the one before."""
        job = self._queue.enqueue(ADD, 0, 1)
        for _ in range(steps - 1):
            job = self._queue.enqueue(ADD_TO_DEPENDENCY, 1, depends_on=job)
        value: int = _value(job)
        return value

    def echoes(self, texts: list[str]) -> list[str]:
        """One enqueue_many."""
        return [_value(job) for job in self._many(ECHO, [(text,) for text in texts])]


if __name__ == "__main__":
    main(RqPeer())
