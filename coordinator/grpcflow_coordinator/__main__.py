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

from grpcflow_coordinator.config import Config, load
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.storage.contract import StoreError

try:
    from uvloop import new_event_loop
except ImportError:  # it is not made for Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

log = logging.getLogger("grpcflow_coordinator")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", metavar="DIR", help="Folder of the database [~/.local/share/grpcflow].")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen [127.0.0.1:50551]; port 0 takes a free one.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="A TOML file with settings.")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond loopback without any protection.")
@click.option("--memory", is_flag=True, default=None, help="Keep everything in memory; nothing survives.")
@click.option("--result-expires", type=float, metavar="SECONDS", help="How long results are kept [86400].")
@click.option("--grace", type=float, metavar="SECONDS", help="How long a lost worker may take to return [10].")
@click.option("--heartbeat", type=float, metavar="SECONDS", help="Time between signs of life [5].")
@click.option("--silence", type=float, metavar="SECONDS", help="Silence after which a worker is gone [15].")
@click.option("--max-deliveries", type=int, metavar="N", help="Lost attempts after which a task fails [3].")
@click.option("--payload-limit", type=int, metavar="BYTES", help="Largest payload [4194304].")
@click.option("--events-on-disk", metavar="SIZE", help="Keep events on disk too, up to this size, as 1GiB [none].")
@click.option("-l", "--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR [INFO].")
@click.version_option(package_name="grpcflow", prog_name="grpcflow-coordinator")
def command(file: Path | None, **options: Any) -> None:
    """Run the coordinator: the one daemon that keeps every graph and hands its tasks to workers.

    Each option may also stand in the environment, as GRPCFLOW_COORDINATOR_DATA and so on, or in the TOML file.
    """
    try:
        config = load(options, file)
        logging.basicConfig(
            level=config.log_level.upper(), format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr
        )
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            code = runner.run(serve(config))
    except (ConfigurationError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


async def serve(config: Config) -> int:
    """Serve until a signal or a fatal error; return the exit code."""
    from grpcflow_coordinator.server import Coordinator  # after the settings are known to be good

    coordinator = Coordinator(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, coordinator.stop_soon)
    await coordinator.start()
    gc.collect()
    gc.freeze()
    await coordinator.wait()
    await coordinator.stop()
    return 1 if coordinator.engine.failed is not None else 0


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, or with those of the process."""
    command.main(args=None if argv is None else list(argv), prog_name="grpcflow-coordinator")


if __name__ == "__main__":
    main()
