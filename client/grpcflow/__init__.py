"""grpcflow: durable workflows of Python tasks, composed as in Celery.

What users import. Importing it is light: each name is loaded when it is first used, and grpc, protobuf and the codec
when something is sent; so the command line pays for no more than it needs. A name that is added stands here three
times: for type checkers, in the places, and in ``__all__``; a test compares them.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from grpcflow import states
    from grpcflow.app import AlwaysEagerIgnored, Grpcflow
    from grpcflow.batching import BatchCall
    from grpcflow.canvas import StampingVisitor, chain, chord, chunks, group, xmap, xstarmap
    from grpcflow.canvas.signature import Signature, maybe_signature, signature, subtask
    from grpcflow.errors import (
        AlreadyExists,
        ChordError,
        CoordinatorUnavailable,
        GrpcflowError,
        Ignore,
        ImproperlyConfigured,
        InvalidRequest,
        MaxRetriesExceededError,
        NotFound,
        NotRegistered,
        PayloadTooLarge,
        QueueNotFound,
        Reject,
        RemoteError,
        Retry,
        SerializationError,
        StaleAttempt,
        StillRunning,
        TaskRevokedError,
        TimeoutError,  # noqa: A004 - Celery's name, and a subclass of the builtin
        UnknownDestination,
        WorkerLostError,
    )
    from grpcflow.graph import GraphView
    from grpcflow.queues import Broadcast, Queue, worker_direct
    from grpcflow.registration import DuplicateTaskName
    from grpcflow.result import AsyncResult, GroupResult, ResultSet, result_from_tuple
    from grpcflow.shared import shared_batch_task, shared_task
    from grpcflow.state import allow_join_result, current_app, current_task, denied_join_result
    from grpcflow.task import Context, Task

__version__ = "0.1.0"

#: Where each name is defined.
_PLACES: Final = {
    "grpcflow.app": (
        "AlwaysEagerIgnored",
        "Grpcflow",
    ),
    "grpcflow.batching": ("BatchCall",),
    "grpcflow.canvas": (
        "Signature",
        "StampingVisitor",
        "chain",
        "chord",
        "chunks",
        "group",
        "maybe_signature",
        "signature",
        "subtask",
        "xmap",
        "xstarmap",
    ),
    "grpcflow.errors": (
        "AlreadyExists",
        "ChordError",
        "CoordinatorUnavailable",
        "GrpcflowError",
        "Ignore",
        "ImproperlyConfigured",
        "InvalidRequest",
        "MaxRetriesExceededError",
        "NotFound",
        "NotRegistered",
        "PayloadTooLarge",
        "QueueNotFound",
        "Reject",
        "RemoteError",
        "Retry",
        "SerializationError",
        "StaleAttempt",
        "StillRunning",
        "TaskRevokedError",
        "TimeoutError",
        "UnknownDestination",
        "WorkerLostError",
    ),
    "grpcflow.graph": ("GraphView",),
    "grpcflow.queues": (
        "Broadcast",
        "Queue",
        "worker_direct",
    ),
    "grpcflow.registration": ("DuplicateTaskName",),
    "grpcflow.result": (
        "AsyncResult",
        "GroupResult",
        "ResultSet",
        "result_from_tuple",
    ),
    "grpcflow.shared": (
        "shared_batch_task",
        "shared_task",
    ),
    "grpcflow.state": (
        "allow_join_result",
        "current_app",
        "current_task",
        "denied_join_result",
    ),
    "grpcflow.task": (
        "Context",
        "Task",
    ),
}

__all__ = [
    "AlreadyExists",
    "AlwaysEagerIgnored",
    "AsyncResult",
    "BatchCall",
    "Broadcast",
    "ChordError",
    "Context",
    "CoordinatorUnavailable",
    "DuplicateTaskName",
    "GraphView",
    "GroupResult",
    "Grpcflow",
    "GrpcflowError",
    "Ignore",
    "ImproperlyConfigured",
    "InvalidRequest",
    "MaxRetriesExceededError",
    "NotFound",
    "NotRegistered",
    "PayloadTooLarge",
    "Queue",
    "QueueNotFound",
    "Reject",
    "RemoteError",
    "ResultSet",
    "Retry",
    "SerializationError",
    "Signature",
    "StaleAttempt",
    "StampingVisitor",
    "StillRunning",
    "Task",
    "TaskRevokedError",
    "TimeoutError",
    "UnknownDestination",
    "WorkerLostError",
    "__version__",
    "allow_join_result",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "denied_join_result",
    "group",
    "maybe_signature",
    "result_from_tuple",
    "shared_batch_task",
    "shared_task",
    "signature",
    "states",
    "subtask",
    "worker_direct",
    "xmap",
    "xstarmap",
]

_HOME: Final = {name: module for module, names in _PLACES.items() for name in names}

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Load a name, or a module of the package, when it is first used."""
        if name in _HOME:
            value = getattr(importlib.import_module(_HOME[name]), name)
        elif name.startswith("_"):
            raise AttributeError(f"module 'grpcflow' has no attribute {name!r}")
        else:
            try:
                value = importlib.import_module(f"grpcflow.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"grpcflow.{name}":
                    raise
                raise AttributeError(f"module 'grpcflow' has no attribute {name!r}") from None
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Tell the names that are public."""
        return sorted({*globals(), *__all__})
