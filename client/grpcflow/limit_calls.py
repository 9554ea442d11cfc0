"""Limits and retention as calls: set, clear and list them. Gives plain data, which is imported when it is asked for."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from grpcflow.calls import Calls
from grpcflow_protos.v1 import control_service_pb2 as pb
from grpcflow_protos.v1 import control_service_pb2_grpc

if TYPE_CHECKING:
    from grpcflow.limit_model import Limit, LimitInfo, Retention, Scope
    from grpcflow.limits import Rate

__all__ = ["LimitCalls"]


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

    async def alist_limits(self) -> "tuple[LimitInfo, ...]":
        """Return the limits that hold: on tasks, then on queues, then the keys that hold something back; by name."""
        from grpcflow.limit_wire import info_from

        answer = await self._limit_call("ListLimits", pb.ListLimitsRequest())
        return tuple(info_from(one) for one in answer.limits)

    async def achange_limit(
        self, scope: "Scope", name: str, *, rate: "Rate | Literal['as it is'] | None", concurrency: int | None
    ) -> "Limit":
        """Change the limit on a task or a queue; returns what holds now.

        Args:
            scope: What the name is.
            name: Its name; it need not exist yet.
            rate: The rate; None: none; ``as it is``: the one that holds.
            concurrency: How many at once; 0: any number; None: as it is.
        """
        from grpcflow.limit_model import Limit
        from grpcflow.limit_wire import SCOPES, limit_from, limit_wired

        holds = {(one.scope, one.name): one.limit for one in await self.alist_limits()}
        wanted = holds.get((scope, name), Limit())
        if rate != "as it is":
            wanted = replace(wanted, rate=rate)
        if concurrency is not None:
            wanted = replace(wanted, concurrency=concurrency)
        if wanted == Limit() and await self.aclear_limit(scope, name) == Limit():
            return wanted  # the code has none either, so that nothing need be set against it
        request = pb.SetLimitRequest(scope=SCOPES[scope], name=name, limit=limit_wired(wanted))
        return limit_from((await self._limit_call("SetLimit", request)).limit)

    async def aclear_limit(self, scope: "Scope", name: str) -> "Limit":
        """Take away the limit that was set on a task or a queue; returns the one of the code, which holds again."""
        from grpcflow.limit_wire import SCOPES, limit_from

        request = pb.SetLimitRequest(scope=SCOPES[scope], name=name, clear=True)
        return limit_from((await self._limit_call("SetLimit", request)).limit)

    # --- retention ----------------------------------------------------------------------------------------

    async def alist_retention(self) -> "tuple[Retention, ...]":
        """Return every retention that was set, by scope and name."""
        from grpcflow.limit_wire import SCOPES, retention_from

        answer = await self._limit_call("ListRetention", pb.ListRetentionRequest())
        return tuple(retention_from(one) for one in answer.retention if one.scope in SCOPES.values())

    async def achange_retention(
        self, scope: "Scope", name: str, ages: Mapping[str, timedelta | None], counts: Mapping[str, int | None]
    ) -> "Retention":
        """Change what is kept of a task or a queue; returns what is set now.

        Args:
            scope: What the name is.
            name: Its name; it need not exist yet.
            ages: How long ``results``, ``failures`` and ``arguments`` are kept; None: as was set before.
            counts: How many, likewise; 0: any number.
        """
        from grpcflow.limit_model import Retention
        from grpcflow.limit_wire import SCOPES, retention_changed, retention_wired

        known = {(one.scope, one.name): one for one in await self.alist_retention()}
        before = known.get((scope, name), Retention(scope, name))
        wanted = retention_changed(before, ages, counts)
        request = pb.SetRetentionRequest(scope=SCOPES[scope], name=name, retention=retention_wired(wanted))
        await self._limit_call("SetRetention", request)
        return wanted

    async def aclear_retention(self, scope: "Scope", name: str) -> None:
        """Take away what was set of a task or a queue."""
        from grpcflow.limit_wire import SCOPES

        await self._limit_call("SetRetention", pb.SetRetentionRequest(scope=SCOPES[scope], name=name, clear=True))
