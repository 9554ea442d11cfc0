"""The command ``grpcflow-worker``: options in, exit code out.

This file reads options and sets up the log; it may NOT hold anything that runs tasks or speaks to the coordinator.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import click

from grpcflow.errors import ImproperlyConfigured
from grpcflow_worker.celery_options import OPTIONS_ELSEWHERE
from grpcflow_worker.config import LOG_LEVELS, POOLS, ConfigError, WorkerConfig, build_config
from grpcflow_worker.logs import set_up_log

#: Exit codes, as in sysexits.h.
EXIT_USAGE = 64
EXIT_CONFIG = 78


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
    "-Q", "--queues", multiple=True, metavar="A,B", envvar="GRPCFLOW_WORKER_QUEUES", help="Queues.  [default: default]"
)
@click.option(
    "-n", "--name", "--hostname", "name", metavar="NAME", help="Name; %h host, %n its first part, %d its domain."
)
@click.option(
    "-c", "--concurrency", type=int, metavar="N", help="Tasks at once.  [default: the CPUs we may use; asyncio: 100]"
)
@click.option(
    "-P", "--pool", type=click.Choice(POOLS), default="prefork", show_default=True, help="What the tasks run in."
)
@click.option(
    "--time-limit", type=float, metavar="SECONDS", help="Kill a task that runs longer and says no limit itself."
)
@click.option(
    "--soft-time-limit", type=float, metavar="SECONDS", help="Raise SoftTimeLimitExceeded in one that runs longer."
)
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
def command(
    app: str | None,
    coordinator: str | None,
    queues: tuple[str, ...],
    name: str | None,
    concurrency: int | None,
    pool: str,
    loglevel: str,
    time_limit: float | None,
    soft_time_limit: float | None,
    threads: int | None,
    blocked_after: float | None,
) -> int:
    """Run the tasks of an app.

    SIGTERM or Ctrl-C finishes what runs and hands the rest back; a second one stops at once. Every option can also
    come from the environment, as GRPCFLOW_WORKER_NAME, GRPCFLOW_WORKER_CONCURRENCY and so on.
    """
    from grpcflow.loading import app_name

    try:
        named = app_name(app)
        config = build_config(
            app=app or (named.name if named else None),
            coordinator=coordinator,
            queues=queues,
            name=name,
            concurrency=concurrency,
            pool=pool,
            log_level=loglevel,
            time_limit=time_limit,
            soft_time_limit=soft_time_limit,
            threads=threads,
            blocked_after=blocked_after,
        )
    except ConfigError as error:
        return _fail(str(error), EXIT_USAGE)
    except ImproperlyConfigured as error:
        return _fail(str(error), EXIT_CONFIG)
    if named is None:
        text = 'no app is named; use -A MODULE[:APP], GRPCFLOW_APP, or app = "..." in [tool.grpcflow] of pyproject.toml'
        return _fail(text, EXIT_CONFIG)
    set_up_log(config.log_level, config.name)
    # The loader adds the folder of a pyproject.toml to the path only where it finds the name there itself.
    return run(config, app)


def run(config: WorkerConfig, app: str | None) -> int:
    """Run a worker to its end; returns the exit code.

    Args:
        config: what it is told.
        app: the app as ``-A`` gave it; None: the executor asks the loader.
    """
    # Late, so that --help and a wrong option need not wait for gRPC.
    from grpcflow_worker.executor import ExecutorError, ExecutorSettings
    from grpcflow_worker.executors import create
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
    )

    async def work() -> int:
        return await Supervisor(config, create(config.pool, settings)).run()

    try:
        return asyncio.run(work())
    except ExecutorError as error:
        return _fail(str(error), EXIT_CONFIG)


def _fail(text: str, code: int) -> int:
    click.echo(f"grpcflow-worker: {text}", err=True)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: the arguments without the program's name; None: those of this process.
    """
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
