"""What limits and retention are to those who look at them; plain data of the standard library's types.

It may not import grpc or protobuf: ``limit_wire`` makes these from messages.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from grpcflow.limits import Rate

__all__ = ["Keep", "Limit", "LimitInfo", "Retention", "Scope", "named"]

#: What limits and retention are set on.
Scope: TypeAlias = Literal["task", "queue"]


@dataclass(frozen=True, slots=True)
class Limit:
    """How often, and how many at once, something starts in the whole cluster; ``str()`` gives it in words.

    Attributes:
        rate: So many starts in each period; None: any number.
        concurrency: So many at once; 0: any number.
    """

    rate: Rate | None = None
    concurrency: int = 0

    def __str__(self) -> str:
        """Return it as ``10/s, 5 at once``, or ``no limit``."""
        parts = [str(self.rate)] if self.rate is not None else []
        parts += [f"{self.concurrency:,} at once"] if self.concurrency else []
        return ", ".join(parts) or "no limit"


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """A limit that holds, and what it does now.

    Attributes:
        scope: What it is on: ``task``, ``queue``, or ``key`` for the concurrency key of calls; ``unknown-`` and a
            number where a newer coordinator has others.
        name: Name of the task or the queue, or the key.
        limit: The limit.
        is_set: True: it was set while the cluster ran. False: it stands in the code.
        running: How many run now.
        waiting_lines: How many lines wait for it now: calls of one task, queue, priority and key are a line.
        next_in: How long until the rate lets the next one start; zero: now, or there is no rate.
    """

    scope: str
    name: str
    limit: Limit
    is_set: bool
    running: int
    waiting_lines: int
    next_in: timedelta


@dataclass(frozen=True, slots=True)
class Keep:
    """How much is kept of one kind of record.

    Attributes:
        age: How long, from the end of the graph on; None: as is the rule without it.
        count: At most so many graphs, the newest; 0: any number.
    """

    age: timedelta | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of graphs that ended, as it was set for a task or a queue.

    Attributes:
        scope: ``task`` or ``queue``.
        name: Its name.
        results: Of graphs that succeeded.
        failures: Of graphs in which something failed.
        arguments: Arguments of calls in them; gone before the rest, they can neither be shown nor run again.
    """

    scope: Scope
    name: str
    results: Keep = Keep()
    failures: Keep = Keep()
    arguments: Keep = Keep()


def named(task: str | None, queue: str | None) -> tuple[Scope, str]:
    """Return what is meant where either a task or a queue may be named.

    Raises:
        ValueError: Both are named, or neither.
    """
    if bool(task) == bool(queue):
        raise ValueError("name either a task or a queue: task='proj.tasks.add', or queue='mail'")
    return ("task", task) if task else ("queue", queue or "")
