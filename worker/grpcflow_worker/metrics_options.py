"""What a worker is told of metrics: where it tells them, and who may have them.

It checks what was written; it may NOT listen, or import what does.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from grpcflow_protos import addresses
from grpcflow_worker.subscription import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOptions:
    """Where metrics are told, and to whom.

    Attributes:
        address: host and port to listen on; port 0 takes a free one.
        token_file: file with the token that who asks must show; "": nobody needs one.
        cert, key: files of a certificate and its key, as PEM; "": connections are not encrypted.
    """

    address: tuple[str, int]
    token_file: str = ""
    cert: str = ""
    key: str = ""


_OPTIONS: Final = (
    click.option("--metrics", metavar="HOST:PORT", help="Tell metrics to Prometheus there, at /metrics."),
    click.option("--metrics-token-file", metavar="FILE", help="Tell them only to who shows the token in this file."),
    click.option("--metrics-cert", metavar="FILE", help="Tell them over TLS, with this certificate."),
    click.option("--metrics-key", metavar="FILE", help="Its key."),
    click.option("--metrics-insecure", is_flag=True, help="Tell them beyond loopback without any protection."),
)

#: The names of their parameters.
_NAMES: Final = ("metrics", "metrics_token_file", "metrics_cert", "metrics_key", "metrics_insecure")


def metrics_options(command: F) -> F:
    """Give a command the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_metrics(options: MutableMapping[str, Any]) -> MetricsOptions | None:
    """Take the options out of all others and check them; None: no metrics are told.

    Args:
        options: all options by the names of their parameters.

    Raises:
        ConfigError: one cannot be used, or strangers could read along.
    """
    address, token_file, cert, key, insecure = (options.pop(name) for name in _NAMES)
    if not address:
        if token_file or cert or key or insecure:
            raise ConfigError("nothing is told without --metrics HOST:PORT: add it, or leave the other options out")
        return None
    host, port = _split(address)
    if bool(cert) != bool(key):
        raise ConfigError("--metrics-cert and --metrics-key belong together: name both files, or none")
    lacking = [name for name, there in (("TLS", cert), ("a token", token_file)) if not there]
    if lacking and not insecure and not addresses.is_loopback(host):
        raise ConfigError(
            f"--metrics {address}: {host!r} can be reached from other machines, and {' and '.join(lacking)} lack. Add "
            f"--metrics-cert FILE --metrics-key FILE --metrics-token-file FILE, listen on 127.0.0.1:{port}, or say "
            "--metrics-insecure where the network itself is trusted"
        )
    return MetricsOptions(address=(host, port), token_file=token_file or "", cert=cert or "", key=key or "")


def _split(address: str) -> tuple[str, int]:
    found = addresses.split(address)
    if found is None:
        raise ConfigError(f"--metrics {address!r} is not HOST:PORT, for example 127.0.0.1:9551")
    return found
