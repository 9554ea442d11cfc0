"""An app whose import leaves a gRPC channel open, so that nothing may fork after it."""

import grpc

from grpcflow import Grpcflow

app = Grpcflow("executor_channel")
channel = grpc.insecure_channel("127.0.0.1:1")


@app.task
def add(x: int, y: int) -> int:
    return x + y
