"""The settings of an app, under Celery's lower-case names.

A setting is a typed attribute with a default; a name or a value that cannot be right is refused when it is
set, not when it is used. Where the settings come from is known elsewhere. It may import nothing of grpcflow but
its errors, addresses, routes and queues, and what settings may be.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from grpcflow.addresses import COORDINATOR_VARIABLE, DEFAULT_COORDINATOR, addresses_of
from grpcflow.credentials import Credentials, credentials_of
from grpcflow.errors import ImproperlyConfigured
from grpcflow.queues import Queues
from grpcflow.routes import Router
from grpcflow.setting_names import together, unknown
from grpcflow.setting_values import POLICY, TESTS

__all__ = ["COORDINATOR_VARIABLE", "DEFAULT_COORDINATOR", "SavedSettings", "Settings"]

#: What ``Settings.queues`` is made of.
_OF_QUEUES: Final = frozenset({"task_queues", "task_default_queue", "task_create_missing_queues"})

#: Who set a setting; what stands higher wins.
_BY_DEFAULTS, _BY_SOURCE, _BY_HAND = 1, 2, 3


@dataclass(frozen=True)
class SavedSettings:
    """The settings of one moment.

    Attributes:
        values: All settings by name.
        origins: Who set them, of those that somebody set.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, int]


