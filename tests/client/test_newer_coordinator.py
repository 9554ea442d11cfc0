"""What a newer coordinator may say, and this client has never heard of, is read as unknown and ends nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from grpcflow import event_wire, limit_wire, schedule_wire
from grpcflow.graph import reading
from grpcflow.settled import settled_from
from grpcflow_protos.v1 import (
    control_service_pb2,
    event_service_pb2,
    graph_service_pb2,
    schedule_service_pb2,
    value_pb2,
)

#: A number that no enumeration has.
NEW: Any = 77
GRAPH = bytes(12)


def test_enumerations() -> None:
    assert limit_wire.info_from(control_service_pb2.LimitInfo(scope=NEW, name="n")).scope == "unknown-77"
    assert event_wire.event_from(event_service_pb2.Event(kind=NEW)).kind == "unknown-77"
    assert reading.summary(graph_service_pb2.GraphSummary(graph=GRAPH, state=NEW)).state == "UNKNOWN-77"
    assert reading.explanation(graph_service_pb2.ExplainResponse(state=NEW), "x").state == "UNKNOWN-77"
    states: tuple[Any, ...] = (NEW, -1)
    for state in states:
        assert settled_from(value_pb2.Result(state=state)).state == "UNKNOWN"


def test_an_edge_and_a_template_of_a_run() -> None:
    view: Any = graph_service_pb2.RunView
    run = reading.run(view(first=1, count=1, template=5, inputs=[{"parent": 0, "mode": NEW}]), [], GRAPH)
    assert (run.task, run.edges[0].kind) == ("", "unknown-77")


def test_times_and_zones() -> None:
    schedule: Any = schedule_service_pb2.Schedule
    assert schedule_wire.times_of(schedule(name="s")).describe() == "unknown to this version"
    assert schedule_wire.moment_of(0, "Mars/Olympus") == datetime(1970, 1, 1, tzinfo=UTC)
    assert schedule_wire.moment_of(0, "../x") == datetime(1970, 1, 1, tzinfo=UTC)
    at = schedule(name="s", time_zone="Mars/Olympus", once={"seconds": 60})
    assert schedule_wire.times_of(at).describe()
