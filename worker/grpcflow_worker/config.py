"""What a worker is told at its start: names, queues, addresses, how many tasks at once.

This file turns options and the machine's facts into one checked, frozen ``WorkerConfig``. It may read the
environment of the process (CPU affinity, cgroup quota, host name); it may NOT open connections, import user code
or log.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypedDict, Unpack, cast, get_args

from grpcflow_worker.celery_options import POOLS_ELSEWHERE
from grpcflow_worker.metrics_options import MetricsOptions
from grpcflow_worker.names import expand_name
from grpcflow_worker.places import too_many
from grpcflow_worker.pool_options import PoolOptions
from grpcflow_worker.service_options import ServiceOptions
from grpcflow_worker.subscription import ConfigError, parse_names, parse_queues

Pool = Literal["prefork", "threads", "solo", "asyncio"]

#: The executors that a worker can be started with.
POOLS: Final[tuple[str, ...]] = get_args(Pool)

#: The names of log levels that are understood, in any case.
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

#: Where a coordinator is looked for when no address is given.
DEFAULT_COORDINATOR: Final = "127.0.0.1:50551"

#: The name of a worker when none is given; ``%h`` is the host.
DEFAULT_NAME: Final = "worker@%h"

#: Coroutines at once when nothing is said: they mostly wait, so the CPUs are no measure.
DEFAULT_COROUTINES: Final = 100

#: Threads of the asyncio pool for tasks that are no coroutines, when nothing is said.
DEFAULT_THREADS: Final = 8

#: Seconds after which a task that blocks the event loop of the asyncio pool is named in a warning.
DEFAULT_BLOCKED_AFTER: Final = 0.1

_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_CGROUP_OF_SELF: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Everything a worker is told at its start.

    Attributes:
        app: where the app is, ``MODULE`` or ``MODULE:NAME``; None leaves it to the loader's own sources.
        coordinators: addresses ``HOST:PORT`` that are tried in turn; none: as the app says, or the default.
        queues: the queues to serve, with their weights, None for what the app says; none: all that the app declares.
        exclude_queues: names of those of them that are left out.
        includes: modules to import besides those that the app names.
        name: the worker's name, expanded, at most 255 bytes.
        host: name of this machine, for people.
        concurrency: how many tasks run at once; at least 1, and 1 for the solo executor; how many coroutines of the
            asyncio executor.
        pool: which executor runs the tasks.
        log_level: name of the log level.
        time_limit: seconds after which a task that says nothing of its own is killed; None: as the app says.
        soft_time_limit: seconds after which `SoftTimeLimitExceeded` is raised in it; None: as the app says.
        threads: threads of the asyncio executor for tasks that are not `async def`; at least 1.
        blocked_after: seconds after which a task that blocks its event loop is named in a warning; 0: never.
        children: what it is told of its child processes.
        service: what it is told of its surroundings.
        metrics: where it tells metrics, and to whom; None: nowhere, and nothing is counted.
        credentials: settings of certificates and token that it was told; see `grpcflow.credentials`.
    """

    app: str | None
    coordinators: tuple[str, ...] = ()
    queues: Mapping[str, int | None] = field(default_factory=dict)
    exclude_queues: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    name: str
    host: str
    concurrency: int
    pool: Pool = "prefork"
    log_level: str = "INFO"
    time_limit: float | None = None
    soft_time_limit: float | None = None
    threads: int = DEFAULT_THREADS
    blocked_after: float = DEFAULT_BLOCKED_AFTER
    children: PoolOptions = field(default_factory=PoolOptions)
    service: ServiceOptions = field(default_factory=ServiceOptions)
    metrics: MetricsOptions | None = None
    credentials: Mapping[str, str] = field(default_factory=dict)


