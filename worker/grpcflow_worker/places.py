"""How many places an executor can have at most: where more would take the machine down before it took work.

It reads the limit of open files; it may NOT know executors or change anything.
"""

from __future__ import annotations

import resource
from typing import Final

#: The most places of each executor, whatever the machine says.
_MOST: Final = {"prefork": 1_000, "threads": 10_000, "asyncio": 1_000_000, "solo": 1}

#: What one place is called.
_CALLED: Final = {"prefork": "child processes", "threads": "threads", "asyncio": "coroutines", "solo": "thread"}

#: Files that a worker opens for one child process: three, and three for the one that replaces it.
_FILES_OF_CHILD: Final = 6

#: Files that a worker opens besides.
_OTHER_FILES: Final = 64


def too_many(kind: str, places: int) -> str | None:
    """Say why an executor cannot have so many places; None where it can.

    Args:
        kind: name of the executor.
        places: how many tasks are to run at once.
    """
    most, why = _MOST[kind], "start several workers for more"
    if kind == "prefork":
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = max(1, (files - _OTHER_FILES) // _FILES_OF_CHILD)
        if files != resource.RLIM_INFINITY and room < most:
            most, why = room, f"{files:,} files may be open here (ulimit -n); raise that, or start several workers"
    if places <= most:
        return None
    return f"{places:,} places are too many: {kind} has {most:,} {_CALLED[kind]} at most; {why}"
