"""The command `grpcflow-coordinator`: options to settings, settings to a server, signals to its stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from grpcflow_coordinator import tools
from grpcflow_coordinator.config import Config, load
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.health_command import health
from grpcflow_coordinator.logs import set_up_log
from grpcflow_coordinator.security.commands import token
from grpcflow_coordinator.storage.contract import StoreError
from grpcflow_protos.first_process import step_aside
from grpcflow_protos.freed_memory import keep_freed_memory
from grpcflow_protos.service_manager import ServiceManager

try:
    from uvloop import new_event_loop
except ImportError:  # it is not made for Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

log = logging.getLogger("grpcflow_coordinator")


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", metavar="DIR", help="Folder of the database [~/.local/share/grpcflow].")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen [127.0.0.1:50551]; port 0 takes a free one.")
@click.option("--metrics", metavar="HOST:PORT", help="Tell metrics to Prometheus there, at /metrics [not at all].")
@click.option("--dashboard", metavar="HOST:PORT", help="Run the dashboard there, for browsers [not at all].")
@click.option("--dashboard-coordinator", metavar="HOST:PORT", help="How it reaches the coordinator [as it listens].")
@click.option("--config", "file", type=click.Path(path_type=Path), help="A TOML file with settings.")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond loopback without any protection.")
@click.option("--tls-cert", metavar="FILE", help="Certificate to show, as PEM; taken anew when it changes.")
@click.option("--tls-key", metavar="FILE", help="Its key, as PEM.")
@click.option("--tls-client-ca", metavar="FILE", help="Take only clients whose certificate these authorities gave.")
@click.option("--tokens", metavar="FILE", help="Callers must show a token of this file: see the command token.")
@click.option("--audit-log", metavar="FILE", help="Write down who changed what, a JSON object a line.")
@click.option("--unsafe-filesystem", is_flag=True, default=None, help="Use a folder on NFS, FUSE and the like.")
@click.option("--memory", is_flag=True, default=None, help="Keep everything in memory; nothing survives.")
@click.option("--result-expires", type=float, metavar="SECONDS", help="How long results are kept [86400].")
@click.option("--grace", type=float, metavar="SECONDS", help="How long a lost worker may take to return [10].")
@click.option("--heartbeat", type=float, metavar="SECONDS", help="Time between signs of life [5].")
@click.option("--silence", type=float, metavar="SECONDS", help="Silence after which a worker is gone [15].")
@click.option("--max-deliveries", type=int, metavar="N", help="Lost attempts after which a task fails [3].")
@click.option("--payload-limit", type=int, metavar="BYTES", help="Largest payload [4194304].")
@click.option("--preallocate", metavar="SIZE", help="Write so much of the data file ahead of use [256MiB].")
@click.option("--journal", metavar="SIZE", help="Length of the journal of small commits; 0: none [4MiB].")
@click.option("--events-on-disk", metavar="SIZE", help="Keep events on disk too, up to this size, as 1GiB [none].")
@click.option("--task-logs", metavar="SIZE", help="Keep so much of what an attempt logs; 0: nothing [128KiB].")
@click.option("-l", "--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR [INFO].")
@click.option("-f", "--log-file", metavar="FILE", help="Log to a file, begun anew when it was moved away.")
@click.option("--log-format", metavar="FORMAT", help="text, or json: an object a line [text].")
@click.version_option(package_name="grpcflow", prog_name="grpcflow-coordinator")
def command(file: Path | None, **options: Any) -> None:
    """Run the coordinator: the one daemon that keeps every graph and hands its tasks to workers.

    Each option may also stand in the environment, as GRPCFLOW_COORDINATOR_DATA and so on, or in the TOML file.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    try:
        config = load(options, file)
        set_up_log(config)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            code = runner.run(serve(config))
    except (ConfigurationError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


command.add_command(token)
command.add_command(health)
tools.add_to(command)


async def serve(config: Config) -> int:
    """Serve until a signal or a fatal error; return the exit code."""
    from grpcflow_coordinator.server import Coordinator  # after the settings are known to be good

    coordinator = Coordinator(config, manager=ServiceManager())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, coordinator.stop_soon)
    await coordinator.start()
    gc.collect()
    gc.freeze()
    await coordinator.wait()
    await coordinator.stop()
    return 1 if coordinator.realms.failed is not None else 0


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, or with those of the process."""
    if argv is None:  # the process is ours
        step_aside()
        keep_freed_memory()
        command.main(prog_name="grpcflow-coordinator", obj=tools.OURS)
    else:
        command.main(args=list(argv), prog_name="grpcflow-coordinator")


if __name__ == "__main__":
    main()
