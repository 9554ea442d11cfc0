"""The command ``grpcflow-worker``: options in, exit code out.

This file reads options and sets up the log; it may NOT hold anything that runs tasks or speaks to the coordinator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import setproctitle

from grpcflow.errors import ImproperlyConfigured
from grpcflow_protos.first_process import step_aside
from grpcflow_protos.freed_memory import keep_freed_memory
from grpcflow_protos.service_manager import ServiceManager
from grpcflow_worker import reloading
from grpcflow_worker.celery_options import OPTIONS_ELSEWHERE
from grpcflow_worker.config import LOG_LEVELS, POOLS, WorkerConfig, build_config
from grpcflow_worker.credential_options import credential_options, take_credentials
from grpcflow_worker.lines import LogOptions
from grpcflow_worker.logs import set_up_log, set_up_plain_log
from grpcflow_worker.metrics_options import metrics_options, take_metrics
from grpcflow_worker.pidfile import PidFileError, pid_file
from grpcflow_worker.pool_options import build_pool_options, pool_options
from grpcflow_worker.reloading import check_library
from grpcflow_worker.service_options import NAMES as SERVICE_NAMES
from grpcflow_worker.service_options import build_service_options, service_options
from grpcflow_worker.subscription import ConfigError

try:
    from uvloop import new_event_loop
except ImportError:  # it is not made for Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

#: Exit codes, as in sysexits.h but for the first: the app cannot be imported, the log or the pid file cannot be had.
EXIT_START = 1
EXIT_USAGE = 64
EXIT_CONFIG = 78

#: Where the context keeps the folder that the command was called in, once it has left it.
_CALLED_IN = "grpcflow_worker.called_in"

#: The options that speak of child processes.
POOL_NAMES = ("max_tasks_per_child", "max_memory_per_child", "autoscale", "autoscale_keepalive")


def _concurrency(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Read a whole number, or ``auto`` for what is chosen where nothing is said."""
    if value is None or value == "auto":
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a whole number nor 'auto'.")
    return int(value)


@click.command(
    name="grpcflow-worker",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "GRPCFLOW_WORKER"},
)
@click.option("-A", "--app", metavar="MODULE[:APP]", envvar="GRPCFLOW_APP", help="The app whose tasks are run.")
@click.option(
    "--coordinator",
    metavar="HOST:PORT[,...]",
    envvar="GRPCFLOW_COORDINATOR",
    help="The coordinator; left out: as the app says, or 127.0.0.1:50551.",
)
@click.option(
    "-Q",
    "--queues",
    multiple=True,
    metavar="A[:WEIGHT],B",
    envvar="GRPCFLOW_WORKER_QUEUES",
    help="Queues, with weights from 1 to 100.  [default: the app's task_queues, or its default queue]",
)
@click.option(
    "-X",
    "--exclude-queues",
    multiple=True,
    metavar="A,B",
    envvar="GRPCFLOW_WORKER_EXCLUDE_QUEUES",
    help="Serve all but these.",
)
@click.option(
    "-I",
    "--include",
    multiple=True,
    metavar="MODULE,MODULE",
    envvar="GRPCFLOW_WORKER_INCLUDE",
    help="Modules to import besides those that the app names.",
)
@click.option(
    "-n", "--name", "--hostname", "name", metavar="NAME", help="Name; %h host, %n its first part, %d its domain."
)
@click.option(
    "-c",
    "--concurrency",
    callback=_concurrency,
    metavar="N|auto",
    help="Tasks at once.  [default: the CPUs we may use; asyncio: 100]",
)
@click.option(
    "-P", "--pool", metavar="|".join(POOLS), default="prefork", show_default=True, help="What the tasks run in."
)
@click.option(
    "--time-limit", type=float, metavar="SECONDS", help="Kill a task that runs longer and says no limit itself."
)
@click.option(
    "--soft-time-limit", type=float, metavar="SECONDS", help="Raise SoftTimeLimitExceeded in one that runs longer."
)
@pool_options
@service_options
@metrics_options
@credential_options
@click.option("--workdir", metavar="FOLDER", help="Change to this folder first.")
@click.option(
    "--threads", type=int, metavar="N", help="asyncio: threads for tasks that are not async def.  [default: 8]"
)
@click.option(
    "--blocked-after",
    type=float,
    metavar="SECONDS",
    help="asyncio: warn of a task that blocks the others for so long; 0: never.  [default: 0.1]",
)
@click.option(
    "-l",
    "--loglevel",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    default="INFO",
    show_default=True,
    help="What is logged.",
)
def command(app: str | None, workdir: str | None, **options: Any) -> int:
    """Run the tasks of an app.

    SIGTERM or Ctrl-C finishes what runs and hands the rest back; a second one stops at once. Every option can also
    come from the environment, as GRPCFLOW_WORKER_NAME, GRPCFLOW_WORKER_CONCURRENCY and so on.
    """
    from grpcflow.loading import app_name

    try:
        _enter(workdir)
        named = app_name(app)
        config = _read(app or (named.name if named else None), options)
    except ConfigError as error:
        return _fail(str(error), EXIT_USAGE)
    except ImproperlyConfigured as error:
        return _fail(str(error), EXIT_CONFIG)
    if named is None:
        text = 'no app is named; use -A MODULE[:APP], GRPCFLOW_APP, or app = "..." in [tool.grpcflow] of pyproject.toml'
        return _fail(text, EXIT_CONFIG)
    try:
        set_up_log(log_options(config))
    except OSError as error:
        text = f"the log file {error.filename} cannot be written: {error.strerror}; name another with --logfile"
        return _fail(text, EXIT_START)
    # The loader adds the folder of a pyproject.toml to the path only where it finds the name there itself.
    try:
        with pid_file(config.service.pid_file) if config.service.pid_file else contextlib.nullcontext():
            return run(config, app)
    except PidFileError as error:
        return _fail(str(error), EXIT_START)


