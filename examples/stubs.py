"""Submits one task and reads its result with the generated stubs alone: no grpcflow client, any language could do it.

    python examples/stubs.py TASK [JSON ARGUMENT ...] [--coordinator HOST:PORT] [--timeout SECONDS]
    python examples/stubs.py proj.tasks.add 2 3

What a client must do by hand is here in full: mint a graph id, submit one graph, watch one node.
"""

import argparse
import json
import os
import secrets
import sys
import time
from typing import cast

import grpc

from grpcflow_protos.v1 import client_service_pb2 as client
from grpcflow_protos.v1 import client_service_pb2_grpc as services
from grpcflow_protos.v1 import graph_pb2 as graph
from grpcflow_protos.v1 import value_pb2 as value

DEFAULT_ADDRESS = "127.0.0.1:50551"


def main() -> int:
    """Prints the task's value as JSON; exit code 1 when the task failed, 69 when the coordinator refused or is away."""
    parser = argparse.ArgumentParser(description="Run one task through the generated stubs.")
    parser.add_argument("task", help="the registered name, for example proj.tasks.add")
    parser.add_argument("arguments", nargs="*", type=json.loads, help="positional arguments, each as JSON")
    parser.add_argument("--coordinator", default=os.environ.get("GRPCFLOW_COORDINATOR", DEFAULT_ADDRESS))
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds to wait for the result")
    options = parser.parse_args()
    graph_id = mint_graph_id()
    with grpc.insecure_channel(options.coordinator) as channel:
        stub = services.ClientServiceStub(channel)
        try:
            accepted = stub.Submit(one_task(graph_id, options.task, options.arguments), timeout=options.timeout)
            print(f"durable as {accepted.ids[0]}", file=sys.stderr)
            return show(watch(stub, graph_id, options.timeout))
        except grpc.RpcError as error:
            call = cast("grpc.Call", error)  # what a finished call raises is also the call
            print(f"{call.code().name}: {call.details()}", file=sys.stderr)
            return 69


def mint_graph_id() -> bytes:
    """Makes a graph id: the first 12 bytes of a UUID of version 7, so that ids sort by the time they were made.

    48 bits of Unix time in milliseconds, the version, 12 bits, the variant, 30 bits; a client that makes many ids in
    a millisecond counts in the 12 bits, for one they may be random like the rest.
    """
    milliseconds = time.time_ns() // 1_000_000
    return (
        milliseconds.to_bytes(6, "big")
        + (0x7000 | secrets.randbits(12)).to_bytes(2, "big")
        + (0x8000_0000 | secrets.randbits(30)).to_bytes(4, "big")
    )


def one_task(graph_id: bytes, task: str, arguments: list[object]) -> client.SubmitRequest:
    """Returns a graph of one node: one template, one run, one payload, which is the list [args, kwargs]."""
    chunk = graph.GraphChunk(
        graph=graph_id,
        last=True,
        node_count=1,
        templates=[graph.Template(task=task)],
        runs=[graph.NodeRun(count=1, payloads=[json.dumps([arguments, {}]).encode()])],
    )
    return client.SubmitRequest(chunks=[chunk])


def watch(stub: services.ClientServiceStub, graph_id: bytes, timeout: float) -> value.Result:
    """Waits until node 0 of the graph has settled and returns how."""
    nodes = client.NodeSet(graph=graph_id, ranges=[graph.Range(first=0, count=1)])
    for response in stub.Watch(client.WatchRequest(nodes=nodes), timeout=timeout):
        if response.results:
            return response.results[0]
    raise RuntimeError("the coordinator ended the watch without a result")


def show(result: value.Result) -> int:
    """Prints the value, or the failure, and returns the exit code."""
    if result.state == value.STATE_SUCCESS:
        print(result.value.data.decode())
        return 0
    failure = result.failure
    print(f"{value.State.Name(result.state)}: {failure.type_name}: {failure.message}", file=sys.stderr)
    print(failure.traceback, end="", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
