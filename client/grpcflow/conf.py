"""The settings of an app, under Celery's lower-case names.

A setting is a typed attribute with a default; a name or a value that cannot be right is refused when it is
set, not when it is used. It may import nothing of grpcflow but its errors and its routes.
"""

import difflib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from grpcflow.errors import ImproperlyConfigured
from grpcflow.routes import Router

__all__ = ["COORDINATOR_VARIABLE", "DEFAULT_COORDINATOR", "Settings"]

#: The environment variable that names the coordinator where the app does not.
COORDINATOR_VARIABLE: Final = "GRPCFLOW_COORDINATOR"

#: Where the coordinator is when nobody says.
DEFAULT_COORDINATOR: Final = "127.0.0.1:50551"

_SERIALIZERS: Final = ("json", "msgpack", "pickle")
_TOP_PRIORITY: Final = 9


@dataclass
class Settings:
    """The settings of one app; read and written as attributes, or many at once with ``update``.

    Attributes:
        coordinator: Address HOST:PORT of the coordinator, several joined by commas, or a sequence of them.
            None: the environment variable ``GRPCFLOW_COORDINATOR``, or else 127.0.0.1:50551.
        include: Modules that a worker imports so that their tasks are registered.
        task_serializer: Codec of arguments: json, msgpack or pickle.
        result_serializer: Codec of values.
        accept_content: Codecs that are read here; pickle only where it is named.
        exception_modules: Modules that may be imported to rebuild an exception which came from a worker.
        timezone: Name of the time zone in which naive datetimes are read.
        task_routes: Queues and priorities by task name; see ``routes.Router``.
        task_default_queue: Queue of calls that name none.
        task_default_priority: Priority of calls that name none: 0 to 9, higher first.
        task_acks_late: True: a lost attempt is handed out again. False: a task is never run twice.
        task_max_deliveries: How many lost attempts a task may have; None: the coordinator's default (3).
        task_ignore_result: True: values are not kept.
        task_track_started: True: workers report when a task starts, so that STARTED can be seen.
    """

    coordinator: str | Sequence[str] | None = None
    include: Sequence[str] = ()
    task_serializer: str = "json"
    result_serializer: str = "json"
    accept_content: Collection[str] = ("json", "msgpack")
    exception_modules: Collection[str] = ()
    timezone: str = "UTC"
    task_routes: Mapping[Any, Any] = field(default_factory=dict)
    task_default_queue: str = "default"
    task_default_priority: int = 0
    task_acks_late: bool = True
    task_max_deliveries: int | None = None
    task_ignore_result: bool = False
    task_track_started: bool = False

    def __post_init__(self) -> None:
        self._router: Router | None = None
        self._version = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            _check(name, value)
            if name == "task_routes":
                object.__setattr__(self, "_router", None)
            object.__setattr__(self, "_version", self.__dict__.get("_version", 0) + 1)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        # Only reached for what is not set: the name is wrong, so say which one was meant.
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(_unknown(name))

    def __getitem__(self, name: str) -> Any:
        """Return a setting by its name, as Celery allows."""
        if name not in _NAMES:
            raise KeyError(_unknown(name))
        return getattr(self, name)

    def update(self, settings: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set many settings; either all of them are set or, where one is wrong, none.

        Args:
            settings: Settings by name.
            **more: The same as keywords; these win.

        Raises:
            ImproperlyConfigured: A name is unknown (the message tells the nearest) or a value is wrong.
        """
        together = {**(settings or {}), **more}
        for name, value in together.items():
            _check(name, value)
        for name, value in together.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Return all settings by name."""
        return {name: getattr(self, name) for name in _NAMES}

    @property
    def version(self) -> int:
        """A number that changes whenever a setting does."""
        return self._version

    @property
    def addresses(self) -> tuple[str, ...]:
        """The coordinator's addresses: of the setting, of the environment, or the default."""
        named = self.coordinator or os.environ.get(COORDINATOR_VARIABLE) or DEFAULT_COORDINATOR
        parts = named.split(",") if isinstance(named, str) else named
        return tuple(part.strip() for part in parts if part.strip())

    @property
    def tzinfo(self) -> tzinfo:
        """The time zone of ``timezone``."""
        # UTC is known without the system's time zone data, which small machines lack.
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)

    @property
    def router(self) -> Router:
        """The routes of ``task_routes``, ready for use."""
        if self._router is None:
            self._router = Router(self.task_routes)
        return self._router


