"""Answers who asks for the coordinator's figures: whether he may have them, and of which namespaces.

Without tokens everybody may have all of them. With tokens, the role `inspect` has those of its own namespace, the role
`metrics` in the default namespace those of all, which is what a monitoring server is to be given. Nothing here counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from grpcflow_coordinator.config import Config, split_address
from grpcflow_coordinator.errors import ConfigurationError, Refusal
from grpcflow_coordinator.metrics.readers import Readers
from grpcflow_coordinator.metrics.reading import Reading
from grpcflow_coordinator.namespaces import NAMED_BY_NOTHING
from grpcflow_coordinator.realm import Realm
from grpcflow_coordinator.realms import Realms
from grpcflow_coordinator.security.token_file import Role
from grpcflow_coordinator.security.tokens import EVERYONE, Identity, Tokens
from grpcflow_protos.metrics.exposition import page
from grpcflow_protos.metrics.gathering import Unavailable, gathered
from grpcflow_protos.metrics.listener import Asked, Listener, Page, refusal
from grpcflow_protos.metrics.tls import Certificate

log = logging.getLogger(__name__)

_FORBIDDEN: Final = (
    "the metrics are for the roles metrics and inspect: make a token with `token add NAME --role metrics`"
)


class Endpoint:
    """Listens from when it is made until `close`; to be made on the event loop.

    Args:
        config: the coordinator's settings.
        realms: what is told of.
        tokens: who may have it; None: everybody.

    Raises:
        ConfigurationError: it cannot listen there, or the certificate cannot be used.
    """

    def __init__(self, config: Config, realms: Realms, tokens: Tokens | None) -> None:
        self._realms, self._tokens = realms, tokens
        self._loop = asyncio.get_running_loop()
        self._readers: dict[str, Readers] = {}
        host, port = split_address(config.metrics)
        try:
            self._listener = Listener(host, port, self._answer, _certificate(config))
        except OSError as error:
            raise ConfigurationError(
                f"metrics cannot be told on {config.metrics}: {error}; choose another address with --metrics"
            ) from error
        #: Where they are found.
        self.url = self._listener.url
        log.info("metrics at %s", self.url)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _answer(self, asked: Asked) -> Page:
        """Give the page; on a thread of its own."""
        try:
            reading = Reading(self._visible(asked), self._readers)
            body, headers = page(gathered(self._loop, reading.figures), asked.accept, asked.encodings)
        except Refusal as error:
            forbidden = error.code == "ROLE_FORBIDDEN"
            return refusal(HTTPStatus.FORBIDDEN if forbidden else HTTPStatus.UNAUTHORIZED, f"{error.code}: {error}")
        except Unavailable as error:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return Page(body, headers)

    def _visible(self, asked: Asked) -> Mapping[str, Realm]:
        """Return the realms of which somebody may be told, by the names as they are shown.

        Raises:
            Refusal: he may not be told of any.
        """
        identity = EVERYONE if self._tokens is None else self._tokens.identify(asked.authorization)
        if not (identity.may(Role.METRICS) or identity.may(Role.INSPECT)):
            raise Refusal("ROLE_FORBIDDEN", _FORBIDDEN)
        every = dict(self._realms.by_name)  # at once: the event loop may add one meanwhile
        return {name or NAMED_BY_NOTHING: realm for name, realm in every.items() if _may_see(identity, name)}


def _may_see(identity: Identity, namespace: str) -> bool:
    """Return whether somebody may be told of a namespace."""
    return identity.namespace == namespace or (not identity.namespace and identity.may(Role.METRICS))


def _certificate(config: Config) -> Certificate | None:
    """Return what is shown to who asks: what the coordinator shows to all.

    Raises:
        OSError: it cannot be read.
    """
    if not config.tls_cert:
        return None
    authorities = Path(config.tls_client_ca) if config.tls_client_ca else None
    return Certificate(Path(config.tls_cert), Path(config.tls_key), authorities)
