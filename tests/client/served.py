"""What the tests of the connection share beside their fixtures."""

from tests.client.fake_coordinator import chunk

from grpcflow import ids
from grpcflow.connection import Connection, RetryPolicy

FAST = RetryPolicy(tries=4, window=3.0, first_delay=0.01, factor=2.0, max_delay=0.05)
T = 20.0


def submitted(connection: Connection, nodes: int = 1) -> bytes:
    graph = ids.mint_graph()
    connection.submit(chunk(graph, nodes))
    return graph
