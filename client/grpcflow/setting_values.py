"""What each setting may be: one test and one wording for each.

Pure. It may import nothing of grpcflow but its routes, queues, limits, entries of schedules and names of namespaces.
"""

import logging
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from grpcflow.credentials import is_namespace
from grpcflow.limits import checked_length, parse_rate
from grpcflow.queues import Queues
from grpcflow.routes import Router
from grpcflow.schedule_entries import check_entries

__all__ = ["COMPRESSIONS", "FIXED", "POLICY", "SERIALIZERS", "TESTS", "WITHOUT_EFFECT", "Test"]

SERIALIZERS: Final = ("json", "msgpack", "yaml", "pickle")
COMPRESSIONS: Final = ("gzip", "zlib", "bzip2", "lzma", "brotli", "zstd")

#: How a failed submission is tried again where nothing else is said.
POLICY: Final[Mapping[str, Any]] = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}

#: Settings that can have one value only, since it is always so; any other is refused with the reason.
FIXED: Final[Mapping[str, Any]] = {
    "result_extended": True,
    "task_remote_tracebacks": True,
    "task_store_eager_result": False,
}

#: Settings that are taken for the sake of code written for Celery, and why nothing depends on them.
WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "task_store_errors_even_if_ignored": "failures are always kept",
}

_TOP_PRIORITY: Final = 9

#: A test of a value, and what the value must be, in words.
Test = tuple[Callable[[Any], bool], str]


def _is_zone(value: Any) -> bool:
    """Return True for None and for the name of a time zone that exists here."""
    if value in (None, "UTC"):
        return True
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        return False
    return True


def _is_texts(value: Any) -> bool:
    """Return True for a collection of texts that is not itself a text."""
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(item, str) for item in value)


def _is_codecs(value: Any) -> bool:
    """Return True for a collection of names of codecs, or of content types."""
    return _is_texts(value) and all(name in SERIALIZERS or "/" in name for name in value)


def _is_address(value: Any) -> bool:
    """Return True for None, an address, or some addresses."""
    return value is None or isinstance(value, str) or (_is_texts(value) and len(value) > 0)


def _is_count(value: Any) -> bool:
    """Return True for a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_seconds(value: Any) -> bool:
    """Return True for None and for a number above 0."""
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0)


def _is_priority(value: Any) -> bool:
    """Return True for a priority."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOP_PRIORITY


def _is_routes(value: Any) -> bool:
    """Return True for routes; the router says what is wrong with others."""
    Router(value)
    return True


def _is_queues(value: Any) -> bool:
    """Return True for queues; they say what is wrong with others."""
    Queues(value)
    return True


def _is_schedules(value: Any) -> bool:
    """Return True for schedules; their entries say what is wrong with others."""
    check_entries(value)
    return True


def _is_rate(value: Any) -> bool:
    """Return True for None and for a rate limit."""
    try:
        parse_rate(value)
    except ValueError:
        return False
    return True


def _is_length(value: Any) -> bool:
    """Return True for None and for a length of time above 0."""
    try:
        checked_length("it", value)
    except ValueError:
        return False
    return True


def _is_annotations(value: Any) -> bool:
    """Return True for what may change tasks: a mapping or an object that chooses, or several of them."""
    if value is None or isinstance(value, Mapping) or hasattr(value, "annotate"):
        return True
    return isinstance(value, (list, tuple)) and all(
        isinstance(item, Mapping) or hasattr(item, "annotate") for item in value
    )


def _is_policy(value: Any) -> bool:
    """Return True for a policy of tries."""
    if not isinstance(value, Mapping) or not value.keys() <= POLICY.keys() | {"retry_errors"}:
        return False
    tries = value.get("max_retries", 0)
    lengths = [value.get(name, 0) for name in POLICY if name != "max_retries"]
    return (tries is None or (isinstance(tries, int) and tries >= 0)) and all(
        isinstance(length, (int, float)) and length >= 0 for length in lengths
    )


def _is_format(value: Any) -> bool:
    """Return True for None and for a format that logging takes."""
    if value is None:
        return True
    try:
        logging.Formatter(value)
    except (ValueError, TypeError):
        return False
    return True


_FORMAT: Final[Test] = (_is_format, 'a format of logging with fields such as "%(message)s", or None')
_FILE: Final[Test] = (lambda value: value is None or (isinstance(value, str) and bool(value)), "a path, or None")
_FLAG: Final[Test] = (lambda value: isinstance(value, bool), "True or False")
_SERIALIZER: Final[Test] = (lambda value: value in SERIALIZERS, "json, msgpack, yaml or pickle")
_COMPRESSION: Final[Test] = (
    lambda value: value is None or value in COMPRESSIONS,
    f"None or one of {', '.join(COMPRESSIONS)}",
)
_NAME_LIST: Final[Test] = (_is_texts, "a list of names")
_LENGTH: Final[Test] = (
    _is_length,
    "a number of seconds above 0 or a timedelta, or None for as long as the coordinator is told to",
)
_SECONDS: Final[Test] = (_is_seconds, "a number of seconds above 0, or None")

