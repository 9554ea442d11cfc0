"""How much the core takes at once: in some worlds so little that what it does in pieces is cut off between two of them.

May NOT know what happens in a world.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType, ModuleType
from typing import Final

from grpcflow_coordinator.core import (
    cancelling,
    dispatch,
    handing,
    lines,
    matching,
    retrying,
    schedules,
    stamping,
    sweeping,
    unique,
)

#: The names of such numbers by their modules, and what they are where little is taken at once.
_LITTLE: Final[MappingProxyType[ModuleType, dict[str, int]]] = MappingProxyType(
    {
        cancelling: {"_BATCH": 1},
        dispatch: {"SETTLED_PAGES": 1},
        handing: {"MARK_BLOCK": 3},
        lines: {"FIRST_PAGE": 1, "WINDOW": 2, "SETTLED_PAGES": 1},
        matching: {"_BATCH": 2, "_PAGE": 1},
        retrying: {"_BATCH": 2},
        schedules: {"_BATCH": 1},
        stamping: {"_PAGE": 1},
        sweeping: {"_BATCH": 2, "_PAGE": 1},
        unique: {"_BATCH": 1},
    }
)


@contextmanager
def little_at_once(is_so: bool) -> Iterator[None]:
    """Let the core take little at once meanwhile, where that is so."""
    numbers = _LITTLE if is_so else {}
    before = {module: {name: vars(module)[name] for name in found} for module, found in numbers.items()}
    try:
        for module, found in numbers.items():
            vars(module).update(found)
        yield
    finally:
        for module, found in before.items():
            vars(module).update(found)
