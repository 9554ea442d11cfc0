"""Runs the dashboard until it is told to end: sockets, signals, and the line that says where it is. Knows no route."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from grpcflow.dashboard.entrance import Entrance
from grpcflow.dashboard.server import Dashboard
from grpcflow.dashboard.settings import Settings
from grpcflow.errors import ImproperlyConfigured

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
