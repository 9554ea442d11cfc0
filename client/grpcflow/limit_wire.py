"""Limits and retention as messages of the wire, and back. Imported when somebody asks for them, and not before.

It may not make a call.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from grpcflow.limit_model import Keep, Limit, LimitInfo, Retention, Scope
from grpcflow.limits import Rate
from grpcflow_protos.v1 import control_service_pb2 as pb
from grpcflow_protos.v1 import limit_pb2

__all__ = [
    "SCOPES",
    "info_from",
    "limit_from",
    "limit_wired",
    "retention_changed",
    "retention_from",
    "retention_wired",
]

#: Scopes that can be set, as the wire calls them.
SCOPES: Final[Mapping[Scope, "pb.Scope.ValueType"]] = {"task": pb.SCOPE_TASK, "queue": pb.SCOPE_QUEUE}
#: Scopes of the wire in words.
_WORDS: Final[Mapping[int, str]] = {
    pb.SCOPE_TASK: "task",
    pb.SCOPE_QUEUE: "queue",
    pb.SCOPE_KEY: "key",
}


def retention_changed(
    before: Retention, ages: Mapping[str, timedelta | None], counts: Mapping[str, int | None]
) -> Retention:
    """Return a retention with other ages and counts, by kind; None and what is not named stay as they were."""
    keeps = (
        _changed(keep, ages.get(kind), counts.get(kind))
        for kind, keep in (
            ("results", before.results),
            ("failures", before.failures),
            ("arguments", before.arguments),
        )
    )
    return Retention(before.scope, before.name, *keeps)


def _changed(keep: Keep, age: timedelta | None, count: int | None) -> Keep:
    return Keep(keep.age if age is None else age, keep.count if count is None else count)


def limit_from(message: limit_pb2.Limit) -> Limit:
    """Return a limit that came over the wire."""
    rate = Rate(message.rate_count, message.rate_period_ms) if message.rate_count else None
    return Limit(rate, message.concurrency)


def limit_wired(limit: Limit) -> limit_pb2.Limit:
    """Return a limit as a message."""
    if limit.rate is None:
        return limit_pb2.Limit(concurrency=limit.concurrency)
    return limit_pb2.Limit(
        rate_count=limit.rate.count, rate_period_ms=limit.rate.period_ms, concurrency=limit.concurrency
    )


def info_from(message: pb.LimitInfo) -> LimitInfo:
    """Return a limit that came over the wire, and what it does."""
    return LimitInfo(
        scope=_WORDS.get(message.scope, f"unknown-{message.scope}"),
        name=message.name,
        limit=limit_from(message.limit),
        is_set=message.set,
        running=message.running,
        waiting_lines=message.waiting_lines,
        next_in=timedelta(milliseconds=message.next_in_ms),
    )


def retention_from(message: pb.RetentionInfo) -> Retention:
    """Return a retention that came over the wire."""
    keeps = (
        Keep(one.age.ToTimedelta() if one.HasField("age") else None, one.count)
        for one in (message.retention.results, message.retention.failures, message.retention.arguments)
    )
    return Retention("task" if message.scope == pb.SCOPE_TASK else "queue", message.name, *keeps)


def retention_wired(kept: Retention) -> pb.Retention:
    """Return a retention as a message."""
    message = pb.Retention()
    for kind in ("results", "failures", "arguments"):
        keep: Keep = getattr(kept, kind)
        if keep != Keep():
            one: pb.Keep = getattr(message, kind)
            one.count = keep.count
            if keep.age is not None:
                one.age.FromTimedelta(keep.age)
    return message
