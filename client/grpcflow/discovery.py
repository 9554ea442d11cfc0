"""The modules whose import registers an app's tasks: those that the settings name, and those that are looked for.

It imports the user's code and hides nothing of what that raises. It may not import grpc or protobuf.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from typing import Final

from grpcflow.errors import ImproperlyConfigured

__all__ = ["Packages", "checked_packages", "discover"]

#: Names of packages, or a call that gives them once they are needed.
Packages = Iterable[str] | Callable[[], Iterable[str]]

_NO_DJANGO: Final = (
    "autodiscover_tasks() without packages asks Django for its apps, and grpcflow does not know Django: name the "
    'packages, as in app.autodiscover_tasks(["shop", "mail"]).'
)


def checked_packages(packages: Packages | None) -> Packages:
    """Refuse what names no packages.

    Raises:
        ImproperlyConfigured: None was given.
        TypeError: A text was given, which would be read letter by letter.
    """
    if packages is None:
        raise ImproperlyConfigured(_NO_DJANGO, code="NO_PACKAGES")
    if isinstance(packages, str):
        raise TypeError(f"autodiscover_tasks() needs a list of packages: write [{packages!r}]")
    return packages


def discover(packages: Packages, related_name: str | None) -> list[str]:
    """Import the module of tasks of each package that has one; returns the names of what was imported.

    Args:
        packages: The packages.
        related_name: Name of the module in each; None: the packages themselves are imported.

    Raises:
        ModuleNotFoundError: There is no such package.
        Exception: What a module raises while it is imported.
    """
    imported = []
    for package in packages() if callable(packages) else packages:
        importlib.import_module(package)
        name = f"{package}.{related_name}" if related_name else package
        # Looked for first: a module that is missing and one that fails to import something must not look alike.
        if related_name and not _exists(package, name):
            continue
        importlib.import_module(name)
        imported.append(name)
    return imported


def _exists(package: str, name: str) -> bool:
    """Return True where a package has a module of this name."""
    is_package = hasattr(importlib.import_module(package), "__path__")
    return is_package and importlib.util.find_spec(name) is not None
