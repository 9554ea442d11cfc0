"""Tells people how an attempt ended, in the log of the worker.

It may NOT decide anything, nor run user code.
"""

from __future__ import annotations

import logging

from google.protobuf.message import DecodeError

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import Ended

_log = logging.getLogger("grpcflow.worker")


def log_end(end: Ended, story: str) -> None:
    """Log an end that the process which ran it has not logged, or could not.

    Args:
        end: how it ended.
        story: which attempt it is, for people.
    """
    if end.logged:
        return
    match end.kind:
        case "failure":
            _log.error("failed: %s: %s", story, _failure_text(end.failure))
        case "lost":
            _log.error("lost: %s: %s", story, end.message)
        case "retry":
            _log.info("to be tried again in %.1f s: %s", end.countdown_ms / 1000, story)
        case "revoked":
            _log.info("revoked: %s", story)
        case "rejected":
            _log.warning("rejected%s: %s", ", to run again" if end.requeue else "", story)
        case _:
            _log.debug("%s: %s", end.kind, story)


def _failure_text(data: bytes) -> str:
    try:
        failure = value_pb2.Failure.FromString(data)
    except DecodeError:
        return "(the failure cannot be read)"
    text = f"{failure.type_name}: {failure.message}"
    return f"{text}\n{failure.traceback.rstrip()}" if failure.traceback else text
