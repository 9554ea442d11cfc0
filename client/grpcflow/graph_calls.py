"""Calls about graphs as things: list, read in pages, cancel, retry, explain.

Knows the wire's messages, which are imported by the calls that need them; `graph.reading` makes plain data of them.
Written once for threads and for event loops, as all that is asked of a coordinator; see ``grpcflow.blocking``.
"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from grpcflow.calls import Calls

if TYPE_CHECKING:
    from grpcflow_protos.v1 import graph_service_pb2 as pb

__all__ = ["GraphCalls", "Page", "graph_service"]

#: Runs of a page, and nodes where all of them are asked for.
_RUNS: Final = 1_000
_NODES: Final = 5_000
#: Nodes that a run has at most where a client of ours has cut it: what the first page reckons with.
_RUN: Final = 500
#: Seconds for one page, and for a cancel or a retry, which answer once all of it is done.
_PAGE_TIME: Final = 30.0
_DONE_TIME: Final = 300.0


class Page(NamedTuple):
    """A part of a graph.

    Attributes:
        summary: The graph in short, as it stands now.
        templates: The graph's templates.
        runs: The runs of this part.
    """

    summary: "pb.GraphSummary"
    templates: "tuple[pb.TemplateView, ...]"
    runs: "list[pb.RunView]"


def graph_service(channel: Any) -> Any:
    """Return what makes the calls to the graph service."""
    from grpcflow_protos.v1 import graph_service_pb2_grpc

    return graph_service_pb2_grpc.GraphServiceStub(channel)


class GraphCalls:
    """Calls to the graph service; a part of what is asked of a coordinator."""

    _calls: Calls

    async def alist_graphs(self, request: "pb.ListGraphsRequest") -> "pb.ListGraphsResponse":
        """Return one page of graphs, newest first.

        Raises:
            InvalidRequest: The filter is wrong.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        return await self._calls.request(
            lambda channel, left: graph_service(channel).ListGraphs(request, timeout=left),
            timeout=_PAGE_TIME,
        )

    async def agraph_summary(self, id: str) -> "pb.GraphSummary":
        """Return a graph in short.

        Args:
            id: Id of any of its nodes, or its own.

        Raises:
            NotFound: There is none, or it has expired.
            InvalidRequest, CoordinatorUnavailable, TimeoutError: As above.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        return (await self._page(pb.GetGraphRequest(id=id, summary_only=True))).summary

    async def agraph_pages(self, id: str, *, every_node: bool = False) -> AsyncGenerator[Page, None]:
        """Yield a graph in pages, each asked for when the one before it is used up.

        Args:
            id: Id of any of its nodes, or its own.
            every_node: True: every node of every run.

        Raises:
            The errors of ``agraph_summary``, also between two pages.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        first, limit = 0, _NODES // _RUN if every_node else _RUNS
        while True:
            page = await self._page(pb.GetGraphRequest(id=id, first=first, every_node=every_node, limit=limit))
            if not page.runs:
                return
            yield page
            first = page.runs[-1].first + page.runs[-1].count
            if first >= page.summary.tally.nodes:
                return
            if every_node:
                # Runs of one should not come by the handful, nor long ones by the thousand.
                nodes = sum(run.count for run in page.runs)
                limit = max(1, min(_RUNS, _NODES * len(page.runs) // nodes))

    async def agraph_run(self, id: str, first: int, *, every_node: bool = True, count: int = 1) -> Page:
        """Return one run as a page, or several that follow each other; errors are those of the summary.

        Args:
            id: Id of any node of the graph, or its own.
            first: Index of the first node of the first run.
            every_node: True: with all their nodes.
            count: How many runs. Default 1.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        return await self._page(pb.GetGraphRequest(id=id, first=first, limit=count, every_node=every_node))

    async def _page(self, request: "pb.GetGraphRequest") -> Page:
        """Return what the request names; its first message has the summary."""
        answers = await self._calls.request_all(
            lambda channel, left: graph_service(channel).GetGraph(request, timeout=left),
            timeout=_PAGE_TIME,
        )
        runs = [run for answer in answers for run in answer.runs]
        return Page(answers[0].summary, tuple(answers[0].templates), runs)

    async def acancel_graph(self, id: str, terminate: bool, signal: str) -> "pb.CancelGraphResponse":
        """End everything of a graph that has not settled.

        Args:
            id: Id of any of its nodes, or its own.
            terminate: True: stop what runs.
            signal: Name of the signal for the processes that run it.

        Raises:
            NotFound: There is none, or it has expired.
            InvalidRequest: There is no such signal.
            RequestFailed: The coordinator's disk is full (``STORE_FULL``).
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer in 5 minutes.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        request = pb.CancelGraphRequest(id=id, terminate=terminate, signal=signal)
        return await self._calls.request(
            lambda channel, left: graph_service(channel).CancelGraph(request, timeout=left),
            timeout=_DONE_TIME,
        )

    async def aretry_graph(self, id: str) -> "pb.RetryGraphResponse":
        """Run again what did not succeed of a graph.

        Args:
            id: Id of any of its nodes, or its own.

        Raises:
            NotFound: There is none, or it has expired.
            StillRunning: It has not ended.
            RequestFailed: The coordinator's disk is full (``STORE_FULL``).
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer in 5 minutes; the retry
                may be under way.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        request = pb.RetryGraphRequest(id=id)
        # Not again where the answer was lost: the graph would be found running, which would be a wrong complaint.
        return await self._calls.request(
            lambda channel, left: graph_service(channel).RetryGraph(request, timeout=left),
            timeout=_DONE_TIME,
            repeatable=False,
        )

    async def aexplain(self, id: str) -> "pb.ExplainResponse":
        """Return why a node is where it is.

        Args:
            id: Its id as users know it.

        Raises:
            NotFound: There is none, or it has expired.
            InvalidRequest, CoordinatorUnavailable, TimeoutError: As above.
        """
        from grpcflow_protos.v1 import graph_service_pb2 as pb

        request = pb.ExplainRequest(id=id)
        return await self._calls.request(lambda channel, left: graph_service(channel).Explain(request, timeout=left))
