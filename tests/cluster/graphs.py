"""Graphs as messages, for tests that send the same one more than once or look at its single nodes."""

from typing import Any

from tests.cluster import cluster_tasks as tasks

from grpcflow.ids import mint_graph
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_protos.v1 import graph_pb2


def chunks_of(canvas: Any) -> list[graph_pb2.GraphChunk]:
    """Return the pieces of a new graph."""
    graph = lower(canvas, Calls(tasks.app))
    assert graph is not None, "the canvas has no node"
    return to_chunks(graph, mint_graph())
