"""Waits for a source file to change, for ``--reload``; the watching itself is a library's.

It may NOT end or start a worker, nor import the user's code.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from grpcflow_worker.subscription import ConfigError

if TYPE_CHECKING:
    from watchfiles import PythonFilter

#: Milliseconds after which the watch is known to be on, if nothing has changed until then.
_LOOK: Final = 300

_log = logging.getLogger("grpcflow.worker")


def check_library() -> None:
    """Refuse where the library is not there.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigError("--reload needs the library watchfiles: pip install 'grpcflow[reload]'")


async def changed(folder: Path) -> None:
    """Return once a Python file under a folder was changed, made or removed. Says in the log how many it watches.

    Args:
        folder: where the sources are; folders of packages, caches and hidden ones in it are passed over.
    """
    from watchfiles import PythonFilter, awatch

    wanted = PythonFilter()
    told = False
    async for changes in awatch(folder, watch_filter=wanted, rust_timeout=_LOOK, yield_on_timeout=True):
        if changes:
            _log.info("changed: %s", ", ".join(sorted(path for _, path in changes)))
            return
        if not told:
            # Not before it is true.
            _log.info("watching %d Python files under %s", len(sources(folder, wanted)), folder)
            told = True


def sources(folder: Path, wanted: PythonFilter) -> list[Path]:
    """The files under a folder that are watched.

    Args:
        folder: where to look.
        wanted: the filter of the watch.
    """
    from watchfiles import Change

    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each not in wanted.ignore_dirs]
        found += [path for each in files if wanted(Change.modified, str(path := Path(place, each)))]
    return found
