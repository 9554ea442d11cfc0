"""Where calls of a task go, by the ``task_routes`` setting.

Knows names, patterns and functions of the user's, and gives options. It may import nothing of grpcflow but its errors,
its queues, and the names of options.
"""

import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final

from grpcflow.canvas.parts import CALLBACKS, OPTIONS, STAMPED, SUBMISSION
from grpcflow.errors import ImproperlyConfigured
from grpcflow.queues import is_queue

if TYPE_CHECKING:
    from grpcflow.task import Task

__all__ = ["Route", "Router"]

#: What a route says: options of a call.
Route = Mapping[str, Any]

_NO_ROUTE: Final[Route] = {}
#: Options that belong to one call, or to a submission as a whole.
_NOT_OF_ROUTES: Final = SUBMISSION | frozenset(
    {*CALLBACKS, STAMPED, "task_id", "root_id", "parent_id", "route_name", "replaced_task_nesting", "idempotency_key"}
)
_OF_ROUTES: Final = OPTIONS - _NOT_OF_ROUTES
#: What a broker would need beside the queue, and what says nothing here.
_OF_BROKERS: Final = frozenset({"exchange", "exchange_type", "routing_key", "delivery_mode", "immediate", "mandatory"})
_TOP_PRIORITY: Final = 9
_MARKS: Final = "*?["


class Router:
    """Finds the route of a call.

    Args:
        routes: One of these, or a list of them, in which the first true answer wins. A mapping, or pairs, of names,
            patterns with ``*``, ``?`` and ``[...]``, or compiled expressions, each with a route: an exact name wins,
            then patterns hold in their order; an expression need match the beginning of the name only. A single pair.
            A function of ``(name, args, kwargs, options, task=None)`` that returns a route or None, an object or class
            with ``route_for_task(name, args, kwargs)``, or the dotted name of one of these, imported at first use.
            A route is the name of a queue, a queue, or a mapping of options of the call.

    Attributes:
        asks: True where a function decides of some calls.

    Raises:
        ImproperlyConfigured: There is something else in it.
    """

    def __init__(self, routes: Any) -> None:
        if routes is None:
            routes = ()
        elif not isinstance(routes, (list, tuple)):
            routes = (routes,)
        self._steps: list[_Table | _Function] = [_step(item) for item in routes]
        self.asks = any(isinstance(step, _Function) for step in self._steps)
        #: Of names for which no function need be asked; None where one must be.
        self._found: dict[str, Route | None] = {}

    def fixed(self, name: str) -> Route | None:
        """Return the route that holds for every call of the task ``name``; None where that depends on the call."""
        try:
            return self._found[name]
        except KeyError:
            found = self._found[name] = self._search(name)
            return found

    def route(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        task: "Task[..., Any] | None" = None,
    ) -> Route:
        """Return the route of one call; empty where there is none.

        Args:
            name: Name of the task.
            args: Positional arguments of the call; functions may look at these, and at what follows.
            kwargs: Keyword arguments.
            options: Options that the call and its task have.
            task: The task, where it is known.

        Raises:
            ImproperlyConfigured: A function gave what is no route, or cannot be found.
            Exception: What a function raised.
        """
        found = self.fixed(name)
        if found is not None:
            return found
        for step in self._steps:
            if isinstance(step, _Table):
                answer = step.route(name)
            else:
                answer = step.ask(name, args, dict(kwargs or {}), dict(options or {}), task)
            if answer:
                return answer
        return _NO_ROUTE

    def _search(self, name: str) -> Route | None:
        """Look through the tables, up to the first function."""
        for step in self._steps:
            if isinstance(step, _Function):
                return None
            if answer := step.route(name):
                return answer
        return _NO_ROUTE


