"""GraphService: decode, read or post an event, encode. No decision about tasks is made here."""

from __future__ import annotations

import asyncio
import fnmatch
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from grpcflow_coordinator.core.events import CancelAsked, FailedPurgeAsked, RetryAsked
from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, Graph, split_node
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import convert, failed
from grpcflow_coordinator.rpc.asking import check_room, done
from grpcflow_coordinator.rpc.crowd import Crowd
from grpcflow_coordinator.rpc.explain import Explainer
from grpcflow_coordinator.rpc.lookup import IDS_LIMIT, Lookup
from grpcflow_coordinator.rpc.paging import AT_ONCE, LOOKED_AT, page_size
from grpcflow_coordinator.rpc.running import Running
from grpcflow_coordinator.rpc.searching import Search
from grpcflow_coordinator.rpc.views import Gallery
from grpcflow_protos.v1 import graph_service_pb2 as pb
from grpcflow_protos.v1 import graph_service_pb2_grpc


class GraphService(graph_service_pb2_grpc.GraphServiceServicer):
    """Shows graphs and acts on them."""

    def __init__(self, engine: Engine, crowd: Crowd) -> None:
        self._engine = engine
        self._crowd = crowd
        self._lookup = Lookup(engine)
        self._running = Running(engine)

    def _graph(self, text: str) -> tuple[Graph, int | None]:
        """Return the graph that an id names, and the index of the node where it is a node's.

        Raises:
            Refusal: UNKNOWN_GRAPH, ID_TOO_LONG.
        """
        records = self._engine.committed
        node = self._lookup.node(text)
        found, index = (None, None) if node is None else split_node(node)
        if found is None and len(text) == 2 * GRAPH_ID_BYTES:
            try:
                found = bytes.fromhex(text)
            except ValueError:
                found = None
        graph = None if found is None else records.graph(found)
        if graph is None:
            raise Refusal("UNKNOWN_GRAPH", f"there is no graph {text!r}, or it has expired: see `grpcflow graph list`")
        return graph, index

    async def ListGraphs(self, request: pb.ListGraphsRequest, context: Any) -> pb.ListGraphsResponse:
        """Give one page of graphs, newest first or oldest first."""
        convert.check_name(request.task, "a pattern of task names")
        if len(request.after) not in {0, GRAPH_ID_BYTES}:
            raise Refusal("BAD_ARGUMENTS", "`after` is not the `next` of a page before")
        most = page_size(request.limit, "graphs")
        async with self._crowd.turn(context.peer()):
            return await self._listed(request, most)

    async def _listed(self, request: pb.ListGraphsRequest, most: int) -> pb.ListGraphsResponse:
        answer = pb.ListGraphsResponse()
        before, looked = request.after, 0
        records = self._engine.committed
        search = Search(request, records)
        while looked < LOOKED_AT:
            turned = request.oldest_first
            ids = search.ids(before, AT_ONCE, oldest_first=turned)
            gallery = Gallery(self._engine, self._running)
            for graph_id in ids:
                graph = records.graph(graph_id)
                before = graph_id
                if graph is not None and not turned and graph.created_ms < request.since_ms:
                    return answer  # ids grow with time, but for the clocks of clients: close enough for a filter
                if graph is not None and self._wanted(request, graph) and search.finds(graph):
                    summary = gallery.summary(graph)
                    if not request.states or summary.state in request.states:
                        answer.graphs.append(summary)
                if len(answer.graphs) >= most:
                    answer.next = before
                    return answer
            looked += len(ids)
            if len(ids) < AT_ONCE:
                return answer
            await asyncio.sleep(0)
        answer.next = before
        return answer

    def _wanted(self, request: pb.ListGraphsRequest, graph: Graph) -> bool:
        """Return whether a graph passes what can be told from its root, and whether it has ended."""
        if graph.created_ms < request.since_ms or (request.until_ms and graph.created_ms >= request.until_ms):
            return False
        if graph.attachment is not None and not request.attached:
            return False
        if request.task and not any(fnmatch.fnmatchcase(one.task, request.task) for one in graph.templates):
            return False
        return not (request.unfinished and self._engine.committed.has_ended(graph))

    async def ListFailed(self, request: pb.ListFailedRequest, context: Any) -> pb.ListFailedResponse:
        """Give one page of the nodes that failed for good."""
        async with self._crowd.turn(context.peer()):
            return await failed.page(self._engine, request)

    async def PurgeFailed(self, request: pb.PurgeFailedRequest, context: Any) -> pb.PurgeFailedResponse:
        """Take nodes off the list of those that failed for good."""
        if len(request.ids) > IDS_LIMIT:
            raise Refusal("TOO_MANY_IDS", f"{len(request.ids)} ids are named; {IDS_LIMIT} are allowed at once")
        for text in request.ids:
            convert.check_name(text, "an id", code="ID_TOO_LONG")
        check_room(self._engine)
        answer = await done(self._engine, lambda future: FailedPurgeAsked(future, tuple(request.ids)))
        return pb.PurgeFailedResponse(purged=answer.count)

    async def GetGraph(self, request: pb.GetGraphRequest, context: Any) -> AsyncIterator[pb.GetGraphResponse]:
        """Give a graph in pages."""
        graph, node = self._graph(request.id)
        if graph.is_bundle and node is not None:
            yield self._alone(graph, node, summary_only=request.summary_only)
            return
        views = (pb.TemplateView(task=one.task, queue=one.queue, priority=one.priority) for one in graph.templates)
        summary = Gallery(self._engine, self._running).summary(graph)
        yield pb.GetGraphResponse(summary=summary, templates=() if request.summary_only else views)
        at, left = request.first, request.limit or graph.node_count
        while not request.summary_only and left > 0 and at < graph.node_count:
            if self._engine.committed.graph(graph.id) is None:
                raise Refusal("UNKNOWN_GRAPH", f"the graph {request.id!r} has expired while it was read")
            page, at = self._page(graph, at, min(left, AT_ONCE), every_node=request.every_node)
            left -= len(page.runs)
            yield page
            await asyncio.sleep(0)

    def _alone(self, graph: Graph, index: int, *, summary_only: bool) -> pb.GetGraphResponse:
        """Return one of many independent calls as the graph that it would be by itself."""
        gallery = Gallery(self._engine, self._running)
        run = self._engine.committed.run_of(graph.id, index)
        answer = pb.GetGraphResponse()
        if run is not None:
            template = graph.templates[run.template]
            answer.runs.append(gallery.run(graph, replace(run, first=index, count=1, template=0), every_node=True))
            answer.summary.CopyFrom(gallery.summary_of_one(graph, answer.runs[0], template.task))
            answer.templates.add(task=template.task, queue=template.queue, priority=template.priority)
        if summary_only:
            del answer.runs[:], answer.templates[:]
        return answer

    def _page(self, graph: Graph, at: int, limit: int, *, every_node: bool) -> tuple[pb.GetGraphResponse, int]:
        """Return a page of runs, of so many nodes that others do not wait, and where the next one begins."""
        gallery = Gallery(self._engine, self._running)
        page = pb.GetGraphResponse()
        nodes = 0
        for run in self._engine.committed.runs(graph.id, at, limit):
            page.runs.append(gallery.run(graph, run, every_node=every_node))
            at = run.first + run.count
            nodes += run.count
            if nodes >= AT_ONCE:
                break
        else:
            at = graph.node_count if nodes == 0 else at
        return page, at

    async def CancelGraph(self, request: pb.CancelGraphRequest, context: Any) -> pb.CancelGraphResponse:
        """End everything of a graph."""
        name = request.signal or "SIGTERM"
        if name not in signal.Signals.__members__:
            raise Refusal("UNKNOWN_SIGNAL", f"{name[:40]!r} is not the name of a signal, such as SIGTERM or SIGKILL")
        graph, node = self._graph(request.id)
        check_room(self._engine)
        answer = await done(self._engine, lambda future: CancelAsked(future, graph.id, request.terminate, name, node))
        return pb.CancelGraphResponse(cancelled=answer.count, running=answer.running, had_ended=answer.had_ended)

    async def RetryGraph(self, request: pb.RetryGraphRequest, context: Any) -> pb.RetryGraphResponse:
        """Run again what did not succeed of a graph."""
        graph, node = self._graph(request.id)
        check_room(self._engine)
        answer = await done(self._engine, lambda future: RetryAsked(future, graph.id, node))
        return pb.RetryGraphResponse(retried=answer.count, unknown_tasks=answer.unknown)

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainResponse:
        """Say why a node is where it is."""
        node = self._lookup.node(request.id)
        if node is None:
            raise Refusal("UNKNOWN_NODE", f"there is no task {request.id!r}, or its result has expired")
        async with self._crowd.look(context.peer()):
            return Explainer(self._engine).explain(*split_node(node))