def _enter(folder: str | None) -> None:
    if folder is None:
        return
    click.get_current_context().meta[_CALLED_IN] = Path.cwd()
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(f"--workdir: the folder {folder} cannot be entered: {error.strerror}") from error


def _read(app: str | None, options: dict[str, Any]) -> WorkerConfig:
    """Turn the options of the command line into a checked config."""
    credentials, metrics = take_credentials(options, os.environ), take_metrics(options)
    service = {name: options.pop(name) for name in SERVICE_NAMES}
    children = {name: options.pop(name) for name in POOL_NAMES}
    options["log_level"] = options.pop("loglevel")
    config = build_config(app=app, **options, children=build_pool_options(pool=options["pool"], **children))
    config = replace(config, credentials=credentials, metrics=metrics)
    if service["reload"]:
        check_library()
    return replace(config, service=build_service_options(config.name, **service))


def log_options(config: WorkerConfig) -> LogOptions:
    """What a worker logs, and where.

    Args:
        config: what it is told.
    """
    service = config.service
    return LogOptions(config.log_level, config.name, service.log_file, service.color, service.as_json)


def run(config: WorkerConfig, app: str | None) -> int:
    """Run a worker to its end; returns the exit code.

    Args:
        config: what it is told.
        app: the app as ``-A`` gave it; None: the executor asks the loader.
    """
    # Late, so that --help and a wrong option need not wait for gRPC.
    from grpcflow_worker.executor import ExecutorError, ExecutorSettings
    from grpcflow_worker.executors import create
    from grpcflow_worker.pulse import told_to
    from grpcflow_worker.supervisor import Supervisor

    settings = ExecutorSettings(
        app=app,
        hostname=config.name,
        concurrency=config.concurrency,
        time_limit=config.time_limit,
        soft_time_limit=config.soft_time_limit,
        log_level=config.log_level,
        threads=config.threads,
        blocked_after=config.blocked_after,
        includes=config.includes,
        max_tasks_per_child=config.children.max_tasks_per_child,
        max_memory_per_child=config.children.max_memory_per_child,
        autoscale=config.children.autoscale,
        autoscale_keepalive=config.children.autoscale_keepalive,
        log_file=config.service.log_file,
        log_color=config.service.color,
        log_json=config.service.as_json,
    )

    changed = partial(reloading.changed, Path.cwd()) if config.service.reload else None

    # Where the app is in this process, it sees to the log itself.
    told = partial(set_up_plain_log, log_options(config)) if config.pool == "prefork" else None

    async def work() -> tuple[int, bool]:
        options: dict[str, Any] = {"changed": changed, "told": told, "show": setproctitle.setproctitle}
        with contextlib.ExitStack() as telling:
            if config.metrics is None:
                supervisor = Supervisor(config, create(config.pool, settings), **options)
            else:
                from grpcflow_worker.metrics.endpoint import metered

                supervisor = telling.enter_context(metered(config, config.metrics, settings, **options))
            async with told_to(ServiceManager(), supervisor):
                return await supervisor.run(), supervisor.leaving.restarts

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            code, restarts = runner.run(work())
    except ExecutorError as error:
        return _fail(str(error), EXIT_START)
    if restarts and code == os.EX_OK:
        _start_anew()
    return code


def _start_anew() -> NoReturn:
    """Become a new worker with the same command line, as the same process."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    context = click.get_current_context(silent=True)
    if context is not None and _CALLED_IN in context.meta:
        os.chdir(context.meta[_CALLED_IN])  # what is relative in the command line is relative to this
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _fail(text: str, code: int) -> int:
    click.echo(f"grpcflow-worker: {text}", err=True)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: the arguments without the program's name; None: those of this process.
    """
    if argv is None:  # the process is ours
        step_aside()
        keep_freed_memory()
    try:
        outcome = command.main(args=None if argv is None else list(argv), standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.NoSuchOption as error:
        # Named as another command's users know it, with what is there instead.
        if reason := OPTIONS_ELSEWHERE.get(error.option_name):
            return _fail(f"there is no option {error.option_name} here: {reason}", EXIT_USAGE)
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    return outcome if isinstance(outcome, int) else os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
