"""A submitted graph as a thing: look at it, draw it, cancel it, run again what failed of it, ask why a task waits.

Importing this is light: protobuf and grpc are imported when the coordinator is asked. Nothing here holds a graph
whole; what is read is read in pages.
"""

from grpcflow.graph.model import Cancelled, Edge, Explanation, Node, Retried, Run, Summary, Tally
from grpcflow.graph.view import GraphView

__all__ = ["Cancelled", "Edge", "Explanation", "GraphView", "Node", "Retried", "Run", "Summary", "Tally"]
