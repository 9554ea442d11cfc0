"""Between the messages of the wire and the executor's contract: assignments in, ends out.

Pure translation: this file may NOT keep state, do I/O or decide anything. What it is given comes from another
process and is checked before it is used.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import DecodeError

from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2, value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.wire_parts import LARGE, Apart, taken_apart
from grpcflow_worker.executor import Call, CallRun, Ended

#: Bytes of a graph id and of a node's index.
GRAPH_BYTES = 12
INDEX_BYTES = 4

#: The way to the payloads of an assignment.
_TO_PAYLOADS = (pb.WorkResponse.RUNS_FIELD_NUMBER, pb.AssignedRun.PAYLOADS_FIELD_NUMBER)


class ProtocolError(Exception):
    """The coordinator sent something that its own specification forbids; the text says what."""


def read_response(data: bytes) -> pb.WorkResponse | Apart[pb.WorkResponse]:
    """Read a message, large payloads of its one run apart: as views, since they are copied soon enough."""
    if len(data) < LARGE:
        return pb.WorkResponse.FromString(data)
    data, payloads = taken_apart(data, _TO_PAYLOADS, viewed=True)
    message = pb.WorkResponse.FromString(data)
    return Apart(message, payloads) if payloads else message


def runs_of(message: pb.WorkResponse, payloads: list[bytes] | None = None) -> list[CallRun]:
    """The assignments of one message.

    Args:
        message: the message.
        payloads: those of its one run that were taken out of it; none where it is whole.

    Raises:
        ProtocolError: a run names a template that the message does not hold, or has a graph id of a wrong length.
    """
    if not message.runs:
        return []
    calls = [_call_of(template) for template in message.templates]
    return [_run_of(run, calls, payloads or list(run.payloads)) for run in message.runs]


def _run_of(run: pb.AssignedRun, calls: Sequence[Call], payloads: list[bytes]) -> CallRun:
    if run.template >= len(calls):
        raise ProtocolError(f"a run names template {run.template}, its message holds {len(calls)}")
    if len(run.graph) != GRAPH_BYTES:
        raise ProtocolError(f"a run's graph id has {len(run.graph)} bytes instead of {GRAPH_BYTES}")
    return CallRun(
        call=calls[run.template],
        graph=run.graph,
        first=run.first,
        token=run.token,
        payloads=payloads,
        inputs=tuple(value.SerializeToString() for value in run.inputs),
        id=run.id,
        retries=run.retries,
        losses=run.losses,
        content_type=run.content_type,
        group=run.group,
        group_index=run.group_index,
        in_chord=run.in_chord,
        inputs_apart=run.inputs_apart,
        batch=run.batch,
        after=run.after,
    )


def _call_of(template: graph_pb2.Template) -> Call:
    return Call(
        task=template.task,
        queue=template.queue or "default",
        priority=template.priority,
        content_type=template.content_type,
        headers=template.headers,
        headers_content_type=template.headers_content_type,
        parent_id=template.parent_id,
        root_id=template.root_id,
        apart=template.apart,
        sensitive=template.sensitive,
        # A countdown and a relative expiry are counted by the coordinator's clock; a time made from ours would
        # be a guess, so only absolute times are shown to the task.
        eta=_iso(template.eta) if template.HasField("eta") else None,
        expires=_iso(template.expires_at) if template.HasField("expires_at") else None,
        ignore_result=template.ignore_result,
        track_started=template.track_started,
        acks_early=template.acks_early,
        time_limit=_seconds(template.time_limit) if template.HasField("time_limit") else None,
        soft_time_limit=_seconds(template.soft_time_limit) if template.HasField("soft_time_limit") else None,
        replaced_nesting=template.replaced_nesting,
    )


def _seconds(duration: duration_pb2.Duration) -> float | None:
    """A limit in seconds; None where it is not one: nothing may take less than no time."""
    seconds = duration.seconds + duration.nanos / 1e9
    return seconds if seconds > 0 else None


def _iso(time: timestamp_pb2.Timestamp) -> str | None:
    try:
        return time.ToDatetime(tzinfo=datetime.UTC).isoformat()
    except (ValueError, OverflowError):
        # Beyond the year 9999: there is no text for it, and the task can do without.
        return None


def node_of(run: CallRun, token: int) -> bytes:
    """The 16 bytes of the node that one attempt of a run is for."""
    return run.graph + (run.first + token - run.token).to_bytes(INDEX_BYTES, "big")


def id_of(run: CallRun, token: int) -> str:
    """The id of one attempt's task as its user knows it."""
    return run.id or str(uuid.UUID(bytes=node_of(run, token)))


def report_of(end: Ended) -> pb.Report:
    """The report for an end.

    Raises:
        ProtocolError: the end has a kind that this version does not know.
    """
    token = end.token
    match end.kind:
        case "value":
            return pb.Report(token=token, value=value_pb2.Value(data=end.data, content_type=end.content_type))
        case "failure":
            return pb.Report(token=token, failure=_failure(end))
        case "retry":
            retry = pb.Retry(countdown_ms=end.countdown_ms, payload=end.data, content_type=end.content_type)
            if end.failure:
                retry.failure.CopyFrom(_failure(end))
            return pb.Report(token=token, retry=retry)
        case "ignored":
            return pb.Report(token=token, ignored=pb.Ignored())
        case "rejected":
            failure = _failure(end) if end.failure else None
            return pb.Report(token=token, rejected=pb.Rejected(requeue=end.requeue, failure=failure))
        case "lost":
            return pb.Report(token=token, lost=pb.Lost(message=end.message))
        case "returned":
            return pb.Report(token=token, returned=pb.Returned())
        case "revoked":
            return pb.Report(token=token, revoked=pb.Revoked())
    raise ProtocolError(f"attempt {token} ended in the unknown way {end.kind!r}")


def progress_of(token: int, state: str, data: bytes, content_type: str, limit: int) -> pb.Report:
    """The report of how far an attempt is.

    Args:
        token: the attempt.
        state: the state that it gives itself.
        data: what it says with it, encoded.
        content_type: of data.
        limit: largest value in bytes that the coordinator takes.

    Raises:
        ProtocolError: the coordinator would refuse it.
    """
    if not 0 < len(state.encode("utf-8", "surrogatepass")) <= limits.NAME_LIMIT:
        raise ProtocolError(f"the state of a progress has {len(state)} characters; use 1 to {limits.NAME_LIMIT} bytes")
    if len(data) > limit:
        raise ProtocolError(f"the value of progress {state} has {len(data)} bytes, the coordinator takes {limit}")
    meta = value_pb2.Value(data=data, content_type=content_type)
    return pb.Report(token=token, progressed=pb.Progressed(state=state, meta=meta))


def _failure(end: Ended) -> value_pb2.Failure:
    try:
        return value_pb2.Failure.FromString(end.failure)
    except DecodeError as error:
        # It was made in a process that also runs user code; the attempt still has to end.
        return value_pb2.Failure(
            type_name="ExecutorError",
            module="grpcflow_worker.executor",
            message=f"the task failed, and the child that ran it sent a failure that cannot be read ({error})",
        )


def too_large(token: int, size: int, limit: int) -> pb.Report:
    """The report in place of one that the coordinator would refuse for its size.

    Args:
        token: the attempt.
        size: bytes that it would have had.
        limit: bytes that the coordinator takes.
    """
    message = f"the result has {size} bytes, the coordinator takes {limit}; store it elsewhere and return a reference"
    return pb.Report(
        token=token,
        failure=value_pb2.Failure(
            type_name="PayloadTooLarge", module="grpcflow.errors", message=message, reason="TOO_LARGE"
        ),
    )
