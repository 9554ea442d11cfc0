"""Runs the dashboard until it is told to end: sockets, signals, and the line that says where it is. Knows no route."""

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn

from grpcflow.dashboard.entrance import Entrance
from grpcflow.dashboard.server import Dashboard
from grpcflow.dashboard.settings import Settings
from grpcflow.errors import ImproperlyConfigured
from grpcflow_protos.metrics.tls import Certificate

__all__ = ["serve"]

#: Seconds that answers under way have when it ends.
_GRACE: Final = 10


def serve(settings: Settings, told: Callable[[str], None]) -> None:
    """Serve until a signal comes.

    Args:
        settings: How.
        told: Gets the address as soon as browsers can come.

    Raises:
        ImproperlyConfigured: It cannot listen there.
    """
    certificate = _certificate(settings) if settings.tls_cert else None
    listening = _listening(settings)
    with listening:
        entrance = Entrance(settings)
        config = uvicorn.Config(
            Dashboard(entrance).app,
            log_level="warning",
            access_log=False,
            # Who a proxy speaks for is looked at by `entrance`, which has to see the proxy itself.
            proxy_headers=False,
            server_header=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=_GRACE,
            ssl_certfile=settings.tls_cert or None,
            ssl_keyfile=settings.tls_key or None,
        )
        if certificate is not None:
            config.load()
            _renew(config, certificate)
        host, port = listening.getsockname()[:2]
        scheme = "https" if settings.tls_cert else "http"
        signal.signal(signal.SIGTERM, _leave)
        told(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/")
        asyncio.run(_Server(config, entrance).serve([listening]))


def _leave(_number: int, _frame: object) -> None:
    """End the process in order: what the server does with a signal before this."""
    raise SystemExit(0)


class _Server(uvicorn.Server):
    """Ends streams of news when it ends, which would go on for ever.

    Args:
        config: What it serves.
        entrance: Whose links the streams listen to.
    """

    def __init__(self, config: uvicorn.Config, entrance: Entrance) -> None:
        super().__init__(config)
        self._entrance = entrance

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: take nobody any more, end the streams, and let the other answers be given."""
        await self._entrance.close()
        await super().shutdown(sockets)


def _certificate(settings: Settings) -> Certificate:
    """Return what browsers are shown.

    Raises:
        ImproperlyConfigured: The files cannot be used.
    """
    try:
        return Certificate(Path(settings.tls_cert), Path(settings.tls_key))
    except OSError as error:
        named = f"{settings.tls_cert} and {settings.tls_key}"
        message = f"certificate and key cannot be used: {error} ({named}). Name others with --certificate and --key."
        raise ImproperlyConfigured(message) from error


def _renew(config: uvicorn.Config, certificate: Certificate) -> None:
    """Have each handshake look whether the files of the certificate have changed."""

    def look(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = certificate.context()

    assert config.ssl is not None
    config.ssl.sni_callback = look  # called for browsers that name no server, too


def _listening(settings: Settings) -> socket.socket:
    """Return the socket that browsers come to."""
    with contextlib.ExitStack() as undo:
        try:
            found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            listening = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            message = (
                f"the dashboard cannot listen on {where}: {error.strerror or error}. Choose another with --listen."
            )
            raise ImproperlyConfigured(message) from error
        undo.pop_all()
        return listening
