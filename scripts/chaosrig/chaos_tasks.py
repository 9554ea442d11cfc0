"""The tasks of the rig. Each run writes its begin and its end to a file outside of the cluster, by itself.

CHAOS_HISTORY names the folder. May NOT decide anything: what a run means is for the checker.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from chaosrig.history import Begun, Ended, Journal
from grpcflow import Grpcflow

app = Grpcflow("chaos", set_as_current=False)

_pause = threading.Event().wait


@cache
def _journal(pid: int) -> Journal:
    """Return the file of this process; by its id, so that a forked child opens its own."""
    return Journal(Path(os.environ["CHAOS_HISTORY"]) / f"runs-{pid}.jsonl")


@contextmanager
def _written(task: Any, key: str, seconds: float) -> Iterator[None]:
    """Write that a run began and that it ended, however it did; what is in between takes so many seconds more."""
    request, pid = task.request, os.getpid()
    token = request._token
    journal = _journal(pid)
    where = (pid, os.getppid(), request.hostname)
    journal.write(Begun(time.monotonic(), request.id, token, request.retries, key, task.name, *where))
    try:
        _pause(seconds)
        yield
    finally:
        journal.write(Ended(time.monotonic(), request.id, token))


@app.task(name="chaos.work", bind=True)
def work(self: Any, key: str, value: int, seconds: float = 0.0) -> int:
    """Take some time and return the value."""
    with _written(self, key, seconds):
        return value


@app.task(name="chaos.plus", bind=True)
def plus(self: Any, value: int, key: str, more: int) -> int:
    """Add to what came from the step before."""
    with _written(self, key, 0.0):
        return value + more


@app.task(name="chaos.total", bind=True)
def total(self: Any, values: list[int], key: str) -> int:
    """Add up what the members of a chord returned."""
    with _written(self, key, 0.0):
        return sum(values)


@app.task(name="chaos.once", bind=True, acks_late=False)
def once(self: Any, key: str, value: int, seconds: float = 0.0) -> int:
    """Take some time and return the value; never to be run twice."""
    with _written(self, key, seconds):
        return value


@app.task(name="chaos.flaky", bind=True, max_retries=10)
def flaky(self: Any, key: str, value: int, tries: int) -> int:
    """Ask for so many retries, then return the value."""
    with _written(self, key, 0.0):
        if self.request.retries < tries:
            raise self.retry(countdown=0.05)
        return value


@app.task(name="chaos.unique", bind=True, unique_for=600, unique_on="key")
def unique(self: Any, key: str, seconds: float) -> str:
    """Return who ran: all calls of one key that meet get the same."""
    with _written(self, key, seconds):
        return str(self.request.id)


@app.task(name="chaos.tick", bind=True)
def tick(self: Any) -> int:
    """Be called by a schedule."""
    with _written(self, "", 0.0):
        return 1
