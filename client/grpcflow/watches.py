"""Requests of the client's stream that begin and end watches, as encoded messages. Sends nothing itself."""

from collections.abc import Sequence

from grpcflow.waiting import Waiter
from grpcflow_protos.v1 import client_service_pb2, graph_pb2

__all__ = ["unwatch", "watch", "watches"]


def watches(waiter: Waiter) -> list[bytes]:
    """Return the requests that watch what a waiter is still missing."""
    sets = [_node_set(graph, ranges, waiter.waits_for_submit) for graph, ranges in waiter.missing()]
    names = waiter.missing_names()
    if names:
        sets.append(client_service_pb2.NodeSet(ids=names, wait_for_submit=waiter.waits_for_submit))
    for one in sets if waiter.wants_news else ():
        one.progress = True
    return [client_service_pb2.SessionRequest(watches=[one]).SerializeToString() for one in sets]


def watch(graph: bytes, ranges: Sequence[tuple[int, int]]) -> bytes:
    """Return the request that watches these nodes."""
    nodes = _node_set(graph, ranges, waits=False)
    return client_service_pb2.SessionRequest(watches=[nodes]).SerializeToString()


def unwatch(graph: bytes = b"", ranges: Sequence[tuple[int, int]] = (), names: Sequence[str] = ()) -> bytes:
    """Return the request that ends the watch of these nodes."""
    nodes = _node_set(graph, ranges, waits=False)
    nodes.ids.extend(names)
    return client_service_pb2.SessionRequest(unwatches=[nodes]).SerializeToString()


def _node_set(graph: bytes, ranges: Sequence[tuple[int, int]], waits: bool) -> client_service_pb2.NodeSet:
    wired = [graph_pb2.Range(first=first, count=count) for first, count in ranges]
    return client_service_pb2.NodeSet(graph=graph, ranges=wired, wait_for_submit=waits)
