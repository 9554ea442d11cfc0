"""Runs the dashboard beside the coordinator: a process of its own, watched, replaced, and ended with this one.

It is `grpcflow dashboard`: a client like any other, over the public rpcs. Nothing secret is handed to it, only
addresses and names of files: people log in with tokens of their own. Its standard input is a pipe that ends with this
process, however that dies. Nothing of it may be imported here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from grpcflow_coordinator.config import Config, split_address
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_protos.addresses import is_loopback

log = logging.getLogger(__name__)

#: Seconds until the next one starts where one has ended, the first time and at most; each time twice as long.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0

#: Seconds after which one that ends is thought to have worked: the pauses begin anew.
STEADY: Final = 60.0

#: Seconds that it has to end in order: streams of browsers end at once, answers under way are given.
GRACE: Final = 5.0

#: Bytes of a line of it that are logged at once.
_LINE: Final = 2_000

#: Names of variables of the environment that it gets although they are grpcflow's.
_HANDED_ON: Final = ("GRPCFLOW_TLS_CA", "GRPCFLOW_TLS_CERT", "GRPCFLOW_TLS_KEY")

Start: TypeAlias = "Callable[[], subprocess.Popen[bytes]]"


def check_installed() -> None:
    """See to it that the dashboard could run.

    Raises:
        ConfigurationError: what serves it is not installed.
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"--dashboard needs {' and '.join(missing)}, which the extra `dashboard` brings: "
            f"pip install 'grpcflow[dashboard]', or start the coordinator without --dashboard"
        )


def command(config: Config, address: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command that runs the dashboard.

    Args:
        config: the coordinator's settings.
        address: where the coordinator listens.
        environment: of this process; it may name other certificates for the way to the coordinator.
    """
    # -P: what lies in the folder where the coordinator was started is nothing to import.
    words = [sys.executable, "-P", "-m", "grpcflow.dashboard"]
    words += ["--listen", config.dashboard, "--coordinator", config.dashboard_coordinator or _reached(address)]
    if config.tls_cert and not environment.get("GRPCFLOW_TLS_CA"):
        words += ["--tls-ca", config.tls_cert]  # it believes this very certificate, whoever gave it
    if config.tls_client_ca and not environment.get("GRPCFLOW_TLS_CERT"):
        words += ["--tls-cert", config.tls_cert, "--tls-key", config.tls_key]
    if not is_loopback(split_address(config.dashboard)[0]):
        if config.tls_cert:
            words += ["--certificate", config.tls_cert, "--key", config.tls_key]
        if config.insecure:
            words += ["--insecure"]
    return words


def surroundings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment that the dashboard gets: no setting of a coordinator or client, and no token."""
    return {
        name: value for name, value in environment.items() if not name.startswith("GRPCFLOW_") or name in _HANDED_ON
    }


def _reached(address: str) -> str:
    """Return how this machine reaches what listens on an address, which may be every one that it has."""
    host, port = split_address(address)
    return {"0.0.0.0": f"127.0.0.1:{port}", "::": f"[::1]:{port}"}.get(host, address)


def start_of(config: Config, address: str) -> Start:
    """Return what starts the dashboard of a coordinator that listens on an address."""

    def start() -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in a terminal is for the coordinator, which then ends it.
        return subprocess.Popen(
            command(config, address),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=surroundings(),
            start_new_session=True,
        )

    return start


class Dashboard:
    """Keeps one running from when it is made until `close`, in a thread.

    The event loop starts no processes itself: it would fork, which copies the tables of all its memory.

    Args:
        start: starts the process.
        rest: waits for some seconds, or until it is over; another one for tests.
        clock: the monotonic clock.
        grace: seconds that it has to end in order.
    """

    def __init__(
        self,
        start: Start,
        *,
        rest: Callable[[threading.Event, float], object] = threading.Event.wait,
        clock: Callable[[], float] = time.monotonic,
        grace: float = GRACE,
    ) -> None:
        self._start, self._rest, self._clock, self._grace = start, rest, clock, grace
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="grpcflow-dashboard", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        """Start one after the other, with pauses that grow where they end soon."""
        pause = FIRST_PAUSE
        while not self._over.is_set():
            began = self._clock()
            ended = self._run()
            if self._over.is_set():
                return
            if self._clock() - began >= STEADY:
                pause = FIRST_PAUSE
            log.warning("the dashboard %s; another one starts in %g s", ended, pause)
            self._rest(self._over, pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _run(self) -> str:
        """Run one to its end; return how that was, for people."""
        with self._lock:
            if self._over.is_set():
                return "is not wanted any more"
            try:
                process = self._process = self._start()
            except OSError as error:
                return f"cannot be started ({error})"
        with process:
            assert process.stderr is not None
            while line := process.stderr.readline(_LINE):
                _tell(line)
            code = process.wait()
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def close(self) -> None:
        """End it, and wait until it has ended; one that does not is killed. Blocks for a few seconds at most."""
        self._over.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
        self._thread.join(self._grace)
        if process is not None and process.poll() is None:
            log.warning("the dashboard did not end within %g s and is killed", self._grace)
            process.kill()
            self._thread.join(self._grace)


def _tell(line: bytes) -> None:
    """Log a line of it: where it is reached, or that something is wrong."""
    text = line.decode(errors="replace").rstrip()
    if text:
        log.log(logging.INFO if text.startswith("Dashboard: ") else logging.WARNING, "%s", text)
