"""What an app's code says of its tasks and queues beyond their names: limits, and batches.

`declared` runs where the app is and gives plain data; the rest makes messages of it in the supervisor, which has none.
Pure: this file may NOT do I/O or decide anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from grpcflow.limits import parse_rate

#: Attributes of tasks that are told on demand.
_TOLD: Final = (
    "queue",
    "priority",
    "rate_limit",
    "concurrency_limit",
    "max_retries",
    "default_retry_delay",
    "ignore_result",
    "track_started",
    "sensitive",
    "acks_late",
    "time_limit",
    "soft_time_limit",
    "expires",
    "serializer",
    "max_deliveries",
    "batch_size",
    "typing",
    "trail",
)

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow_protos.v1 import limit_pb2


def declared(app: Grpcflow) -> dict[str, list[list[Any]]]:
    """Return what an app says of its tasks and queues, as plain JSON.

    Tasks without limit and batch are left out, for nothing is said of them; every declared queue is there, so that a
    limit that is gone from the code goes.
    """
    default = app.conf.task_default_rate_limit
    tasks: list[list[Any]] = []
    for name, task in sorted(app.tasks.items()):
        limit = _limit(default if task.rate_limit is None else task.rate_limit, task.concurrency_limit)
        if any(limit) or task.batch_size:
            tasks.append([name, *limit, task.batch_size, round(task.batch_within * 1000) if task.batch_size else 0])
    # The default queue of an app that declares none is not its own: another app may have a limit for it.
    known = app.queues if app.conf.task_queues else {}
    queues = [[name, *_limit(queue.rate_limit, queue.concurrency_limit)] for name, queue in known.items()]
    return {"tasks": tasks, "queues": queues}


def described(app: Grpcflow) -> dict[str, dict[str, Any]]:
    """Return what ``inspect registered`` tells of each task: its attributes that are plain and not None.

    Args:
        app: the app, finalized.
    """
    told: dict[str, dict[str, Any]] = {}
    for name, task in sorted(app.tasks.items()):
        found = {each: getattr(task, each, None) for each in _TOLD}
        told[name] = {each: value for each, value in found.items() if isinstance(value, (str, int, float))}
    return told


def task_facts(facts: Mapping[str, Sequence[Sequence[Any]]]) -> tuple[limit_pb2.TaskFacts, ...]:
    """Return what a hello says of tasks.

    Args:
        facts: what `declared` gave; empty: nothing is known.
    """
    from grpcflow_protos.v1 import limit_pb2

    return tuple(
        limit_pb2.TaskFacts(task=name, limit=_message(limit), batch_size=size, batch_within_ms=within)
        for name, *limit, size, within in facts.get("tasks", ())
    )


def queue_facts(facts: Mapping[str, Sequence[Sequence[Any]]]) -> tuple[limit_pb2.QueueFacts, ...]:
    """Return what a hello says of queues.

    Args:
        facts: what `declared` gave; empty: nothing is known.
    """
    from grpcflow_protos.v1 import limit_pb2

    return tuple(limit_pb2.QueueFacts(queue=name, limit=_message(limit)) for name, *limit in facts.get("queues", ()))


def _limit(rate_limit: str | float | None, concurrency: int | None) -> list[int]:
    """Return count and period of a rate, and how many at once; zeros stand for no limit."""
    rate = parse_rate(rate_limit)
    return [rate.count if rate else 0, rate.period_ms if rate else 0, concurrency or 0]


def _message(limit: Sequence[int]) -> limit_pb2.Limit:
    from grpcflow_protos.v1 import limit_pb2

    count, period_ms, concurrency = limit
    return limit_pb2.Limit(rate_count=count, rate_period_ms=period_ms, concurrency=concurrency)
