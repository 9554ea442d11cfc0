"""What a namespace may be called, and where its data lie. This file opens nothing, and knows no token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from grpcflow_coordinator.storage.contract import StoreFailed
from grpcflow_protos import limits

#: Name of the folder in a data folder, or a backup, in which each namespace but the default one has a folder.
NAMESPACES: Final = "namespaces"

#: What people call the namespace that has no name; so no other may be called that.
NAMED_BY_NOTHING: Final = "default"


def is_namespace(name: str) -> bool:
    """Return whether a namespace may have a name."""
    return re.fullmatch(limits.NAMESPACE, name) is not None and name != NAMED_BY_NOTHING


def check_namespace(name: str) -> None:
    """Let the name of a namespace pass.

    Raises:
        ValueError: no namespace may have it.
    """
    if not is_namespace(name):
        raise ValueError(
            f"{name!r} is no name of a namespace: write 1 to 63 of a to z, 0 to 9 and -; the default one has no name"
        )


def folder_of(data: Path, name: str) -> Path:
    """Return the folder of a namespace; of the default one, "", it is the data folder itself."""
    return data / NAMESPACES / name if name else data


def names_in(data: Path) -> list[str]:
    """Return the namespaces that have a folder in a data folder, in order; the default one is not named.

    Raises:
        StoreFailed: it cannot be read.
    """
    folder = data / NAMESPACES
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and is_namespace(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreFailed(f"the folder {folder} cannot be read: {error}; check its rights") from error
