"""Retention: checked and given to the core, and told. Decides nothing."""

from __future__ import annotations

from google.protobuf import duration_pb2

from grpcflow_coordinator.core.model import Keep, Retention
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.convert import duration_ms
from grpcflow_protos.v1 import control_service_pb2 as pb


def checked(message: pb.Retention) -> Retention:
    """Check what is to be kept.

    Raises:
        Refusal: BAD_ARGUMENTS, BAD_TIME.
    """
    found = Retention(*(_keep(one) for one in (message.results, message.failures, message.arguments)))
    if found == Retention():
        raise Refusal("BAD_ARGUMENTS", "nothing is said of what to keep: name an age or a count, or clear it")
    return found


def _keep(message: pb.Keep) -> Keep:
    if not message.HasField("age"):
        return Keep(0, message.count)
    age = duration_ms(message.age, "the age of what is kept")
    if age < 0:
        raise Refusal("BAD_TIME", "what ended cannot be kept for less than no time: use zero or more")
    return Keep(max(1, age), message.count)


def info(key: tuple[str, str], kept: Retention) -> pb.RetentionInfo:
    """Return a retention that was set, for the wire."""
    scope, name = key
    told = pb.RetentionInfo(scope=pb.SCOPE_TASK if scope == "task" else pb.SCOPE_QUEUE, name=name)
    for field, keep in (("results", kept.results), ("failures", kept.failures), ("arguments", kept.arguments)):
        if keep != Keep():
            message = getattr(told.retention, field)
            message.count = keep.count
            if keep.age_ms:
                message.age.CopyFrom(duration_pb2.Duration(seconds=keep.age_ms // 1000))
                message.age.nanos = keep.age_ms % 1000 * 1_000_000
    return told
