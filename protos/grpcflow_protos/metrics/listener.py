"""Answers who asks for metrics, over HTTP and on threads of its own: the event loop has better things to do.

It knows paths, methods and connections. What a page holds, and who may have it, is the business of whoever made it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, TypeAlias

from grpcflow_protos.metrics.tls import Certificate

log = logging.getLogger(__name__)

#: Where the metrics are.
PATH: Final = "/metrics"

#: Connections that are answered at once; further ones are closed, for one server asks now and then.
MOST_CONNECTIONS: Final = 8

#: Seconds after which a peer that says nothing, or reads nothing, is left.
PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks with: headers as they came, "" for one that did not."""

    authorization: str
    accept: str
    encodings: str


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK


#: Gives the page; called on a thread of its own, and may take its time.
Answer: TypeAlias = Callable[[Asked], Page]


def refusal(status: HTTPStatus, told: str) -> Page:
    """Return a page that says why there is none.

    Args:
        status: what it is called in HTTP.
        told: what is wrong and what to do, for people.
    """
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="grpcflow"'
    return Page(told.encode() + b"\n", headers, status)


class Listener:
    """Listens from when it is made until `close`.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        answer: gives the pages.
        certificate: what is shown; None: the connection is not encrypted.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(self, host: str, port: int, answer: Answer, certificate: Certificate | None = None) -> None:
        self.answer = answer
        self._certificate = certificate
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._closed = threading.Event()
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(where)
            self._socket.listen(MOST_CONNECTIONS)
        except OSError:
            self._socket.close()
            raise
        scheme = "http" if certificate is None else "https"
        shown = f"[{host}]" if ":" in host else host
        #: Where the metrics are found.
        self.url = f"{scheme}://{shown}:{self._socket.getsockname()[1]}{PATH}"
        self._thread = threading.Thread(target=self._listen, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more; what is being answered is left to itself."""
        self._closed.set()
        with contextlib.suppress(OSError):  # it is closed already
            self._socket.shutdown(socket.SHUT_RDWR)  # which wakes who waits in accept
        self._thread.join(PATIENCE)
        self._socket.close()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                connection, peer = self._socket.accept()
            except OSError as error:
                if not self._closed.is_set():
                    log.warning("no connection for metrics can be taken: %s", error)
                    self._closed.wait(1.0)  # there may be no file descriptor left
                continue
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection, peer), name="metrics", daemon=True).start()

    def _serve(self, connection: socket.socket, peer: Any) -> None:
        """Answer one request, and close the connection."""
        try:
            connection.settimeout(PATIENCE)
            if self._certificate is not None:
                connection = self._certificate.context().wrap_socket(connection, server_side=True)
            _Handler(connection, peer, self)  # type: ignore[arg-type]  # it asks its server for nothing of its own
        except (OSError, ssl.SSLError) as error:
            log.debug("who asked for metrics from %s was not answered: %s", peer, error)
        finally:
            connection.close()
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    """Reads one request and answers it."""

    server: Listener  # type: ignore[assignment]
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Give the page."""
        self._give(self._page(), body=True)

    def do_HEAD(self) -> None:
        """Give what would be said of the page."""
        self._give(self._page(), body=False)

    def _page(self) -> Page:
        if self.path.partition("?")[0] != PATH:
            return refusal(HTTPStatus.NOT_FOUND, f"the metrics are at {PATH}")
        said = self.headers
        asked = Asked(said.get("Authorization", ""), said.get("Accept", ""), said.get("Accept-Encoding", ""))
        try:
            return self.server.answer(asked)
        except Exception:  # whatever it is, the one who asks is to be told, and the log
            log.exception("the metrics could not be gathered")
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the metrics could not be gathered: see the log")

    def _give(self, page: Page, *, body: bool) -> None:
        self.send_response(page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if body:
            self.wfile.write(page.body)

    def version_string(self) -> str:
        """Return what answers, without its version."""
        return "grpcflow"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name that it is called by
        """Write down what was asked where everything is."""
        log.debug("metrics: %s", format % arguments)
