"""The control commands that change the pool: how many places there are, and new processes for old ones.

Each takes its arguments as one JSON object and answers at once; what it begins goes on by itself. This file may NOT
wait for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from grpcflow_worker.executor import Executor, ExecutorError

#: What one place of each executor is called, and several.
_PLACES: Final = {
    "prefork": ("child", "children"),
    "threads": ("thread", "threads"),
    "solo": ("thread", "threads"),
    "asyncio": ("coroutine", "coroutines"),
}


class PoolRefused(ValueError):
    """A command cannot be obeyed; the text says why and what to do instead."""


class PoolCommands:
    """The commands of one worker's pool.

    Args:
        executor: the pool.
        resized: called with the new number of places after each change.
    """

    def __init__(self, executor: Executor, resized: Callable[[int], None]) -> None:
        self._executor = executor
        self._resized = resized

    def handlers(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The commands by name; each raises PoolRefused where it cannot be obeyed."""
        return {
            "autoscale": self._autoscale,
            "pool_grow": self._grow,
            "pool_restart": self._restart,
            "pool_shrink": self._shrink,
        }

    def _grow(self, arguments: Mapping[str, Any]) -> Any:
        return self._resize(_count("pool_grow", arguments, "n", 1))

    def _shrink(self, arguments: Mapping[str, Any]) -> Any:
        return self._resize(-_count("pool_shrink", arguments, "n", 1))

    def _resize(self, by: int) -> Any:
        try:
            places = self._executor.resize(by)
        except ExecutorError as error:
            raise PoolRefused(str(error)) from error
        self._resized(self._executor.places())
        return {"ok": f"the pool will have {places} places"}

    def _autoscale(self, arguments: Mapping[str, Any]) -> Any:
        most = _count("autoscale", arguments, "max", None)
        least = _count("autoscale", arguments, "min", None)
        try:
            most, least = self._executor.autoscale(most, least)
        except ExecutorError as error:
            raise PoolRefused(str(error)) from error
        self._resized(self._executor.places())
        return {"ok": f"autoscale now max={most} min={least}"}

    def _restart(self, arguments: Mapping[str, Any]) -> Any:
        modules = arguments.get("modules") or []
        reload = arguments.get("reload", False)
        if not isinstance(reload, bool) or not _are_names(modules):
            raise PoolRefused(
                'pool_restart takes {"reload": true or false, "modules": [NAME, ...]}; both may be left out'
            )
        try:
            self._executor.restart(reload=reload, modules=modules)
        except ExecutorError as error:
            raise PoolRefused(str(error)) from error
        return {"ok": "reloading the app, then replacing the pool" if reload or modules else "replacing the pool"}


def title_of(name: str, queues: int, executor: Executor) -> str:
    """The title of a worker's own process: ``grpcflow-worker: w1 (2 queues, 8 children)``.

    Args:
        name: the worker's name.
        queues: how many it serves.
        executor: what runs its tasks.
    """
    places = executor.places()
    one, many = _PLACES.get(executor.kind, ("place", "places"))
    counted = f"{queues} queue{'s' * (queues != 1)}, {places} {one if places == 1 else many}"
    return f"grpcflow-worker: {name} ({counted})"


def _count(command: str, arguments: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    """A whole number above 0 among the arguments, or what holds where it is left out."""
    count = arguments.get(name)
    if count is None:
        return otherwise
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise PoolRefused(f"{command} takes {name!r} as a whole number above 0, not {count!r}")
    return count


def _are_names(modules: Any) -> bool:
    return isinstance(modules, list) and all(isinstance(module, str) and module for module in modules)
