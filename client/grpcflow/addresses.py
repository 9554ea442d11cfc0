"""Where the coordinator is: the addresses that a setting, an option or the environment names.

Apart from the settings, so that a command that is told an address needs none of them. It may import nothing of
grpcflow but its errors.
"""

import os
from collections.abc import Sequence
from typing import Final

from grpcflow.errors import ImproperlyConfigured

__all__ = ["COORDINATOR_VARIABLE", "DEFAULT_COORDINATOR", "addresses_of"]

#: The environment variable that names the coordinator where the app does not.
COORDINATOR_VARIABLE: Final = "GRPCFLOW_COORDINATOR"

#: Where the coordinator is when nobody says.
DEFAULT_COORDINATOR: Final = "127.0.0.1:50551"


def addresses_of(named: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the coordinator's addresses, each ``HOST:PORT``: those named, else of the environment, else the default.

    Args:
        named: Addresses, joined by commas or as a sequence; None or empty: not named.

    Raises:
        ImproperlyConfigured: One has no port, so that gRPC would try that of web servers.
    """
    said = named or os.environ.get(COORDINATOR_VARIABLE) or DEFAULT_COORDINATOR
    parts = said.split(",") if isinstance(said, str) else said
    found = tuple(part.strip() for part in parts if part.strip())
    bare = next((part for part in found if ":" not in part), None)
    if bare is not None:
        raise ImproperlyConfigured(
            f"The coordinator's address {bare!r} has no port: write {bare}:50551, in the setting coordinator or in "
            f"{COORDINATOR_VARIABLE}."
        )
    return found
