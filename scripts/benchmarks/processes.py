"""Processes of a benchmark: free ports, CPU time. Imports nothing of grpcflow."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import psutil

#: What holds the ports that were given out: else others could be given them before they are listened on.
_HELD: Final[list[socket.socket]] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on; the system gives it to nobody else while this process runs."""
    held = _held()
    _HELD.append(held)
    port: int = held.getsockname()[1]
    return port


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Give such a port that is anybody's again afterwards."""
    with _held() as held:
        yield held.getsockname()[1]


def _held() -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that who names it may listen there
    held.bind(("127.0.0.1", 0))
    return held


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that processes have used, user and system, without their ended children."""
    total = 0.0
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        total += times.user + times.system
    return total


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def command(name: str) -> str:
    """Return the path of one of our commands, beside the interpreter that runs this."""
    import sys

    return str(Path(sys.executable).parent / name)


def environment(address: str, folder: Path) -> dict[str, str]:
    """Return the environment of a cluster's processes."""
    return {**os.environ, "GRPCFLOW_COORDINATOR": address, "PYTHONPATH": str(folder)}


def anonymous_bytes(pid: int) -> int:
    """Return the anonymous memory of a process: what it holds beside files that are mapped.

    Raises:
        SystemExit: the kernel does not tell.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"process {pid} does not tell its anonymous memory: this measure needs Linux 4.14 or later")
