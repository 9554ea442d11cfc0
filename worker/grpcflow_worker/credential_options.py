"""What a worker is told of certificates, its token and its namespace, and the door to the coordinator that comes of it.

An option goes before a setting of the app, and that before the environment. There is no option for a token itself:
everybody on the machine can read command lines. This file may NOT open channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from grpcflow.credentials import OPTIONS, VARIABLES, credentials_of
from grpcflow.errors import ImproperlyConfigured
from grpcflow_worker.subscription import ConfigError

if TYPE_CHECKING:
    from grpcflow.channels import Door

F = TypeVar("F", bound=Callable[..., Any])


def credential_options(command: F) -> F:
    """Give a command the options."""
    for name, (_, letters, told) in reversed(list(OPTIONS.items())):
        command = click.option(name, metavar=letters, help=told)(command)
    return command


def take_credentials(options: MutableMapping[str, Any], environment: MutableMapping[str, str]) -> dict[str, str]:
    """Take the options out of all others, and return the settings that they stand for.

    They are put into the environment as well, where the tasks' own calls find them in the child processes.

    Args:
        options: all options by the names of their parameters.
        environment: variables of this process.
    """
    told = {}
    for name, (setting, _, _) in OPTIONS.items():
        value = options.pop(name.strip("-").replace("-", "_"))
        if value:
            told[setting] = environment[VARIABLES[setting]] = str(value)
    return told


def door_of(settings: Mapping[str, Any], told: Mapping[str, str], addresses: Sequence[str]) -> Door:
    """Return the door to the coordinator.

    Args:
        settings: those of the app.
        told: settings that stood on the command line.
        addresses: where the coordinator is.

    Raises:
        ConfigError: a file cannot be read, a certificate has no key, or the token would travel in the clear.
    """
    from grpcflow.channels import Door  # with grpc, which --help and a wrong option need not wait for

    try:
        credentials = credentials_of({**settings, **told})
        credentials.check(addresses)
        return Door(credentials)
    except ImproperlyConfigured as error:
        raise ConfigError(str(error)) from error
