"""Find and import the user's app, from a name as people type it.

The worker and the command line both look for the app here, so that `-A proj` means the same to both.
This module imports the user's code and nothing else of weight, our own app only once one is looked for: it may not
import grpc, protobuf or the command line, and it never hides what the user's own module raised.
"""

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeGuard

from grpcflow.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["ENVIRONMENT", "AppName", "app_name", "find_app"]

#: The environment variable that names the app.
ENVIRONMENT: Final = "GRPCFLOW_APP"

#: Where an app is looked for when only a module is named: "" is the module itself. The last is where projects that come
#: from Celery have theirs.
_SUBMODULES: Final = ("", ".app", ".grpcflow", ".celery")


@dataclass(frozen=True, slots=True)
class AppName:
    """The name of an app and where it was read.

    Attributes:
        name: As the user wrote it: ``module`` or ``module:attribute``.
        source: ``-A``, ``GRPCFLOW_APP`` or the path of a pyproject.toml, for messages.
        folder: The folder beside which the module is expected, besides the current one; None: no other.
    """

    name: str
    source: str
    folder: Path | None = None


def find_app(name: str | None = None) -> "Grpcflow":
    """Import the user's app and return it.

    The current folder is put first on ``sys.path``, as ``python -m`` does. Tasks of ``include`` modules are
    not imported yet; that is the app's own affair.

    Args:
        name: ``module:attribute``, or a module alone: ``proj`` finds ``proj:app``, ``proj.app:app``,
            ``proj.grpcflow:app`` and ``proj.celery:app``, in this order. None: the environment variable
            ``GRPCFLOW_APP`` or the setting ``app`` in ``[tool.grpcflow]`` of a pyproject.toml.

    Raises:
        ImproperlyConfigured: No app is named, or none is where the name points; says what was looked for.
        Exception: Whatever the user's own module raises while it is imported, unchanged.
    """
    wanted = app_name(name)
    if wanted is None:
        raise ImproperlyConfigured(
            "No app is named. Name it with -A MODULE[:ATTRIBUTE], in the environment variable GRPCFLOW_APP, "
            'or as app = "MODULE:ATTRIBUTE" in [tool.grpcflow] of pyproject.toml.',
            code="NO_APP",
        )
    if wanted.folder is not None:
        _put_first(str(wanted.folder))
    _put_first(str(Path.cwd()))
    module, colon, attribute = wanted.name.partition(":")
    _check_module_name(module, wanted)
    if colon:
        return _attribute(module, attribute, wanted)
    return _search(module, wanted)


def app_name(name: str | None = None) -> AppName | None:
    """Return the name of the app that holds here, without importing anything; None: no app is named.

    Args:
        name: What was given with ``-A``; it wins over the environment, which wins over pyproject.toml.

    Raises:
        ImproperlyConfigured: A pyproject.toml on the way cannot be read, or its setting is not text.
    """
    if name:
        return AppName(name, "-A")
    if from_environment := os.environ.get(ENVIRONMENT):
        return AppName(from_environment, ENVIRONMENT)
    here = Path.cwd()
    for folder in (here, *here.parents):
        path = folder / "pyproject.toml"
        if path.is_file() and (setting := _setting(path)) is not None:
            return AppName(setting, str(path), folder)
    return None


def _setting(path: Path) -> str | None:
    """Return ``[tool.grpcflow] app`` of one pyproject.toml, or None where it has no such setting."""
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ImproperlyConfigured(
            f"{path} cannot be read: {error}. Mend it, or name the app with -A.", code="BAD_PYPROJECT"
        ) from error
    table = document.get("tool", {})
    table = table.get("grpcflow", {}) if isinstance(table, dict) else {}
    setting = table.get("app") if isinstance(table, dict) else None
    if setting is None:
        return None
    if not isinstance(setting, str) or not setting:
        raise ImproperlyConfigured(
            f'{path}: app in [tool.grpcflow] is {setting!r}; write app = "MODULE:ATTRIBUTE".', code="BAD_PYPROJECT"
        )
    return setting


def _put_first(folder: str) -> None:
    """Make ``folder`` the first place that imports look in."""
    if not sys.path or sys.path[0] != folder:
        sys.path.insert(0, folder)


def _check_module_name(module: str, wanted: AppName) -> None:
    """Refuse what cannot be a module's name, above all the path of a file."""
    if all(part.isidentifier() for part in module.split(".")) and not module.endswith(".py"):
        return
    path = module.replace("\\", "/").removesuffix(".py").strip("./")
    guess = path.replace("/", ".")
    hint = f" Write {guess!r}." if guess and all(part.isidentifier() for part in guess.split(".")) else ""
    raise ImproperlyConfigured(
        f"{wanted.name!r} (from {wanted.source}) does not name a module; the form is MODULE[:ATTRIBUTE].{hint}",
        code="BAD_APP_NAME",
    )


def _import(module: str) -> ModuleType | None:
    """Import a module; None where it or a parent of it does not exist.

    A module that is missing *inside* the user's code is the user's error and is raised as it is.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(missing + "."):
            return None
        raise


def _attribute(module: str, attribute: str, wanted: AppName) -> "Grpcflow":
    """Return the app at ``module:attribute``; the attribute may be dotted."""
    imported = _import(module)
    if imported is None:
        raise _not_found(wanted, [f"{module} (no such module)"], None)
    value: object = imported
    for part in (attribute or "app").split("."):
        value = getattr(value, part, None)
    if _is_app(value):
        return value
    raise _not_found(wanted, [f"{module}:{attribute or 'app'} ({_what(value)})"], imported)


def _search(module: str, wanted: AppName) -> "Grpcflow":
    """Return the app that a module's name alone points to."""
    looked_for: list[str] = []
    first: ModuleType | None = None
    for submodule in _SUBMODULES:
        imported = _import(module + submodule)
        if imported is None:
            looked_for.append(f"{module}{submodule}:app (no such module)")
            if not submodule:
                break  # what is not there has no submodules
            continue
        first = first or imported
        value: object = getattr(imported, "app", None)
        if _is_app(value):
            return value
        looked_for.append(f"{module}{submodule}:app ({_what(value)})")
    raise _not_found(wanted, looked_for, first)


def _is_app(value: object) -> "TypeGuard[Grpcflow]":
    from grpcflow.app import Grpcflow

    return isinstance(value, Grpcflow)


def _what(value: object) -> str:
    """Say what was found in the place of an app."""
    if value is None:
        return "no such attribute"
    if isinstance(value, ModuleType):
        return "a module"
    return f"a {type(value).__name__}, not a Grpcflow"


def _not_found(wanted: AppName, looked_for: list[str], module: ModuleType | None) -> ImproperlyConfigured:
    """Build the error that says what was looked for, what was found, and what to write instead."""
    message = f"No app at {wanted.name!r} (from {wanted.source}). Looked for: {'; '.join(looked_for)}."
    there = (
        [f"{module.__name__}:{name}" for name, value in vars(module).items() if _is_app(value)]
        if module is not None
        else []
    )
    if there:
        message += f" There is {', '.join(there)}: write that."
    else:
        message += f" Modules are looked for in {sys.path[0]} first."
    return ImproperlyConfigured(message, code="APP_NOT_FOUND")
