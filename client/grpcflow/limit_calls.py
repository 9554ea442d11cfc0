"""Limits and retention as calls: set, clear and list them. Knows the wire's messages, gives plain data."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal

from grpcflow.calls import Calls
from grpcflow.limit_model import Keep, Limit, LimitInfo, Retention, Scope
from grpcflow.limits import Rate
from grpcflow_protos.v1 import control_service_pb2 as pb
from grpcflow_protos.v1 import control_service_pb2_grpc, limit_pb2

__all__ = ["LimitCalls"]

_SCOPES: Final[Mapping[Scope, "pb.Scope.ValueType"]] = {"task": pb.SCOPE_TASK, "queue": pb.SCOPE_QUEUE}
_WORDS: Final[Mapping[int, Literal["task", "queue", "key"]]] = {
    pb.SCOPE_TASK: "task",
    pb.SCOPE_QUEUE: "queue",
    pb.SCOPE_KEY: "key",
}


class LimitCalls:
    """Calls to the control service that are about limits and retention.

    All raise InvalidRequest for what the coordinator refuses, RequestFailed (``STORE_FULL``) where its disk is full,
    and CoordinatorUnavailable or TimeoutError where it could not be reached or did not answer.
    """

    _calls: Calls

    async def _limit_call(self, method: str, request: Any) -> Any:
        return await self._calls.request(
            lambda channel, left: getattr(control_service_pb2_grpc.ControlServiceStub(channel), method)(
                request, timeout=left
            )
        )

    # --- limits -------------------------------------------------------------------------------------------

    async def alist_limits(self) -> tuple[LimitInfo, ...]:
        """Return the limits that hold: on tasks, then on queues, then the keys that hold something back; by name."""
        answer = await self._limit_call("ListLimits", pb.ListLimitsRequest())
        return tuple(_info(one) for one in answer.limits if one.scope in _WORDS)

    async def achange_limit(
        self, scope: Scope, name: str, *, rate: Rate | Literal["as it is"] | None, concurrency: int | None
    ) -> Limit:
        """Change the limit on a task or a queue; returns what holds now.

        Args:
            scope: What the name is.
            name: Its name; it need not exist yet.
            rate: The rate; None: none; ``as it is``: the one that holds.
            concurrency: How many at once; 0: any number; None: as it is.
        """
        holds = {(one.scope, one.name): one.limit for one in await self.alist_limits()}
        wanted = holds.get((scope, name), Limit())
        if rate != "as it is":
            wanted = replace(wanted, rate=rate)
        if concurrency is not None:
            wanted = replace(wanted, concurrency=concurrency)
        if wanted == Limit() and await self.aclear_limit(scope, name) == Limit():
            return wanted  # the code has none either, so that nothing need be set against it
        request = pb.SetLimitRequest(scope=_SCOPES[scope], name=name, limit=_wired(wanted))
        return _limit((await self._limit_call("SetLimit", request)).limit)

    async def aclear_limit(self, scope: Scope, name: str) -> Limit:
        """Take away the limit that was set on a task or a queue; returns the one of the code, which holds again."""
        request = pb.SetLimitRequest(scope=_SCOPES[scope], name=name, clear=True)
        return _limit((await self._limit_call("SetLimit", request)).limit)

    # --- retention ----------------------------------------------------------------------------------------

    async def alist_retention(self) -> tuple[Retention, ...]:
        """Return every retention that was set, by scope and name."""
        answer = await self._limit_call("ListRetention", pb.ListRetentionRequest())
        return tuple(_retention(one) for one in answer.retention if one.scope in _SCOPES.values())

    async def achange_retention(
        self, scope: Scope, name: str, ages: Mapping[str, timedelta | None], counts: Mapping[str, int | None]
    ) -> Retention:
        """Change what is kept of a task or a queue; returns what is set now.

        Args:
            scope: What the name is.
            name: Its name; it need not exist yet.
            ages: How long ``results``, ``failures`` and ``arguments`` are kept; None: as was set before.
            counts: How many, likewise; 0: any number.
        """
        known = {(one.scope, one.name): one for one in await self.alist_retention()}
        before = known.get((scope, name), Retention(scope, name))
        wanted = Retention(
            scope,
            name,
            *(
                _changed(keep, ages.get(kind), counts.get(kind))
                for kind, keep in (
                    ("results", before.results),
                    ("failures", before.failures),
                    ("arguments", before.arguments),
                )
            ),
        )
        request = pb.SetRetentionRequest(scope=_SCOPES[scope], name=name, retention=_retention_wired(wanted))
        await self._limit_call("SetRetention", request)
        return wanted

    async def aclear_retention(self, scope: Scope, name: str) -> None:
        """Take away what was set of a task or a queue."""
        await self._limit_call("SetRetention", pb.SetRetentionRequest(scope=_SCOPES[scope], name=name, clear=True))


def _changed(keep: Keep, age: timedelta | None, count: int | None) -> Keep:
    return Keep(keep.age if age is None else age, keep.count if count is None else count)


def _limit(message: limit_pb2.Limit) -> Limit:
    rate = Rate(message.rate_count, message.rate_period_ms) if message.rate_count else None
    return Limit(rate, message.concurrency)


def _wired(limit: Limit) -> limit_pb2.Limit:
    if limit.rate is None:
        return limit_pb2.Limit(concurrency=limit.concurrency)
    return limit_pb2.Limit(
        rate_count=limit.rate.count, rate_period_ms=limit.rate.period_ms, concurrency=limit.concurrency
    )


def _info(message: pb.LimitInfo) -> LimitInfo:
    return LimitInfo(
        scope=_WORDS[message.scope],
        name=message.name,
        limit=_limit(message.limit),
        is_set=message.set,
        running=message.running,
        waiting_lines=message.waiting_lines,
        next_in=timedelta(milliseconds=message.next_in_ms),
    )


def _retention(message: pb.RetentionInfo) -> Retention:
    keeps = (
        Keep(one.age.ToTimedelta() if one.HasField("age") else None, one.count)
        for one in (message.retention.results, message.retention.failures, message.retention.arguments)
    )
    return Retention("task" if message.scope == pb.SCOPE_TASK else "queue", message.name, *keeps)


def _retention_wired(kept: Retention) -> pb.Retention:
    message = pb.Retention()
    for kind in ("results", "failures", "arguments"):
        keep: Keep = getattr(kept, kind)
        if keep != Keep():
            one: pb.Keep = getattr(message, kind)
            one.count = keep.count
            if keep.age is not None:
                one.age.FromTimedelta(keep.age)
    return message
