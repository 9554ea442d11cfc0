"""What a client makes of the coordinator's answers: what one client may say, every other one must be able to read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from grpcflow import codec, event_wire, failures, limit_wire, schedule_wire
from grpcflow.errors import GrpcflowError
from grpcflow.graph import reading
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
    event_service_pb2,
    graph_service_pb2,
    schedule_service_pb2,
    value_pb2,
)


def _schedules(answer: Any) -> None:
    for info in answer.schedules:
        schedule_wire.times_of(info.schedule)
        for moment in (*info.next_ms, *(tick.time_ms for tick in info.history)):
            schedule_wire.moment_of(moment, info.schedule.time_zone)


def _each(read: Callable[[Any], object], field: str) -> Callable[[Any], None]:
    def read_all(answer: Any) -> None:
        for one in getattr(answer, field):
            read(one)

    return read_all


def _result(result: value_pb2.Result) -> None:
    if result.HasField("failure"):
        failures.rebuild(result.failure)
    with contextlib.suppress(GrpcflowError):  # what a worker sent as its value is between it and who waits for it
        codec.decode_value(result.value)


def _graph(page: Any) -> None:
    reading.summary(page.summary)
    for run in page.runs:
        reading.run(run, page.templates, page.summary.graph)


#: Methods, as paths, with the types of their answers and what reads these.
READERS: Final[dict[str, tuple[Any, Callable[[Any], object]]]] = {
    f"/grpcflow.v1.{name}": (kind, read)
    for name, kind, read in (
        ("EventService/ReadEvents", event_service_pb2.ReadEventsResponse, _each(event_wire.event_from, "events")),
        ("ControlService/ListLimits", control_service_pb2.ListLimitsResponse, _each(limit_wire.info_from, "limits")),
        (
            "ControlService/ListRetention",
            control_service_pb2.ListRetentionResponse,
            _each(limit_wire.retention_from, "retention"),
        ),
        ("GraphService/ListGraphs", graph_service_pb2.ListGraphsResponse, _each(reading.summary, "graphs")),
        ("GraphService/GetGraph", graph_service_pb2.GetGraphResponse, _graph),
        ("GraphService/Explain", graph_service_pb2.ExplainResponse, lambda answer: reading.explanation(answer, "x")),
        ("ScheduleService/ListSchedules", schedule_service_pb2.ListSchedulesResponse, _schedules),
        ("ClientService/GetResults", client_service_pb2.GetResultsResponse, _each(_result, "results")),
    )
}


def read(method: str, answers: Iterable[bytes]) -> None:
    """Read answers as a client does; what it raises is a defect of one of the two sides.

    Args:
        method: the method's path.
        answers: its answers.
    """
    if method in READERS:
        kind, reader = READERS[method]
        whole = kind()
        for answer in answers:  # those of a stream are parts of one
            whole.MergeFromString(answer)
        reader(whole)
