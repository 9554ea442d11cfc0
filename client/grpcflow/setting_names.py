"""What became of Celery's settings that grpcflow does not have, and which name was meant.

Plain data and two questions about it. It may import nothing of grpcflow.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["looks_like_setting", "unknown"]

_NO_BROKER: Final = "there is no broker; the address of the coordinator is the setting 'coordinator'"
_NO_BACKEND: Final = "the coordinator keeps the results; its address is the setting 'coordinator'"
_NO_EXCHANGE: Final = "there are no exchanges, only queues: name one in task_routes or task_default_queue"
_NO_DECLARING: Final = "queues need no declaring: one is there as soon as it is used"
_NO_BEAT: Final = "there are no schedules yet"
_NO_EVENTS: Final = "there are no task events yet; ask app.control.inspect()"
_NO_LIMIT: Final = "there are no rate limits yet"
_NO_COUNT: Final = "there is nothing to set: how much a worker holds adapts to how long its tasks take"
_LOGGING: Final = (
    "the worker has a log format of its own; connect a receiver to grpcflow.signals.setup_logging, "
    "after_setup_logger or after_setup_task_logger to change it"
)
_COORDINATOR_KEEPS: Final = "the coordinator decides how long results are kept; it is a setting of grpcflow-coordinator"
_LATE: Final = "a lost task runs again unless task_acks_late is False, and at most task_max_deliveries times"
_OWN_PARTS: Final = "the parts of a worker cannot be replaced by a setting"
_OF_CORE: Final = "the coordinator knows what has run, so a task that has succeeded is never handed out again"
_STOPPING: Final = (
    "a worker that is told to stop lets what runs finish, however long that takes; a second signal stops it at once, "
    "and what it stopped runs again"
)
_ENDED: Final = "a failed or stopped task has ended and does not run again; retry it with autoretry_for"
_RUNS_ON: Final = "tasks run on while the coordinator is away, and report then"
_NO_RECYCLING: Final = "children are not replaced yet because of what they have run or of the memory they take"

#: Where Celery's settings went that have no place here.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "broker_url": _NO_BROKER,
    "result_backend": _NO_BACKEND,
    "result_expires": _COORDINATOR_KEEPS,
    "result_chord_expires": _COORDINATOR_KEEPS,
    "result_failure_expires": _COORDINATOR_KEEPS,
    "result_persistent": "results are always durable",
    "result_cache_max": "results are not cached apart from the objects that hold them",
    "result_chord_join_timeout": "nothing waits for a chord: its body runs as soon as its header has settled",
    "result_chord_retry_interval": "nothing polls for a chord: its body runs as soon as its header has settled",
    "task_acks_on_failure_or_timeout": _ENDED,
    "task_acks_on_failure": _ENDED,
    "task_acks_on_timeout": _ENDED,
    "task_reject_on_worker_lost": _LATE,
    "task_retry_on_worker_lost": _LATE,
    "task_create_missing_queues": _NO_DECLARING,
    "task_create_missing_queue_type": _NO_DECLARING,
    "task_create_missing_queue_exchange_type": _NO_EXCHANGE,
    "task_queues": _NO_DECLARING + "; name those of a worker with its option -Q",
    "task_queue_max_priority": "every queue has the priorities 0 to 9",
    "task_default_queue_type": _NO_DECLARING,
    "task_default_delivery_mode": "calls are always durable",
    "task_default_exchange": _NO_EXCHANGE,
    "task_default_exchange_type": _NO_EXCHANGE,
    "task_default_routing_key": _NO_EXCHANGE,
    "task_default_rate_limit": _NO_LIMIT,
    "task_protocol": "there is one protocol, which both sides agree on when they connect",
    "task_repr_maxlevels": "representations of arguments are cut by length",
    "task_allow_error_cb_on_chord_header": "the errback of a chord runs once, whichever part failed; "
    "members that need one of their own take it with on_error()",
    "task_send_sent_event": _NO_EVENTS,
    "worker_send_task_events": _NO_EVENTS,
    "worker_concurrency": "it is the option -c of grpcflow-worker",
    "worker_pool": "it is the option -P of grpcflow-worker",
    "worker_prefetch_multiplier": _NO_COUNT,
    "worker_disable_prefetch": _NO_COUNT,
    "worker_enable_prefetch_count_reduction": _NO_COUNT,
    "worker_eta_task_limit": "tasks with an ETA wait in the coordinator, not in a worker",
    "worker_max_tasks_per_child": _NO_RECYCLING,
    "worker_max_memory_per_child": _NO_RECYCLING,
    "worker_soft_shutdown_timeout": _STOPPING,
    "worker_enable_soft_shutdown_on_idle": _STOPPING,
    "worker_cancel_long_running_tasks_on_connection_loss": _RUNS_ON,
    "worker_deduplicate_successful_tasks": _OF_CORE,
    "worker_state_db": "revokes are kept by the coordinator, for good",
    "worker_disable_rate_limits": _NO_LIMIT,
    "worker_enable_remote_control": "remote control is always there; the supervisor answers, not the tasks",
    "worker_hijack_root_logger": _LOGGING,
    "worker_log_color": _LOGGING,
    "worker_log_datefmt": _LOGGING,
    "worker_log_format": _LOGGING,
    "worker_task_log_datefmt": _LOGGING,
    "worker_task_log_format": _LOGGING,
    "worker_redirect_stdouts": "what tasks print stays on the worker's own output",
    "worker_redirect_stdouts_level": "what tasks print stays on the worker's own output",
    "worker_detect_quorum_queues": _NO_BROKER,
    "worker_direct": "name a queue for each worker with its option -Q",
    "worker_autoscaler": _OWN_PARTS,
    "worker_agent": _OWN_PARTS,
    "worker_consumer": _OWN_PARTS,
    "worker_timer": _OWN_PARTS,
    "worker_timer_precision": _OWN_PARTS,
    "worker_lost_wait": "a child that died is seen at once",
    "worker_pool_putlocks": _NO_COUNT,
    "worker_pool_restarts": "start the worker anew; what it holds goes to others or waits",
    "worker_pool_start_method": "children are forked from a process of their own that never runs tasks",
    "worker_proc_alive_timeout": "how long children may take to come up is fixed; one that ends is seen at once",
}

#: The same for whole families of names.
_FAMILIES: Final[Mapping[str, str]] = {
    "beat_": _NO_BEAT,
    "broker_": _NO_BROKER,
    "result_backend_": _NO_BACKEND,
    "result_exchange": _NO_BACKEND,
    "event_": _NO_EVENTS,
    "control_": "remote control needs no queues",
    "security_": "messages are not signed yet",
    **dict.fromkeys(
        (
            *("cache_", "cassandra_", "s3_", "azureblockblob_", "gcs_", "couchbase_", "arangodb_", "mongodb_"),
            *("cosmosdbsql_", "redis_", "elasticsearch_", "database_"),
        ),
        _NO_BACKEND,
    ),
}

#: How names begin that nobody gives to anything but a setting.
_PREFIXES: Final = ("task_", "worker_", "result_", "beat_", "broker_", "accept_", "redis_", "database_", "event_")
#: How much alike a name must be to a setting's to be meant for it: 1 is the same.
_NEAR: Final = 0.8


def unknown(name: str, known: Collection[str]) -> str:
    """Say that a setting does not exist, where it went, or which one may be meant.

    Args:
        name: What was written.
        known: The names of the settings that exist.
    """
    if reason := _reason(name):
        return f"grpcflow has no setting {name!r}: {reason}."
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else f" The settings are: {', '.join(known)}."
    return f"grpcflow has no setting {name!r}.{hint}"


def looks_like_setting(name: str, known: Collection[str]) -> bool:
    """Return True for a name that was meant for a setting, though none has it."""
    if _reason(name) or name.startswith(_PREFIXES):
        return True
    return bool(difflib.get_close_matches(name, known, n=1, cutoff=_NEAR))


def _reason(name: str) -> str:
    """Return what became of a setting of Celery; empty for what is none."""
    found = _ELSEWHERE.get(name)
    return found or next((reason for start, reason in _FAMILIES.items() if name.startswith(start)), "")
