"""What is large leaves beside its message: both ways of taking a message give the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from grpcflow_coordinator.client_stream import ClientStream
from grpcflow_coordinator.core.effects import Assign
from grpcflow_coordinator.core.model import Run, Template
from grpcflow_coordinator.streams import LARGE, WorkerStream
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2, worker_service_pb2
from grpcflow_protos.wire_parts import with_parts

GRAPH = b"g" * 12
SIZES = (10, LARGE, 200_000, LARGE - 1, 1)


def template() -> Template:
    """Return how all of them run."""
    return Template("t", "default", wire=graph_pb2.Template(task="t", queue="default").SerializeToString())


def worker_stream(assigned: list[Assign], payloads: dict[int, list[bytes]]) -> WorkerStream:
    """Return a worker's stream with assignments of these payloads."""
    records = SimpleNamespace(payloads=lambda _graph, run: payloads[run.first], progress=lambda *_: None)
    engine: Any = SimpleNamespace(committed=records)
    later: Any = lambda *_: None  # noqa: E731
    stream = WorkerStream(engine, "w", limits.PAYLOAD_LIMIT, later=later)
    stream.assigned.extend(assigned)
    return stream


def runs_of(assigned: list[Assign], payloads: dict[int, list[bytes]], *, apart: bool) -> list[Any]:
    """Take all messages of such a stream; return their runs, with the task of each, by token."""
    stream, found = worker_stream(assigned, payloads), list[Any]()
    while True:
        parts: list[bytes] = []
        message = stream.take(parts if apart else None)
        if message is None:
            return sorted(found, key=lambda pair: pair[1].token)
        assert apart or not parts
        read = worker_service_pb2.WorkResponse.FromString(with_parts(message, parts).SerializeToString())
        found += [(read.templates[run.template].task, run) for run in read.runs]


def test_tasks_with_large_arguments_are_handed_out_the_same_either_way() -> None:
    shared = template()
    payloads = {first: [bytes((first,)) * size] for first, size in enumerate(SIZES)}
    assigned = [
        Assign(None, GRAPH, Run(first, 1, 0, (), (), f"own {first}"), shared, first, 1, 100 + first)
        for first in payloads
    ]
    whole = runs_of(assigned, payloads, apart=False)
    assert [(task, run.token, run.id, list(run.payloads)) for task, run in whole] == [
        ("t", 100 + first, f"own {first}", payloads[first]) for first in payloads
    ]
    for (task, run), (same_task, same_run) in zip(whole, runs_of(assigned, payloads, apart=True), strict=True):
        same_run.template = run.template
        assert (task, run) == (same_task, same_run)


def test_large_values_are_told_the_same_either_way() -> None:
    records: Any = None
    told: list[dict[int, bytes]] = []
    for apart in (False, True):
        stream, found = ClientStream(records), dict[int, bytes]()
        for index, size in enumerate(SIZES):
            stream.add_value(GRAPH, index, bytes((index,)) * size)
        parts: list[bytes] = []
        while (message := stream.take(parts if apart else None)) is not None:
            data = with_parts(message, parts).SerializeToString()
            parts = []
            for column in client_service_pb2.SessionResponse.FromString(data).successes:
                assert column.graph == GRAPH
                found.update(zip(column.indexes, column.values, strict=True))
        told.append(found)
    assert told[0] == told[1] == {index: bytes((index,)) * size for index, size in enumerate(SIZES)}
