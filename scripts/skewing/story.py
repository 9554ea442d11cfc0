"""What a client leaves in the records of a coordinator of any state of the tree: done, failed, half done, to be done.

A program, as skew_tasks is: `python story.py ADDRESS before` before there is a worker, and `after` when one has run.
What an older state cannot do is left out of its story.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from grpcflow import chain, chord, group
from skewing.skew_tasks import add, again, app, fail, slow, total

#: A queue that nobody serves.
NOBODY = "nobody"


def before() -> None:
    """Submit what no worker has seen yet."""
    add.apply_async((1, 2), queue=NOBODY, expires=30 * 86_400)
    add.apply_async((1, 2), countdown=20 * 86_400, task_id="in-twenty-days")
    group(add.s(k, 1).set(queue=NOBODY) for k in range(300))()
    chord([add.s(1, 1), add.s(2, 2), add.s(3, 3).set(queue=NOBODY)], total.s())()
    chain(add.s(1, 1), add.s(2), add.s(3).set(queue=NOBODY), add.s(4))()
    slow.delay(7)
    for one in (stamped, once, kept, hourly, paused):
        with suppress(AttributeError, TypeError, ValueError):
            one()


def after() -> None:
    """Wait for what a worker does, and let it fail at something and succeed."""
    add.delay(40, 2).get(timeout=60)
    group(add.s(k, 1) for k in range(20))().get(timeout=60)
    chord([add.s(k, 1) for k in range(5)], total.s())().get(timeout=60)
    again.delay(3).get(timeout=60)
    with suppress(ValueError):
        fail.delay("for good").get(timeout=60)
    failing = chain(add.s(1, 1), fail.si("in a chain"), add.s(1))()
    with suppress(Exception):
        failing.get(timeout=60)
    threading.Event().wait(0.5)


def stamped() -> None:
    """Leave a stamped call."""
    call: Any = add.s(1, 2).set(queue=NOBODY)
    call.stamp(customer="7")
    call.apply_async()


def once() -> None:
    """Leave two unique calls, of which the second follows the first."""
    for _ in range(2):
        add.apply_async((5, 5), queue=NOBODY, unique_for=30 * 86_400)
    add.apply_async((5, 6), queue=NOBODY, concurrency_key="k", fairness_key="f")


def kept() -> None:
    """Keep a count of what succeeds."""
    app.control.retention(queue="default", results="30d", keep=1_000)


def hourly() -> None:
    """Leave a schedule."""
    app.schedules.add("monthly", 30 * 86_400, add.s(1, 1))


def paused() -> None:
    """Pause a queue."""
    app.control.pause_queue(NOBODY)


if __name__ == "__main__":
    app.conf.coordinator = sys.argv[1]
    part: Callable[[], None] = {"before": before, "after": after}[sys.argv[2]]
    part()