class Options(TypedDict, total=False):
    """The options of a worker as they are written; what is left out or None is filled in.

    Attributes:
        app: ``MODULE[:NAME]``; left out: the loader finds it.
        coordinator: ``HOST:PORT[,HOST:PORT]``; left out or empty: left to the app.
        queues: texts of comma separated queues, ``NAME`` or ``NAME:WEIGHT``; none: left to the app.
        exclude_queues: texts of comma separated names of queues.
        include: texts of comma separated names of modules.
        name: the worker's name with ``%h %n %d``; left out: ``worker@%h``.
        concurrency: tasks at once; left out: the CPUs this process may use, or ``DEFAULT_COROUTINES`` for asyncio; the
            most children where these come and go.
        pool: one of ``POOLS``; left out: prefork.
        log_level: one of ``LOG_LEVELS``, in any case; left out: INFO.
        time_limit: seconds, more than 0; left out: left to the app.
        soft_time_limit: seconds, more than 0; left out: left to the app.
        threads: asyncio only: threads for tasks that are not `async def`; left out: ``DEFAULT_THREADS``.
        blocked_after: asyncio only: seconds, at least 0; left out: ``DEFAULT_BLOCKED_AFTER``.
        children: the checked options of child processes.
        service: the checked options of the worker's surroundings.
    """

    app: str | None
    coordinator: str | None
    queues: Sequence[str]
    exclude_queues: Sequence[str]
    include: Sequence[str]
    name: str | None
    concurrency: int | None
    pool: str
    log_level: str
    time_limit: float | None
    soft_time_limit: float | None
    threads: int | None
    blocked_after: float | None
    children: PoolOptions
    service: ServiceOptions


def build_config(
    *, host: str | None = None, count_cpus: Callable[[], int] | None = None, **options: Unpack[Options]
) -> WorkerConfig:
    """Check the options of a worker and fill in what was left out.

    Args:
        host: this machine's name; None: asked of the system.
        count_cpus: replaces ``available_cpus`` in tests.
        **options: see `Options`.

    Raises:
        ConfigError: an option cannot be used.
    """
    host = host or socket.gethostname()
    pool, level = options.get("pool", "prefork"), options.get("log_level", "INFO").upper()
    if pool in POOLS_ELSEWHERE:
        raise ConfigError(f"there is no pool {pool!r} here: {POOLS_ELSEWHERE[pool]}")
    _check_choice("pool", pool, POOLS)
    _check_choice("log level", level, LOG_LEVELS)
    threads, blocked_after = options.get("threads"), options.get("blocked_after")
    _check_asyncio(pool, threads, blocked_after)
    coordinator, children = options.get("coordinator"), options.get("children") or PoolOptions()
    concurrency = options.get("concurrency")
    _check_limits(options.get("time_limit"), options.get("soft_time_limit"))
    return WorkerConfig(
        app=options.get("app") or None,
        coordinators=parse_addresses(coordinator) if coordinator else (),
        queues=parse_queues(options.get("queues", ())),
        exclude_queues=parse_names(options.get("exclude_queues", ()), "queue name"),
        includes=parse_names(options.get("include", ()), "module name"),
        name=expand_name(options.get("name") or DEFAULT_NAME, host),
        host=host,
        concurrency=_check_places(pool, _choose_concurrency(concurrency, pool, children, count_cpus or available_cpus)),
        pool=cast(Pool, pool),
        log_level=level,
        time_limit=_check_limit(options.get("time_limit"), "time limit"),
        soft_time_limit=_check_limit(options.get("soft_time_limit"), "soft time limit"),
        threads=DEFAULT_THREADS if threads is None else threads,
        blocked_after=DEFAULT_BLOCKED_AFTER if blocked_after is None else blocked_after,
        children=children,
        service=options.get("service") or ServiceOptions(),
    )


def _check_choice(what: str, chosen: str, choices: Sequence[str]) -> None:
    if chosen not in choices:
        raise ConfigError(f"there is no {what} {chosen!r}; choose one of {', '.join(choices)}")


