"""What a worker is told at its start: names, queues, addresses, how many tasks at once.

This file turns options and the machine's facts into one checked, frozen ``WorkerConfig``. It may read the
environment of the process (CPU affinity, cgroup quota, host name); it may NOT open connections, import user code
or log.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from grpcflow_protos import limits

Pool = Literal["prefork", "threads", "solo", "asyncio"]

#: The executors that a worker can be started with.
POOLS: Final[tuple[str, ...]] = get_args(Pool)

#: The names of log levels that are understood, in any case.
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

#: The queue a worker serves when none is named.
DEFAULT_QUEUE: Final = "default"

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


class ConfigError(ValueError):
    """An option cannot be used; the text says which one and what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Everything a worker is told at its start.

    Attributes:
        app: where the app is, ``MODULE`` or ``MODULE:NAME``; None leaves it to the loader's own sources.
        coordinators: addresses ``HOST:PORT`` that are tried in turn; none: as the app says, or the default.
        queues: names of the queues to serve, each once; at least one.
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
    """

    app: str | None
    coordinators: tuple[str, ...] = ()
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    name: str
    host: str
    concurrency: int
    pool: Pool = "prefork"
    log_level: str = "INFO"
    time_limit: float | None = None
    soft_time_limit: float | None = None
    threads: int = DEFAULT_THREADS
    blocked_after: float = DEFAULT_BLOCKED_AFTER


def build_config(
    *,
    app: str | None = None,
    coordinator: str | None = None,
    queues: Sequence[str] = (),
    name: str | None = None,
    concurrency: int | None = None,
    pool: str = "prefork",
    log_level: str = "INFO",
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    threads: int | None = None,
    blocked_after: float | None = None,
    host: str | None = None,
    count_cpus: Callable[[], int] | None = None,
) -> WorkerConfig:
    """Check the options of a worker and fill in what was left out.

    Args:
        app: ``MODULE[:NAME]``, or None to let the loader find it.
        coordinator: ``HOST:PORT[,HOST:PORT]``; None or empty: left to the app.
        queues: texts of comma separated queue names; empty: ``default``.
        name: the worker's name with ``%h %n %d``; None: ``worker@%h``.
        concurrency: tasks at once; None: the CPUs this process may use, or ``DEFAULT_COROUTINES`` for asyncio.
        pool: one of ``POOLS``.
        log_level: one of ``LOG_LEVELS``, in any case.
        time_limit: seconds, more than 0; None: left to the app.
        soft_time_limit: seconds, more than 0; None: left to the app.
        threads: asyncio only: threads for tasks that are not `async def`; None: ``DEFAULT_THREADS``.
        blocked_after: asyncio only: seconds, at least 0; None: ``DEFAULT_BLOCKED_AFTER``.
        host: this machine's name; None: asked of the system.
        count_cpus: replaces ``available_cpus`` in tests.

    Raises:
        ConfigError: an option cannot be used.
    """
    host = host or socket.gethostname()
    if pool not in POOLS:
        raise ConfigError(f"there is no pool {pool!r}; choose one of {', '.join(POOLS)}")
    _check_asyncio(pool, threads, blocked_after)
    level = log_level.upper()
    if level not in LOG_LEVELS:
        raise ConfigError(f"there is no log level {log_level!r}; choose one of {', '.join(LOG_LEVELS)}")
    return WorkerConfig(
        app=app or None,
        coordinators=parse_addresses(coordinator) if coordinator else (),
        queues=_parse_queues(queues),
        name=expand_name(name or DEFAULT_NAME, host),
        host=host,
        concurrency=_choose_concurrency(concurrency, pool, count_cpus or available_cpus),
        pool=cast(Pool, pool),
        log_level=level,
        time_limit=_check_limit(time_limit, "time limit"),
        soft_time_limit=_check_limit(soft_time_limit, "soft time limit"),
        threads=DEFAULT_THREADS if threads is None else threads,
        blocked_after=DEFAULT_BLOCKED_AFTER if blocked_after is None else blocked_after,
    )


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


def _choose_concurrency(asked: int | None, pool: str, count_cpus: Callable[[], int]) -> int:
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


def _parse_queues(texts: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    for name in names:
        check_name(name, "queue name")
    return tuple(dict.fromkeys(names)) or (DEFAULT_QUEUE,)


def check_name(name: str, what: str) -> None:
    """Raise ConfigError where a name is empty or longer than the wire allows.

    Args:
        name: the name.
        what: what it names, for the message: ``"queue name"``.
    """
    size = len(name.encode("utf-8", "surrogatepass"))
    if not name or size > limits.NAME_LIMIT:
        raise ConfigError(f"a {what} must have 1 to {limits.NAME_LIMIT} bytes, this one has {size}; choose another")


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


def expand_name(pattern: str, host: str) -> str:
    """Expand a worker's name: ``%h`` is the host, ``%n`` its first label, ``%d`` its domain, ``%%`` a percent sign.

    Raises:
        ConfigError: the pattern holds another ``%`` letter, or the name is too long or empty.
    """
    label, _, domain = host.partition(".")
    known = {"h": host, "n": label, "d": domain, "%": "%"}

    def expand(match: re.Match[str]) -> str:
        letter = match.group(1)
        if letter not in known:
            raise ConfigError(f"the name {pattern!r} holds %{letter}; only %h, %n, %d and %% are known")
        return known[letter]

    name = re.sub(r"%(.?)", expand, pattern, flags=re.DOTALL)
    check_name(name, "worker name")
    return name


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
