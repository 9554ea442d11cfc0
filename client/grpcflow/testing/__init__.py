"""A whole cluster inside the process of a test: coordinator, workers, and time that the test moves.

The public face of this package. Importing it imports grpc, all of grpcflow, and the coordinator: it is for tests only,
and `import grpcflow` does not import it.
"""

from grpcflow.testing.calls import Call
from grpcflow.testing.clock import Time
from grpcflow.testing.cluster import Cluster
from grpcflow.testing.worker import Worker

__all__ = ["Call", "Cluster", "Time", "Worker"]
