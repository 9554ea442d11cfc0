"""Where an app's settings come from: objects, modules, environment variables, and Django's kind of names.

It may import the user's configuration and nothing of grpcflow but its settings and errors.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final

from grpcflow.errors import ImproperlyConfigured
from grpcflow.setting_names import OLD_STARTS, looks_like_setting, new_name, together, unknown
from grpcflow.setting_values import TESTS

__all__ = ["imported", "module_of_variable", "read_source"]

#: Values that somebody may have meant for a setting; functions, classes and modules are passed over.
_SIMPLE: Final = (str, int, float, bool, list, tuple, dict, set, frozenset, type(None))


def read_source(source: Any, namespace: str | None = None, silent: bool = False) -> dict[str, Any]:
    """Return the settings that a configuration holds.

    Of an object or a module the public lower-case names count, of a mapping all. With a namespace only the names count
    that begin with it, and they are settings whatever they are called.

    Args:
        source: A mapping, an object, a module, or the name of one as ``package.module`` or ``package.module:name``.
        namespace: What the names begin with, such as ``CELERY``; None: nothing.
        silent: True: a module that does not exist holds nothing. What it raises itself is never passed over.

    Raises:
        ImproperlyConfigured: A name is no setting (the message tells the nearest), or the module does not exist.
    """
    if isinstance(source, str):
        source = imported(source, silent)
    if isinstance(source, Mapping):
        held: dict[str, Any] = {str(name): value for name, value in source.items()}
    else:
        held = {name: getattr(source, name) for name in dir(source) if not name.startswith("_")}
    if namespace:
        return _in_namespace(held, namespace)
    if isinstance(source, Mapping):
        return held
    return _sifted({name: (name, value) for name, value in held.items()}, partial(_is_setting, source))


def _sifted(held: Mapping[str, tuple[str, Any]], counts: Callable[[str, Any], bool]) -> dict[str, Any]:
    """Return the settings among what a configuration holds, given by the names that stand there.

    Raises:
        ImproperlyConfigured: Tells every name that is no setting.
    """
    wrong: list[ImproperlyConfigured] = []
    settings: dict[str, Any] = {}
    for name, (short, value) in held.items():
        try:
            if counts(name, value):
                settings[short] = value
        except ImproperlyConfigured as error:
            wrong.append(error)
    if wrong:
        raise together(wrong)
    return settings


def module_of_variable(variable: str) -> str:
    """Return the name of a module that an environment variable holds.

    Raises:
        ImproperlyConfigured: It is not set, or empty.
    """
    if name := os.environ.get(variable):
        return name
    raise ImproperlyConfigured(
        f"the environment variable {variable} is not set: put the name of the module with the settings in it.",
        code="NO_CONFIGURATION",
    )


def imported(name: str, silent: bool = False) -> Any:
    """Return the module or object that a name stands for; an empty mapping where it is missing and ``silent``.

    Raises:
        ImproperlyConfigured: There is no such module, or nothing of that name in it.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module != missing and not module.startswith(f"{missing}."):
            raise  # something that the configuration itself imports
        if silent:
            return {}
        hint = f" Write {module.removesuffix('.py')!r}, without .py." if module.endswith(".py") else ""
        message = f"there is no module {module!r}.{hint}"
        raise ImproperlyConfigured(message, code="NO_CONFIGURATION") from error
    for part in filter(None, attribute.split(".")):
        if not hasattr(found, part):
            raise ImproperlyConfigured(f"there is no {attribute!r} in {module}", code="NO_CONFIGURATION")
        found = getattr(found, part)
    return found


def _in_namespace(held: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return what begins with a namespace, under the names of settings."""
    start = namespace if namespace.endswith("_") else f"{namespace}_"
    shorts = {name: (name.removeprefix(start).lower(), held[name]) for name in held if name.startswith(start)}

    def known(name: str, _value: Any) -> bool:
        if shorts[name][0] not in TESTS:
            message = f"{name}: {unknown(shorts[name][0], tuple(TESTS))}"
            raise ImproperlyConfigured(message, code="UNKNOWN_SETTING")
        return True

    return _sifted(shorts, known)


def _is_setting(source: Any, name: str, value: Any) -> bool:
    """Return True for a name that counts; refuse one that was meant for a setting and is none."""
    where = source.__name__ if isinstance(source, ModuleType) else repr(source)
    if name.startswith(OLD_STARTS):
        now = new_name(name, tuple(TESTS))
        hint = f"write {now!r}" if now in TESTS else unknown(now, tuple(TESTS)).removesuffix(".")
        if name.startswith("CELERY_"):
            hint += "; or, where CELERY_ stands before all settings, give namespace='CELERY' to config_from_object()"
        raise ImproperlyConfigured(f"{where} has the old name {name!r}: {hint}.", code="UNKNOWN_SETTING")
    if name in TESTS:
        return not isinstance(value, ModuleType)
    if name.islower() and isinstance(value, _SIMPLE) and looks_like_setting(name, tuple(TESTS)):
        raise ImproperlyConfigured(f"{where}: {unknown(name, tuple(TESTS))}", code="UNKNOWN_SETTING")
    return False
