"""What became of Celery's settings that grpcflow does not have, and which name was meant.

Plain data, two questions about it, and the error that tells several answers. It may import nothing of grpcflow but its
errors.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from grpcflow.errors import ImproperlyConfigured

__all__ = ["ELSEWHERE", "OLD_STARTS", "looks_like_setting", "new_name", "together", "unknown"]

_NO_BROKER: Final = "there is no broker; the address of the coordinator is the setting 'coordinator'"
_NO_BACKEND: Final = "the coordinator keeps the results; its address is the setting 'coordinator'"
_NO_EXCHANGE: Final = "there are no exchanges, only queues: name one in task_routes or task_default_queue"
_NO_DECLARING: Final = "queues need no declaring: one is there as soon as it is used"
_NO_BEAT: Final = "the coordinator keeps the schedules and fires them: there is no beat process"
_NO_EVENTS: Final = "events need no switch and no queues: read them with app.events or grpcflow events"
_NO_LIMIT: Final = "limits hold for the whole cluster, whichever worker runs a task: take the rate_limit from the task"
_NO_COUNT: Final = "there is nothing to set: how much a worker holds adapts to how long its tasks take"
_LATE: Final = "a lost task runs again unless task_acks_late is False, and at most task_max_deliveries times"
_OWN_PARTS: Final = "the parts of a worker cannot be replaced by a setting"
_OF_CORE: Final = "the coordinator knows what has run, so a task that has succeeded is never handed out again"
_ENDED: Final = "a failed or stopped task has ended and does not run again; retry it with autoretry_for"
_RUNS_ON: Final = "tasks run on while the coordinator is away, and report then"
_NO_CONTROL_QUEUES: Final = "remote control needs no queues"
_BY_CHANNEL: Final = (
    "messages are not signed one by one, for none passes through a broker: TLS and a token, set by coordinator_tls_ca "
    "and coordinator_token_file, say who sent them"
)

#: Where settings of Celery went that have a reason of their own.
_SINGLE: Final[Mapping[str, str]] = {
    "result_backend": _NO_BACKEND,
    "result_chord_expires": "a chord is kept as long as the graph that it stands in: set result_expires",
    "result_persistent": "results are always durable",
    "result_cache_max": "results are not cached apart from the objects that hold them",
    "result_chord_join_timeout": "nothing waits for a chord: its body runs as soon as its header has settled",
    "result_chord_retry_interval": "nothing polls for a chord: its body runs as soon as its header has settled",
    "task_acks_on_failure_or_timeout": _ENDED,
    "task_acks_on_failure": _ENDED,
    "task_acks_on_timeout": _ENDED,
    "task_reject_on_worker_lost": _LATE,
    "task_retry_on_worker_lost": _LATE,
    "task_create_missing_queue_type": _NO_DECLARING,
    "task_create_missing_queue_exchange_type": _NO_EXCHANGE,
    "task_queue_max_priority": "every queue has the priorities 0 to 9",
    "task_default_queue_type": _NO_DECLARING,
    "task_default_delivery_mode": "calls are always durable",
    "task_default_exchange": _NO_EXCHANGE,
    "task_default_exchange_type": _NO_EXCHANGE,
    "task_default_routing_key": _NO_EXCHANGE,
    "task_protocol": "there is one protocol, which both sides agree on when they connect",
    "task_repr_maxlevels": "representations of arguments are cut by length",
    "task_allow_error_cb_on_chord_header": "the errback of a chord runs once, whichever part failed; "
    "members that need one of their own take it with on_error()",
    "beat_cron_starting_deadline": "each entry of beat_schedule says it: catch_up, in seconds; a day where it does not",
    "task_send_sent_event": _NO_EVENTS,
    "worker_send_task_events": _NO_EVENTS,
    "worker_concurrency": "it is the option -c of grpcflow-worker",
    "worker_pool": "it is the option -P of grpcflow-worker",
    "worker_prefetch_multiplier": _NO_COUNT,
    "worker_disable_prefetch": _NO_COUNT,
    "worker_enable_prefetch_count_reduction": _NO_COUNT,
    "worker_eta_task_limit": "tasks with an ETA wait in the coordinator, not in a worker",
    "worker_enable_soft_shutdown_on_idle": "a worker that runs nothing has nothing to wait for: calls with an ETA "
    "wait in the coordinator",
    "worker_cancel_long_running_tasks_on_connection_loss": _RUNS_ON,
    "worker_deduplicate_successful_tasks": _OF_CORE,
    "worker_state_db": "revokes are kept by the coordinator, for good",
    "worker_disable_rate_limits": _NO_LIMIT,
    "worker_enable_remote_control": "remote control is always there; the supervisor answers, not the tasks",
    "worker_detect_quorum_queues": _NO_BROKER,
    "worker_direct": "every worker has a queue of its own: call with queue=grpcflow.worker_direct(NAME)",
    "worker_autoscaler": _OWN_PARTS,
    "worker_agent": _OWN_PARTS,
    "worker_consumer": _OWN_PARTS,
    "worker_timer": _OWN_PARTS,
    "worker_timer_precision": _OWN_PARTS,
    "worker_lost_wait": "a child that died is seen at once",
    "worker_pool_putlocks": _NO_COUNT,
    "worker_pool_restarts": "the command pool_restart is always there",
    "worker_pool_start_method": "children are forked from a process of their own that never runs tasks",
    "worker_proc_alive_timeout": "how long children may take to come up is fixed; one that ends is seen at once",
}

#: Every place for results that Celery can be told of, by how the names of its settings begin, and what follows.
_BACKENDS: Final[Mapping[str, str]] = {
    "arangodb_": "backend_settings",
    "azureblockblob_": "base_path connection_timeout container_name read_timeout retry_increment_base "
    "retry_initial_backoff_sec retry_max_attempts",
    "cache_": "backend backend_options",
    "cassandra_": "auth_kwargs auth_provider bundle_path entry_ttl keyspace options port read_consistency servers "
    "table write_consistency",
    "cosmosdbsql_": "collection_name consistency_level database_name max_retry_attempts max_retry_wait_time",
    "couchbase_": "backend_settings",
    "database_": "create_tables_at_setup engine_callback engine_options short_lived_sessions table_names "
    "table_schemas url",
    "elasticsearch_": "max_retries retry_on_timeout save_meta_as_text timeout",
    "gcs_": "base_path bucket project ttl",
    "mongodb_": "backend_settings",
    "redis_": "backend_use_ssl db host max_connections password port retry_on_timeout socket_connect_timeout "
    "socket_keepalive socket_timeout username",
    "result_": "backend_always_retry backend_base_sleep_between_retries_ms backend_max_retries "
    "backend_max_sleep_between_retries_ms backend_transport_options exchange exchange_type",
    "s3_": "access_key_id base_path bucket endpoint_url region secret_access_key",
}
#: The settings of Celery that are about a broker.
_BROKERS: Final = (
    "channel_error_retry connection_max_retries connection_retry connection_retry_on_startup connection_timeout "
    "failover_strategy heartbeat heartbeat_checkrate host login_method native_delayed_delivery_queue_type password "
    "pool_acquire_timeout pool_limit port read_url transport transport_options url use_ssl user vhost write_url"
)
_BEATS: Final = (
    "enable_remote_control max_loop_interval remote_control_max_tick_age schedule_filename scheduler sync_every"
)


def _named(start: str, ends: str, reason: str) -> dict[str, str]:
    """Return one reason for each of the names that begin alike."""
    return {start + end: reason for end in ends.split()}


#: What to use instead of each setting of Celery 5.7 that is none here; with those of ours it is the whole of Celery's.
ELSEWHERE: Final[Mapping[str, str]] = {
    **_SINGLE,
    **_named("broker_", _BROKERS, _NO_BROKER),
    **_named("beat_", _BEATS, _NO_BEAT),
    **_named("control_", "exchange queue_durable queue_exclusive queue_expires queue_ttl", _NO_CONTROL_QUEUES),
    **_named(
        "event_", "exchange queue_durable queue_exclusive queue_expires queue_prefix queue_ttl serializer", _NO_EVENTS
    ),
    **_named("security_", "cert_store certificate digest key key_password", _BY_CHANNEL),
    **{name: reason for start, ends in _BACKENDS.items() for name, reason in _named(start, ends, _NO_BACKEND).items()},
}

#: How the upper-case names of Celery's first settings begin.
OLD_STARTS: Final = ("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")
#: Those of the new names that cannot be seen from the old ones.
_RENAMED: Final[Mapping[str, str]] = {
    "CELERY_MAX_CACHED_RESULTS": "result_cache_max",
    "CELERY_MESSAGE_COMPRESSION": "task_compression",
    "CELERY_RESULT_DBURI": "database_url",
}

#: How names begin that nobody gives to anything but a setting.
_PREFIXES: Final = ("task_", "worker_", "result_", "beat_", "broker_", "accept_")
#: How much alike a name must be to a setting's to be meant for it: 1 is the same.
_NEAR: Final = 0.8


def together(errors: Sequence[ImproperlyConfigured]) -> ImproperlyConfigured:
    """Return one error that tells all of several, a line each: who moves a project mends them at once."""
    if len(errors) == 1:
        return errors[0]
    return ImproperlyConfigured("\n".join(map(str, errors)), code=errors[0].code)


def unknown(name: str, known: Collection[str]) -> str:
    """Say that a setting does not exist, where it went, or which one may be meant.

    Args:
        name: What was written.
        known: The names of the settings that exist.
    """
    if reason := ELSEWHERE.get(name):
        return f"grpcflow has no setting {name!r}: {reason}."
    if name.startswith(OLD_STARTS):
        now = new_name(name, known)
        return f"{name} is an old name of {now!r}." if now in known else unknown(now, known)
    meant = difflib.get_close_matches(name.lower(), [*known, *ELSEWHERE], n=1, cutoff=_NEAR)
    if meant and (reason := ELSEWHERE.get(meant[0])):
        return f"grpcflow has no setting {name!r}, nor Celery's {meant[0]!r}: {reason}."
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else f" The settings are: {', '.join(known)}."
    return f"grpcflow has no setting {name!r}.{hint}"


def looks_like_setting(name: str, known: Collection[str]) -> bool:
    """Return True for a name that was meant for a setting, though none has it."""
    if name in ELSEWHERE or name.startswith(_PREFIXES):
        return True
    return bool(difflib.get_close_matches(name, known, n=1, cutoff=_NEAR))


def new_name(old: str, known: Collection[str]) -> str:
    """Return what one of Celery's upper-case names is called now; the name in lower case for what is none.

    Args:
        old: What was written, beginning with one of `OLD_STARTS`.
        known: The names of the settings that exist.
    """
    names = {*known, *ELSEWHERE}
    start, _, rest = old.partition("_")
    rest = rest.lower()
    of_start = {"CELERYD": "worker_", "CELERYBEAT": "beat_", "BROKER": "broker_"}.get(start, "")
    begins = (of_start, "", "task_", "worker_", "result_", "beat_")
    found = next((begin + rest for begin in begins if begin + rest in names), "")
    near = difflib.get_close_matches(rest, sorted(names), n=1, cutoff=0.5)
    return _RENAMED.get(old) or found or (near[0] if near else rest)
