"""Tells the service manager of the system (systemd, or what speaks as it does) how a daemon stands. Hand-written.

It stands here because coordinator and worker both need it, and this is the one package that both may import. It imports
nothing but the standard library, and may not know what it tells.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

_log = logging.getLogger("grpcflow.service_manager")


class ServiceManager:
    """Whoever started this process and wants to hear of it; where nobody does, nothing is told.

    Args:
        environment: read are ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        #: Where to tell; "": nowhere. An abstract name begins with "@" in text.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._told_status = ""
        #: Seconds between two signs of life, half of what the manager waits for one; 0: it waits for none.
        self.watchdog_seconds = _watchdog_seconds(environment) if address else 0.0

    @property
    def listens(self) -> bool:
        """True where somebody wants to hear."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Say that the start is over.

        Args:
            status: one line for people.
        """
        self._tell("READY=1", status)

    def reloading(self, status: str) -> None:
        """Say that it begins anew as the same process; `ready` says when that is over.

        Args:
            status: one line for people.
        """
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}", status)

    def stopping(self, status: str) -> None:
        """Say that the end has begun.

        Args:
            status: one line for people.
        """
        self._tell("STOPPING=1", status)

    def alive(self) -> None:
        """Say that the process does what it is there for; to be called every `watchdog_seconds`."""
        if self.watchdog_seconds:
            self._send("WATCHDOG=1")

    def status(self, status: str) -> None:
        """Say how it stands, where that has changed.

        Args:
            status: one line for people.
        """
        if status != self._told_status:
            self._tell("", status)

    def _tell(self, state: str, status: str) -> None:
        self._told_status = status
        line = " ".join(status.split())
        self._send(f"{state}\nSTATUS={line}" if state else f"STATUS={line}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)  # a manager that does not read is not waited for
                out.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError as error:
            _log.warning(
                "the service manager cannot be told at $NOTIFY_SOCKET: %s; it may take this process for dead "
                "(with systemd: Type=notify, NotifyAccess=main)",
                error,
            )
            if not isinstance(error, BlockingIOError):
                self._address = ""


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Return half of what the manager waits for a sign of life of this process; 0: it waits for none."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    wanted = environment.get("WATCHDOG_USEC", "")
    return int(wanted) / 2_000_000 if wanted.isascii() and wanted.isdigit() else 0.0
