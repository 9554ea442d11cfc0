"""The list of what failed for good, as calls: read it, retry, purge. Knows the wire's messages, gives plain data.

Both are imported by the calls that need them.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from grpcflow import errors
from grpcflow.graph_calls import GraphCalls, graph_service

if TYPE_CHECKING:
    from grpcflow.failed_model import FailedCall, FailedFilter, RetriedCalls
    from grpcflow_protos.v1 import graph_service_pb2 as pb

__all__ = ["FailedCalls"]

#: Nodes of a page of the list, and ids of one purge.
_PAGE: Final = 500
_PURGED: Final = 5_000

#: Seconds that a coordinator has for one of these.
_TIME: Final = 30.0

#: Why a graph is not retried while others are; all else ends the whole retry.
_OF_ONE_GRAPH: Final = ("UNKNOWN_GRAPH", "UNKNOWN_NODE", "STILL_RUNNING", "ARGUMENTS_GONE", "ID_TOO_LONG")


class FailedCalls(GraphCalls):
    """Calls to the graph service: those about graphs, and those about the list of what failed for good.

    All raise InvalidRequest for what the coordinator refuses, and CoordinatorUnavailable or TimeoutError where it could
    not be reached or did not answer.
    """

    async def _failed_call(self, method: str, request: Any) -> Any:
        return await self._calls.request(
            lambda channel, left: getattr(graph_service(channel), method)(request, timeout=left), timeout=_TIME
        )

    async def alist_failed(
        self, wanted: "FailedFilter", limit: int | None = None
    ) -> "AsyncGenerator[FailedCall, None]":
        """Yield the calls that failed for good, newest graph first; pages are asked for as they are needed.

        Args:
            wanted: Which.
            limit: Most of them; None: all.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        since = wanted.get("since")
        request = pb.ListFailedRequest(
            task=wanted.get("task", ""),
            queue=wanted.get("queue", ""),
            type=wanted.get("type", ""),
            since_ms=0 if since is None else max(1, int(since.timestamp() * 1000)),
            lost=wanted.get("lost", False),
        )
        given = 0
        while limit is None or given < limit:
            request.page_size = _PAGE if limit is None else min(_PAGE, limit - given)
            page = await self._failed_call("ListFailed", request)
            for entry in page.nodes:
                yield _failed(entry)
            given += len(page.nodes)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def apurge_failed(self, ids: Iterable[str]) -> int:
        """Take calls off the list; return how many were on it.

        Args:
            ids: Ids as users know them, any number.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        left, purged = iter(ids), 0
        while part := list(islice(left, _PURGED)):
            purged += (await self._failed_call("PurgeFailed", pb.PurgeFailedRequest(ids=part))).purged
        return purged

    async def aretry_failed(self, calls: Sequence[tuple[str, str]]) -> "RetriedCalls":
        """Run again what did not succeed of the graphs of calls, each graph once.

        Args:
            calls: The id of each, and its graph's id; empty: it is asked for.
        """
        from grpcflow.failed_model import Refused, RetriedCalls

        retried, graphs, unknown = 0, 0, dict[str, None]()
        seen, refused = set[str](), list[Refused]()
        for id, known in calls:
            try:
                graph = known or (await self.agraph_summary(id)).graph.hex()
                if graph in seen:
                    continue
                seen.add(graph)
                answer = await self.aretry_graph(graph)
            except errors.RequestFailed as error:
                if error.code not in _OF_ONE_GRAPH:
                    raise
                refused.append(Refused(id, error))
                continue
            retried += answer.retried
            graphs += bool(answer.retried)
            unknown |= dict.fromkeys(answer.unknown_tasks)
        return RetriedCalls(retried, graphs, tuple(unknown), tuple(refused))


def _failed(entry: "pb.FailedEntry") -> "FailedCall":
    from grpcflow.failed_model import FailedCall

    return FailedCall(
        id=entry.id,
        graph=entry.graph.hex(),
        task=entry.task,
        queue=entry.queue,
        failed_at=datetime.fromtimestamp(entry.failed_at_ms / 1000, UTC),
        type=entry.type,
        message=entry.message,
        reason=entry.reason,
        retries=entry.retries,
        worker=entry.worker,
    )