class _Table:
    """Routes by name and by pattern."""

    def __init__(self, pairs: Iterable[Any]) -> None:
        self._exact: dict[str, Route] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for key, value in pairs:
            options = _options(f"the route of {_text(key)!r} in task_routes", value)
            if isinstance(key, re.Pattern):
                self._patterns.append((key, options))
            elif isinstance(key, str) and any(mark in key for mark in _MARKS):
                self._patterns.append((re.compile(translate(key)), options))
            elif isinstance(key, str):
                self._exact[key] = options
            else:
                raise ImproperlyConfigured(f"task_routes has {key!r} for a task name: use text or re.compile(text).")

    def route(self, name: str) -> Route:
        """Return the route of a name; empty where there is none."""
        if name in self._exact:
            return self._exact[name]
        # As in Celery an expression need match the beginning only; what was made of a pattern matches the whole.
        return next((options for pattern, options in self._patterns if pattern.match(name)), _NO_ROUTE)


class _Function:
    """A function that finds routes, an object with ``route_for_task``, or the name of one."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self._ready: Any = None

    def ask(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        task: "Task[..., Any] | None",
    ) -> Route:
        """Return what it says of one call; empty where it says nothing."""
        if self._ready is None:
            self._ready = self._found()
        older = getattr(self._ready, "route_for_task", None)
        # Its own copies: what it does to them changes no call.
        answer = older(name, args, kwargs) if older else self._ready(name, args, kwargs, options, task=task)
        return _options(f"what {_text(self._given)} in task_routes says of {name}", answer) if answer else _NO_ROUTE

    def _found(self) -> Any:
        """Return the function, or the object."""
        found = self._given
        if isinstance(found, str):
            try:
                found = pkgutil.resolve_name(found)
            except (ImportError, AttributeError, ValueError) as error:
                message = f"task_routes names {found!r}, which cannot be imported: {error}"
                raise ImproperlyConfigured(message, code="BAD_SETTING") from error
        if isinstance(found, type) and hasattr(found, "route_for_task"):
            found = found()
        if not callable(found) and not hasattr(found, "route_for_task"):
            raise ImproperlyConfigured(f"task_routes names {_text(self._given)!r}, which is no function but {found!r}")
        return found


def _step(item: Any) -> _Table | _Function:
    """Return one part of ``task_routes``, ready for use."""
    if isinstance(item, Mapping):
        return _Table(item.items())
    if isinstance(item, (list, tuple)):
        one = len(item) == 2 and isinstance(item[0], (str, re.Pattern))
        if one or all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in item):
            return _Table([item] if one else item)
    elif callable(item) or hasattr(item, "route_for_task") or (isinstance(item, str) and _is_dotted(item)):
        return _Function(item)
    raise ImproperlyConfigured(
        f"task_routes holds {item!r}: write a mapping of task names to routes, a pair of a name and its route, a "
        "function, or the name of a function as module.name"
    )


def _is_dotted(text: str) -> bool:
    """Return True for what can be the name of something in a module."""
    parts = text.replace(":", ".").split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def _options(what: str, value: Any) -> Route:
    """Return one route as options.

    Raises:
        ImproperlyConfigured: It is no route; ``what`` says which.
    """
    if (isinstance(value, str) and value) or is_queue(value):
        return {"queue": value}
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(
            f'{what} is {value!r}: write the name of a queue, or a mapping of options such as "queue" and "priority".'
        )
    options = {option: given for option, given in value.items() if option not in _OF_BROKERS and given is not None}
    if value.keys() & {"exchange", "routing_key"} and "queue" not in options:
        raise ImproperlyConfigured(
            f'{what} is {value!r}, but there are no exchanges: name the queue, as in "queue": "feeds".'
        )
    if unknown := [option for option in options if option not in _OF_ROUTES]:
        raise ImproperlyConfigured(f"{what} has {unknown[0]!r}; it may have {', '.join(sorted(_OF_ROUTES))}.")
    queue, priority = options.get("queue", "q"), options.get("priority", 0)
    if not is_queue(queue) and not (isinstance(queue, str) and queue):
        raise ImproperlyConfigured(f"{what} has the queue {queue!r}: write its name.")
    if not isinstance(priority, int) or not 0 <= priority <= _TOP_PRIORITY:
        raise ImproperlyConfigured(f"{what} has the priority {priority!r}; it must be a whole number from 0 to 9.")
    return options


def _text(given: Any) -> Any:
    """Return how a part of ``task_routes`` is named in messages."""
    if isinstance(given, re.Pattern):
        return given.pattern
    return getattr(given, "__qualname__", given)
