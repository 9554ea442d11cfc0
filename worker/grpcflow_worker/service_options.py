"""What a worker is told of its surroundings: its log, its pid file, if it follows its files, how long it may leave.

It checks what was written; it may NOT open, write or watch anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from grpcflow_protos.log_lines import LOG_FORMATS
from grpcflow_worker.names import expand
from grpcflow_worker.subscription import ConfigError, parse_names

#: Seconds between two times that a worker tells how busy it is, when nothing is said.
DEFAULT_HEARTBEAT_INTERVAL: Final = 5.0

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """What a worker is told of its surroundings.

    Attributes:
        log_file: path of the log, with ``%n %h %d %p %i %I``; "": standard error.
        color: False: no colours in the log; None: as the app says, or where it goes to a terminal.
        as_json: True: each line of the log is a JSON object.
        quiet: True: nothing is said of the start.
        pid_file: path of the file that holds the process id; "": none.
        reload: True: the worker starts anew when a source file changes.
        drain_timeout: seconds after which what still runs is stopped in a worker that leaves; 0: never.
        labels: by which commands can reach it, ``KEY=VALUE`` or one word.
        heartbeat_interval: seconds between two times that it tells how busy it is; 0: never.
    """

    log_file: str = ""
    color: bool | None = None
    as_json: bool = False
    quiet: bool = False
    pid_file: str = ""
    reload: bool = False
    drain_timeout: float = 0.0
    labels: tuple[str, ...] = ()
    heartbeat_interval: float = DEFAULT_HEARTBEAT_INTERVAL


#: The options of the command line, which are named as the parameters of `build_service_options`.
_OPTIONS: Final = (
    click.option("-f", "--logfile", metavar="PATH", help="Log to a file; %n name, %i child process, %I with a dash."),
    click.option(
        "--log-format",
        type=click.Choice(LOG_FORMATS, case_sensitive=False),
        default="text",
        show_default=True,
        help="json: one object a line.",
    ),
    click.option("--no-color", "-C", is_flag=True, help="No colours in the log."),
    click.option("--quiet", "-q", is_flag=True, help="Say nothing of the start."),
    click.option("--pidfile", metavar="PATH", help="Hold this file, with the process id, while it runs."),
    click.option("--reload", is_flag=True, help="Start anew when a source file changes; for development."),
    click.option("--drain-timeout", type=float, metavar="SECONDS", help="Stop what still runs so long after SIGTERM."),
    click.option(
        "--heartbeat-interval",
        type=float,
        default=DEFAULT_HEARTBEAT_INTERVAL,
        metavar="SECONDS",
        help="Tell how busy it is so often [5]; 0: never.",
    ),
    click.option("--label", multiple=True, metavar="KEY=VALUE", help="Let commands reach it by this; repeatable."),
)

#: The names of those parameters.
NAMES: Final = (
    *("logfile", "log_format", "no_color", "quiet", "pidfile", "reload"),
    *("drain_timeout", "label", "heartbeat_interval"),
)


def service_options(command: F) -> F:
    """Give a command the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build_service_options(
    worker: str,
    *,
    logfile: str | None = None,
    log_format: str = "text",
    no_color: bool = False,
    quiet: bool = False,
    pidfile: str | None = None,
    reload: bool = False,
    drain_timeout: float | None = None,
    label: Sequence[str] = (),
    heartbeat_interval: float | None = None,
) -> ServiceOptions:
    """Check the options.

    Args:
        worker: the worker's name.
        logfile: path with ``%n %h %d %p %i %I``; None: standard error.
        log_format: text, or json for lines that are JSON objects.
        no_color: True: no colours, wherever the log goes.
        quiet: True: nothing is said of the start.
        pidfile: path with the same letters; None: no such file.
        reload: True: start anew when a source file changes.
        drain_timeout: seconds, more than 0, from a warm stop to a cold one; None: what runs may take its time.
        label: texts of comma separated labels.
        heartbeat_interval: seconds, 0 or more, between two times that it tells how busy it is; None: 5.

    Raises:
        ConfigError: a path holds an unknown ``%`` letter, or a time is none.
    """
    if heartbeat_interval is not None and not 0 <= heartbeat_interval < math.inf:
        raise ConfigError(f"--heartbeat-interval must be 0 (never) or more seconds, not {heartbeat_interval:g}")
    if drain_timeout is not None and not 0 < drain_timeout < math.inf:
        text = f"--drain-timeout must be more than 0 seconds, not {drain_timeout:g}"
        raise ConfigError(f"{text}; leave it out to let what runs take its time, and send SIGQUIT to stop at once")
    if logfile:
        expand(logfile, worker)
    return ServiceOptions(
        log_file=logfile or "",
        color=False if no_color else None,
        as_json=log_format == "json",
        quiet=quiet,
        pid_file=expand(pidfile, worker) if pidfile else "",
        reload=reload,
        drain_timeout=drain_timeout or 0.0,
        labels=parse_names(label, "label"),
        heartbeat_interval=DEFAULT_HEARTBEAT_INTERVAL if heartbeat_interval is None else heartbeat_interval,
    )