@dataclass
class Settings:
    """The settings of one app; read and written as attributes, as items, or many at once with ``update``.

    Attributes:
        coordinator: Address HOST:PORT of the coordinator, several joined by commas, or a sequence of them.
            None: the environment variable ``GRPCFLOW_COORDINATOR``, or else 127.0.0.1:50551.
        coordinator_tls_ca: File of the authorities that vouch for the coordinator's certificate, or "system" for those
            that gRPC brings along; None: as ``GRPCFLOW_TLS_CA`` says, or else no TLS.
        coordinator_tls_cert: File of this side's own certificate; None: as ``GRPCFLOW_TLS_CERT`` says, or none.
        coordinator_tls_key: File of its key; None: as ``GRPCFLOW_TLS_KEY`` says.
        coordinator_token_file: File that holds this side's token; None: as ``GRPCFLOW_TOKEN_FILE`` says, or else the
            token is that of ``GRPCFLOW_TOKEN``, or none.
        namespace: Namespace to act in; None: as ``GRPCFLOW_NAMESPACE`` says, or else that of the token.
        include: Modules that a worker imports so that their tasks are registered.
        imports: The same, for Celery's other name; both are imported, these first.
        task_serializer: Codec of arguments: json, msgpack, yaml or pickle.
        result_serializer: Codec of values.
        accept_content: Codecs that are read here; pickle and yaml only where they are named.
        result_accept_content: Codecs of values that are read here, by results and as what earlier steps hand to a
            task; None: as ``accept_content``.
        task_compression: How arguments are made smaller: gzip, zlib, bzip2, lzma, brotli or zstd; None: not at all.
        result_compression: The same for values.
        result_extended: True always: name, arguments, worker, retries and queue of a result can be asked for.
        exception_modules: Modules that may be imported to rebuild an exception which came from a worker.
        timezone: Name of the time zone in which naive datetimes are read; None: UTC.
        enable_utc: True: times are UTC where ``timezone`` names nothing. False needs a ``timezone``.
        task_routes: Queues and other options of calls by task name, or by functions; see ``routes.Router``.
        task_queues: The queues that are declared, with their limits and weights; see ``queues.Queues``. None: none is.
        task_create_missing_queues: False: a call may name no other queues than these.
        task_default_queue: Queue of calls that name none.
        task_default_priority: Priority of calls that name none: 0 to 9, higher first.
        task_inherit_parent_priority: True: a call made inside a task has that task's priority unless it names one.
        task_acks_late: True: a lost attempt is handed out again. False: a task is never run twice.
        task_max_deliveries: How many lost attempts a task may have; None: the coordinator's default (3).
        task_ignore_result: True: values are not kept.
        task_store_errors_even_if_ignored: Taken for the sake of code written for Celery: failures are always kept.
        task_default_rate_limit: Rate limit of tasks that name none, as ``10/s``; None: there is none.
        result_expires: Seconds or a timedelta for which what is known of a graph is kept after its end, where its calls
            succeeded; None: as the coordinator says.
        result_failure_expires: The same where it failed; None: as ``result_expires``.
        task_track_started: True: workers report when a task starts, so that STARTED can be seen.
        task_time_limit: Seconds after which a task is stopped; None: no limit.
        task_soft_time_limit: Seconds after which SoftTimeLimitExceeded is raised in a task; None: no limit.
        task_always_eager: True: calls run in place, in this process, and nothing is sent.
        task_eager_propagates: True: what a call in place raises is raised to its caller.
        task_store_eager_result: False, the only value: the result of a call in place is what the call returns.
        task_annotations: Attributes of tasks by task name, with "*" for all; also a list of such.
        task_publish_retry: True: a submission that found no coordinator is tried again.
        task_publish_retry_policy: How: ``max_retries`` (None: without end), ``interval_start``, ``interval_step``,
            ``interval_max`` in seconds, and ``retry_errors``, classes of exceptions.
        task_remote_tracebacks: True always: failures bring the worker's traceback.
        beat_schedule: The app's schedules by name; see docs/schedules.md.
        beat_sync: True: workers put them into the coordinator when they start. False: ``grpcflow schedule sync`` does.
        worker_log_format: Format of the worker's lines, with the fields of ``logging``; None: its own.
        worker_log_datefmt: Format of their time, which is UTC.
        worker_task_log_format: Format of lines that tasks write and print; ``task_name`` and ``task_id`` are fields.
        worker_task_log_datefmt: Format of their time.
        worker_log_color: True or False: lines are coloured or not; None: where they go to a terminal.
        worker_hijack_root_logger: True: what the app attached to the root logger while it was imported is removed.
        worker_redirect_stdouts: True: what tasks print goes to the log, with the task's name and id.
        worker_redirect_stdouts_level: Level that it has there.
        worker_max_tasks_per_child: How many tasks a child process runs before it is replaced; None: any number.
        worker_max_memory_per_child: KiB that it may take after a task before it is replaced; None: any.
        worker_autoscale_keepalive: Seconds without work after which a child process that autoscale made may go.
        worker_soft_shutdown_timeout: Seconds that running tasks get before a cold stop; 0: none.
    """

    coordinator: str | Sequence[str] | None = None
    coordinator_tls_ca: str | None = None
    coordinator_tls_cert: str | None = None
    coordinator_tls_key: str | None = None
    coordinator_token_file: str | None = None
    namespace: str | None = None
    include: Sequence[str] = ()
    imports: Sequence[str] = ()
    task_serializer: str = "json"
    result_serializer: str = "json"
    accept_content: Collection[str] = ("json", "msgpack")
    result_accept_content: Collection[str] | None = None
    task_compression: str | None = None
    result_compression: str | None = None
    result_extended: bool = True
    exception_modules: Collection[str] = ()
    timezone: str | None = None
    enable_utc: bool = True
    task_routes: Any = field(default_factory=dict)
    task_queues: Any = None
    task_create_missing_queues: bool = True
    task_default_queue: str = "default"
    task_default_priority: int = 0
    task_inherit_parent_priority: bool = False
    task_acks_late: bool = True
    task_max_deliveries: int | None = None
    task_ignore_result: bool = False
    task_store_errors_even_if_ignored: bool = False
    task_default_rate_limit: str | float | None = None
    result_expires: float | timedelta | None = None
    result_failure_expires: float | timedelta | None = None
    task_track_started: bool = False
    task_time_limit: float | None = None
    task_soft_time_limit: float | None = None
    task_always_eager: bool = False
    task_eager_propagates: bool = False
    task_store_eager_result: bool = False
    task_annotations: Any = None
    task_publish_retry: bool = True
    task_publish_retry_policy: Mapping[str, Any] = field(default_factory=lambda: dict(POLICY))
    task_remote_tracebacks: bool = True
    beat_schedule: Mapping[str, Any] = field(default_factory=dict)
    beat_sync: bool = True
    worker_log_format: str | None = None
    worker_log_datefmt: str | None = None
    worker_task_log_format: str | None = None
    worker_task_log_datefmt: str | None = None
    worker_log_color: bool | None = None
    worker_hijack_root_logger: bool = True
    worker_redirect_stdouts: bool = True
    worker_redirect_stdouts_level: str = "WARNING"
    worker_max_tasks_per_child: int | None = None
    worker_max_memory_per_child: int | None = None
    worker_autoscale_keepalive: float = 30.0
    worker_soft_shutdown_timeout: float = 0.0

    def __post_init__(self) -> None:
        self._router: Router | None = None
        self._queues: Queues | None = None
        self._version = 0
        self._origins: dict[str, int] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            _check(name, value)
            self._put(name, value)
            self.__dict__.setdefault("_origins", {})[name] = _BY_HAND
        else:
            object.__setattr__(self, name, value)

    def _put(self, name: str, value: Any) -> None:
        """Set a setting whose value was checked."""
        if name == "task_routes":
            object.__setattr__(self, "_router", None)
        elif name in _OF_QUEUES:
            object.__setattr__(self, "_queues", None)
        object.__setattr__(self, "_version", self.__dict__.get("_version", 0) + 1)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        # Only reached for what is not set: the name is wrong, so say which one was meant.
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(unknown(name, _NAMES))

    def __getitem__(self, name: str) -> Any:
        """Return a setting by its name, as Celery allows."""
        if name not in TESTS:
            raise KeyError(unknown(name, _NAMES))
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a setting by its name."""
        setattr(self, name, value)

    def __contains__(self, name: object) -> bool:
        """Return True for the name of a setting."""
        return name in TESTS

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all settings."""
        return iter(_NAMES)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting by its name, or ``default`` where there is no such setting."""
        return self[name] if name in TESTS else default

    def update(self, settings: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set many settings; either all of them are set or, where one is wrong, none.

        Args:
            settings: Settings by name.
            **more: The same as keywords; these win.

        Raises:
            ImproperlyConfigured: A name is unknown (the message tells the nearest) or a value is wrong.
        """
        self._apply({**(settings or {}), **more}, _BY_HAND)

    def add_defaults(self, settings: Mapping[str, Any]) -> None:
        """Set many settings where neither the program nor its configuration has set them.

        Args:
            settings: Settings by name.

        Raises:
            ImproperlyConfigured: As for ``update``.
        """
        self._apply(settings, _BY_DEFAULTS)

    def replace_source(self, settings: Mapping[str, Any]) -> None:
        """Set what a configuration says, in place of what another one said before; ``update`` wins over both.

        Args:
            settings: Settings by name.

        Raises:
            ImproperlyConfigured: As for ``update``.
        """
        _check_all(settings)
        for name in [name for name, origin in self._origins.items() if origin == _BY_SOURCE]:
            del self._origins[name]
            self._put(name, _DEFAULTS[name])
        self._apply(settings, _BY_SOURCE)

    def saved(self) -> SavedSettings:
        """Return the settings as they are, for `restore`."""
        return SavedSettings(self.as_dict(), dict(self._origins))

    def restore(self, saved: SavedSettings) -> None:
        """Set all settings to what they were, and to having been set by whom they were.

        Args:
            saved: What `saved` gave.
        """
        for name, value in saved.values.items():
            self._put(name, value)
        self._origins = dict(saved.origins)

    def _apply(self, settings: Mapping[str, Any], origin: int) -> None:
        """Set many settings, less those that somebody set who stands higher."""
        _check_all(settings)
        for name, value in settings.items():
            if self._origins.get(name, 0) <= origin:
                self._put(name, value)
                self._origins[name] = origin

    def as_dict(self) -> dict[str, Any]:
        """Return all settings by name."""
        return {name: getattr(self, name) for name in _NAMES}

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Return settings by name.

        Args:
            with_defaults: True: also those that nobody set.
            censored: Taken for Celery's sake; no setting holds a secret.
        """
        return {name: value for name, value in self.as_dict().items() if with_defaults or name in self._origins}

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """Return settings as text, one a line; the arguments are those of ``table``."""
        return "\n".join(f"{name}: {value!r}" for name, value in self.table(with_defaults, censored).items())

    @property
    def version(self) -> int:
        """A number that changes whenever a setting does."""
        return self._version

    @property
    def addresses(self) -> tuple[str, ...]:
        """The coordinator's addresses: of the setting, of the environment, or the default.

        Raises:
            ImproperlyConfigured: One has no port, so that gRPC would try that of web servers.
        """
        return addresses_of(self.coordinator)

    @property
    def said(self) -> tuple[int, str | None]:
        """What the coordinator's address and the credentials come from: while it is equal, so are they."""
        return self._version, None if self.coordinator else os.environ.get(COORDINATOR_VARIABLE)

    @property
    def credentials(self) -> Credentials:
        """What this side shows the coordinator and believes of it: of the settings, or of the environment.

        The environment is read once, and again where a setting has changed: each call comes by here.

        Raises:
            ImproperlyConfigured: A certificate without a key, or the other way round, or what is no namespace.
        """
        known: tuple[int, Credentials] | None = self.__dict__.get("_credentials")
        if known is None or known[0] != self._version:
            found = credentials_of(
                {
                    "coordinator_tls_ca": self.coordinator_tls_ca,
                    "coordinator_tls_cert": self.coordinator_tls_cert,
                    "coordinator_tls_key": self.coordinator_tls_key,
                    "coordinator_token_file": self.coordinator_token_file,
                    "namespace": self.namespace,
                }
            )
            known = self._credentials = self._version, found
        return known[1]

    @property
    def accepted_values(self) -> Collection[str]:
        """The codecs of values that are read here: those of ``result_accept_content``, else of ``accept_content``."""
        return self.accept_content if self.result_accept_content is None else self.result_accept_content

    @property
    def tzinfo(self) -> tzinfo:
        """The time zone of ``timezone``.

        Raises:
            ImproperlyConfigured: ``enable_utc`` is False and no ``timezone`` is named.
        """
        if self.timezone is None and not self.enable_utc:
            raise ImproperlyConfigured(
                "enable_utc is False and timezone is not set, so nobody knows which time a datetime without a time "
                'zone means: set timezone, for example to "Europe/Paris".'
            )
        # UTC is known without the system's time zone data, which small machines lack.
        return UTC if self.timezone in (None, "UTC") else ZoneInfo(self.timezone)

    @property
    def router(self) -> Router:
        """The routes of ``task_routes``, ready for use."""
        if self._router is None:
            self._router = Router(self.task_routes)
        return self._router

    @property
    def queues(self) -> Queues:
        """The queues of ``task_queues``, ready for use; without any, the default one."""
        if self._queues is None:
            create = self.task_create_missing_queues
            self._queues = Queues(self.task_queues, self.task_default_queue, create_missing=create)
        return self._queues


_NAMES: Final = tuple(item.name for item in fields(Settings))


#: Characters of a value that cannot be that are shown.
_SHOWN: Final = 300


def _check_all(settings: Mapping[str, Any]) -> None:
    """Refuse settings of which some cannot be; tells all of these."""
    wrong: list[ImproperlyConfigured] = []
    for name, value in settings.items():
        try:
            _check(name, value)
        except ImproperlyConfigured as error:
            wrong.append(error)
    if wrong:
        raise together(wrong)


def _check(name: str, value: Any) -> None:
    """Refuse a setting that does not exist or cannot have this value."""
    test = TESTS.get(name)
    if test is None:
        raise ImproperlyConfigured(unknown(name, _NAMES), code="UNKNOWN_SETTING")
    holds, wanted = test
    if not holds(value):
        text = repr(value)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise ImproperlyConfigured(f"the setting {name} is {shown}; it must be {wanted}.", code="BAD_SETTING")


_DEFAULTS: Final = dict(vars(Settings()))
