"""grpcflow: durable workflows of Python tasks, composed as in Celery.

What users import. Importing it is light: grpc, protobuf and the codec are loaded when something is sent.
"""

from grpcflow import states
from grpcflow.app import AlwaysEagerIgnored, Grpcflow
from grpcflow.batching import BatchCall
from grpcflow.canvas import (
    Signature,
    StampingVisitor,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    subtask,
    xmap,
    xstarmap,
)
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