def _check_asyncio(pool: str, threads: int | None, blocked_after: float | None) -> None:
    for value, option in ((threads, "--threads"), (blocked_after, "--blocked-after")):
        if value is not None and pool != "asyncio":
            raise ConfigError(f"{option} is for the asyncio pool only; leave it out, or choose -P asyncio")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, not {threads}")
    if blocked_after is not None and not 0 <= blocked_after < math.inf:
        raise ConfigError(f"--blocked-after must be 0 (never) or more seconds, not {blocked_after:g}")


def _check_limit(seconds: float | None, what: str) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise ConfigError(f"the {what} must be more than 0 seconds, not {seconds:g}; leave it out for none")
    return seconds


def _check_limits(hard: float | None, soft: float | None) -> None:
    if hard is not None and soft is not None and soft > hard:
        text = f"the soft time limit ({soft:g} s) is above the time limit ({hard:g} s)"
        raise ConfigError(f"{text}, so it would never be reached; make it smaller")


def _choose_concurrency(asked: int | None, pool: str, children: PoolOptions, count_cpus: Callable[[], int]) -> int:
    if children.autoscale is not None:
        return children.autoscale[0]
    if asked is not None and asked < 1:
        raise ConfigError(f"concurrency must be at least 1, not {asked}")
    if pool == "solo":
        # One thread runs everything; a larger number would promise slots that do not exist.
        if asked is not None and asked > 1:
            raise ConfigError("the solo pool runs one task at a time; leave -c out or choose -P threads or -P prefork")
        return 1
    if asked is not None:
        return asked
    return DEFAULT_COROUTINES if pool == "asyncio" else count_cpus()


def _check_places(pool: str, places: int) -> int:
    if text := too_many(pool, places):
        raise ConfigError(text)
    return places


def parse_addresses(text: str) -> tuple[str, ...]:
    """Split ``HOST:PORT[,HOST:PORT]`` into its addresses.

    Raises:
        ConfigError: no address, or one without a port.
    """
    addresses = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not addresses:
        raise ConfigError("no coordinator address; write HOST:PORT, for example 127.0.0.1:50551")
    for address in addresses:
        host, separator, port = address.rpartition(":")
        if not (separator and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ConfigError(f"the coordinator address {address!r} is not HOST:PORT, for example 127.0.0.1:50551")
    return addresses


def available_cpus() -> int:
    """How many CPUs this process may use: its affinity, cut by the quota of its cgroup, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:  # macOS and Windows have no affinity to ask for.
        allowed = os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def cgroup_quota(root: Path = _CGROUP_ROOT, of_self: Path = _CGROUP_OF_SELF) -> float | None:
    """The CPU quota of this process's cgroup in CPUs, or None where there is none.

    Args:
        root: where the cgroup file system is mounted.
        of_self: the file that names this process's groups.
    """
    try:
        lines = of_self.read_text(encoding="utf-8").splitlines()
    except OSError:
        # No /proc or no cgroups on this system: nothing limits us.
        return None
    quotas = [quota for line in lines for quota in _quotas_of(line, root)]
    return min(quotas, default=None)


def _quotas_of(line: str, root: Path) -> list[float]:
    """The quotas along the path of one line of /proc/self/cgroup, ``HIERARCHY:CONTROLLERS:PATH``."""
    _, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if controllers and "cpu" not in controllers.split(","):
        return []
    base = root / "cpu" if controllers else root
    read = _read_v1_quota if controllers else _read_v2_quota
    # Inside a container the path may be that of the host; the mounted root is then our own group, so it is
    # always looked at.
    folder = base / path.strip("/")
    folders = {base, folder, *(parent for parent in folder.parents if parent.is_relative_to(base))}
    return [quota for each in folders if (quota := read(each)) is not None]


def _read_v2_quota(folder: Path) -> float | None:
    return _ratio(*_read_text(folder / "cpu.max").partition(" ")[::2])


def _read_v1_quota(folder: Path) -> float | None:
    return _ratio(_read_text(folder / "cpu.cfs_quota_us"), _read_text(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    # "max" (version 2), "-1" (version 1) and an unreadable file all mean: no limit here.
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
