"""Tasks of both states of the tree, and a client that keeps calling them: runs under whichever grpcflow is on the path.

So it uses nothing but what every state has, imports nothing of this package, and is a program:
`python skew_tasks.py ADDRESS OUT` calls until its standard input ends, then writes what it saw to OUT.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grpcflow import Grpcflow, chain, chord, group

app = Grpcflow("skew", coordinator=os.environ.get("GRPCFLOW_COORDINATOR", ""), set_as_current=False)
with contextlib.suppress(Exception):  # an older state has no such setting
    # A coordinator that is being replaced is not there for a moment: calls wait for it.
    app.conf.task_publish_retry_policy = {"max_retries": None, "interval_max": 0.5}

#: Seconds that one result may take, replacements of everything included.
PATIENCE = 60.0


@app.task(name="skew.add")
def add(x: int, y: int) -> int:
    """Add, and leave a line for each run."""
    return noted(x + y)


@app.task(name="skew.total")
def total(numbers: list[int]) -> int:
    """Sum what the members of a chord came to."""
    return noted(sum(numbers))


@app.task(name="skew.slow")
def slow(number: int) -> int:
    """Take some time, so that something runs whenever something is replaced."""
    threading.Event().wait(0.2)
    return noted(number)


@app.task(name="skew.fail")
def fail(text: str) -> None:
    """Fail for good."""
    raise ValueError(text)


@app.task(name="skew.again", bind=True, max_retries=3)
def again(self: Any, number: int) -> int:
    """Succeed at the second try."""
    if not self.request.retries:
        raise self.retry(countdown=0.05)
    return number


def noted(value: int) -> int:
    """Leave a line in the file RUNS; return the value."""
    if path := os.environ.get("RUNS"):
        with Path(path).open("a") as file:
            file.write(f"{value}\n")
    return value


def fails_with(text: str) -> str:
    """Call what fails; return what was raised."""
    try:
        fail.delay(text).get(timeout=PATIENCE)
    except ValueError as error:
        return str(error)
    return "nothing was raised"


#: What a client does in turn, by name: of a number that no other call has, what is called and what is to come of it.
CALLS: dict[str, Callable[[int], tuple[Callable[[], Any], Any]]] = {
    "call": lambda n: (lambda: add.delay(n, 1).get(timeout=PATIENCE), n + 1),
    "slow": lambda n: (lambda: slow.delay(n).get(timeout=PATIENCE), n),
    "group": lambda n: (
        lambda: group(add.s(n, k) for k in range(10))().get(timeout=PATIENCE),
        [n + k for k in range(10)],
    ),
    "chain": lambda n: (lambda: chain(add.s(n, 1), add.s(2), add.s(3))().get(timeout=PATIENCE), n + 6),
    "chord": lambda n: (
        lambda: chord([add.s(n, k) for k in range(5)], total.s())().get(timeout=PATIENCE),
        5 * n + 10,
    ),
    "countdown": lambda n: (lambda: add.apply_async((n, 1), countdown=0.1).get(timeout=PATIENCE), n + 1),
    "retry": lambda n: (lambda: again.delay(n).get(timeout=PATIENCE), n),
    "failure": lambda n: (lambda: fails_with(f"f{n}"), f"f{n}"),
}


class Client:
    """Threads that each do one kind of call, one after the other, and check what comes of it."""

    def __init__(self) -> None:
        self.done: dict[str, int] = dict.fromkeys(CALLS, 0)
        self.wrong: list[str] = []
        self.slowest = 0.0
        self._over = threading.Event()
        self._numbers = itertools.count(1)

    def run(self) -> None:
        """Call until standard input ends."""
        threads = [threading.Thread(target=self._call, args=(name,), daemon=True) for name in CALLS]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._over.set()
        for thread in threads:
            thread.join(2 * PATIENCE)

    def _call(self, name: str) -> None:
        while not self._over.is_set():
            number = next(self._numbers) * 1_000
            call, expected = CALLS[name](number)
            began = time.monotonic()
            try:
                found = call()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what is looked for
                self.wrong.append(f"{name} {number}: {type(error).__name__}: {error}")
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.done[name] += 1
            if found != expected:
                self.wrong.append(f"{name} {number}: {found!r} instead of {expected!r}")


def main() -> None:
    """Be a client."""
    app.conf.coordinator = sys.argv[1]
    client = Client()
    client.run()
    seen = {"done": client.done, "wrong": client.wrong, "slowest": client.slowest}
    Path(sys.argv[2]).write_text(json.dumps(seen))
    os._exit(0)


if __name__ == "__main__":
    main()
