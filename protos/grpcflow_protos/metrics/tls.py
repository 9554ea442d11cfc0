"""A certificate for a listener of ours, taken anew from its files when they change. Knows no gRPC."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class Certificate:
    """A certificate with its key, and the authorities of clients.

    Args:
        cert: file of the certificate and those between it and its authority, as PEM.
        key: file of its key, as PEM without a password.
        client_ca: file of the authorities that clients' certificates must come from; None: clients need none.

    Raises:
        OSError: a file cannot be read, or certificate and key do not go together.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._seen = self._stamps()
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """Return what the next connection is answered with; the certificate before where the new one is not whole."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._context = self._read()
            except OSError as error:  # ssl.SSLError is one; mostly one file was written, and the other not yet
                log.warning("the certificate %s stays as it was: %s", self._cert, error)
        return self._context

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cert, self._key, password=_no_password)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _stamps(self) -> list[tuple[int, ...]]:
        files = [path for path in (self._cert, self._key, self._client_ca) if path is not None]
        return [_stamp(path) for path in files]


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what tells two states of a file apart; nothing where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _no_password() -> str:
    """Return no password: a prompt would stop a daemon for ever."""
    return ""
