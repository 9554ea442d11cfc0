"""Dask distributed: a scheduler and two workers, each a process. Runs in the peers' own Python."""
# pyright: reportMissingImports=false

from __future__ import annotations

import os
from typing import Any

from distributed import Client  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import work
from benchmarks.peers.driver import Peer, main, start

ADDRESS = f"tcp://127.0.0.1:{os.environ.get('BENCH_PORT', '8786')}"


def _known(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


class DaskPeer(Peer):
    """Dask, whose graphs are futures handed to further tasks."""

    settings = (
        "a scheduler process, 2 worker processes of 1 thread without nanny, no dashboard, client.map, pure=False; "
        "Dask's own format (pickle and msgpack)"
    )
    durability = "nothing is durable: the scheduler holds tasks and the workers hold results, in memory"
    packages = ("distributed",)

    def open(self) -> None:
        """Start a scheduler and connect."""
        port = ADDRESS.rpartition(":")[2]
        start(
            "dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show", log="scheduler"
        )
        self._client = Client(ADDRESS, timeout=60, set_as_default=False)

    def clear(self) -> None:
        """Nothing waits: a future that nobody holds is forgotten, and with it its task."""

    def start_workers(self) -> None:
        """Start two processes of one thread, and wait until both are there."""
        for number in range(2):
            options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", f"bench{number}")
            start("dask", "worker", ADDRESS, *options, log=f"worker{number}")
        self._client.wait_for_workers(2, timeout=60)

    def _map(self, count: int) -> list[Any]:
        futures: list[Any] = self._client.map(work.add, range(count), range(count), pure=False)
        return futures

    def submit(self, count: int) -> None:
        """A client.map, until the scheduler knows them all."""
        futures = self._map(count)
        while self._client.run_on_scheduler(_known) < len(futures):
            pass

    def one(self, number: int) -> int:
        """A submit and result."""
        value: int = self._client.submit(work.add, number, 1, pure=False).result()
        return value

    def group(self, count: int) -> list[int]:
        """A client.map and gather."""
        values: list[int] = self._client.gather(self._map(count))
        return values

    def _chord(self, count: int) -> Any:
        return self._client.submit(work.total, self._map(count), pure=False)

    def chord(self, count: int) -> int:
        """A task of many futures."""
        value: int = self._chord(count).result()
        return value

    def chords(self, count: int, each: int) -> int:
        """A task of such futures."""
        value: int = self._client.submit(work.total, [self._chord(each) for _ in range(count)], pure=False).result()
        return value

    def chain(self, steps: int) -> int:
        """Tasks, each of the future before."""
        future = self._client.submit(work.add, 0, 1, pure=False)
        for _ in range(steps - 1):
            future = self._client.submit(work.add, future, 1, pure=False)
        value: int = future.result()
        return value

    def echoes(self, texts: list[str]) -> list[str]:
        """A client.map and gather."""
        values: list[str] = self._client.gather(self._client.map(work.echo, texts, pure=False))
        return values


if __name__ == "__main__":
    main(DaskPeer())
