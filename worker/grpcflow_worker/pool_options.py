"""What a worker is told of its child processes: when one is replaced, and how many there are.

It checks what was written; it may NOT know executors or processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from grpcflow_worker.subscription import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """What a worker is told of its child processes.

    Attributes:
        max_tasks_per_child: one is replaced once it has run so many tasks; None: as the app says.
        max_memory_per_child: one is replaced once it takes more KiB than this after a task; None: as the app says.
        autoscale: the most and the fewest there are; None: always as many as the concurrency.
        autoscale_keepalive: seconds without work after which one may go; None: as the app says.
    """

    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    autoscale: tuple[int, int] | None = None
    autoscale_keepalive: float | None = None


#: The options of the command line, which are named as the parameters of `build_pool_options`.
_OPTIONS: Final = (
    click.option(
        "--max-tasks-per-child", type=int, metavar="N", help="prefork: replace a process once it has run so many."
    ),
    click.option(
        "--max-memory-per-child", type=int, metavar="KiB", help="prefork: replace one that takes more after a task."
    ),
    click.option("--autoscale", metavar="MAX,MIN", help="prefork: as many processes as there is work for."),
    click.option(
        "--autoscale-keepalive", type=float, metavar="SECONDS", help="How long one may be without work.  [default: 30]"
    ),
)


def pool_options(command: F) -> F:
    """Give a command the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build_pool_options(
    *,
    pool: str = "prefork",
    max_tasks_per_child: int | None = None,
    max_memory_per_child: int | None = None,
    autoscale: str | None = None,
    autoscale_keepalive: float | None = None,
) -> PoolOptions:
    """Check the options.

    Args:
        pool: name of the executor.
        max_tasks_per_child: tasks, at least 1; None: left to the app.
        max_memory_per_child: KiB, at least 1; None: left to the app.
        autoscale: prefork only: ``MAX,MIN``, or ``MAX`` alone with a MIN of 1; None: off.
        autoscale_keepalive: seconds, more than 0; None: left to the app.

    Raises:
        ConfigError: an option cannot be used.
    """
    if autoscale_keepalive is not None and not 0 < autoscale_keepalive < math.inf:
        raise ConfigError(f"--autoscale-keepalive must be more than 0 seconds, not {autoscale_keepalive:g}")
    return PoolOptions(
        max_tasks_per_child=_check_count(max_tasks_per_child, "--max-tasks-per-child"),
        max_memory_per_child=_check_count(max_memory_per_child, "--max-memory-per-child, in KiB,"),
        autoscale=None if autoscale is None else _parse_autoscale(autoscale, pool),
        autoscale_keepalive=autoscale_keepalive,
    )


def _check_count(count: int | None, option: str) -> int | None:
    if count is not None and count < 1:
        raise ConfigError(f"{option} must be at least 1, not {count}; leave it out for no limit")
    return count


def _parse_autoscale(text: str, pool: str) -> tuple[int, int]:
    if pool != "prefork":
        cure = "leave it out, or choose -P prefork"
        raise ConfigError(f"--autoscale is for the prefork pool only, not for {pool}; {cure}")
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (1, 2) or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--autoscale is MAX,MIN, two whole numbers such as 10,2, not {text!r}")
    most = int(parts[0])
    least = int(parts[1]) if parts[1:] else 1
    if not 1 <= least <= most:
        raise ConfigError(f"--autoscale is MAX,MIN with MIN at least 1 and MAX at least MIN, not {text!r}")
    return most, least
