"""`grpcflow dev`: a coordinator and a worker in one terminal, for whoever writes tasks.

Starts both as processes and prints what they say; that they start, speak and stop is in `companions`. It may not
import the worker or the coordinator.
"""

import importlib.util
import socket
import sys
from typing import Final

import click

from grpcflow.cli.companions import Companion, Voices, run_until_stopped
from grpcflow.cli.invocation import Misconfigured, Unavailable, invocation, reach_options

__all__ = ["dev"]

#: Where a coordinator listens unless told otherwise.
_USUAL: Final = ("127.0.0.1", 50551)

#: Seconds that the coordinator has to come up: it may have a large folder to read.
_START: Final = 30.0

#: What the coordinator's log says once it serves, before its address.
_SERVING: Final = "serving on "


@click.command("dev")
@click.option("--data", metavar="FOLDER", help="Keep graphs in this folder; else in memory, and gone at the end.")
@click.option(
    "--port", metavar="PORT", type=click.IntRange(0, 65535), help="Else 50551, or a free one where it is taken."
)
@click.option("--queues", "-Q", metavar="A,B", help="Queues of the worker; else as the app says.")
@click.option(
    "--concurrency", "-c", metavar="N", type=click.IntRange(min=1), default=2, show_default=True, help="Tasks at once."
)
@click.option("--pool", "-P", metavar="POOL", help="prefork, threads, solo or asyncio.")
@click.option("--loglevel", "-l", metavar="LEVEL", default="info", show_default=True, help="What the worker logs.")
@reach_options
def dev(
    data: str | None, port: int | None, queues: str | None, concurrency: int, pool: str | None, loglevel: str
) -> None:
    """Run a coordinator and a worker that starts anew when the code changes; Ctrl-C stops both.

    For development: with real ones, grpcflow-coordinator and grpcflow-worker are services of their own.
    """
    app = _app_name()
    voices = Voices()
    place = ("--memory",) if data is None else ("--data", data)
    command = [*_module("grpcflow_coordinator"), *place, "--listen", _listen(port)]
    coordinator = Companion("coordinator", command, voices)
    address = coordinator.started(_SERVING, _START)
    if address is None:
        coordinator.stop()
        raise Unavailable("The coordinator did not come up; what it said is above.")
    command = [*_module("grpcflow_worker"), "-A", app, "--coordinator", address, "-n", "dev@%h"]
    command += ["-c", str(concurrency), "-l", loglevel]
    for option, value in (("-Q", queues), ("-P", pool)):
        command += [option, value] if value else []
    command += ["--reload"] if _can_reload(voices) else []
    voices.say("grpcflow", f"call it:  grpcflow --coordinator {address} -A {app} call TASK --args '[...]' --wait")
    voices.say("grpcflow", f"or, in Python and other terminals:  export GRPCFLOW_COORDINATOR={address}")
    worker = Companion("worker", command, voices)
    click.get_current_context().exit(run_until_stopped([worker, coordinator], voices))


def _app_name() -> str:
    """Return the name of the app, which the worker will look for as we would."""
    from grpcflow.loading import app_name

    said = invocation()
    if said.coordinator:
        raise click.UsageError("--coordinator does not apply: dev starts one of its own; --port says where.")
    named = app_name(said.app)
    if named is None:
        raise Misconfigured("No app is named: grpcflow dev -A MODULE[:APP], or GRPCFLOW_APP.")
    return named.name


def _module(name: str) -> list[str]:
    """Return how a module of ours is run, where it is installed."""
    if importlib.util.find_spec(name) is None:
        raise Unavailable(f"{name} is not installed here: pip install grpcflow.")
    return [sys.executable, "-m", name]


def _listen(port: int | None) -> str:
    """Return where the coordinator is to listen: port 0 takes a free one, and its log says which."""
    if port is not None:
        return f"{_USUAL[0]}:{port}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(_USUAL)
        except OSError:
            return f"{_USUAL[0]}:0"
    return f"{_USUAL[0]}:{_USUAL[1]}"


def _can_reload(voices: Voices) -> bool:
    """Return whether files can be watched here; says what is missing where they cannot."""
    if importlib.util.find_spec("watchfiles") is not None:
        return True
    voices.say("grpcflow", "no reload when the code changes: pip install 'grpcflow[reload]'")
    return False