TESTS: Final[Mapping[str, Test]] = {
    "coordinator": (_is_address, "HOST:PORT, several joined by commas, a list of them, or None"),
    "coordinator_tls_ca": _FILE,
    "coordinator_tls_cert": _FILE,
    "coordinator_tls_key": _FILE,
    "coordinator_token_file": _FILE,
    "namespace": (lambda value: value is None or is_namespace(value), "1 to 63 of a to z, 0 to 9 and -, or None"),
    "include": _NAME_LIST,
    "imports": _NAME_LIST,
    "task_serializer": _SERIALIZER,
    "result_serializer": _SERIALIZER,
    "accept_content": (_is_codecs, "a list of json, msgpack, yaml and pickle"),
    "result_accept_content": (
        lambda value: value is None or _is_codecs(value),
        "a list of json, msgpack, yaml and pickle, or None",
    ),
    "task_compression": _COMPRESSION,
    "result_compression": _COMPRESSION,
    "result_extended": (lambda value: value is True, "True: the details of a result are always there"),
    "task_remote_tracebacks": (lambda value: value is True, "True: failures always bring the worker's traceback"),
    "exception_modules": _NAME_LIST,
    "timezone": (_is_zone, 'the name of a time zone, such as "UTC" or "Europe/Paris", or None'),
    "enable_utc": _FLAG,
    "task_routes": (_is_routes, "a mapping of task names to queues, a function, or a list of these"),
    "task_queues": (_is_queues, "a tuple of queues, a mapping of names, or None"),
    "task_create_missing_queues": _FLAG,
    "task_default_queue": (lambda value: isinstance(value, str) and bool(value), "the name of a queue"),
    "task_default_priority": (_is_priority, "a whole number from 0 to 9"),
    "task_inherit_parent_priority": _FLAG,
    "task_acks_late": _FLAG,
    "task_max_deliveries": (lambda value: value is None or _is_count(value), "a whole number above 0, or None"),
    "task_ignore_result": _FLAG,
    "task_store_errors_even_if_ignored": _FLAG,
    "task_default_rate_limit": (
        _is_rate,
        'a rate such as "10/s", "100/m" or "3/h", a number for so many a second, or None',
    ),
    "result_expires": _LENGTH,
    "result_failure_expires": _LENGTH,
    "task_track_started": _FLAG,
    "task_time_limit": _SECONDS,
    "task_soft_time_limit": _SECONDS,
    "task_always_eager": _FLAG,
    "task_eager_propagates": _FLAG,
    "task_store_eager_result": (
        lambda value: value is False,
        "False: the result of a call in place is the object that it returns, and no coordinator knows it",
    ),
    "task_annotations": (_is_annotations, "a mapping of task names to attributes, a list of such, or None"),
    "beat_schedule": (_is_schedules, "a mapping of names to entries"),
    "beat_sync": _FLAG,
    "task_publish_retry": _FLAG,
    "task_publish_retry_policy": (
        _is_policy,
        "a mapping with max_retries (or None), interval_start, interval_step, interval_max and retry_errors",
    ),
    "worker_log_format": _FORMAT,
    "worker_log_datefmt": (lambda value: value is None or isinstance(value, str), "a format of time.strftime, or None"),
    "worker_task_log_format": _FORMAT,
    "worker_task_log_datefmt": (
        lambda value: value is None or isinstance(value, str),
        "a format of time.strftime, or None",
    ),
    "worker_log_color": (lambda value: value is None or isinstance(value, bool), "True, False or None"),
    "worker_hijack_root_logger": _FLAG,
    "worker_redirect_stdouts": _FLAG,
    "worker_redirect_stdouts_level": (
        lambda value: value in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        "DEBUG, INFO, WARNING, ERROR or CRITICAL",
    ),
    "worker_max_tasks_per_child": (lambda value: value is None or _is_count(value), "a whole number above 0, or None"),
    "worker_max_memory_per_child": (
        lambda value: value is None or _is_count(value),
        "a whole number of KiB above 0, or None",
    ),
    "worker_autoscale_keepalive": (
        lambda value: value is not None and _is_seconds(value),
        "a number of seconds above 0",
    ),
    "worker_soft_shutdown_timeout": (
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf,
        "a number of seconds, or 0 for none",
    ),
}
