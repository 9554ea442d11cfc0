"""The command `grpcflow-coordinator health`: asks a coordinator whether it can do its work, for probes of containers.

It needs no token, since the health service answers anybody. It may not open a data folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from grpcflow_coordinator.config import DEFAULT_LISTEN

#: Exit code where it answers, and is not able to do its work; 1 is for one that does not answer.
NOT_SERVING = 2


@click.command()
@click.argument("address", default=DEFAULT_LISTEN, metavar="[HOST:PORT]")
@click.option("--tls-ca", type=click.Path(path_type=Path), help="Authorities to believe, as PEM: asks over TLS.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Own certificate, where it asks for one.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key.")
@click.option(
    "--timeout", type=click.FloatRange(0, 600, min_open=True), default=2.0, show_default=True, metavar="SECONDS"
)
def health(address: str, tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None, timeout: float) -> None:
    """Ask a coordinator whether it is able to take and commit work.

    Exit code 0: it is. 1: it does not answer. 2: it is not: its disk is full, it has failed, or it stops.
    """
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    try:
        authorities, certificate, key = (
            None if one is None else one.read_bytes() for one in (tls_ca, tls_cert, tls_key)
        )
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be read: {error.strerror}") from error
    if authorities is None:
        channel = grpc.insecure_channel(address)
    else:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authorities, key, certificate))
    with channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            told: Any = error  # it is the call too, which its type does not say
            raise click.ClickException(f"{address} does not answer: {told.details()}") from error
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    click.echo(name)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise click.exceptions.Exit(NOT_SERVING)
