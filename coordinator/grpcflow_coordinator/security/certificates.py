"""The coordinator's certificate, taken anew from its files when they change.

gRPC asks at every handshake which certificate to show, so a new one holds from the next connection on; connections that
are open stay. It may not know who may do what.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.security.tokens import stamp_of

log = logging.getLogger(__name__)


class Certificates:
    """A certificate with its key, and the authorities of clients.

    Args:
        cert: file of the certificate and those between it and its authority, as PEM.
        key: file of its key, as PEM without a password.
        client_ca: file of the authorities that clients' certificates must come from; None: clients need none.

    Raises:
        ConfigurationError: a file cannot be read, or certificate and key do not go together.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._seen = self._state()
        try:
            self._configuration = self._read()
        except ssl.SSLError as error:  # which is an OSError too
            raise ConfigurationError(self._mismatch(error)) from error
        except OSError as error:
            raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from error

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a port is opened with."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self.changed,  # type: ignore[arg-type]  # None is allowed: what was shown holds
            require_client_authentication=self._client_ca is not None,
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new certificate where the files have changed and are whole; None: what was shown holds.

        Called on gRPC's threads, at each handshake.
        """
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            self._configuration = self._read()
        except OSError as error:  # ssl.SSLError is one
            # One file was written and the other not yet, mostly: the next handshake looks again.
            log.warning("the certificate stays as it was: %s", self._mismatch(error))
            return None
        log.info("the certificate of %s is shown from now on", self._cert)
        return self._configuration

    def _read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files, and see whether they go together."""
        cert, key = self._cert.read_bytes(), self._key.read_bytes()
        ca = None if self._client_ca is None else self._client_ca.read_bytes()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cert, self._key, password=_no_password)
        if ca is not None:
            context.load_verify_locations(self._client_ca)
        return grpc.ssl_server_certificate_configuration([(key, cert)], ca)

    def _state(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(stamp_of(path) for path in (self._cert, self._key, self._client_ca) if path is not None)

    def _mismatch(self, error: Exception) -> str:
        files = ", ".join(str(path) for path in (self._cert, self._key, self._client_ca) if path is not None)
        return f"{files} are not a certificate with its key: {error}. Write PEM files, the key without a password"


def _no_password() -> str:
    """Return no password: a prompt would stop a daemon for ever."""
    return ""