#: Where Celery's settings went that have no place here.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "broker_url": "there is no broker; the address of the coordinator is the setting 'coordinator'",
    "result_backend": "the coordinator keeps the results; its address is the setting 'coordinator'",
    "result_expires": "the coordinator decides how long results are kept; it is a setting of grpcflow-coordinator",
    "worker_concurrency": "it is the option -c of grpcflow-worker",
    "worker_pool": "it is the option -P of grpcflow-worker",
}

_NAMES: Final = tuple(item.name for item in fields(Settings))


def _unknown(name: str) -> str:
    """Say that a setting does not exist, and which one may be meant."""
    if name in _ELSEWHERE:
        return f"grpcflow has no setting {name!r}: {_ELSEWHERE[name]}."
    near = difflib.get_close_matches(name.lower(), _NAMES, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else f" The settings are: {', '.join(_NAMES)}."
    return f"grpcflow has no setting {name!r}.{hint}"


def _check(name: str, value: Any) -> None:
    """Refuse a setting that does not exist or cannot have this value."""
    test = _TESTS.get(name)
    if test is None:
        raise ImproperlyConfigured(_unknown(name), code="UNKNOWN_SETTING")
    holds, wanted = test
    if not holds(value):
        raise ImproperlyConfigured(f"the setting {name} is {value!r}; it must be {wanted}.", code="BAD_SETTING")


def _is_zone(value: Any) -> bool:
    """Return True for the name of a time zone that exists here."""
    if value == "UTC":
        return True
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        return False
    return True


def _is_texts(value: Any) -> bool:
    """Return True for a collection of texts that is not itself a text."""
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(item, str) for item in value)


def _is_address(value: Any) -> bool:
    """Return True for None, an address, or some addresses."""
    return value is None or isinstance(value, str) or (_is_texts(value) and len(value) > 0)


def _is_count(value: Any) -> bool:
    """Return True for a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_priority(value: Any) -> bool:
    """Return True for a priority."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOP_PRIORITY


def _is_routes(value: Any) -> bool:
    """Return True for a mapping; what stands in it is checked by the router, which says what is wrong."""
    if isinstance(value, Mapping):
        Router(value)
        return True
    return False


_Test = tuple[Callable[[Any], bool], str]
_FLAG: Final[_Test] = (lambda value: isinstance(value, bool), "True or False")
_SERIALIZER: Final[_Test] = (lambda value: value in _SERIALIZERS, "json, msgpack or pickle")
_NAME_LIST: Final[_Test] = (_is_texts, "a list of names")

_TESTS: Final[Mapping[str, _Test]] = {
    "coordinator": (_is_address, "HOST:PORT, several joined by commas, a list of them, or None"),
    "include": _NAME_LIST,
    "task_serializer": _SERIALIZER,
    "result_serializer": _SERIALIZER,
    "accept_content": (
        lambda value: _is_texts(value) and all(name in _SERIALIZERS or "/" in name for name in value),
        "a list of json, msgpack and pickle",
    ),
    "exception_modules": _NAME_LIST,
    "timezone": (_is_zone, 'the name of a time zone, such as "UTC" or "Europe/Paris"'),
    "task_routes": (_is_routes, "a mapping of task names to queues"),
    "task_default_queue": (lambda value: isinstance(value, str) and bool(value), "the name of a queue"),
    "task_default_priority": (_is_priority, "a whole number from 0 to 9"),
    "task_acks_late": _FLAG,
    "task_max_deliveries": (lambda value: value is None or _is_count(value), "a whole number above 0, or None"),
    "task_ignore_result": _FLAG,
    "task_track_started": _FLAG,
}
