"""Where calls of a task go, by the ``task_routes`` setting.

Pure: names in, options out. It may import nothing of grpcflow but its errors.
"""

import re
from collections.abc import Mapping
from fnmatch import translate
from typing import Any, Final

from grpcflow.errors import ImproperlyConfigured

__all__ = ["Router"]

_NO_ROUTE: Final[Mapping[str, Any]] = {}
_ROUTE_KEYS: Final = frozenset({"queue", "priority"})


class Router:
    """Finds the route of a task name.

    Args:
        routes: Task names, patterns with ``*``, ``?`` and ``[...]``, or compiled expressions, each with the
            name of a queue or a mapping with ``queue`` and ``priority``. An exact name wins; then the
            patterns hold in their order.

    Raises:
        ImproperlyConfigured: A route is neither a name of a queue nor such a mapping.
    """

    def __init__(self, routes: Mapping[Any, Any]) -> None:
        self._exact: dict[str, Mapping[str, Any]] = {}
        self._patterns: list[tuple[re.Pattern[str], Mapping[str, Any]]] = []
        self._found: dict[str, Mapping[str, Any]] = {}
        for key, value in routes.items():
            options = _options(key, value)
            if isinstance(key, re.Pattern):
                self._patterns.append((key, options))
            elif isinstance(key, str) and any(mark in key for mark in "*?["):
                self._patterns.append((re.compile(translate(key)), options))
            elif isinstance(key, str):
                self._exact[key] = options
            else:
                raise ImproperlyConfigured(f"task_routes has {key!r} for a task name: use text or re.compile(text).")

    def route(self, name: str) -> Mapping[str, Any]:
        """Return the options of the route for the task ``name``; empty where there is none."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._search(name)
        return found

    def _search(self, name: str) -> Mapping[str, Any]:
        """Look through the exact names, then the patterns."""
        if name in self._exact:
            return self._exact[name]
        return next((options for pattern, options in self._patterns if pattern.fullmatch(name)), _NO_ROUTE)


def _options(key: Any, value: Any) -> Mapping[str, Any]:
    """Return one route as options."""
    if isinstance(value, str):
        return {"queue": value}
    if isinstance(value, Mapping) and value.keys() <= _ROUTE_KEYS:
        return dict(value)
    raise ImproperlyConfigured(
        f"the route of {key!r} in task_routes is {value!r}: write the name of a queue, or a mapping with "
        '"queue" and "priority".'
    )
