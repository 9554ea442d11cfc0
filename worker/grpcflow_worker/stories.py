"""Tells people how a worker starts and how attempts end, in its log.

It may NOT decide anything, nor run user code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.config import WorkerConfig
from grpcflow_worker.executor import Ended, Registered
from grpcflow_worker.subscription import shown

_log = logging.getLogger("grpcflow.worker")


def log_start(
    config: WorkerConfig,
    registered: Registered,
    queues: Mapping[str, int],
    executor: str,
    addresses: Sequence[str],
) -> None:
    """Log what a worker is about to do, and what its user should know.

    Args:
        config: what it was told; quiet: the warnings only.
        registered: what the app said.
        queues: the queues that it serves, with their weights.
        executor: name of what runs its tasks.
        addresses: where the coordinator is.
    """
    late = registered.conf.get("task_acks_late", True)
    level = logging.DEBUG if config.service.quiet else logging.INFO
    _log.log(level, "worker %s starts: queues %s, app %s", config.name, shown(queues), config.app)
    where, count = ", ".join(addresses), len(registered.tasks)
    _log.log(level, "coordinator %s, executor %s with %d at once, %d tasks", where, executor, config.concurrency, count)
    _log.log(level, "acks_late=%s: a lost task %s", bool(late), "runs again" if late else "fails and never runs twice")
    for warning in registered.warnings:
        _log.warning("%s", warning)
    _log.debug("registered tasks: %s", ", ".join(registered.tasks))


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
