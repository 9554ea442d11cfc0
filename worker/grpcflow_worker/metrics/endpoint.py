"""Answers who asks for a worker's figures, where he has the token, if there is one. Nothing here counts."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from grpcflow_protos.metrics.exposition import page
from grpcflow_protos.metrics.gathering import Unavailable, gathered
from grpcflow_protos.metrics.listener import Asked, Listener, Page, refusal
from grpcflow_protos.metrics.tls import Certificate
from grpcflow_worker.config import WorkerConfig
from grpcflow_worker.executor import ExecutorError, ExecutorSettings
from grpcflow_worker.executors import create
from grpcflow_worker.metrics.meter import Meter, MeteredSupervisor
from grpcflow_worker.metrics_options import MetricsOptions

log = logging.getLogger("grpcflow.worker")

_WITHOUT_TOKEN: Final = "show the token of --metrics-token-file: Authorization: Bearer TOKEN"


@contextlib.contextmanager
def metered(
    config: WorkerConfig, metrics: MetricsOptions, settings: ExecutorSettings, **options: Any
) -> Iterator[MeteredSupervisor]:
    """Make a worker that tells its figures while this is open; to be opened on its event loop.

    Args:
        config: what it is told.
        metrics: where, and to whom, figures are told.
        settings: of its executor.
        **options: further arguments of `Supervisor`.

    Raises:
        ExecutorError: it cannot listen there, or a file cannot be read.
    """
    meter = Meter()
    settings.ran = meter.ran
    worker = MeteredSupervisor(config, create(config.pool, settings), meter=meter, **options)
    with told(metrics, worker):
        yield worker


@contextlib.contextmanager
def told(options: MetricsOptions, worker: MeteredSupervisor) -> Iterator[str]:
    """Tell a worker's figures while this is open; to be opened on its event loop.

    Args:
        options: where, and to whom.
        worker: whose figures.

    Yields:
        Where they are found.

    Raises:
        ExecutorError: it cannot listen there, or a file cannot be read.
    """
    loop = asyncio.get_running_loop()

    def answer(asked: Asked) -> Page:
        if options.token_file and not _knows(asked.authorization, options.token_file):
            return refusal(HTTPStatus.UNAUTHORIZED, _WITHOUT_TOKEN)
        try:
            body, headers = page(gathered(loop, worker.figures), asked.accept, asked.encodings)
        except Unavailable as error:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return Page(body, headers)

    try:
        certificate = Certificate(Path(options.cert), Path(options.key)) if options.cert else None
        listener = Listener(*options.address, answer, certificate)
    except OSError as error:
        host, port = options.address
        raise ExecutorError(
            f"metrics cannot be told on {host}:{port}: {error}; choose another address with --metrics"
        ) from error
    log.info("metrics at %s", listener.url)
    try:
        yield listener.url
    finally:
        listener.close()


def _knows(authorization: str, token_file: str) -> bool:
    """Return whether somebody shows the token that a file holds now; nobody does where that cannot be read."""
    scheme, _, shown = authorization.partition(" ")
    try:
        token = Path(token_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        log.warning("metrics are told to nobody: the token file %s cannot be read: %s", token_file, error.strerror)
        return False
    return bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode())
