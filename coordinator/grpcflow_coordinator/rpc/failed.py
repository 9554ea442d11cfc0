"""Dead letters: the nodes that failed for good, as they are told. Reads only."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase

from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, Graph, Outcome, Run, split_node, text_id
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.paging import AT_ONCE, LOOKED_AT, page_size
from grpcflow_protos.v1 import graph_service_pb2 as pb


async def page(engine: Engine, request: pb.ListFailedRequest) -> pb.ListFailedResponse:
    """Return one page, newest graph first.

    Raises:
        Refusal: BAD_ARGUMENTS, NAME_TOO_LONG.
    """
    convert.check_name(request.task, "a pattern of task names")
    convert.check_name(request.queue, "the name of a queue")
    convert.check_name(request.type, "a pattern of failures")
    if len(request.page_token) not in {0, GRAPH_ID_BYTES + 4}:
        raise Refusal("BAD_ARGUMENTS", "the page token is not the one of a page before")
    most = page_size(request.page_size, "nodes")
    answer = pb.ListFailedResponse()
    before, looked, records = request.page_token, 0, engine.committed
    while looked < LOOKED_AT:
        nodes = records.newest_failed(before, AT_ONCE)
        for node in nodes:
            before = node
            entry = _entry(engine, node)
            if entry is not None and _is_wanted(request, entry):
                answer.nodes.append(entry)
            if len(answer.nodes) >= most:
                answer.next_page_token = before
                return answer
        looked += len(nodes)
        if len(nodes) < AT_ONCE:
            return answer
        await asyncio.sleep(0)
    answer.next_page_token = before
    return answer


def _entry(engine: Engine, node: bytes) -> pb.FailedEntry | None:
    """Return what is told of a node; None: it is being pruned."""
    graph_id, index = split_node(node)
    records = engine.committed
    graph, run = records.graph(graph_id), records.run_of(graph_id, index)
    outcome = records.outcome(graph_id, index)
    if graph is None or run is None or outcome is None:
        return None
    return _told(graph, run, index, outcome)


def _told(graph: Graph, run: Run, index: int, outcome: Outcome) -> pb.FailedEntry:
    template = graph.templates[run.template]
    entry = pb.FailedEntry(
        id=text_id(graph.id, index, run.own_id),
        graph=graph.id,
        task=template.task,
        queue=template.queue,
        failed_at_ms=outcome.settled_ms,
        retries=outcome.retries,
        worker=outcome.worker,
    )
    if outcome.failure is not None:
        entry.type, entry.message = outcome.failure.type_name, outcome.failure.message
        entry.reason = outcome.failure.reason
    return entry


def _is_wanted(request: pb.ListFailedRequest, entry: pb.FailedEntry) -> bool:
    if request.queue and entry.queue != request.queue:
        return False
    if request.lost and entry.reason != "WORKER_LOST":
        return False
    matches = all(
        not pattern or fnmatchcase(value, pattern)
        for pattern, value in ((request.task, entry.task), (request.type, entry.type))
    )
    return matches and entry.failed_at_ms >= request.since_ms
