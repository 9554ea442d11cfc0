"""What guards the coordinator's door, made of its settings: certificates, tokens, the audit log, and the watch on them.

It may not know what calls there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

from grpcflow_coordinator.config import Config
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.security.audit import Audit
from grpcflow_coordinator.security.certificates import Certificates
from grpcflow_coordinator.security.tokens import Tokens

#: Seconds between two looks at the tokens: how long one that was revoked may still be used.
LOOK: Final = 1.0


class Guard:
    """The guard of one coordinator.

    Args:
        config: its settings.
        now: its clock.

    Attributes:
        tokens: who may do what; None: everybody everything.
        audit: where changes are written down; None: nowhere.

    Raises:
        ConfigurationError: a file cannot be used.
    """

    def __init__(self, config: Config, now: Callable[[], Now]) -> None:
        def seconds() -> float:
            return now().wall_ms / 1000

        self.tokens = Tokens(Path(config.tokens), seconds) if config.tokens else None
        self.audit = Audit(Path(config.audit_log), seconds) if config.audit_log else None
        self._certificates = (
            Certificates(
                Path(config.tls_cert),
                Path(config.tls_key),
                Path(config.tls_client_ca) if config.tls_client_ca else None,
            )
            if config.tls_cert
            else None
        )
        self._timer: asyncio.TimerHandle | None = None

    def bind(self, server: grpc.aio.Server, address: str) -> int:
        """Have a server listen, with TLS where there is a certificate; return the port."""
        if self._certificates is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, self._certificates.credentials())

    def watch(self, recheck: Callable[[], None]) -> None:
        """Have something called every `LOOK` seconds where there are tokens, until `close`; needs a running loop."""
        if self.tokens is None:
            return

        def look() -> None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, look)  # before anything can go wrong
            recheck()

        self._timer = asyncio.get_running_loop().call_later(LOOK, look)

    def close(self) -> None:
        """End the watch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
